//! One trivial ubus call: an object on our protocol stack, against one on libubox. Same bus, same caller, all on one
//! processor: waking up another one costs more than the call, and not always the same.

use super::say;
use crate::measure::{time, Samples};
use crate::options::Options;
use crate::process::{self, go_on, within, OneCpu, Server};
use crate::table::{Bar, Row};
use crate::world::World;
use crate::Result;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use openwrt_ubus::client::Client;
use openwrt_ubus::driver::{Driver, Progress};
use openwrt_ubus::{to_fields, Connection, Event, Object};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const OURS: &str = "bench.rust";
const THEIRS: &str = "bench.libubox";
const SOURCE: &str = include_str!("../object.c");
/// Calls before those that count.
const WARM_UP: usize = 200;
const REPEATS: usize = 3;
/// Calls in flight.
const WINDOW: usize = 64;
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the Rust object until the bus goes.
pub fn serve(socket: &Path) -> Result<()> {
    let mut connection = Connection::new();
    connection.add_object(Object::new(OURS).method::<()>("ping"));
    let reply = to_fields(&serde_json::json!({ "ok": 1 }))?;
    let mut driver = Driver::connect(socket)?;
    loop {
        if driver.on_ready(&mut connection)? == Progress::Closed {
            return Ok(());
        }
        while let Some(event) = connection.poll_event() {
            if let Event::Call { request, .. } = event {
                connection.reply(&request, &reply)?;
                connection.complete(request, openwrt_ubus::Status::OK);
            }
        }
        if driver.flush(&mut connection)? == Progress::Closed {
            return Ok(());
        }
        let events =
            if driver.wants_write() { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
        poll(&mut [PollFd::new(driver.as_fd(), events)], PollTimeout::NONE)?;
    }
}

/// Adds the rows.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    say("ubus calls");
    let pinned = OneCpu::pin()?;
    let mut world = World::new(options, &[])?;
    let socket = world.socket();
    let mut object = Command::new(std::env::current_exe()?);
    object.arg("--object").arg(&socket);
    let _ours = Server::start("the Rust object", &mut object, &world.dir().join("rust.log"))?;
    let theirs = match compile(options, world.dir())? {
        Some(program) => {
            let mut object = Command::new(program);
            object.arg(&socket).arg(THEIRS);
            Some(Server::start("the libubox object", &mut object, &world.dir().join("libubox.log"))?)
        }
        None => None,
    };
    let expected: &[&str] = if theirs.is_some() { &[OURS, THEIRS] } else { &[OURS] };
    let client = world.client()?;
    within(10, "the objects", || {
        Ok(expected.iter().all(|path| client.call(path, "ping", &[], PATIENCE).is_ok()))
    })?;

    let calls = if options.quick { 1000 } else { 2000 };
    let in_flight = calls * 10;
    let (mut single, mut rate) = ([Samples::default(), Samples::default()], [Vec::new(), Vec::new()]);
    let mut daemon = Samples::default();
    for _ in 0..REPEATS {
        for (n, path) in expected.iter().enumerate() {
            single[n].push(one_by_one(client, path, "ping", calls)?);
        }
        daemon.push(one_by_one(client, "cloudbox.job", "list", calls)?);
        for (n, path) in expected.iter().enumerate() {
            rate[n].push(many_in_flight(client, path, in_flight)?);
        }
    }
    drop(theirs);
    drop(world);
    drop(pinned);

    let (call, many) = ("one trivial ubus call, p50", format!("ubus calls, {WINDOW} in flight"));
    let (peer, [ours, theirs], [our_rate, their_rate]) = ("object on libubox", single, rate.map(middle));
    if expected.len() < 2 {
        done.push(Row::missing(call, Some(ours.show()), peer, "not installed"));
        done.push(Row::missing(&many, Some(format!("{our_rate:.0}/s")), peer, "not installed"));
        return Ok(());
    }
    done.push(Row::times(call, &ours, peer, &theirs, Some(Bar::TimesAtMost(1.2))));
    done.push(Row::rates(&many, our_rate, peer, their_rate, Bar::AsManyAtLeast(0.9)));
    done.push(Row::times("the daemon: cloudbox.job list, p50", &daemon, peer, &theirs, None));
    Ok(())
}

/// The median time of a call, each made when the one before has been answered.
fn one_by_one(client: &mut Client, path: &str, method: &str, calls: usize) -> Result<Duration> {
    let mut samples = Samples::default();
    for n in 0..WARM_UP + calls {
        let (took, _) = time(|| Ok(client.call(path, method, &[], PATIENCE)?))?;
        if n >= WARM_UP {
            samples.push(took);
        }
    }
    go_on()?;
    Ok(samples.median())
}

/// Calls per second with [`WINDOW`] of them unanswered at any time.
fn many_in_flight(client: &mut Client, path: &str, calls: usize) -> Result<f64> {
    let (mut sent, mut answered) = (0, 0);
    let start = Instant::now();
    while answered < calls {
        while sent < calls && sent - answered < WINDOW {
            client.connection().call(path, "ping", &[], Instant::now() + PATIENCE);
            sent += 1;
        }
        if let Some(Event::CallEnded { reply, .. }) = client.next_event(None)? {
            if !reply.status.is_ok() {
                return Err(format!("{path}: {}", reply.status).into());
            }
            answered += 1;
        }
    }
    go_on()?;
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// Compiles the C object; None where libubus is not installed.
fn compile(options: &Options, dir: &Path) -> Result<Option<PathBuf>> {
    let Some(cc) = process::find("cc") else { return Ok(None) };
    let (source, program) = (dir.join("object.c"), dir.join("object"));
    std::fs::write(&source, SOURCE)?;
    let mut flags = vec!["-Os".to_string()];
    if let Some(prefix) = &options.ubus_prefix {
        let prefix = prefix.display();
        flags.extend([
            format!("-I{prefix}/include"),
            format!("-L{prefix}/lib"),
            format!("-Wl,-rpath,{prefix}/lib"),
        ]);
    }
    let preprocess = Command::new(&cc).args(&flags).args(["-E", "-o", "/dev/null"]).arg(&source).output()?;
    if !preprocess.status.success() {
        return Ok(None);
    }
    process::run(
        Command::new(&cc).args(&flags).arg("-o").arg(&program).arg(&source).args(["-lubus", "-lubox"]),
    )?;
    Ok(Some(program))
}

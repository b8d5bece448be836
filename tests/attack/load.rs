//! Everybody asks for as much as he can at once, and one caller wants an ordinary answer.

use crate::bus;
use crate::guests::{evil_aside, put_into};
use crate::is_long;
use crate::processes;
use crate::test_box::TestBox;
use openwrt_ubus::client::{CallError, Client};
use openwrt_ubus::to_fields;
use serde_json::{json, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// In the long form the latency counts, on a machine that has nothing else to do.
struct Scale {
    containers: usize,
    lists: usize,
    p99: Duration,
    /// KiB that the daemon has; a program that is built for tests has more.
    memory: u64,
}

/// Between two calls of who does not wait for much.
const LITTLE: Duration = Duration::from_millis(100);
/// A guest's own changes are written to the file of host names once in this time.
const HOSTS: Duration = Duration::from_secs(5);

fn scale() -> Scale {
    match is_long() {
        true => Scale { containers: 100, lists: 1000, p99: Duration::from_millis(50), memory: 8 << 10 },
        false => Scale { containers: 6, lists: 100, p99: Duration::from_secs(2), memory: 24 << 10 },
    }
}

fn resident(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A caller that asks again as soon as it is answered, all the time. Each of many has a connection of its own: the bus drops
/// what somebody does not read in time.
fn insist(
    socket: &Path,
    (object, method): (&str, &str),
    arguments: &Value,
    pause: Duration,
    over: &AtomicBool,
    look: &dyn Fn(bus::Answer),
) {
    let fields = to_fields(arguments).unwrap();
    let mut client = Client::connect(socket).unwrap();
    while !over.load(Ordering::SeqCst) {
        match client.call(object, method, &fields, Duration::from_secs(60)) {
            Ok(reply) | Err(CallError::Failed(reply)) => {
                assert_ne!(reply.status.0, 7, "{method} was not answered");
                look(bus::answer(&reply));
            }
            Err(CallError::Io(error)) => panic!("{method}: {error}"),
            Err(error) => panic!("{method}: {error}"),
        }
        std::thread::sleep(pause);
    }
}

/// How often a file was written, looked at all the time.
fn count_writes(file: PathBuf, over: &AtomicBool) -> Vec<Instant> {
    let stamp = || fs::metadata(&file).and_then(|meta| meta.modified()).ok();
    let (mut last, mut writes) = (stamp(), Vec::new());
    while !over.load(Ordering::SeqCst) {
        let now = stamp();
        if now != last {
            writes.push(Instant::now());
            last = now;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    writes
}

#[test]
fn who_asks_for_little_is_answered_soon_whatever_the_others_do() {
    let Some(mut the_box) = TestBox::alone("a box under load") else { return };
    let Scale { containers, lists, p99, memory } = scale();
    // A server that lists nothing: what is asked of it all the time ends soon.
    the_box.stop_daemon();
    the_box.write_config("config remote 'nobody'\n\toption url 'http://127.0.0.1:1'\n");
    the_box.start_daemon();
    let daemon = the_box.daemon_pid();
    let names: Vec<Value> =
        (0..containers).map(|n| json!({ "name": format!("c{n}"), "memory": "32M" })).collect();
    for job in bus::call_all(&the_box.socket(), "cloudbox.container", "create", &names) {
        let job = the_box.job_end(job.unwrap()["job"].as_str().unwrap());
        assert_eq!(job["state"], "done", "{job}");
    }
    the_box.create("evil", json!({ "cpus": "1" }));
    put_into(&the_box, "evil");
    let address = the_box.wait_for_address("evil");
    println!("{} containers run, one of them at {address}", containers + 1);
    let (seconds, another) = (600, the_box.address(99));
    evil_aside(&the_box, "evil", &format!("flood {another} {seconds}"));
    evil_aside(&the_box, "evil", &format!("names {seconds}"));
    the_box.inside("evil", "(setsid sh -c 'exec yes raging >/dev/console' >/dev/null 2>&1 </dev/null &)");

    let socket = the_box.socket();
    let over = AtomicBool::new(false);
    let (shared, others) = (AtomicUsize::new(0), AtomicUsize::new(0));
    // They ask the same at the same time: who asks while a look goes on gets what it finds.
    let is_shared = |answer: bus::Answer| {
        assert!(answer.is_ok(), "{answer:?}");
        shared.fetch_add(1, Ordering::SeqCst);
    };
    let any = |_: bus::Answer| {
        others.fetch_add(1, Ordering::SeqCst);
    };
    let browse = json!({ "type": "_http._tcp", "timeout": 1 });
    let available = json!({ "remote": "nobody" });
    let mut times = Vec::new();
    let mut most = 0;
    let writes = std::thread::scope(|scope| {
        let hosts = the_box.avahi().join("hosts");
        let over = &over;
        let writes = scope.spawn(move || count_writes(hosts, over));
        let (socket, browse, available, is_shared, any) = (&socket, &browse, &available, &is_shared, &any);
        let spawn = |number: usize, run: &'static str| {
            for _ in 0..number {
                let thread = std::thread::Builder::new().stack_size(256 << 10);
                let insist = move || match run {
                    "browse" => {
                        insist(socket, ("cloudbox.service", run), browse, Duration::ZERO, over, is_shared);
                    }
                    _ => insist(socket, ("cloudbox.image", run), available, LITTLE, over, any),
                };
                thread.spawn_scoped(scope, insist).unwrap();
            }
        };
        spawn(300, "browse");
        spawn(24, "available");
        for number in 0..64 {
            scope.spawn(move || {
                let mut client = Client::connect(socket).unwrap();
                let info = to_fields(&json!({ "name": format!("c{}", number % containers) })).unwrap();
                while !over.load(Ordering::SeqCst) {
                    let patience = Duration::from_secs(60);
                    client.call("cloudbox.container", "info", &info, patience).unwrap();
                    client.call("cloudbox", "status", &[], patience).unwrap();
                    std::thread::sleep(LITTLE);
                }
            });
        }
        // An ordinary caller.
        let mut client = Client::connect(socket).unwrap();
        for _ in 0..lists {
            let begun = Instant::now();
            let list = client.call("cloudbox.container", "list", &[], Duration::from_secs(60)).unwrap();
            times.push(begun.elapsed());
            let list = bus::json(&list.data);
            assert_eq!(list["containers"].as_array().map(Vec::len), Some(containers + 1));
            most = most.max(resident(daemon));
            std::thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::SeqCst);
        writes.join().unwrap()
    });
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!(
        "{lists} lists: median {:?}, p99 {:?}, slowest {:?}; the daemon had {most} KiB at most; hosts was written {} times; \
         {} browse calls and {} others were answered",
        at(50),
        at(99),
        times.last().unwrap(),
        writes.len(),
        shared.load(Ordering::SeqCst),
        others.load(Ordering::SeqCst),
    );
    assert!(at(99) <= p99, "p99 is {:?}", at(99));
    assert!(most <= memory, "the daemon had {most} KiB");
    for pair in writes.windows(2) {
        let between = pair[1] - pair[0];
        assert!(between + Duration::from_millis(200) >= HOSTS, "hosts was written twice within {between:?}");
    }
    assert!(processes::lives(daemon));
    the_box.kill("evil");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

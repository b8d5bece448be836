//! What the bench was asked for, by its arguments and `scripts/bench.sh`'s environment.

use crate::Result;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

/// What `--help` prints.
pub const HELP: &str = "\
scripts/bench.sh [--quick] [ROW...]

Measures cloudbox side by side with what it is compared with, and prints one table.

  create   create -> RUNNING, against a bare lxc-start
  delete   stop and delete, against lxc-stop, umount and rm
  boot     16 containers that start with the box, against as many lxc-start at once
  incus    create -> RUNNING, against incus launch
  list     list of many running containers, against lxc-ls -f
  bus      one trivial ubus call, against an object built with libubox
  memory   resident memory of the daemon with many containers running
  size     the static binary
  idle     wake-ups of the daemon while nothing happens

  --quick  fewer rounds, a shorter idle time

Environment: CLOUDBOX_BENCH_COUNT (containers of list, memory and idle; 100), CLOUDBOX_BENCH_DIR (where the storage
is made; a real disk), UBUSD (the bus), UBUS_PREFIX (where libubus is installed).
";

const ROWS: [&str; 9] = ["create", "delete", "boot", "incus", "list", "bus", "memory", "size", "idle"];

/// What the program shall do.
pub enum Mode {
    /// Measure.
    Measure(Options),
    /// Be the Rust object that `bus` measures, on this socket.
    Object(PathBuf),
    /// Print the help.
    Help,
}

/// How it shall measure.
pub struct Options {
    /// Fewer rounds.
    pub quick: bool,
    rows: Vec<String>,
    /// The `cloudbox` that is measured.
    pub binary: PathBuf,
    /// It is the static one.
    pub is_static: bool,
    /// `ubusd`, or the broker.
    pub bus: PathBuf,
    /// Where the bench makes its directory.
    pub place: PathBuf,
    /// Where libubus is installed, when not where the compiler looks.
    pub ubus_prefix: Option<PathBuf>,
    /// How many containers `list`, `memory` and `idle` have running.
    pub count: usize,
}

impl Options {
    /// Whether a row of this name is wanted.
    pub fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|wanted| wanted == row)
    }

    /// Rounds that count.
    pub fn rounds(&self) -> usize {
        if self.quick {
            5
        } else {
            25
        }
    }

    /// Rounds before them.
    pub fn warm_up(&self) -> usize {
        if self.quick {
            1
        } else {
            3
        }
    }

    /// How long `idle` looks.
    pub fn idle(&self) -> Duration {
        Duration::from_secs(if self.quick { 10 } else { 60 })
    }
}

/// Reads arguments and environment.
pub fn parse() -> Result<Mode> {
    let mut quick = false;
    let mut rows = Vec::new();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            // cargo bench passes it to every bench.
            "--bench" => {}
            "--object" => return Ok(Mode::Object(arguments.next().ok_or("--object: which socket?")?.into())),
            "-h" | "--help" => return Ok(Mode::Help),
            row if ROWS.contains(&row) => rows.push(argument),
            _ => return Err(format!("{argument}: no such row or option\n\n{HELP}").into()),
        }
    }
    let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let from_script = |name: &str| {
        path(name).ok_or_else(|| format!("{name} is not set; start the bench with scripts/bench.sh"))
    };
    let count = match env::var("CLOUDBOX_BENCH_COUNT") {
        Ok(text) => text.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or_else(|| {
            format!("CLOUDBOX_BENCH_COUNT={text}: from 1 to 1000, a bridge has no more ports")
        })?,
        Err(_) => 100,
    };
    Ok(Mode::Measure(Options {
        quick,
        rows,
        binary: from_script("CLOUDBOX_BENCH_BINARY")?,
        is_static: env::var("CLOUDBOX_BENCH_STATIC").is_ok_and(|text| text == "1"),
        bus: from_script("CLOUDBOX_BENCH_BUS")?,
        place: from_script("CLOUDBOX_BENCH_DIR")?,
        ubus_prefix: path("UBUS_PREFIX"),
        count,
    }))
}

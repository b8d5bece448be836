//! The console's log.

use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::fs;
use std::time::{Duration, Instant};

/// What all of a container's logs may take on the disk.
const LOGS_MAX: u64 = 300 << 10;

impl TestBox {
    fn log(&self, name: &str, lines: u32) -> String {
        let reply = self.container_call("log", json!({ "name": name, "lines": lines }));
        reply["log"].as_str().unwrap().replace('\r', "")
    }

    /// Writes to the guest's console until the log has it: an init or a login that opens the terminal meanwhile may throw
    /// away what was not read yet.
    fn write_to_console(&self, name: &str, command: &str, seen: &str) {
        eventually(&format!("{seen:?} in the log of {name}"), || {
            self.inside(name, &format!("{command} > /dev/console"));
            self.log(name, 50).contains(seen)
        });
    }

    fn log_bytes(&self, name: &str) -> u64 {
        let files = fs::read_dir(self.container(name).path()).unwrap().flatten();
        files
            .filter(|f| f.file_name().to_string_lossy().contains("log"))
            .map(|f| f.metadata().unwrap().len())
            .sum()
    }
}

#[test]
fn a_log_outlives_the_guest_and_never_fills_the_disk() {
    let Some(the_box) = TestBox::with_web("the console's log") else { return };
    the_box.write_to_console("web", "echo first words", "first words");
    assert_eq!(the_box.log("web", 0), "");

    the_box.kill("web");
    assert!(the_box.log("web", 50).contains("first words"));
    the_box.start("web");
    the_box.write_to_console("web", "echo second words", "second words");
    assert!(the_box.log("web", 1000).contains("first words"));

    // A flood: the last words stay, the disk does not notice, the daemon answers.
    the_box.inside(
        "web",
        "(yes 0123456789012345678901234567890123456789 | head -c 20000000; echo the end) > /dev/console &",
    );
    let mut slowest = Duration::ZERO;
    let mut most = 0;
    eventually("the end of the flood", || {
        let begun = Instant::now();
        the_box.list();
        slowest = slowest.max(begun.elapsed());
        most = most.max(the_box.log_bytes("web"));
        the_box.log("web", 50).contains("the end\n")
    });
    println!("20 MB of flood: {most} bytes of log at most, list took {slowest:?} at most");
    assert!(most < LOGS_MAX, "{most} bytes");
    let all = the_box.container_call("log", json!({ "name": "web", "lines": 4_000_000_000_u32 }));
    assert_eq!(the_box.container_call("log", json!({ "name": "web" }))["truncated"], true);
    let length = all["log"].as_str().unwrap().len();
    assert!((128 << 10..=256 << 10).contains(&length), "{length} bytes of log are shown");

    // One that is longer than it may be, as of another version, is set aside before the start.
    the_box.kill("web");
    fs::write(the_box.container("web").console_log(), "x".repeat(400_000)).unwrap();
    the_box.start("web");
    the_box.write_to_console("web", "echo third words", "third words");

    // Bytes that are no text.
    the_box.write_to_console("web", r"printf 'a\000\377b\n'", "a\u{fffd}\u{fffd}b\n");

    let unknown = the_box.call("cloudbox.container", "log", json!({ "name": "nobody" })).unwrap_err();
    assert_eq!(unknown.code, "not_found");
    let wrong = the_box.call("cloudbox.container", "log", json!({ "name": "web", "lines": -1 })).unwrap_err();
    assert_eq!(wrong.code, "invalid_argument");
    the_box.delete_last("web");
}

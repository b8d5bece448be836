//! Commands inside a container.

use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn exec_tells_what_the_command_did() {
    let Some(the_box) = TestBox::new("exec") else { return };
    the_box.create("web", json!({}));
    let all = the_box.exec("web", &["sh", "-c", "echo out; echo err >&2; exit 42"]);
    assert_eq!(all, json!({ "code": 42, "stdout": "out\n", "stderr": "err\n", "truncated": false }));
    // Arguments are arguments: no shell reads them.
    assert_eq!(the_box.exec("web", &["echo", "$HOME *", ";", "a'b"])["stdout"], "$HOME * ; a'b\n");
    assert_eq!(the_box.exec("web", &["sh", "-c", "kill -9 $$"])["code"], 137);
    // Nothing of the daemon's environment, and not the host's root.
    let environment = the_box.inside("web", "env");
    assert!(!environment.contains("CLOUDBOX") && !environment.contains("UBUS"), "{environment}");
    assert_eq!(the_box.inside("web", "id -u; pwd"), "0\n/");
    // Standard input is empty, not the daemon's.
    assert_eq!(the_box.exec("web", &["cat"])["code"], 0);

    let bytes = the_box.exec("web", &["printf", r"a\000b\377c\n"]);
    assert_eq!(bytes["stdout"], "a\u{fffd}b\u{fffd}c\n");

    let missing = the_box.exec("web", &["/no/such/program"]);
    assert_eq!(missing["code"], 127, "{missing}");
    let no_program = the_box.exec("web", &["/etc/hostname"]);
    assert_eq!(no_program["code"], 126, "{no_program}");

    // Long output keeps its head and its tail, and says so.
    let long = the_box
        .exec("web", &["sh", "-c", "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last"]);
    assert_eq!((&long["code"], &long["truncated"]), (&json!(0), &json!(true)));
    let text = long["stdout"].as_str().unwrap();
    assert!(text.starts_with("first\n") && text.ends_with("last\n"), "{} bytes", text.len());
    assert!(text.len() < 700_000, "{} bytes", text.len());
    // So do both together, of the largest characters.
    let both = "yes \u{1f980} | head -c 2000000; yes \u{1f980} | head -c 2000000 >&2";
    assert_eq!(the_box.exec("web", &["sh", "-c", both])["truncated"], true);

    the_box.stop("web");
    let stopped = the_box.call("cloudbox.container", "exec", json!({ "name": "web", "command": ["true"] }));
    assert_eq!(stopped.unwrap_err().code, "not_running");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn a_command_that_runs_too_long_is_ended_inside() {
    let Some(the_box) = TestBox::new("exec with a timeout") else { return };
    the_box.create("web", json!({}));
    let running = |command: &str| {
        let lines = the_box
            .processes("web")
            .into_iter()
            .filter_map(|pid| std::fs::read(format!("/proc/{pid}/cmdline")).ok());
        lines.filter(|line| String::from_utf8_lossy(line).replace('\0', " ").trim_end() == command).count()
    };
    let begun = Instant::now();
    let arguments = json!({ "name": "web", "command": ["sleep", "1234"], "timeout": 1 });
    let refused = the_box.call("cloudbox.container", "exec", arguments).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.status), ("timeout", 7));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    eventually("the end of the command inside", || running("sleep 1234") == 0);

    // A command in the background does not hold the reply.
    let begun = Instant::now();
    the_box.inside("web", "sleep 300 >/dev/null 2>&1 &");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());

    // Commands do not wait for each other.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| the_box.inside("web", "sleep 2"));
        let begun = Instant::now();
        the_box.inside("web", "true");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        slow.join().unwrap();
    });

    // A container that is killed under a command ends it too.
    std::thread::scope(|scope| {
        let cut = scope.spawn(|| {
            the_box.call(
                "cloudbox.container",
                "exec",
                json!({ "name": "web", "command": ["sleep", "99"], "timeout": 30 }),
            )
        });
        eventually("the command", || running("sleep 99") == 1);
        the_box.kill("web");
        let begun = Instant::now();
        let _ = cut.join().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    the_box.delete("web");
    the_box.assert_nothing_left();
}

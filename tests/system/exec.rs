//! Commands inside a container.

use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn exec_tells_what_the_command_did() {
    let Some(the_box) = TestBox::with_web("exec") else { return };
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
    the_box.delete_last("web");
}

#[test]
fn a_command_that_runs_too_long_is_ended_inside() {
    let Some(the_box) = TestBox::with_web("exec with a timeout") else { return };
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
    the_box.delete_last("web");
}

#[test]
fn who_where_and_with_what_a_command_runs() {
    let Some(the_box) = TestBox::with_web("exec as somebody, somewhere") else { return };
    the_box.inside("web", "echo 'joe:x:1000:1001:Joe:/srv/joe:/bin/sh' >> /etc/passwd; mkdir -p /srv/joe");
    let run = |more: serde_json::Value| {
        let mut arguments =
            json!({ "name": "web", "command": ["sh", "-c", "id -u; id -g; pwd; echo $HOME-$USER-$A"] });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        the_box.container_call("exec", arguments)["stdout"].as_str().unwrap().replace('\n', " ")
    };
    for (more, expected) in [
        (json!({}), "0 0 / /root-root- "),
        (json!({ "user": "", "directory": "", "environment": null }), "0 0 / /root-root- "),
        (json!({ "user": "joe" }), "1000 1001 / /srv/joe-joe- "),
        (json!({ "user": "1000" }), "1000 1001 / /srv/joe-joe- "),
        (json!({ "user": 1234 }), "1234 1234 / /-1234- "),
        (json!({ "directory": "/srv/joe/../joe" }), "0 0 /srv/joe /root-root- "),
        (
            json!({ "user": "joe", "directory": "/srv", "environment": ["A=b c", "HOME=/"] }),
            "1000 1001 /srv /-joe-b c ",
        ),
        (json!({ "environment": { "A": "$(id)", "B": 1 } }), "0 0 / /root-root-$(id) "),
    ] {
        assert_eq!(run(more.clone()), expected, "{more}");
    }

    // What the guest links elsewhere leads nowhere else than in the guest.
    the_box.inside("web", "mkdir -p /d; ln -s / /d/root; ln -s /../../../../etc /d/up");
    let listed = json!({ "name": "web", "command": ["ls"], "directory": "/d/up" });
    let listed = the_box.container_call("exec", listed);
    assert!(listed["stdout"].as_str().unwrap().contains("passwd"), "{listed}");
    the_box.delete_last("web");
}

#[test]
fn what_cannot_be_run_is_refused_with_its_reason() {
    let Some(the_box) = TestBox::with_web("exec of what cannot be run") else { return };
    the_box.inside(
        "web",
        "mkfifo /pipe; ln -sf /proc/kmsg /etc/passwd; echo '#!/bin/sh' > /tmp/own; chmod +x /tmp/own",
    );
    let long = "x".repeat(200_000);
    let many: Vec<String> = (0..90).map(|_| "y".repeat(10_000)).collect();
    let with = |program: &str, words: &[String]| [&[program.to_string()], words].concat();
    for (arguments, code, part) in [
        (json!({ "command": ["/no/such/program"] }), "not_found", "/no/such/program"),
        (json!({ "command": ["nothing"] }), "not_found", "\"nothing\""),
        (json!({ "command": ["../../../../../../bin/bash"] }), "not_found", "bash"),
        (json!({ "command": ["own"] }), "not_found", "\"own\""),
        (json!({ "command": ["/etc/hostname"] }), "invalid_argument", "/etc/hostname"),
        (json!({ "command": ["/pipe"] }), "invalid_argument", "/pipe"),
        (json!({ "command": ["/etc"] }), "invalid_argument", "/etc"),
        (json!({ "command": [] }), "invalid_argument", "empty"),
        (json!({ "command": [""] }), "invalid_argument", "empty"),
        (json!({ "command": "ls -l" }), "invalid_argument", "command"),
        (json!({ "command": ["id"], "user": "nobody-there" }), "not_found", "nobody-there"),
        (json!({ "command": ["id"], "user": "-1" }), "not_found", "-1"),
        (json!({ "command": ["id"], "user": 65536 }), "not_found", "65536"),
        (json!({ "command": ["id"], "directory": "/nowhere" }), "not_found", "/nowhere"),
        (json!({ "command": ["id"], "directory": "/etc/hostname" }), "not_found", "/etc/hostname"),
        (json!({ "command": ["id"], "directory": "srv" }), "invalid_argument", "absolute"),
        (json!({ "command": ["id"], "environment": ["A"] }), "invalid_argument", "NAME=value"),
        (json!({ "command": ["id"], "environment": ["=b"] }), "invalid_argument", "NAME=value"),
        (json!({ "command": ["id"], "environment": 7 }), "invalid_argument", "environment"),
        (json!({ "command": ["id"], "environment": { "A": ["b"] } }), "invalid_argument", "A"),
        (json!({ "command": ["id"], "timeout": 0 }), "invalid_argument", "timeout"),
        (json!({ "command": ["id"], "timeout": 3601 }), "invalid_argument", "timeout"),
        (json!({ "command": with("echo", std::slice::from_ref(&long)) }), "invalid_argument", "200000 bytes"),
        (json!({ "command": ["id"], "environment": { "A": long } }), "invalid_argument", "200002 bytes"),
    ] {
        let mut arguments = arguments;
        arguments["name"] = "web".into();
        let shown: String = arguments.to_string().chars().take(120).collect();
        let refused = the_box.call("cloudbox.container", "exec", arguments).expect_err(&shown);
        assert_eq!(refused.code, code, "{shown}: {refused:?}");
        assert!(refused.message.contains(part), "{shown}: {}", refused.message);
    }
    let environment = json!({ "PATH": "/tmp" });
    let own = json!({ "name": "web", "command": ["own"], "environment": environment });
    assert_eq!(the_box.container_call("exec", own)["code"], 0);

    // As much as a message holds goes through.
    let words = json!({ "name": "web", "command": with("echo", &many) });
    assert_eq!(the_box.container_call("exec", words)["truncated"], true);
    assert_eq!(the_box.state("web"), "running");
    the_box.delete_last("web");
}

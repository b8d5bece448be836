//! What cannot be done, and how that is said.

use super::*;

/// Every call that fails before anything is touched: its code, its status, and words of its message.
#[test]
fn what_cannot_be_done_is_refused_with_code_status_and_reason() {
    let mut bench = Bench::with(&["web", "idle-"]);
    bench.fake.hold("runtime.start busy");
    let busy = bench.job("cloudbox.container create", json!({"name": "busy", "address": "10.0.0.20/24"}));
    bench.work_until_held("runtime.start busy");
    bench.fake.hold("images.import half");
    bench.job("cloudbox.image import", json!({"path": "/x", "name": "half"}));
    bench.work_until_held("images.import half");
    let before = bench.fake.world();

    let long = "a".repeat(64);
    let create = "cloudbox.container create";
    type Row<'a> = (&'a str, u32, &'a str, Json, &'a str);
    let rows: Vec<Row> = vec![
        ("invalid_name", 2, create, json!({"name": ""}), "it is empty"),
        ("invalid_name", 2, create, json!({"name": "Web"}), "'W' is not allowed"),
        ("invalid_name", 2, create, json!({"name": "../../etc"}), "'.' is not allowed"),
        ("invalid_name", 2, create, json!({"name": "-web"}), "begins or ends with '-'"),
        ("invalid_name", 2, create, json!({"name": long}), "64 characters"),
        ("invalid_name", 2, "cloudbox.container info", json!({"name": "a/b"}), "'/' is not allowed"),
        ("invalid_name", 2, "cloudbox.container start", json!({"name": "a b"}), "' ' is not allowed"),
        ("invalid_name", 2, "cloudbox.container stop", json!({"name": "a.b"}), "'.' is not allowed"),
        ("invalid_name", 2, "cloudbox.container delete", json!({"name": "a\n"}), "is not allowed"),
        ("invalid_name", 2, "cloudbox.container exec", json!({"name": "", "command": ["x"]}), "it is empty"),
        ("invalid_name", 2, "cloudbox.image import", json!({"path": "/x", "name": "A"}), "image's name"),
        ("exists", 9, create, json!({"name": "web"}), "a container named web already exists; choose another"),
        ("exists", 9, create, json!({"name": "idle"}), "a container named idle already exists"),
        ("busy", 9, create, json!({"name": "busy"}), "works on busy (create); wait for its end"),
        ("busy", 9, "cloudbox.container start", json!({"name": "busy"}), "works on busy"),
        ("busy", 9, "cloudbox.container stop", json!({"name": "busy"}), "works on busy"),
        ("busy", 9, "cloudbox.container delete", json!({"name": "busy", "force": true}), "works on busy"),
        ("busy", 9, "cloudbox.image import", json!({"path": "/y", "name": "half"}), "works on image half"),
        ("busy", 9, "cloudbox.image delete", json!({"name": "half"}), "works on image half"),
        (
            "running",
            9,
            "cloudbox.container delete",
            json!({"name": "web"}),
            "stop it first, or delete it with force",
        ),
        (
            "not_running",
            9,
            "cloudbox.container exec",
            json!({"name": "idle", "command": ["x"]}),
            "start it first",
        ),
        (
            "not_running",
            9,
            "cloudbox.container exec",
            json!({"name": "busy", "command": ["x"]}),
            "start it first",
        ),
        ("in_use", 9, "cloudbox.image delete", json!({"name": "distro"}), "used by idle, web, busy"),
        (
            "not_found",
            4,
            "cloudbox.container info",
            json!({"name": "nobody"}),
            "there is no container nobody",
        ),
        (
            "not_found",
            4,
            "cloudbox.container start",
            json!({"name": "nobody"}),
            "there is no container nobody",
        ),
        (
            "not_found",
            4,
            "cloudbox.container stop",
            json!({"name": "nobody"}),
            "there is no container nobody",
        ),
        (
            "not_found",
            4,
            "cloudbox.container delete",
            json!({"name": "nobody"}),
            "there is no container nobody",
        ),
        (
            "not_found",
            4,
            "cloudbox.container exec",
            json!({"name": "nobody", "command": ["x"]}),
            "no container",
        ),
        ("not_found", 4, create, json!({"name": "new", "image": "nothing"}), "no image \"nothing\""),
        ("not_found", 4, create, json!({"name": "new", "network": "br-none"}), "the bridge br-none"),
        ("not_found", 4, "cloudbox.image info", json!({"name": "nothing"}), "no image \"nothing\""),
        ("not_found", 4, "cloudbox.image delete", json!({"name": "nothing"}), "no image \"nothing\""),
        ("not_found", 4, "cloudbox.job status", json!({"id": "99"}), "there is no job \"99\""),
        ("not_found", 4, "cloudbox.job status", json!({"id": -1}), "there is no job \"-1\""),
        ("not_found", 4, "cloudbox.job wait", json!({"id": "x"}), "there is no job \"x\""),
        (
            "not_found",
            4,
            "cloudbox.job cancel",
            json!({"id": 4294967297i64}),
            "there is no job \"4294967297\"",
        ),
        ("exists", 9, create, json!({"name": "new", "address": "10.0.0.20/24"}), "container busy has it"),
        ("exists", 9, create, json!({"name": "new", "address": "192.168.1.1/24"}), "the box itself has it"),
        (
            "no_memory",
            6,
            create,
            json!({"name": "new", "memory": "1000G"}),
            "ask for less, or stop a container",
        ),
        ("no_memory", 6, create, json!({"name": "new", "memory": "1000G", "start": false}), "1000G"),
        ("no_space", 6, create, json!({"name": "new", "disk": "1000T"}), "disk 1000T: only"),
        ("invalid_argument", 2, create, json!({"name": "new", "memory": "lots"}), "memory \"lots\""),
        ("invalid_argument", 2, create, json!({"name": "new", "memory": -1}), "memory \"-1\""),
        ("invalid_argument", 2, create, json!({"name": "new", "cpus": 0}), "cpus \"0\""),
        ("invalid_argument", 2, create, json!({"name": "new", "disk": "1"}), "disk \"1\""),
        ("invalid_argument", 2, create, json!({"name": "new", "pids": 0}), "pids \"0\""),
        ("invalid_argument", 2, create, json!({"name": "new", "network": "br lan"}), "\"br lan\""),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "address": "10.0.0.9"}),
            "address \"10.0.0.9\"",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "address": "10.0.0.9/24", "gateway": "10.1.0.1"}),
            "not in the container's network",
        ),
        ("invalid_argument", 2, create, json!({"name": "new", "description": "a\nb"}), "description"),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "authorized_keys": ["rm -rf"]}),
            "no SSH public key",
        ),
        ("invalid_argument", 2, create, json!({"name": "new", "slice": "a b"}), "slice \"a b\""),
        (
            "invalid_argument",
            2,
            "cloudbox.container stop",
            json!({"name": "web", "timeout": 3601}),
            "3600 seconds",
        ),
        (
            "invalid_argument",
            2,
            "cloudbox.container exec",
            json!({"name": "web", "command": []}),
            "command: it is empty",
        ),
        (
            "invalid_argument",
            2,
            "cloudbox.container exec",
            json!({"name": "web", "command": [""]}),
            "command",
        ),
        (
            "invalid_argument",
            2,
            "cloudbox.container exec",
            json!({"name": "web", "command": ["x"], "timeout": 0}),
            "give 1 to 3600 seconds",
        ),
        ("invalid_argument", 2, "cloudbox.image import", json!({"path": "x", "name": "x"}), "absolute path"),
        // Of the wrong type, or missing: the field is named.
        ("invalid_argument", 2, create, json!({}), "name: is missing"),
        ("invalid_argument", 2, create, json!({"name": null}), "name: is missing"),
        ("invalid_argument", 2, create, json!({"name": 5}), "name: expected text"),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "memory": ["1M"]}),
            "memory: expected a string or",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "autostart": "yes"}),
            "autostart: expected true",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "start": {"now": true}}),
            "start: expected true",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "authorized_keys": "k"}),
            "authorized_keys: expected an array",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "authorized_keys": [1]}),
            "authorized_keys[0]: expected text",
        ),
        (
            "invalid_argument",
            2,
            create,
            json!({"name": "new", "wait": -1}),
            "wait: expected an integer from 0",
        ),
        ("invalid_argument", 2, create, json!({"name": "new", "wait": 4294967296i64}), "wait: expected"),
        (
            "invalid_argument",
            2,
            "cloudbox.container exec",
            json!({"name": "web", "command": "ls"}),
            "command: expected an array",
        ),
        ("invalid_argument", 2, "cloudbox.container exec", json!({"name": "web"}), "command: is missing"),
        (
            "invalid_argument",
            2,
            "cloudbox.container stop",
            json!({"name": "web", "timeout": "x"}),
            "timeout: expected",
        ),
        ("invalid_argument", 2, "cloudbox.image import", json!({"name": "x"}), "path: is missing"),
        ("invalid_argument", 2, "cloudbox.job status", json!({}), "id: is missing"),
        ("invalid_argument", 2, "cloudbox.job wait", json!({"id": []}), "id: expected a string or a number"),
    ];
    for (code, status, method, arguments, words) in rows {
        let call = format!("{method} {arguments}");
        let answer = bench.call(method, arguments);
        assert_eq!((answer.code(), answer.status), (code, status), "{call}: {}", answer.text);
        assert!(answer.message().contains(words), "{call}: {}", answer.message());
    }
    assert_eq!(bench.fake.world(), before, "a refused call changed something");

    // Refused calls left no job behind, and the held ones end well.
    bench.fake.release("runtime.start busy");
    bench.fake.release("images.import half");
    assert_eq!(bench.ok("cloudbox.job wait", json!({"id": busy}))["state"], "done");
    bench.work();
    assert_eq!(bench.ok("cloudbox.job list", json!({}))["jobs"].as_array().unwrap().len(), 4);
}

#[test]
fn an_unknown_method_is_ubus_status_3() {
    let mut bench = Bench::new(CONFIG);
    for method in ["cloudbox x", "cloudbox.container purge", "cloudbox.image ", "cloudbox.job LIST"] {
        assert_eq!(bench.call(method, json!({})).status, 3, "{method}");
    }
}

/// A job that fails is an error of the call that waits for it, with the job's own code.
#[test]
fn what_a_job_fails_with_reaches_the_caller_who_waits() {
    use crate::error::Code;
    for code in Code::ALL.into_iter().filter(|code| *code != Code::Cancelled) {
        let mut bench = Bench::new(CONFIG);
        bench.fake.fail_with("storage.mount", code);
        let answer = bench.call("cloudbox.container create", json!({"name": "web", "wait": 15}));
        assert_eq!((answer.code(), answer.status), (code.as_str(), code.ubus_status()));
        assert_eq!(answer.message(), "injected failure of storage.mount web");
        let job = bench.ok("cloudbox.job status", json!({"id": "1"}));
        assert_eq!(
            (job["state"].as_str(), job["error"]["code"].as_str()),
            (Some("failed"), Some(code.as_str()))
        );
        assert_eq!(bench.states(), Vec::<String>::new());
    }
}

/// What is promised to containers that run, that are being made and that are being started counts; the rest does not.
#[test]
fn memory_is_admitted_against_all_that_is_promised() {
    let total = crate::steps::host::memory_total();
    // Two of these fit, three do not.
    let large = total / 5 * 2;
    let mut bench = Bench::with(&["small-"]);
    let create = "cloudbox.container create";
    bench.ok(create, json!({"name": "runs", "memory": large, "wait": 15}));
    bench.ok(create, json!({"name": "sleeps", "memory": large, "start": false, "wait": 15}));
    bench.fake.hold("runtime.start made");
    bench.job(create, json!({"name": "made", "memory": large}));
    let message = bench.fails("no_memory", create, json!({"name": "more", "memory": large}));
    assert!(message.contains("is promised to running containers"), "{message}");
    bench.fails("no_memory", "cloudbox.container start", json!({"name": "sleeps"}));
    // One that is not started needs no memory now.
    bench.ok(create, json!({"name": "later", "memory": large, "start": false, "wait": 15}));
    bench.fake.release("runtime.start made");
    bench.work();
    bench.ok("cloudbox.container stop", json!({"name": "runs", "wait": 15}));
    bench.fake.hold("runtime.start sleeps");
    bench.job("cloudbox.container start", json!({"name": "sleeps"}));
    bench.fails("no_memory", "cloudbox.container start", json!({"name": "later"}));
    bench.fake.release("runtime.start sleeps");
    bench.work();
    let status = bench.ok("cloudbox status", json!({}));
    assert_eq!(status["memory"]["promised"].as_u64().unwrap(), large * 2);
}

#[test]
fn memory_kept_for_the_box_is_never_given_away() {
    let mut bench = Bench::new(&CONFIG.replace("memory_reserve '0'", "memory_reserve '4000G'"));
    bench.fails("no_memory", "cloudbox.container create", json!({"name": "web"}));
}

#[test]
fn disk_kept_for_the_box_and_promised_to_others_is_never_given_away() {
    let mut bench = Bench::new(&CONFIG.replace("disk_reserve '0'", "disk_reserve '4000T'"));
    bench.fails("no_space", "cloudbox.container create", json!({"name": "web"}));
    bench.fails("no_space", "cloudbox.container create", json!({"name": "web", "disk": "16M"}));

    let mut bench = Bench::new(CONFIG);
    let free = bench.ok("cloudbox status", json!({}))["disk"]["free"].as_u64().unwrap();
    let most = format!("{}", free / 3 * 2);
    bench.ok("cloudbox.container create", json!({"name": "a", "disk": most, "start": false, "wait": 15}));
    bench.fails("no_space", "cloudbox.container create", json!({"name": "b", "disk": most}));
}

#[test]
fn an_address_is_given_once_whoever_has_it() {
    let declared = "config container 'later'\n\toption address '10.0.0.30/24'\n\toption image 'none-such'\n";
    let mut bench = Bench::new(&format!("{CONFIG}{declared}"));
    let create = "cloudbox.container create";
    bench.ok(create, json!({"name": "runs", "address": "10.0.0.31/24", "wait": 15}));
    bench.ok(create, json!({"name": "sleeps", "address": "10.0.0.32/24", "start": false, "wait": 15}));
    for (address, holder) in [("10.0.0.30/24", "later"), ("10.0.0.31/8", "runs"), ("10.0.0.32/24", "sleeps")]
    {
        let message = bench.fails("exists", create, json!({"name": "new", "address": address}));
        assert!(message.contains(&format!("container {holder} has it")), "{message}");
    }
    bench.ok(create, json!({"name": "new", "address": "10.0.0.33/24", "wait": 15}));
}

#[test]
fn a_program_gets_what_linux_can_give_it_and_no_more() {
    // The kernel's MAX_ARG_STRLEN, less its NUL.
    const WORD_MAX: usize = 131_071;
    let mut bench = Bench::with(&["web"]);
    let exec = |more: Json| {
        let mut arguments = json!({"name": "web", "command": ["x"]});
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let (longest, too_long) = ("y".repeat(WORD_MAX), "y".repeat(WORD_MAX + 1));
    for good in [
        json!({"command": ["x", "", longest]}),
        json!({"environment": ["A=b", "C="], "directory": "/srv", "user": "33"}),
        json!({"environment": {"A": "b"}, "directory": ""}),
        json!({"timeout": 1}),
        json!({"timeout": 3600}),
    ] {
        assert_eq!(bench.ok("cloudbox.container exec", exec(good))["code"], 3);
    }
    for (bad, why) in [
        (json!({"command": ["x", too_long]}), "\"yyyyyyyyyyyyyyyyyyyy\"... has 131072 bytes"),
        (json!({"environment": [format!("A={too_long}")]}), "has 131074 bytes"),
        (json!({"environment": ["A"]}), "environment: \"A\" is no variable"),
        (json!({"environment": ["A=b", "=b"]}), "environment: \"=b\" is no variable"),
        (json!({"directory": "srv"}), "directory \"srv\": give an absolute path"),
        (json!({"timeout": 3601}), "timeout 3601"),
    ] {
        let said = bench.fails("invalid_argument", "cloudbox.container exec", exec(bad));
        assert!(said.contains(why), "{why}: {said}");
    }
}

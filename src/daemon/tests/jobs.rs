//! Jobs: when callers hear of them, how many there are at once, how they are cancelled and remembered.

use super::*;
use crate::daemon::workers::AT_ONCE;
use crate::model::job::KEPT;
use crate::steps::ctx::Update;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn without_wait_a_call_is_answered_before_its_job_has_done_anything() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("network.check_bridge");
    bench.fake.release("network.check_bridge");
    bench.fake.hold("config.add_container");
    let call = bench.begin("cloudbox.container create", json!({"name": "web"}));
    assert_eq!(bench.answer(call).unwrap().body, json!({"job": "1"}));
    assert_eq!(bench.states(), ["web creating"]);
    assert_eq!(bench.entry("web")["job"], "1");
    bench.fake.release("config.add_container");
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
}

#[test]
fn with_wait_the_answer_comes_when_the_job_ends() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("runtime.start");
    let call = bench.begin("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.work_until_held("runtime.start web");
    assert_eq!(bench.answer(call), None);
    bench.pass(seconds(14));
    assert_eq!(bench.answer(call), None, "the time is not up yet");
    bench.fake.release("runtime.start");
    assert_eq!(bench.wait_for(call).body, json!({"job": "1", "state": "done"}));
    bench.settle();
    assert_eq!(bench.core.next_time(), None, "an idle daemon waits for no time");
}

#[test]
fn when_the_time_is_up_the_answer_says_that_the_job_runs() {
    for (wait, early, late) in [(3, 2, 3), (15, 14, 15), (3600, 14, 15), (u32::MAX, 14, 15)] {
        let mut bench = Bench::new(CONFIG);
        bench.fake.hold("runtime.start");
        let call = bench.begin("cloudbox.container create", json!({"name": "web", "wait": wait}));
        let due = bench.core.next_time().unwrap();
        assert!(due <= Instant::now() + seconds(late), "{wait} is clamped");
        bench.pass(seconds(early));
        assert_eq!(bench.answer(call), None, "{wait}");
        bench.pass(seconds(late));
        assert_eq!(bench.answer(call).unwrap().body, json!({"job": "1", "state": "running"}), "{wait}");
        bench.fake.release("runtime.start");
        bench.work();
    }
}

#[test]
fn a_wait_for_a_job_that_waits_its_turn_says_pending() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("runtime.start");
    for n in 0..AT_ONCE {
        bench.job("cloudbox.container create", json!({"name": format!("c{n}")}));
    }
    let call = bench.begin("cloudbox.container create", json!({"name": "last", "wait": 5}));
    bench.pass(seconds(5));
    assert_eq!(bench.answer(call).unwrap().body["state"], "pending");
    bench.fake.release("runtime.start");
    bench.work();
    assert_eq!(bench.ok("cloudbox status", json!({}))["containers"]["running"], AT_ONCE + 1);
}

#[test]
fn job_wait_answers_with_the_whole_job_also_when_it_failed() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("runtime.start");
    bench.fake.fail("runtime.start");
    let job = bench.job("cloudbox.container create", json!({"name": "web"}));
    let now = bench.begin("cloudbox.job wait", json!({"id": job, "timeout": 0}));
    let short = bench.begin("cloudbox.job wait", json!({"id": job, "timeout": 2}));
    let long = bench.begin("cloudbox.job wait", json!({"id": job}));
    bench.pass(seconds(0));
    assert_eq!(bench.answer(now).unwrap().body["state"], "running");
    assert_eq!(bench.answer(short), None);
    bench.pass(seconds(2));
    assert_eq!(bench.answer(short).unwrap().body["state"], "running");
    bench.fake.release("runtime.start");
    let answer = bench.wait_for(long);
    assert_eq!((answer.status, answer.body["state"].as_str()), (0, Some("failed")));
    assert_eq!(
        answer.body["error"],
        json!({"code": "failed", "message": "injected failure of runtime.start web"})
    );
}

#[test]
fn a_cancelled_create_leaves_nothing_and_tells_who_waits() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.fake.world();
    bench.fake.hold("runtime.start");
    let call = bench.begin("cloudbox.container create", json!({"name": "web", "wait": 15}));
    bench.work_until_held("runtime.start web");
    bench.ok("cloudbox.job cancel", json!({"id": "1"}));
    let answer = bench.wait_for(call);
    assert_eq!((answer.code(), answer.status), ("cancelled", 9));
    assert_eq!(bench.fake.world(), before);
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": 1}))["state"], "cancelled");
    assert_eq!(bench.states(), Vec::<String>::new());
    assert_eq!(bench.warnings(), Vec::<String>::new());
    bench.fake.release("runtime.start");
    bench.ok("cloudbox.container create", json!({"name": "web", "wait": 15}));
}

#[test]
fn a_job_that_waits_its_turn_is_cancelled_at_once() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("runtime.start");
    for n in 0..AT_ONCE {
        bench.job("cloudbox.container create", json!({"name": format!("c{n}")}));
    }
    let job = bench.job("cloudbox.container create", json!({"name": "last"}));
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": job}))["state"], "pending");
    let reply = bench.ok("cloudbox.job cancel", json!({"id": job}));
    assert_eq!(
        (reply["state"].as_str(), reply["error"]["code"].as_str()),
        (Some("cancelled"), Some("cancelled"))
    );
    assert_eq!(bench.entry("last"), Json::Null);
    bench.fake.release("runtime.start");
    bench.work();
    assert!(!bench.fake.calls().iter().any(|call| call.ends_with(" last")));
    bench.ok("cloudbox.container create", json!({"name": "last", "wait": 15}));
}

#[test]
fn a_delete_cannot_be_cancelled() {
    let mut bench = Bench::with(&["web-"]);
    bench.fake.hold("storage.take_name");
    let job = bench.job("cloudbox.container delete", json!({"name": "web"}));
    let message = bench.fails("not_supported", "cloudbox.job cancel", json!({"id": job}));
    assert!(message.contains("what is gone does not come back"), "{message}");
    bench.fake.release("storage.take_name");
    bench.work();
    assert_eq!(
        bench.ok("cloudbox.job cancel", json!({"id": job}))["state"],
        "done",
        "nothing to cancel any more"
    );
}

#[test]
fn a_cancelled_stop_leaves_the_container_running() {
    let mut bench = Bench::with(&["web"]);
    bench.fake.hold("runtime.stop");
    let job = bench.job("cloudbox.container stop", json!({"name": "web"}));
    bench.work_until_held("runtime.stop web");
    assert_eq!(bench.states(), ["web stopping"]);
    bench.ok("cloudbox.job cancel", json!({"id": job}));
    bench.work();
    assert_eq!(bench.states(), ["web running"]);
    bench.fake.release("runtime.stop");
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    assert_eq!(bench.states(), ["web stopped"]);
}

#[test]
fn so_many_jobs_work_at_once_and_stops_take_no_place() {
    let mut bench = Bench::with(&["a", "b"]);
    bench.fake.hold("runtime.start");
    bench.fake.hold("runtime.stop");
    let stop = bench.job("cloudbox.container stop", json!({"name": "a"}));
    let jobs: Vec<String> = (0..AT_ONCE + 2)
        .map(|n| bench.job("cloudbox.container create", json!({"name": format!("c{n}")})))
        .collect();
    let late_stop = bench.job("cloudbox.container stop", json!({"name": "b"}));
    let mut state = |id: &String| bench.ok("cloudbox.job status", json!({"id": id}))["state"].clone();
    let states: Vec<Json> = jobs.iter().map(&mut state).collect();
    assert!(states[..AT_ONCE].iter().all(|s| s == "running"), "{states:?}");
    assert!(states[AT_ONCE..].iter().all(|s| s == "pending"), "{states:?}");
    assert_eq!((state(&stop), state(&late_stop)), (json!("running"), json!("running")));
    bench.fake.release("runtime.stop");
    bench.fake.release("runtime.start");
    bench.work();
    let status = bench.ok("cloudbox status", json!({}));
    assert_eq!(status["containers"]["running"], AT_ONCE + 2);
    assert_eq!(status["jobs"], 0);
}

/// The order in which jobs were asked for is the order in which they begin.
#[test]
fn jobs_begin_in_their_order() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("runtime.start");
    for n in 0..AT_ONCE * 3 {
        bench.job("cloudbox.container create", json!({"name": format!("c{n}")}));
    }
    assert_eq!(bench.core.queue.iter().copied().collect::<Vec<_>>(), (9..=24).collect::<Vec<_>>());
    bench.fake.release("runtime.start");
    bench.work();
}

#[test]
fn the_last_64_finished_jobs_are_remembered_over_a_restart() {
    let mut bench = Bench::with(&["web-"]);
    for _ in 0..KEPT + 10 {
        bench.job("cloudbox.container stop", json!({"name": "web"}));
    }
    let ids = |bench: &mut Bench| -> Vec<String> {
        let list = bench.ok("cloudbox.job list", json!({}));
        list["jobs"].as_array().unwrap().iter().map(|j| j["id"].as_str().unwrap().to_string()).collect()
    };
    let before = ids(&mut bench);
    assert_eq!((before.len(), before[0].as_str(), before[KEPT - 1].as_str()), (KEPT, "12", "75"));
    let mut bench = bench.restarted();
    assert_eq!(ids(&mut bench), before);
    assert_eq!(bench.job("cloudbox.container stop", json!({"name": "web"})), "76");
}

#[test]
fn a_long_job_is_not_forgotten_by_many_short_ones() {
    let mut bench = Bench::with(&["web-"]);
    bench.listen();
    bench.fake.hold("images.import");
    let long = bench.job("cloudbox.image import", json!({"path": "/x", "name": "x"}));
    let waiter = bench.begin("cloudbox.job wait", json!({"id": long}));
    for _ in 0..KEPT + 1 {
        bench.job("cloudbox.container stop", json!({"name": "web"}));
    }
    bench.fake.release("images.import");
    assert_eq!(bench.wait_for(waiter).body["state"], "done");
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": long}))["state"], "done");
    let finished = |line: &String| line.starts_with("job.finished") && line.contains("\"image_import\"");
    assert_eq!(bench.heard.iter().filter(|line| finished(line)).count(), 1);
}

#[test]
fn progress_is_told_four_times_a_second_at_most() {
    let mut bench = Bench::new(CONFIG);
    bench.listen();
    bench.fake.hold("runtime.start");
    bench.job("cloudbox.container create", json!({"name": "web"}));
    bench.work_until_held("runtime.start web");
    let progress = |bench: &mut Bench| {
        bench.pump();
        let heard = std::mem::take(&mut bench.heard);
        heard.into_iter().filter(|line| line.starts_with("job.progress")).collect::<Vec<_>>()
    };
    // The time between is the core's own; what has been told just now is told again only after a while.
    bench.core.active.get_mut(&1).unwrap().last_progress = Instant::now() + seconds(60);
    progress(&mut bench);
    let update = |done| Update::Bytes { done, total: Some(1000) };
    for n in 0..100 {
        bench.core.handle_report(Report::Update(1, update(n)));
    }
    assert_eq!(progress(&mut bench), Vec::<String>::new());
    bench.core.active.get_mut(&1).unwrap().last_progress = Instant::now() - Duration::from_millis(250);
    for n in 100..200 {
        bench.core.handle_report(Report::Update(1, update(n)));
    }
    let told = progress(&mut bench);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("\"bytes\":100,\"total\":1000") && told[0].contains("\"percent\":10,"),
        "{told:?}"
    );
    // What is asked for is not held back.
    assert_eq!(bench.ok("cloudbox.job status", json!({"id": 1}))["bytes"], 199);
    bench.fake.release("runtime.start");
    bench.work();
}

#[test]
fn a_job_says_at_which_step_it_is() {
    let mut bench = Bench::new(CONFIG);
    bench.fake.hold("storage.mount");
    let job = bench.job("cloudbox.container create", json!({"name": "web"}));
    bench.work_until_held("storage.mount web");
    let at = |bench: &mut Bench| bench.ok("cloudbox.job status", json!({"id": "1"}));
    while at(&mut bench)["step"] != "mount" {
        bench.report();
    }
    assert_eq!(at(&mut bench)["percent"], 0);
    bench.fake.release("storage.mount");
    bench.work();
    assert_eq!((at(&mut bench)["percent"].as_u64(), job.as_str()), (Some(100), "1"));
}

#[test]
fn what_a_job_notes_stays_with_it() {
    let mut bench = Bench::new(CONFIG);
    let id = bench.job("cloudbox.container create", json!({"name": "web"}));
    bench.core.handle_report(Report::Update(1, Update::Note("2 access lists were left out".into())));
    bench.work();
    let job = bench.ok("cloudbox.job status", json!({ "id": id }));
    assert_eq!((&job["state"], &job["notes"]), (&json!("done"), &json!(["2 access lists were left out"])));
}

#[test]
fn told_to_end_the_daemon_begins_nothing_more_and_interrupts_what_waits() {
    let mut bench = Bench::new(CONFIG);
    let before = bench.fake.world();
    bench.fake.hold("runtime.start");
    for n in 0..AT_ONCE {
        bench.job("cloudbox.container create", json!({"name": format!("c{n}")}));
    }
    let waiting = bench.begin("cloudbox.container create", json!({"name": "last", "wait": 15}));
    bench.core.handle_signal(crate::daemon::core::Signal::End);
    bench.pump();
    assert_eq!(bench.answer(waiting).unwrap().code(), "interrupted");
    let late = bench.job("cloudbox.container create", json!({"name": "late"}));
    let job = bench.ok("cloudbox.job status", json!({"id": late}));
    assert_eq!((job["state"].as_str(), job["error"]["code"].as_str()), (Some("failed"), Some("interrupted")));
    bench.work();
    assert!(bench.core.is_quiet());
    assert_eq!(bench.fake.world(), before, "what was at work is undone");
}

#[test]
fn told_to_end_the_daemon_lets_containers_run_and_watches_none() {
    let mut bench = Bench::with(&["web"]);
    bench.core.handle_signal(crate::daemon::core::Signal::End);
    assert_eq!(bench.fake.world().processes.len(), 1);
    bench.fake.end("web");
    let jobs = bench.core.state.jobs.iter().count();
    // Seen as ended again and again, it would keep the loop busy until the last job has ended.
    assert_eq!(bench.poll_containers(), 0);
    assert_eq!(bench.core.state.jobs.iter().count(), jobs);
}

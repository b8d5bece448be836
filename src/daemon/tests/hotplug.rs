//! The owner's scripts.

use super::*;
use crate::daemon::core::Signal;

impl Bench {
    /// With a script that writes what it is told, and then does `more`.
    fn with_script(more: &str) -> Bench {
        let mut bench = Bench::with(&["web"]);
        let dir = bench.dir.path().join("hotplug");
        std::fs::create_dir(&dir).unwrap();
        let said = bench.dir.path().join("said").display().to_string();
        std::fs::write(dir.join("10-told"), format!("echo \"$ACTION $NAME\" >>{said}\n{more}\n")).unwrap();
        bench.core.scripts_are_in(dir);
        bench
    }

    /// What it was told, when nothing is left to tell.
    fn told(&mut self) -> Vec<String> {
        while self.core.hotplug.at_work.is_some() {
            self.report();
        }
        let said = std::fs::read_to_string(self.dir.path().join("said")).unwrap_or_default();
        said.lines().map(str::to_string).collect()
    }
}

#[test]
fn scripts_are_told_what_has_gone_wrong_and_nothing_else() {
    let mut bench = Bench::with_script("");
    bench.ok("cloudbox.container stop", json!({"name": "web", "wait": 15}));
    bench.fake.fail("runtime.start web");
    bench.fails("failed", "cloudbox.container start", json!({"name": "web", "wait": 15}));
    bench.ok("cloudbox.container start", json!({"name": "web", "wait": 15}));
    bench.fake.run_out_of_memory("web");
    bench.core.handle_watched(&Watched::Notices);
    bench.ok("cloudbox.container create", json!({"name": "db", "disk": "32M", "wait": 15}));
    bench.fake.fail_disk("db");
    bench.core.handle_watched(&Watched::Notices);
    assert_eq!(bench.told(), ["failed web", "oom web", "disk_failed db"]);
}

#[test]
fn a_disk_that_is_nearly_full_is_told_once_until_there_is_room_again() {
    let mut bench = Bench::with_script("");
    let mut kept = "0";
    let mut reserve = |bench: &mut Bench, reserve: &'static str| {
        let option = |value| format!("disk_reserve '{value}'");
        let mut text = String::new();
        bench.fake.change(|world| text = world.config.replace(&option(kept), &option(reserve)));
        kept = reserve;
        bench.reload(&text);
        bench.ok("cloudbox.container restart", json!({"name": "web", "wait": 15}));
    };
    let storage = bench.core.state.layout.storage.display().to_string();
    bench.core.state.tell_of_a_full_disk();
    assert_eq!(bench.told(), [""; 0]);
    reserve(&mut bench, "1000T");
    reserve(&mut bench, "1001T");
    assert_eq!(bench.told(), [format!("disk_nearly_full {storage}")]);
    reserve(&mut bench, "1M");
    reserve(&mut bench, "1000T");
    assert_eq!(bench.told().len(), 2);
}

#[test]
fn scripts_run_one_at_a_time_and_as_many_events_wait_as_there_is_room_for() {
    let mut bench = Bench::with_script("");
    let gate = bench.dir.path().join("gate");
    nix::unistd::mkfifo(&gate, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let script = bench.dir.path().join("hotplug/20-wait");
    std::fs::write(&script, format!("rm {}\nread line <{}\n", script.display(), gate.display())).unwrap();
    for number in 0..100 {
        bench.core.state.notify_container("container.failed", &name(&format!("c{number}")));
        // Twice is once.
        bench.core.state.notify_container("container.failed", &name(&format!("c{number}")));
        bench.core.handle_bus();
    }
    std::fs::write(&gate, "go\n").unwrap();
    let told = bench.told();
    // The first one ran while the others came.
    let expected: Vec<String> = (0..33).map(|number| format!("failed c{number}")).collect();
    assert_eq!(told[0], expected[0]);
    assert!(told.len() == 33 || told.len() == 34, "{told:?}");
    assert_eq!(told[told.len() - 1], expected[32]);
}

#[test]
fn a_script_that_hangs_ends_with_the_daemon() {
    let mut bench = Bench::with_script("sleep 1000");
    bench.core.state.notify_container("container.failed", &name("web"));
    bench.core.handle_bus();
    bench.core.handle_signal(Signal::End);
    let begun = Instant::now();
    bench.told();
    assert!(begun.elapsed() < PATIENCE, "nobody waits for it");
    // Nor is another one begun.
    bench.core.state.notify_container("container.failed", &name("db"));
    bench.core.handle_bus();
    assert!(bench.core.hotplug.at_work.is_none());
}

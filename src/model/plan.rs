//! From what should be and what is to what must be done: a pure function.
//!
//! It is asked when the configuration was read, and for each container after every job on it. Nothing else decides what
//! the daemon does by itself.

use super::config::{Config, Declared};
use super::name::Name;
use litemap::LiteMap;

/// How a container is to the bridge it shall join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// Its port is in the bridge, or it does not run and the bridge is there.
    #[default]
    Joined,
    /// It runs, and its port is in no bridge, or in another one.
    NotJoined,
    /// There is no such bridge.
    NoBridge,
}

/// A container as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Its files are there, under its name.
    pub exists: bool,
    /// It runs.
    pub running: bool,
    /// A job works on it.
    pub busy: bool,
    /// It runs with other limits than its section says.
    pub stale: bool,
    /// It runs, and its first-boot script was never begun.
    pub first_boot: bool,
    /// How it is to its bridge.
    pub link: Link,
    /// It is to be started as soon as its bridge is there.
    pub awaits: bool,
}

/// Something to do. Each becomes a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the container its section describes, and start it.
    Create {
        /// Its name.
        name: Name,
        /// Whether it is started once it is made.
        start: bool,
    },
    /// Start it.
    Start(Name),
    /// Its bridge is not there: start it, or make it, when the bridge comes.
    Await(Name),
    /// Put its port into its bridge again.
    Join(Name),
    /// Its section says that it is being given another name.
    FinishRename(Name, Name),
    /// Its limits have changed: let them be in force.
    Apply(Name),
    /// Run its first-boot script.
    FirstBoot(Name),
    /// Its section is gone: stop it, and keep its data.
    StopOrphan(Name),
    /// Its section says that a delete has begun.
    FinishDelete(Name),
}

impl Action {
    /// The container it is about.
    pub fn name(&self) -> &Name {
        match self {
            Action::Create { name, .. }
            | Action::Start(name)
            | Action::Await(name)
            | Action::Join(name)
            | Action::FinishRename(name, _)
            | Action::Apply(name)
            | Action::FirstBoot(name)
            | Action::StopOrphan(name)
            | Action::FinishDelete(name) => name,
        }
    }
}

/// What to do so that `seen` becomes what `config` says. `boot`: the box has just started, so that what shall start
/// with it does.
pub fn plan(config: &Config, seen: &LiteMap<Name, Seen>, boot: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    for name in config.containers.keys() {
        actions.extend(plan_for(config, name, seen.get(name).copied().unwrap_or_default(), boot));
    }
    if boot {
        // Within one priority by name, as they are.
        actions.sort_by_key(|action| place(config, action));
    }
    for (name, now) in seen.iter().filter(|(name, _)| !config.containers.contains_key(name)) {
        actions.extend(plan_for(config, name, *now, boot));
    }
    actions
}

/// What to do about one container, which is as `now`.
pub fn plan_for(config: &Config, name: &Name, now: Seen, boot: bool) -> Vec<Action> {
    let mut actions = Vec::new();
    if now.busy {
        return actions;
    }
    match config.containers.get(name) {
        None if now.running => return vec![Action::StopOrphan(name.clone())],
        None => return actions,
        Some(Declared { deleting: true, .. }) => return vec![Action::FinishDelete(name.clone())],
        Some(Declared { renaming: Some(new_name), .. }) => {
            return vec![Action::FinishRename(name.clone(), new_name.clone())];
        }
        // A section that cannot be used neither makes nor starts anything, and takes nothing away.
        Some(Declared { spec: Err(_), .. }) => {}
        Some(Declared { spec: Ok(spec), .. }) => {
            if now.stale {
                actions.push(Action::Apply(name.clone()));
            }
            if !config.settings.enabled {
                // Nothing is made or started; what runs goes on.
            } else if !now.exists {
                let start = spec.autostart;
                actions.push(if_bridged(now, Action::Create { name: name.clone(), start }));
            } else if !now.running && (boot && spec.autostart || now.awaits) {
                actions.push(if_bridged(now, Action::Start(name.clone())));
            }
        }
    }
    if now.running && now.link == Link::NotJoined {
        actions.push(Action::Join(name.clone()));
    }
    if now.first_boot {
        actions.push(Action::FirstBoot(name.clone()));
    }
    actions
}

/// What needs the container's bridge, if that is there; else it waits.
fn if_bridged(now: Seen, action: Action) -> Action {
    match now.link {
        Link::NoBridge => Action::Await(action.name().clone()),
        Link::Joined | Link::NotJoined => action,
    }
}

/// The place of what starts a container in the order of starts at boot; what starts none comes first.
pub fn place(config: &Config, action: &Action) -> Option<u16> {
    match action {
        Action::Start(name) | Action::Create { name, start: true } => {
            config.containers.get(name)?.spec.as_ref().ok().map(|spec| spec.priority)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::options::OptionValues;
    use super::super::spec::tests::defaults;
    use super::*;
    use crate::error::{Code, Error};

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn good(autostart: bool) -> Declared {
        let mut spec = OptionValues::default().resolve(&defaults()).unwrap();
        spec.autostart = autostart;
        Declared { spec: Ok(spec), deleting: false, renaming: None }
    }

    fn broken() -> Declared {
        Declared { spec: Err(Error::new(Code::Config, "x")), deleting: false, renaming: None }
    }

    fn deleting() -> Declared {
        Declared { deleting: true, ..broken() }
    }

    fn renaming() -> Declared {
        Declared { renaming: Some(name("www")), ..good(true) }
    }

    const ABSENT: Seen = Seen {
        exists: false,
        running: false,
        busy: false,
        stale: false,
        first_boot: false,
        link: Link::Joined,
        awaits: false,
    };
    const STOPPED: Seen = Seen { exists: true, ..ABSENT };
    const RUNNING: Seen = Seen { running: true, ..STOPPED };
    const STALE: Seen = Seen { stale: true, ..RUNNING };
    const BUSY: Seen = Seen { busy: true, ..ABSENT };
    const NEW: Seen = Seen { first_boot: true, ..RUNNING };
    const WAITING: Seen = Seen { awaits: true, ..STOPPED };
    const NOT_JOINED: Seen = Seen { link: Link::NotJoined, ..RUNNING };

    fn no_bridge(seen: Seen) -> Seen {
        Seen { link: Link::NoBridge, ..seen }
    }

    #[test]
    fn every_case() {
        let web = || name("web");
        let rename = || Action::FinishRename(web(), name("www"));
        let create = |start| vec![Action::Create { name: web(), start }];
        type Row = (&'static str, Option<Declared>, Seen, bool, Vec<Action>);
        let rows: Vec<Row> = vec![
            ("declared, absent", Some(good(true)), ABSENT, false, create(true)),
            ("declared, absent, not to start", Some(good(false)), ABSENT, true, create(false)),
            ("declared, stopped by its owner", Some(good(true)), STOPPED, false, vec![]),
            ("declared, stopped, at boot", Some(good(true)), STOPPED, true, vec![Action::Start(web())]),
            ("declared, stopped, at boot, no autostart", Some(good(false)), STOPPED, true, vec![]),
            ("declared, running", Some(good(true)), RUNNING, true, vec![]),
            (
                "declared, running with other limits",
                Some(good(false)),
                STALE,
                false,
                vec![Action::Apply(web())],
            ),
            (
                "declared, running with other limits, busy",
                Some(good(true)),
                Seen { busy: true, ..STALE },
                true,
                vec![],
            ),
            ("broken, running with other limits", Some(broken()), STALE, true, vec![]),
            ("declared, busy", Some(good(true)), BUSY, true, vec![]),
            ("broken, absent", Some(broken()), ABSENT, true, vec![]),
            ("broken, stopped", Some(broken()), STOPPED, true, vec![]),
            ("broken, running is left alone", Some(broken()), RUNNING, false, vec![]),
            ("deleting, running", Some(deleting()), RUNNING, false, vec![Action::FinishDelete(web())]),
            ("deleting, files gone", Some(deleting()), ABSENT, false, vec![Action::FinishDelete(web())]),
            ("deleting, busy", Some(deleting()), BUSY, false, vec![]),
            ("being renamed, not yet", Some(renaming()), STOPPED, true, vec![rename()]),
            ("being renamed, by then", Some(renaming()), ABSENT, true, vec![rename()]),
            ("being renamed, busy", Some(renaming()), BUSY, true, vec![]),
            ("running for the first time", Some(good(true)), NEW, false, vec![Action::FirstBoot(web())]),
            ("broken, for the first time", Some(broken()), NEW, false, vec![Action::FirstBoot(web())]),
            ("for the first time, busy", Some(good(true)), Seen { busy: true, ..NEW }, false, vec![]),
            (
                "for the first time, with other limits",
                Some(good(true)),
                Seen { stale: true, ..NEW },
                false,
                vec![Action::Apply(web()), Action::FirstBoot(web())],
            ),
            ("no bridge, absent", Some(good(false)), no_bridge(ABSENT), false, vec![Action::Await(web())]),
            ("no bridge, at boot", Some(good(true)), no_bridge(STOPPED), true, vec![Action::Await(web())]),
            ("no bridge, stopped by its owner", Some(good(true)), no_bridge(STOPPED), false, vec![]),
            ("no bridge, running", Some(good(true)), no_bridge(RUNNING), true, vec![]),
            ("no bridge yet", Some(good(false)), no_bridge(WAITING), false, vec![Action::Await(web())]),
            ("its bridge has come", Some(good(false)), WAITING, false, vec![Action::Start(web())]),
            ("its bridge has come, broken", Some(broken()), WAITING, false, vec![]),
            ("not joined", Some(good(true)), NOT_JOINED, false, vec![Action::Join(web())]),
            ("not joined, broken", Some(broken()), NOT_JOINED, false, vec![Action::Join(web())]),
            ("not joined, busy", Some(good(true)), Seen { busy: true, ..NOT_JOINED }, false, vec![]),
            ("orphan, not joined", None, NOT_JOINED, false, vec![Action::StopOrphan(web())]),
            ("orphan, for the first time", None, NEW, false, vec![Action::StopOrphan(web())]),
            ("orphan, stopped: its data stays", None, STOPPED, true, vec![]),
            ("orphan, running", None, RUNNING, false, vec![Action::StopOrphan(web())]),
            ("orphan, busy", None, Seen { busy: true, ..RUNNING }, false, vec![]),
        ];
        for (case, declared, seen, boot, expected) in rows {
            let mut config = Config::default();
            config.containers.extend(declared.map(|d| (web(), d)));
            let seen = LiteMap::from_iter([(web(), seen)]);
            assert_eq!(plan(&config, &seen, boot), expected, "{case}");
        }
    }

    #[test]
    fn at_boot_priority_comes_before_the_name() {
        let with = |priority: u16, autostart: bool| {
            let mut spec = OptionValues::default().resolve(&defaults()).unwrap();
            (spec.priority, spec.autostart) = (priority, autostart);
            Declared { spec: Ok(spec), deleting: false, renaming: None }
        };
        let mut config = Config::default();
        for (of, priority, autostart) in [
            ("a", 50, true),
            ("b", 10, true),
            ("c", 999, true),
            ("d", 10, true),
            ("e", 0, false),
            ("f", 0, true),
        ] {
            config.containers.insert(name(of), with(priority, autostart));
        }
        config.containers.insert(name("z"), deleting());
        let seen: LiteMap<Name, Seen> =
            ["a", "b", "c", "f"].map(|of| (name(of), STOPPED)).into_iter().collect();
        let order: Vec<String> = plan(&config, &seen, true)
            .iter()
            .map(|action| match action {
                Action::Start(name) => format!("start {name}"),
                Action::Create { name, start } => format!("create {name} {start}"),
                Action::FinishDelete(name) => format!("delete {name}"),
                other => format!("{other:?}"),
            })
            .collect();
        let expected =
            ["create e false", "delete z", "start f", "start b", "create d true", "start a", "start c"];
        assert_eq!(order, expected);
        assert!(!matches!(plan(&config, &seen, false)[0], Action::FinishDelete(_)), "only at boot");
    }

    #[test]
    fn a_disabled_box_makes_and_starts_nothing_but_finishes_deletes() {
        let mut config = Config::default();
        config.settings.enabled = false;
        config.containers.insert(name("a"), good(true));
        config.containers.insert(name("b"), good(true));
        config.containers.insert(name("c"), deleting());
        let seen = LiteMap::from_iter([(name("b"), STOPPED)]);
        assert_eq!(plan(&config, &seen, true), [Action::FinishDelete(name("c"))]);
    }
}

//! How a slice is, made by whoever reads: what is wanted, what is ready, and of each other box why it is not, or since when
//! nothing was heard of it.

use super::formats::{Alive, Manifest, MemberState, Reported, State, Wish};
use super::id::Id;
use super::label::Label;

/// Seconds without a sign of life after which a box's word about itself counts no more.
pub const SILENT: u64 = 7 * 60;
/// How long before its end a slice is said to end.
pub const WARN: u64 = 4 * 86_400;

/// A slice as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollUp {
    /// For each group, in the manifest's order.
    pub groups: Vec<GroupSum>,
    /// For each group and box, in the manifest's order.
    pub rows: Vec<Row>,
    /// What its owner should know.
    pub notes: Vec<String>,
}

/// A group in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSum {
    /// The group.
    pub name: Label,
    /// How many are wanted.
    pub want: usize,
    /// How many run.
    pub ready: usize,
    /// How many are on their way.
    pub starting: usize,
    /// How many do not run by a fault of their own.
    pub failed: usize,
    /// How many boxes will not.
    pub refused: usize,
    /// How many boxes were not heard lately, or never.
    pub silent: usize,
    /// How many stand by.
    pub spare: usize,
}

/// A member on a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The box.
    pub box_id: Id,
    /// The group.
    pub group: Label,
    /// A word of [`MemberState`], or `silent`, or `nothing`: it was never heard of this slice.
    pub state: &'static str,
    /// Since when, by the box's clock; seconds since 1970.
    pub since: Option<u64>,
    /// Why, and what else is to be said.
    pub reason: String,
    /// The reason's code, for scripts.
    pub code: String,
    /// Where what it publishes is reached.
    pub address: String,
    /// Seconds since its last sign of life, by both clocks; None: there was none.
    pub heard: Option<u64>,
}

/// Rolls up what is known of a slice: the newest states and signs of life, of whichever boxes. `now` is in seconds since 1970.
pub fn roll_up(manifest: &Manifest, states: &[State], alive: &[Alive], now: u64) -> RollUp {
    let mut sum = RollUp { groups: Vec::new(), rows: Vec::new(), notes: Vec::new() };
    for group in &manifest.groups {
        let mut rows: Vec<Row> = Vec::new();
        for box_id in manifest.boxes_of(group) {
            let state = states.iter().find(|state| state.of == box_id);
            let sign = alive.iter().find(|alive| alive.of == box_id);
            rows.push(row(manifest, box_id, group.name, state, sign, now));
        }
        let count = |words: &[&str]| rows.iter().filter(|row| words.contains(&row.state)).count();
        sum.groups.push(GroupSum {
            name: group.name,
            want: usize::from(group.count),
            ready: count(&["ready"]),
            starting: count(&["claimed", "pulling", "creating", "starting"]),
            failed: count(&["failed"]),
            refused: count(&["refused"]),
            silent: count(&["silent", "nothing"]),
            spare: count(&["spare"]),
        });
        sum.rows.extend(rows);
    }
    if states.iter().any(|state| state.twice) {
        let why = "two manifests of one serial were signed: boxes follow the same one of them; apply the slice again";
        sum.notes.push(why.to_string());
    }
    if let Some(seen) = states.iter().map(|state| state.seen).max().filter(|seen| *seen > manifest.serial) {
        sum.notes.push(format!(
            "a box says that it has seen serial {seen}, and no broker here has more than {}: some broker keeps back what is \
             newer, or the box lies",
            manifest.serial
        ));
    }
    let left = manifest.expires.saturating_sub(now);
    if manifest.wish != Wish::Gone && left <= WARN {
        sum.notes.push(match left {
            0 => "it has expired; `cloudbox slice apply` begins anew".to_string(),
            left => format!("it expires in {} hours; `cloudbox slice renew {}`", left / 3600, manifest.slice),
        });
    }
    sum
}

fn row(
    manifest: &Manifest,
    box_id: Id,
    group: Label,
    state: Option<&State>,
    sign: Option<&Alive>,
    now: u64,
) -> Row {
    let heard = sign.map(|alive| now.saturating_sub(alive.at));
    let reported = state.and_then(|state| state.groups.iter().find(|reported| reported.group == group));
    let mut row = Row {
        box_id,
        group,
        state: "nothing",
        since: None,
        reason: String::new(),
        code: String::new(),
        address: String::new(),
        heard,
    };
    if let Some(Reported { state, since, code, reason, address, .. }) = reported {
        row.state = state.as_str();
        row.since = Some(*since).filter(|since| *since > 0);
        (row.code, row.reason, row.address) = (code.to_string(), reason.to_string(), address.to_string());
    }
    if heard.is_none_or(|heard| heard > SILENT) {
        let last = if row.state == "nothing" { String::new() } else { format!("; it was {}", row.state) };
        row.reason = match (heard, row.reason.as_str()) {
            (None, _) => format!("never heard of{last}"),
            (Some(_), "") => format!("not heard for a while{last}"),
            (Some(_), reason) => format!("not heard for a while{last}: {reason}"),
        };
        if reported.is_none_or(|reported| reported.state != MemberState::Gone) {
            row.state = "silent";
        }
        return row;
    }
    let Some(state) = state else {
        row.reason = "it has not said anything of this slice yet".to_string();
        return row;
    };
    let mut notes = Vec::new();
    if let Some(skipped) = state.skipped {
        notes.push(format!("serial {skipped} never reached it"));
    }
    if state.seen < manifest.serial {
        notes.push(format!("it has not seen serial {} yet", manifest.serial));
    } else if state.applied != manifest.serial && state.applied > 0 {
        notes.push(format!("it follows serial {}", state.applied));
    }
    if state.unheard {
        notes.push("it hears others, and nobody hears it".to_string());
    }
    if sign.is_some_and(|alive| alive.lost) {
        notes.push("its connection to a broker was lost".to_string());
    }
    let said = std::iter::once(row.reason).filter(|reason| !reason.is_empty());
    row.reason = said.chain(notes).collect::<Vec<_>>().join("; ");
    row
}

#[cfg(test)]
mod tests {
    use super::super::formats::{Group, Image, OnLoss, Stamp};
    use super::super::label::Kind;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn id(last: char) -> Id {
        format!("aaaaaaaaaaaaaaa{last}").parse().unwrap()
    }

    fn label(kind: Kind, text: &str) -> Label {
        Label::new(kind, text).unwrap()
    }

    fn manifest() -> Manifest {
        let group = Group {
            name: label(Kind::Group, "web"),
            count: 2,
            places: vec![0, 1, 2, 3],
            not: vec![],
            image: Image { alias: "a".into(), sha256: vec![] },
            memory: 1,
            disk: 1,
            cpus: 1,
            pids: None,
            services: vec![],
            publish: vec![],
            authorized_keys: vec![],
            first_boot: None,
            secrets: vec![],
            reset: 0,
            on_loss: OnLoss::Replace,
            grace: 900,
        };
        Manifest {
            member: id('z'),
            slice: label(Kind::Slice, "wiki"),
            serial: 7,
            prev: None,
            again: None,
            void: vec![],
            via: None,
            wish: Wish::Run,
            boxes: ['b', 'c', 'd', 'e'].map(id).to_vec(),
            groups: vec![group],
            seals: vec![],
            renewers: vec![],
            issued: NOW,
            expires: NOW + 30 * 86_400,
        }
    }

    fn state(of: char, state: MemberState, change: fn(&mut State)) -> State {
        let reported = Reported {
            group: label(Kind::Group, "web"),
            state,
            since: NOW - 60,
            code: "".into(),
            reason: "".into(),
            address: "10.0.0.1".into(),
            restored: 0,
        };
        let mut said = State {
            of: id(of),
            member: id('z'),
            slice: label(Kind::Slice, "wiki"),
            stamp: Stamp::default(),
            run: *b"aaaaaaaa",
            seen: 7,
            applied: 7,
            skipped: None,
            twice: false,
            unheard: false,
            groups: vec![reported],
            expires: NOW,
        };
        change(&mut said);
        said
    }

    fn alive(of: char, ago: u64) -> Alive {
        Alive { of: id(of), stamp: Stamp::default(), run: *b"aaaaaaaa", at: NOW - ago, back: 0, lost: false }
    }

    #[test]
    fn each_box_is_counted_once_and_told_why() {
        let refused = |said: &mut State| said.groups[0].reason = "no peer".into();
        let states = [
            state('b', MemberState::Ready, |_| ()),
            state('c', MemberState::Pulling, |_| ()),
            state('d', MemberState::Refused, refused),
            state('e', MemberState::Spare, |_| ()),
        ];
        let signs = ['b', 'c', 'd', 'e'].map(|of| alive(of, 100));
        let sum = roll_up(&manifest(), &states, &signs, NOW);
        let name = label(Kind::Group, "web");
        let counts =
            GroupSum { name, want: 2, ready: 1, starting: 1, failed: 0, refused: 1, silent: 0, spare: 1 };
        assert_eq!((sum.groups, sum.notes), (vec![counts], vec![]));
        let words: Vec<(&str, &str)> = sum.rows.iter().map(|row| (row.state, row.reason.as_str())).collect();
        assert_eq!(words, [("ready", ""), ("pulling", ""), ("refused", "no peer"), ("spare", "")]);
        assert_eq!((sum.rows[0].since, sum.rows[0].address.as_str()), (Some(NOW - 60), "10.0.0.1"));
    }

    #[test]
    fn who_is_not_heard_is_silent_whatever_he_said_last() {
        let states = [state('b', MemberState::Ready, |_| ()), state('c', MemberState::Ready, |_| ())];
        let signs = [alive('b', SILENT), alive('c', SILENT + 1), alive('d', 10)];
        let sum = roll_up(&manifest(), &states, &signs, NOW);
        let words: Vec<(&str, &str)> = sum.rows.iter().map(|row| (row.state, row.reason.as_str())).collect();
        assert_eq!(
            words,
            [
                ("ready", ""),
                ("silent", "not heard for a while; it was ready"),
                ("nothing", "it has not said anything of this slice yet"),
                ("silent", "never heard of"),
            ]
        );
        assert_eq!((sum.groups[0].ready, sum.groups[0].silent), (1, 3));
        assert_eq!(sum.rows[1].heard, Some(SILENT + 1));
    }

    #[test]
    fn what_is_odd_is_noted() {
        for (change, note) in [
            ((|said| said.skipped = Some(6)) as fn(&mut State), "serial 6 never reached it"),
            (|said| (said.seen, said.applied) = (6, 6), "it has not seen serial 7 yet"),
            (|said| said.applied = 6, "it follows serial 6"),
            (|said| said.unheard = true, "it hears others, and nobody hears it"),
        ] {
            let sum = roll_up(&manifest(), &[state('b', MemberState::Ready, change)], &[alive('b', 1)], NOW);
            assert_eq!(sum.rows[0].reason, note);
        }
        let notes = |change: fn(&mut State), now| {
            roll_up(&manifest(), &[state('b', MemberState::Ready, change)], &[alive('b', 1)], now).notes
        };
        assert!(notes(|said| said.twice = true, NOW)[0].contains("two manifests of one serial"));
        assert!(notes(|said| said.seen = 9, NOW)[0].contains("has seen serial 9"));
        assert!(notes(|_| (), NOW + 27 * 86_400)[0]
            .contains("it expires in 72 hours; `cloudbox slice renew wiki`"));
        assert!(notes(|_| (), NOW + 31 * 86_400)[0].contains("it has expired"));
        assert_eq!(notes(|_| (), NOW + 25 * 86_400), Vec::<String>::new());
    }
}

//! On which boxes a slice goes: from the slice file and what boxes offer to an ordered list of boxes and spares for each
//! group, and the reason for each box that is left out. A pure function: the same offers give the same list.
//!
//! Boxes are taken by class, then so that a group is complete at as many hours of the week as can be, then by a hash of slice
//! and box, so that not everybody takes the same.

use super::formats::{Class, BOXES_MAX, SEALS_MAX};
use super::id::Id;
use super::label::{container_slice, Label};
use super::slice_file::{Count, Group, SliceFile};
use crate::error::{Code, Error, Result};
use crate::model::size::Bytes;
use sha2::{Digest, Sha256};
use std::cmp::Reverse;

/// Hours of a week.
pub const HOURS: usize = 168;
/// The level of an hour at which a box is always there; 0 is never.
pub const LEVEL_MAX: u8 = 15;
/// Spares, where the file says nothing: as many as members, and at least so many.
const SPARES_MIN: usize = 3;
/// What is expected of a box that does not tell its hours, by its class.
const NEARLY_ALWAYS: u8 = 14;
const NOW_AND_THEN: u8 = 6;
const EVENING: std::ops::Range<usize> = 18..24;

/// How likely a box is there in each hour of the week, from Monday 0 o'clock on, 0 to [`LEVEL_MAX`].
pub type Hours = [u8; HOURS];

/// A box, by its own word.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// Its id.
    pub box_id: Id,
    /// Its zone.
    pub zone: Label,
    /// Its owner, who has signed for it; None where nobody has.
    pub owner: Option<Id>,
    /// Why it takes nothing at all, if it does not.
    pub closed: Option<String>,
    /// Its kind of processor, `x86_64`.
    pub arch: String,
    /// How steady it is.
    pub class: Class,
    /// At which hours it is there; None: it does not tell.
    pub hours: Option<Hours>,
    /// Members whom it hosts; None: it does not tell.
    pub accepts: Option<Vec<Id>>,
    /// Memory that is free for others.
    pub memory: Bytes,
    /// Disk that is free for others.
    pub disk: Bytes,
    /// Processors that are free for others, in thousandths.
    pub cpus: u64,
    /// Containers that it has room for.
    pub containers: u64,
    /// Its address, by which a broker on it is known.
    pub address: String,
    /// On which brokers its offer was seen, by their places in the list of brokers.
    pub brokers: Vec<usize>,
}

/// What else counts.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Whose slice it is.
    pub member: Id,
    /// Owners of boxes whom the member knows.
    pub known: &'a [Id],
    /// Boxes of owners whom the member does not know are taken as well.
    pub any: bool,
    /// The brokers' hosts.
    pub brokers: &'a [String],
    /// For each group of the file, in its order: the processors that there is an image for.
    pub archs: &'a [Vec<String>],
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// A list for each group, in the file's order.
    pub groups: Vec<GroupPlan>,
    /// What the member should know, and may decide otherwise.
    pub warnings: Vec<String>,
}

/// The boxes of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub name: Label,
    /// How many members it shall have.
    pub count: usize,
    /// Boxes in their order: members first, spares behind.
    pub boxes: Vec<Id>,
    /// The others, each with the reason why it is not one of them, in the order of the offers.
    pub left_out: Vec<(Id, String)>,
}

/// Works out the lists.
pub fn plan(file: &SliceFile, offers: &[Candidate], context: Context<'_>) -> Plan {
    let mut room: Vec<Candidate> = offers.to_vec();
    let mut plan = Plan { groups: Vec::new(), warnings: Vec::new() };
    for (at, group) in file.groups.iter().enumerate() {
        let archs = context.archs.get(at).map_or(&[][..], Vec::as_slice);
        let tag = container_slice(context.member, file.name, group.name);
        let planned = Choice { group, context, archs, tag }.of(&room);
        warn_of_hours(&planned, &room, &mut plan.warnings);
        // A box that gets a member of this group has less room for one of the next.
        for candidate in room.iter_mut().filter(|candidate| planned.boxes.contains(&candidate.box_id)) {
            candidate.memory = Bytes(candidate.memory.get().saturating_sub(group.memory.get()));
            candidate.disk = Bytes(candidate.disk.get().saturating_sub(group.disk.get()));
            candidate.cpus = candidate.cpus.saturating_sub(group.cpus.milli().into());
            candidate.containers = candidate.containers.saturating_sub(1);
        }
        plan.groups.push(planned);
    }
    warn_of_brokers(&plan.groups, offers, context.brokers, &mut plan.warnings);
    plan
}

impl Plan {
    /// All boxes of all lists, each once, in the order in which they first stand.
    pub fn boxes(&self) -> Vec<Id> {
        let mut all = Vec::new();
        for id in self.groups.iter().flat_map(|group| &group.boxes) {
            if !all.contains(id) {
                all.push(*id);
            }
        }
        all
    }

    /// Whether it can be signed: every group has as many boxes as it wants members, and there are not too many in all.
    ///
    /// # Errors
    /// [`Code::NotFound`]: there are too few boxes. [`Code::InvalidArgument`]: there are too many.
    pub fn check(&self, file: &SliceFile) -> Result<()> {
        for group in &self.groups {
            if group.boxes.is_empty() || group.boxes.len() < group.count {
                let why = format!(
                    "group '{}' wants {} boxes, and {} would take it; `cloudbox slice plan` shows why others do not, and \
                     `cloudbox commons ask BOX` asks one for more",
                    group.name,
                    group.count.max(1),
                    group.boxes.len()
                );
                return Err(Error::new(Code::NotFound, why).about("count"));
            }
        }
        let secret = file.groups.iter().any(|group| !group.secrets.is_empty());
        let (most, what) = if secret { (SEALS_MAX, "a slice with secrets") } else { (BOXES_MAX, "a slice") };
        let boxes = self.boxes().len();
        if boxes > most {
            let why = format!("{boxes} boxes are planned, and {what} may have {most}; lower count or spares");
            return Err(Error::new(Code::InvalidArgument, why).about("count"));
        }
        Ok(())
    }
}

/// The choice of a group's boxes.
struct Choice<'a> {
    group: &'a Group,
    context: Context<'a>,
    archs: &'a [String],
    /// Member, slice and group, of which the hash is made.
    tag: String,
}

impl Choice<'_> {
    fn of(&self, offers: &[Candidate]) -> GroupPlan {
        let mut left_out = Vec::new();
        let mut willing: Vec<&Candidate> = Vec::new();
        for candidate in offers {
            match self.why_not(candidate) {
                Some(why) => left_out.push((candidate.box_id, why)),
                None => willing.push(candidate),
            }
        }
        let count = self.group.count.of(willing.len());
        let spares = match (self.group.count, self.group.spares) {
            // Nobody is left to stand by.
            (Count::All, _) => 0,
            (_, Some(spares)) => spares as usize,
            (_, None) => count.max(SPARES_MIN),
        };
        let boxes = self.ordered(willing, count, count.saturating_add(spares));
        let comes_late = |candidate: &&Candidate| {
            let is_out = left_out.iter().any(|(id, _)| *id == candidate.box_id);
            !is_out && !boxes.contains(&candidate.box_id)
        };
        let late: Vec<Id> = offers.iter().filter(comes_late).map(|candidate| candidate.box_id).collect();
        let members = boxes.len().min(count);
        let why = format!("not needed: {members} boxes and {} spares come before it", boxes.len() - members);
        left_out.extend(late.into_iter().map(|id| (id, why.clone())));
        let place = |id: &Id| offers.iter().position(|candidate| candidate.box_id == *id);
        left_out.sort_by_key(|(id, _)| place(id));
        GroupPlan { name: self.group.name, count, boxes, left_out }
    }

    /// Why the box is not one for this group; None if it is.
    fn why_not(&self, candidate: &Candidate) -> Option<String> {
        let Choice { group, context, archs, .. } = self;
        if let Some(why) = &candidate.closed {
            return Some(why.clone());
        }
        if let Some(zone) = group.zone.filter(|zone| *zone != candidate.zone) {
            return Some(format!("it is in zone {}, and not in {zone}", candidate.zone));
        }
        if group.not_boxes.contains(&candidate.box_id) {
            return Some("it stands in list not_box".to_string());
        }
        if !group.boxes.is_empty() && !group.boxes.contains(&candidate.box_id) {
            return Some("it does not stand in list box".to_string());
        }
        match candidate.owner {
            _ if context.any => {}
            Some(owner) if context.known.contains(&owner) => {}
            Some(owner) => {
                return Some(format!("you do not know its owner {owner}; `cloudbox key know`, or --any"))
            }
            None => return Some("nobody has signed that it is his; --any takes it all the same".to_string()),
        }
        if candidate.class < group.class {
            let (class, wanted) = (candidate.class.as_str(), group.class.as_str());
            return Some(format!("it is of class {class}, and {wanted} is wanted"));
        }
        if !archs.contains(&candidate.arch) {
            let arch = &candidate.arch;
            return Some(format!("there is no image for {arch}; there is one for {}", archs.join(", ")));
        }
        if candidate.accepts.as_ref().is_some_and(|accepts| !accepts.contains(&context.member)) {
            return Some(format!("it does not host you; `cloudbox commons ask {}`", candidate.box_id));
        }
        self.what_is_short(candidate)
    }

    fn what_is_short(&self, candidate: &Candidate) -> Option<String> {
        let group = self.group;
        let short = |what: &str, free: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
            Some(format!("it has {free} of {what} for others, and {wanted} is wanted"))
        };
        match candidate {
            Candidate { memory, .. } if *memory < group.memory => short("memory", memory, &group.memory),
            Candidate { disk, .. } if *disk < group.disk => short("disk", disk, &group.disk),
            Candidate { cpus, .. } if *cpus < group.cpus.milli().into() => {
                let free = format!("{}.{:03}", cpus / 1000, cpus % 1000);
                short("processors", &free, &group.cpus)
            }
            Candidate { containers: 0, .. } => Some("it has no room for one more container".to_string()),
            _ => None,
        }
    }

    /// The first `most` of those who are willing, of which the first `count` shall be members.
    fn ordered(&self, mut willing: Vec<&Candidate>, count: usize, most: usize) -> Vec<Id> {
        // Of equals the first is taken.
        willing.sort_by_cached_key(|candidate| self.hash(candidate.box_id));
        let mut boxes = Vec::new();
        let mut expected = [0u32; HOURS];
        while boxes.len() < most {
            // Members are chosen for their own sake; a spare is, for what it adds to all before it.
            let wanted = if boxes.len() < count { count } else { boxes.len() + 1 };
            let target = wanted as u32 * u32::from(LEVEL_MAX);
            let gain = |hours: &Hours| -> u32 {
                let gain = |(sum, level): (&u32, &u8)| u32::from(*level).min(target.saturating_sub(*sum));
                expected.iter().zip(hours).map(gain).sum()
            };
            // Most boxes do not tell their hours: those of a class are alike.
            let usual =
                [Class::Any, Class::Evening, Class::Steady].map(|class| (class, gain(&usual_hours(class))));
            let rank = |candidate: &&Candidate| {
                let of_class =
                    || usual.iter().find(|(class, _)| *class == candidate.class).map_or(0, |(_, gain)| *gain);
                let gain = candidate.hours.as_ref().map_or_else(of_class, gain);
                (Reverse(candidate.class), Reverse(gain))
            };
            let best = willing.iter().enumerate().min_by_key(|(_, candidate)| rank(candidate));
            let Some((at, _)) = best else { break };
            let best = willing.remove(at);
            let hours = best.hours.unwrap_or_else(|| usual_hours(best.class));
            for (sum, level) in expected.iter_mut().zip(hours) {
                *sum += u32::from(level);
            }
            boxes.push(best.box_id);
        }
        boxes
    }

    fn hash(&self, box_id: Id) -> [u8; 32] {
        Sha256::digest(format!("{}\n{box_id}\n", self.tag)).into()
    }
}

/// When a box of this class may be there that does not tell.
fn usual_hours(class: Class) -> Hours {
    std::array::from_fn(|hour| match class {
        Class::Steady => NEARLY_ALWAYS,
        Class::Evening if EVENING.contains(&(hour % 24)) => NEARLY_ALWAYS,
        Class::Evening | Class::Any => NOW_AND_THEN,
    })
}

/// Tells the hour of the week at which the fewest are expected, if that is fewer than shall be. Only where all boxes tell
/// their hours: of others nothing is known.
fn warn_of_hours(planned: &GroupPlan, offers: &[Candidate], warnings: &mut Vec<String>) {
    let of = |id: &Id| offers.iter().find(|candidate| candidate.box_id == *id).and_then(|c| c.hours);
    let Some(hours) = planned.boxes.iter().map(of).collect::<Option<Vec<Hours>>>() else { return };
    let sum = |hour: usize| hours.iter().map(|hours| u32::from(hours[hour])).sum::<u32>();
    let Some(worst) = (0..HOURS).min_by_key(|hour| sum(*hour)) else { return };
    let (expected, level) = (sum(worst), u32::from(LEVEL_MAX));
    if hours.is_empty() || expected >= planned.count as u32 * level {
        return;
    }
    let day = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"][worst / 24];
    warnings.push(format!(
        "group '{}': on {day} at {} o'clock about {}.{} of {} are to be expected, spares counted; take more spares, or \
         another class",
        planned.name,
        worst % 24,
        expected / level,
        expected % level * 10 / level,
        planned.count
    ));
}

/// Tells of brokers that the slice hangs by.
fn warn_of_brokers(
    groups: &[GroupPlan],
    offers: &[Candidate],
    brokers: &[String],
    warnings: &mut Vec<String>,
) {
    for group in groups.iter().filter(|group| !group.boxes.is_empty()) {
        let chosen: Vec<&Candidate> =
            offers.iter().filter(|candidate| group.boxes.contains(&candidate.box_id)).collect();
        for (a, one) in brokers.iter().enumerate() {
            for (b, other) in brokers.iter().enumerate().skip(a + 1) {
                let on = |candidate: &&Candidate, broker| candidate.brokers.contains(&broker);
                let split = chosen.iter().any(|c| on(c, a) && !on(c, b))
                    && chosen.iter().any(|c| on(c, b) && !on(c, a));
                if split && !chosen.iter().any(|c| on(c, a) && on(c, b)) {
                    warnings.push(format!(
                        "group '{}': no box is on both brokers {one} and {other}: those on one do not hear those on the \
                         other, and both make up for them",
                        group.name
                    ));
                }
            }
        }
        if let ([only], Some(host)) = (brokers, chosen.iter().find(|c| brokers.contains(&c.address))) {
            warnings.push(format!(
                "group '{}': the only broker, {only}, is on its own box {}: when that is lost, nobody hears of it; list a \
                 second broker",
                group.name, host.box_id
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::label::Kind;
    use super::super::slice_file::read;
    use super::*;

    const ANNA: &str = "o6cgvbb4hsvzjf6g";

    fn label(kind: Kind, text: &str) -> Label {
        Label::new(kind, text).unwrap()
    }

    /// The box of this number: `aaaaaaaaaaaaaaab`.
    fn id(number: usize) -> Id {
        let letter = |at: usize| char::from(b'a' + (number / 16usize.pow(at as u32) % 16) as u8);
        let text: String = (0..16).rev().map(|at| if at < 4 { letter(at) } else { 'a' }).collect();
        text.parse().unwrap()
    }

    fn candidate(number: usize) -> Candidate {
        Candidate {
            box_id: id(number),
            zone: label(Kind::Zone, "osona"),
            owner: Some(id(1000)),
            closed: None,
            arch: "x86_64".into(),
            class: Class::Any,
            hours: None,
            accepts: Some(vec![ANNA.parse().unwrap()]),
            memory: Bytes(1 << 30),
            disk: Bytes(10 << 30),
            cpus: 2000,
            containers: 4,
            address: format!("10.0.0.{number}"),
            brokers: vec![0],
        }
    }

    fn file(options: &str) -> SliceFile {
        let text = format!(
            "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption image 'a'\n{options}"
        );
        read(text.as_bytes()).unwrap()
    }

    fn planned_with(file: &SliceFile, offers: &[Candidate], brokers: &[&str], any: bool) -> Plan {
        let brokers: Vec<String> = brokers.iter().map(|host| (*host).to_string()).collect();
        let archs = vec![vec!["x86_64".to_string()]; file.groups.len()];
        let known = [id(1000)];
        let member = ANNA.parse().unwrap();
        plan(file, offers, Context { member, known: &known, any, brokers: &brokers, archs: &archs })
    }

    fn planned(file: &SliceFile, offers: &[Candidate]) -> Plan {
        planned_with(file, offers, &["broker"], false)
    }

    #[test]
    fn each_box_that_is_left_out_is_told_why() {
        let other = id(77);
        let with = |change: fn(&mut Candidate)| {
            let mut changed = candidate(7);
            change(&mut changed);
            changed
        };
        for (options, offer, why) in [
            ("", with(|c| c.closed = Some("it is safe".into())), "it is safe"),
            ("\toption zone 'bages'\n", candidate(7), "it is in zone osona, and not in bages"),
            (&format!("\tlist not_box '{}'\n", id(7)), candidate(7), "it stands in list not_box"),
            (&format!("\tlist box '{other}'\n"), candidate(7), "it does not stand in list box"),
            ("", with(|c| c.owner = Some(id(9))), "you do not know its owner aaaaaaaaaaaaaaaj"),
            ("", with(|c| c.owner = None), "nobody has signed that it is his"),
            ("\toption class 'evening'\n", candidate(7), "it is of class any, and evening is wanted"),
            ("", with(|c| c.arch = "mips".into()), "there is no image for mips; there is one for x86_64"),
            (
                "",
                with(|c| c.accepts = Some(vec![])),
                "it does not host you; `cloudbox commons ask aaaaaaaaaaaaaaah`",
            ),
            ("\toption memory '2G'\n", candidate(7), "it has 1G of memory for others, and 2G is wanted"),
            ("\toption disk '11G'\n", candidate(7), "it has 10G of disk for others, and 11G is wanted"),
            (
                "\toption cpus '2.5'\n",
                candidate(7),
                "it has 2.000 of processors for others, and 2.5 is wanted",
            ),
            ("", with(|c| c.containers = 0), "it has no room for one more container"),
        ] {
            let file = file(&format!("\toption count '1'\n{options}"));
            let plan = planned(&file, &[offer]);
            let [(left, told)] = &plan.groups[0].left_out[..] else { panic!("{why}: {plan:?}") };
            assert_eq!(*left, id(7));
            assert!(told.contains(why), "{told}");
            assert!(plan.groups[0].boxes.is_empty());
            let refusal = plan.check(&file).unwrap_err();
            assert!(refusal.message.contains("group 'web' wants 1 boxes, and 0 would take it"), "{refusal}");
        }
        // Who does not tell whom it hosts is asked by the slice itself.
        let offer = with(|c| c.accepts = None);
        assert_eq!(planned(&file("\toption count '1'\n"), &[offer]).groups[0].boxes, [id(7)]);
        let stranger = with(|c| c.owner = None);
        let plan = planned_with(&file("\toption count '1'\n"), &[stranger], &["broker"], true);
        assert_eq!(plan.groups[0].boxes, [id(7)]);
    }

    #[test]
    fn members_come_first_and_then_spares() {
        let offers: Vec<Candidate> = (0..20).map(candidate).collect();
        for (options, count, boxes) in [
            ("\toption count '3'\n", 3, 6),
            ("\toption count '1'\n", 1, 4),
            ("\toption count '5'\n", 5, 10),
            ("\toption count '3'\n\toption spares '0'\n", 3, 3),
            ("\toption count '3'\n\toption spares '9'\n", 3, 12),
            ("\toption count '15'\n", 15, 20),
            ("\toption count '10%'\n", 2, 5),
            ("\toption count 'all'\n", 20, 20),
        ] {
            let file = file(options);
            let plan = planned(&file, &offers);
            let group = &plan.groups[0];
            assert_eq!((group.count, group.boxes.len()), (count, boxes), "{options}");
            assert_eq!(group.left_out.len(), 20 - boxes);
            assert!(group.left_out.iter().all(|(_, why)| why.starts_with("not needed: ")), "{group:?}");
            plan.check(&file).unwrap();
        }
        let file = file("\toption count '21'\n");
        let refusal = planned(&file, &offers).check(&file).unwrap_err();
        assert!(refusal.message.contains("wants 21 boxes, and 20 would take it"), "{refusal}");
    }

    #[test]
    fn not_everybody_takes_the_same_and_the_order_of_offers_does_not_matter() {
        let offers: Vec<Candidate> = (0..20).map(candidate).collect();
        let wiki = file("\toption count '3'\n");
        let taken = planned(&wiki, &offers).groups[0].boxes.clone();
        let backwards: Vec<Candidate> = offers.iter().rev().cloned().collect();
        assert_eq!(planned(&wiki, &backwards).groups[0].boxes, taken);
        let blog = SliceFile { name: label(Kind::Slice, "blog"), ..wiki };
        assert_ne!(planned(&blog, &offers).groups[0].boxes, taken);
    }

    #[test]
    fn the_steadiest_go_first_and_those_whose_hours_fit() {
        let mut offers: Vec<Candidate> = (0..9).map(candidate).collect();
        for (at, offer) in offers.iter_mut().enumerate() {
            offer.class = [Class::Any, Class::Evening, Class::Steady][at % 3];
        }
        let group = planned(&file("\toption count '6'\n\toption spares '3'\n"), &offers).groups[0].clone();
        let class = |id: &Id| offers.iter().find(|offer| offer.box_id == *id).unwrap().class;
        let classes: Vec<Class> = group.boxes.iter().map(class).collect();
        assert!(classes.is_sorted_by(|a, b| a >= b), "{classes:?}");
        // Two boxes that are there by day and one by night: whichever comes first, the second is of the other kind.
        let by = |number, day: bool| {
            let is_there = |hour: usize| (8..20).contains(&(hour % 24)) == day;
            let hours = std::array::from_fn(|hour| if is_there(hour) { LEVEL_MAX } else { 0 });
            Candidate { hours: Some(hours), ..candidate(number) }
        };
        let offers = [by(1, true), by(2, true), by(3, false)];
        let plan = planned(&file("\toption count '1'\n\toption spares '1'\n"), &offers);
        assert!(plan.groups[0].boxes.contains(&id(3)), "{plan:?}");
        assert!(!plan.warnings.iter().any(|warning| warning.contains("o'clock")), "{plan:?}");
        let plan = planned(&file("\toption count '2'\n\toption spares '0'\n"), &offers[..2]);
        let warned = "on Monday at 0 o'clock about 0.0 of 2 are to be expected";
        assert!(plan.warnings[0].contains(warned), "{plan:?}");
    }

    #[test]
    fn two_groups_share_the_room_of_a_box() {
        let text = "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption image 'a'\n\toption count '1'\n\
                    \toption memory '600M'\nconfig group 'db'\n\toption image 'a'\n\toption count '1'\n\toption memory '600M'\n";
        let file = read(text.as_bytes()).unwrap();
        let plan = planned(&file, &[candidate(1)]);
        assert_eq!((plan.groups[0].boxes.len(), plan.groups[1].boxes.len()), (1, 0));
        assert!(plan.groups[1].left_out[0].1.contains("of memory for others"), "{plan:?}");
        assert!(plan.check(&file).unwrap_err().message.contains("group 'db'"));
        assert_eq!(plan.boxes(), [id(1)]);
    }

    #[test]
    fn brokers_that_a_slice_hangs_by_are_told() {
        let on = |number, brokers: &[usize]| Candidate { brokers: brokers.to_vec(), ..candidate(number) };
        let two = file("\toption count '2'\n");
        let warnings =
            |offers: &[Candidate], brokers: &[&str]| planned_with(&two, offers, brokers, false).warnings;
        let split = warnings(&[on(1, &[0]), on(2, &[1])], &["a", "b"]);
        assert!(split.len() == 1 && split[0].contains("no box is on both brokers a and b"), "{split:?}");
        assert_eq!(warnings(&[on(1, &[0]), on(2, &[0, 1])], &["a", "b"]), Vec::<String>::new());
        assert_eq!(warnings(&[on(1, &[0]), on(2, &[0])], &["a", "b"]), Vec::<String>::new());
        let own = warnings(&[on(1, &[0]), on(2, &[0])], &["10.0.0.2"]);
        assert!(own.len() == 1 && own[0].contains("the only broker, 10.0.0.2, is on its own box"), "{own:?}");
        assert_eq!(warnings(&[on(1, &[0, 1]), on(2, &[0])], &["10.0.0.2", "b"]), Vec::<String>::new());
    }

    #[test]
    fn a_slice_with_secrets_has_fewer_boxes() {
        let offers: Vec<Candidate> = (0..800).map(candidate).collect();
        for (options, most) in [("\tlist secret 'db=x'\n", 100), ("", 700)] {
            for (count, good) in [(most, true), (most + 1, false)] {
                // More than 700 cannot be written as a number.
                let text = if count > 700 { "all".to_string() } else { count.to_string() };
                let file = file(&format!("\toption count '{text}'\n\toption spares '0'\n{options}"));
                let told = planned(&file, &offers).check(&file);
                assert_eq!(told.is_ok(), good, "{count}: {told:?}");
            }
        }
    }
}

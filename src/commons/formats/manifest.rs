//! What a member wants of a slice, or that it is gone.

use super::offer::word;
use super::{dates, inner, Format, MANIFEST_DAYS};
use crate::commons::fields::{id, line, number, wrong, Fields, Hash, Members, DATES};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::Purpose;
use crate::commons::topic::Topic;
use crate::error::Result;
use crate::model::image::hex;
use serde_json::Value;

/// The most groups of a slice.
pub const GROUPS_MAX: usize = 10;
/// The most boxes that a slice lists.
pub const BOXES_MAX: usize = 700;
/// The most boxes of a slice with secrets: each has the key sealed for it.
pub const SEALS_MAX: usize = 100;
/// The most serials that are taken back, certificates for renewals, and kinds of processors.
const VOID_MAX: usize = 20;
const RENEWERS_MAX: usize = 3;
const ARCHES_MAX: usize = 8;
/// The most of each list of a group, and the longest texts in them, in bytes.
const LIST_MAX: usize = 16;
const LINE_MAX: usize = 120;
const KEY_MAX: usize = 1 << 10;
const SCRIPT_MAX: usize = 8 << 10;
const SECRET_MAX: usize = 4 << 10;
/// A container's memory and disk, in bytes, and its processors, in thousandths.
const MEMORY: std::ops::RangeInclusive<u64> = 4 << 20..=1 << 40;
const DISK: std::ops::RangeInclusive<u64> = 16 << 20..=1 << 50;
const CPUS: std::ops::RangeInclusive<u64> = 10..=1_024_000;
/// The least and the most time for which a box may be silent before somebody else takes its place, in seconds.
const GRACE: std::ops::RangeInclusive<u64> = 600..=super::DAY;

/// What shall become of a slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It runs.
    Run,
    /// It is there and does not run.
    Stop,
    /// It is deleted: this is its tombstone.
    Gone,
}

impl Wish {
    const WORDS: [(&'static str, Wish); 3] = [("run", Wish::Run), ("stop", Wish::Stop), ("gone", Wish::Gone)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&Wish::WORDS, self)
    }
}

/// What happens when a box with a member of the group is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLoss {
    /// Its place waits for it.
    Keep,
    /// A spare takes its place, anew.
    Replace,
    /// A spare takes its place with the last copy of its data.
    Restore,
}

impl OnLoss {
    const WORDS: [(&'static str, OnLoss); 3] =
        [("keep", OnLoss::Keep), ("replace", OnLoss::Replace), ("restore", OnLoss::Restore)];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        word(&OnLoss::WORDS, self)
    }
}

/// Of what a group's containers are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Where to ask for it: a remote and its name there, `community:guifi-community-distro`. Only the hash says what it is.
    pub alias: Box<str>,
    /// The SHA-256 of the file for each kind of processor, `x86_64`.
    pub sha256: Vec<(Box<str>, Hash)>,
}

/// The longest name of a kind of processor.
const ARCH_MAX: usize = 24;

impl Image {
    /// The file for that kind of processor.
    pub fn for_arch(&self, arch: &str) -> Option<&Hash> {
        self.sha256.iter().find(|(of, _)| **of == *arch).map(|(_, hash)| hash)
    }

    fn read(fields: Fields<'_>) -> Result<Image> {
        let alias = fields.maybe_line("alias", LINE_MAX)?.unwrap_or_default().into();
        let files = fields.object("sha256")?.ok_or_else(|| wrong("sha256", "it is missing"))?;
        let mut sha256 = Vec::new();
        for (arch, value) in files.iter() {
            if arch.len() > ARCH_MAX || sha256.len() == ARCHES_MAX {
                return Err(wrong("sha256", "it has too many kinds of processors, or one with a long name"));
            }
            sha256.push((arch.into(), crate::commons::fields::hash("sha256", value)?));
        }
        Ok(Image { alias, sha256 })
    }

    fn write(&self) -> Members {
        let mut files = Members::default();
        for (arch, hash) in &self.sha256 {
            files = files.with(arch, hex(hash));
        }
        Members::default().with("alias", &*self.alias).with("sha256", files)
    }
}

/// What a group's containers announce on their boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its type, `_http._tcp`.
    pub kind: Box<str>,
    /// The port in the container.
    pub port: u16,
    /// What it is called; empty: as the container.
    pub name: Box<str>,
}

impl Published {
    fn read(name: &str, value: &Value) -> Result<Published> {
        let fields = Fields::of(name, value)?;
        Ok(Published {
            kind: fields.line("type", LINE_MAX)?.into(),
            // Within the range.
            port: fields.number("port", 1..=u16::MAX.into())? as u16,
            name: fields.maybe_line("name", LINE_MAX)?.unwrap_or_default().into(),
        })
    }

    fn write(&self) -> Value {
        let members = Members::default().with("type", &*self.kind).with("port", self.port);
        members.with_some("name", (!self.name.is_empty()).then_some(&*self.name)).into()
    }
}

/// Something for the guests alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The name of its file.
    pub name: Box<str>,
    /// What stands in it, encrypted with the key that is sealed for each box, in base64.
    pub text: Box<str>,
}

impl Secret {
    fn read(name: &str, value: &Value) -> Result<Secret> {
        let fields = Fields::of(name, value)?;
        let file = fields.text("name", 32)?;
        let good = |c: char| matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.');
        if file.is_empty() || file.starts_with('.') || !file.chars().all(good) {
            return Err(wrong("secrets", "a name is no file's: use a-z, A-Z, 0-9, and - _ . inside"));
        }
        Ok(Secret { name: file.into(), text: fields.text("text", SECRET_MAX)?.into() })
    }

    fn write(&self) -> Value {
        Members::default().with("name", &*self.name).with("text", &*self.text).into()
    }
}

/// A group of a slice: so many equal containers on as many boxes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: Label,
    /// How many.
    pub count: u16,
    /// Which of the slice's boxes it may be on, in order, as places in their list. The first `count` begin, the others are spares.
    pub places: Vec<u16>,
    /// Boxes that shall not have it any more, at once.
    pub not: Vec<Id>,
    /// Of what they are made.
    pub image: Image,
    /// Memory of each, in bytes.
    pub memory: u64,
    /// Disk of each, in bytes.
    pub disk: u64,
    /// Processors of each, in thousandths.
    pub cpus: u64,
    /// Most processes of each.
    pub pids: Option<u64>,
    /// Services of the image that are switched on.
    pub services: Vec<Box<str>>,
    /// What they announce.
    pub publish: Vec<Published>,
    /// SSH keys of their root.
    pub authorized_keys: Vec<Box<str>>,
    /// A script that is run once inside.
    pub first_boot: Option<Box<str>>,
    /// What is for them alone.
    pub secrets: Vec<Secret>,
    /// Raised when they shall be made anew.
    pub reset: u64,
    /// What happens when one is lost.
    pub on_loss: OnLoss,
    /// After how many seconds without a sign of life a box is lost.
    pub grace: u64,
}

impl Group {
    const KNOWN: [&'static str; 18] = [
        "name",
        "count",
        "places",
        "not",
        "image",
        "memory",
        "disk",
        "cpus",
        "pids",
        "services",
        "publish",
        "authorized_keys",
        "first_boot",
        "secrets",
        "reset",
        "on_loss",
        "grace",
        "must",
    ];

    fn read(value: &Value, boxes: usize) -> Result<Group> {
        let fields = Fields::of("groups", value)?;
        for name in fields.list("must", Group::KNOWN.len(), |name, value| line(name, value, LINE_MAX))? {
            if !Group::KNOWN.contains(&name) {
                let why = "it must not be passed over, and this version does not know it; upgrade cloudbox";
                return Err(wrong(name, why));
            }
        }
        let within = 0..=(boxes.max(1) - 1) as u64;
        // Numbers of places are small.
        let place = |name: &str, value: &Value| number(name, value, &within).map(|place| place as u16);
        let places = match fields.iter().any(|(name, _)| name == "places") {
            true => fields.list("places", boxes, place)?,
            false => (0..boxes as u16).collect(),
        };
        let mut sorted = places.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong("places", "a box stands twice: one of a group is on a box"));
        }
        let count = fields.number("count", 1..=BOXES_MAX as u64)? as u16;
        let image = fields.object("image")?.ok_or_else(|| wrong("image", "it is missing"))?;
        let text = |most: usize| move |name: &str, value: &Value| line(name, value, most).map(Box::from);
        let on_loss = match fields.maybe_text("on_loss", LINE_MAX)? {
            Some(_) => fields.word("on_loss", &OnLoss::WORDS)?,
            None => OnLoss::Replace,
        };
        let grace = if on_loss == OnLoss::Restore { 3600 } else { 900 };
        Ok(Group {
            name: fields.label("name", Kind::Group)?,
            count,
            places,
            not: fields.list("not", BOXES_MAX, id)?,
            image: Image::read(image)?,
            memory: fields.number("memory", MEMORY)?,
            disk: fields.number("disk", DISK)?,
            cpus: fields.number("cpus", CPUS)?,
            pids: fields.maybe_number("pids", 1..=1_000_000)?,
            services: fields.list("services", LIST_MAX, text(LINE_MAX))?,
            publish: fields.list("publish", LIST_MAX, Published::read)?,
            authorized_keys: fields.list("authorized_keys", LIST_MAX, text(KEY_MAX))?,
            first_boot: fields.maybe_text("first_boot", SCRIPT_MAX)?.map(Box::from),
            secrets: fields.list("secrets", LIST_MAX, Secret::read)?,
            reset: fields.maybe_number("reset", 0..=1 << 32)?.unwrap_or(0),
            on_loss,
            grace: fields.maybe_number("grace", GRACE)?.unwrap_or(grace),
        })
    }

    fn write(&self, boxes: usize) -> Value {
        // All in order go without saying.
        let all =
            self.places.len() == boxes && self.places.iter().enumerate().all(|(i, at)| i == usize::from(*at));
        let places = (!all).then(|| self.places.iter().map(|at| Value::from(*at)).collect::<Vec<Value>>());
        let members = Members::default().with("name", self.name.as_str()).with("count", self.count);
        let members = members.with_some("places", places);
        let members = members.with_list("not", &self.not, |id| id.to_string().into());
        let members = members.with("image", self.image.write());
        let members = members.with("memory", self.memory).with("disk", self.disk).with("cpus", self.cpus);
        let members = members.with_some("pids", self.pids).with_texts("services", &self.services);
        let members = members.with_list("publish", &self.publish, Published::write);
        let members = members.with_texts("authorized_keys", &self.authorized_keys);
        let members = members.with_some("first_boot", self.first_boot.as_deref());
        let members = members.with_list("secrets", &self.secrets, Secret::write);
        let members = members.with_some("reset", (self.reset > 0).then_some(self.reset));
        members.with("on_loss", self.on_loss.as_str()).with("grace", self.grace).into()
    }
}

/// A manifest, or a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Whose slice.
    pub member: Id,
    /// The slice.
    pub slice: Label,
    /// Which of several is the newest: the time of signing, or one more than the last.
    pub serial: u64,
    /// The one it is based on.
    pub prev: Option<u64>,
    /// The serial of the newest tombstone that its author knew, which it undoes. Later manifests go on saying it: a tombstone
    /// that comes late is then known for one that was undone.
    pub again: Option<u64>,
    /// Serials that were signed too far ahead and count for nothing.
    pub void: Vec<u64>,
    /// The peer whose vouching makes the member known; None: he is a peer himself.
    pub via: Option<Id>,
    /// What shall become of it.
    pub wish: Wish,
    /// All boxes that it lists. A tombstone lists those of the manifest before.
    pub boxes: Vec<Id>,
    /// Its groups; a tombstone has none.
    pub groups: Vec<Group>,
    /// For each of the boxes, in their order, the key of the secrets, sealed, in base64. Empty: there are no secrets.
    pub seals: Vec<Box<str>>,
    /// Signed certificates of boxes that may renew it.
    pub renewers: Vec<Box<str>>,
    /// When it was signed.
    pub issued: u64,
    /// When it ends: at most 90 days later.
    pub expires: u64,
}

impl Manifest {
    /// What decides between two of one slice, the greater wins. A tombstone wins over all that do not know it, whatever their
    /// serials, and loses to all that do. Of two that are equal here, the one with the greater SHA-256 holds.
    pub fn precedence(&self) -> (u64, bool, u64) {
        match self.wish {
            Wish::Gone => (self.serial, false, self.serial),
            _ => (self.again.unwrap_or(0), true, self.serial),
        }
    }

    /// Where that box stands in the group's order, from 0. None: the group does not list it.
    pub fn rank(&self, group: &Group, id: Id) -> Option<usize> {
        group.places.iter().position(|place| self.boxes.get(usize::from(*place)) == Some(&id))
    }

    /// The boxes of a group, in its order.
    pub fn boxes_of<'a>(&'a self, group: &'a Group) -> impl Iterator<Item = Id> + 'a {
        group.places.iter().filter_map(|place| self.boxes.get(usize::from(*place)).copied())
    }
}

impl Format for Manifest {
    const PURPOSE: Purpose = Purpose::Slice;
    const KNOWN: &'static [&'static str] = &[
        "member", "slice", "serial", "prev", "again", "void", "via", "state", "boxes", "groups", "seals",
        "renewers", "issued",
    ];

    fn read(fields: Fields<'_>) -> Result<Manifest> {
        let (issued, expires) = dates(fields, MANIFEST_DAYS)?;
        let serial = |name: &str, value: &Value| number(name, value, &DATES);
        let boxes = fields.list("boxes", BOXES_MAX, id)?;
        let mut sorted = boxes.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong("boxes", &format!("{} stands twice", pair[0])));
        }
        let wish = fields.word("state", &Wish::WORDS)?;
        let groups = fields.list("groups", GROUPS_MAX, |_, value| Group::read(value, boxes.len()))?;
        let mut names: Vec<Label> = groups.iter().map(|group| group.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(wrong("groups", &format!("{} stands twice", pair[0])));
        }
        if groups.is_empty() != (wish == Wish::Gone) {
            return Err(wrong("groups", "a slice has some, and its tombstone has none"));
        }
        let seals = fields.list("seals", SEALS_MAX, inner)?;
        if !seals.is_empty() && seals.len() != boxes.len() {
            return Err(wrong("seals", &format!("there are {}, for {} boxes", seals.len(), boxes.len())));
        }
        if seals.is_empty() && groups.iter().any(|group| !group.secrets.is_empty()) {
            return Err(wrong("seals", "there are none, but secrets"));
        }
        let number_of = fields.number("serial", 1..=*DATES.end())?;
        Ok(Manifest {
            member: fields.id("member")?,
            slice: fields.label("slice", Kind::Slice)?,
            serial: number_of,
            prev: fields.maybe_number("prev", DATES)?,
            again: fields.maybe_number("again", 0..=number_of - 1)?,
            void: fields.list("void", VOID_MAX, serial)?,
            via: fields.maybe_id("via")?,
            wish,
            boxes,
            groups,
            seals,
            renewers: fields.list("renewers", RENEWERS_MAX, inner)?,
            issued,
            expires,
        })
    }

    fn write(&self) -> Members {
        let members = Members::default().with_id("member", self.member).with("slice", self.slice.as_str());
        let members = members.with("serial", self.serial).with_some("prev", self.prev);
        let members = members.with_some("again", self.again);
        let members = members.with_list("void", &self.void, |serial| Value::from(*serial));
        let members = members.with_some("via", self.via.map(|id| id.to_string()));
        let members = members.with("state", self.wish.as_str());
        let members = members.with_list("boxes", &self.boxes, |id| id.to_string().into());
        let members = members.with_list("groups", &self.groups, |group| group.write(self.boxes.len()));
        let members = members.with_texts("seals", &self.seals);
        let members = members.with_texts("renewers", &self.renewers);
        members.with("issued", self.issued).with("expires", self.expires)
    }

    fn belongs(&self, topic: &Topic) -> bool {
        *topic == Topic::Slice(self.member, self.slice)
    }
}

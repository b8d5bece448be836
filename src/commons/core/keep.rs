//! What stands on the disk: each slice with its highest manifest and what was begun of it, each member's index and
//! revocations as they were signed, and now and then the clocks and who was heard.

use super::super::fields::{hash, number, Fields, Hash, Members, DATES};
use super::super::formats::{read, Format, Index, Manifest, Revoked, Stamp};
use super::super::id::Id;
use super::super::interface::Effect;
use super::super::label::{Kind, Label};
use super::super::signed::{key_of, Verified};
use super::listen::From;
use super::serials::{Renewed, Serials, Taken};
use super::slice::{Member, Slice};
use super::Core;
use crate::error::Result;
use crate::model::image::hex;
use crate::usign::PublicKey;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// The file of what changes all the time.
const CLOCK: &str = "clock";
/// The most boxes whose stamps are read back.
const STAMPS_MAX: usize = 10_000;

/// What changes all the time.
#[derive(Debug, Default)]
pub struct Saved {
    /// For how long the box was powered, in seconds.
    pub powered: u64,
    /// The highest stamp of each box.
    pub stamps: Vec<(Id, Stamp)>,
}

impl Saved {
    /// What `kept` says of it. A file that cannot be read says nothing.
    pub fn of(kept: &[(String, Vec<u8>)]) -> Saved {
        let file = kept.iter().find(|(name, _)| name == CLOCK);
        file.and_then(|(_, text)| Saved::read(&object(text)?).ok()).unwrap_or_default()
    }

    fn read(members: &Map<String, Value>) -> Result<Saved> {
        let fields = Fields::new(members);
        let stamps = fields.list("boxes", STAMPS_MAX, |name, value| {
            let fields = Fields::of(name, value)?;
            let count = |name| fields.number(name, 0..=u32::MAX.into());
            // Within the range.
            Ok((fields.id("box")?, Stamp { session: count("session")? as u32, seq: count("seq")? as u32 }))
        })?;
        Ok(Saved { powered: fields.number("powered", DATES)?, stamps })
    }
}

fn object(text: &[u8]) -> Option<Map<String, Value>> {
    serde_json::from_slice(text).ok()
}

impl Core {
    /// Writes what changes all the time.
    pub(super) fn save(&mut self) {
        let now = self.presence.highest();
        let mut stamps: Vec<(Id, Stamp)> = now.collect();
        stamps.extend(
            self.stamps
                .iter()
                .filter(|(id, _)| !stamps.iter().any(|(have, _)| have == id))
                .copied()
                .collect::<Vec<_>>(),
        );
        stamps.truncate(STAMPS_MAX);
        self.stamps = stamps;
        let write = |(id, stamp): &(Id, Stamp)| {
            let members = Members::default().with_id("box", *id);
            members.with("session", stamp.session).with("seq", stamp.seq).into()
        };
        let members = Members::default().with("powered", self.clock.powered());
        let text = Value::from(members.with_list("boxes", &self.stamps, write)).to_string();
        self.out.push_back(Effect::Keep(CLOCK.to_string(), text.into_bytes().into()));
    }

    /// Takes up what an earlier process kept, once it is known whose texts count.
    pub(super) fn restore(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        // Peers first: they say who else is known.
        for _ in 0..2 {
            for (name, text) in &kept {
                let Some((kind, rest)) = name.split_once('.') else { continue };
                let Ok(id) = rest.parse::<Id>() else { continue };
                match kind {
                    "index" => self.restore_index(id, text),
                    "revoked" => self.restore_revoked(id, text),
                    _ => {}
                }
            }
            self.know();
        }
        for (name, text) in &kept {
            if name.starts_with("slice.") {
                if let Some(slice) = self.restore_slice(text) {
                    if let Err(at) = self.slice_at(slice.member, slice.name) {
                        self.slices.insert(at, slice);
                    }
                }
            }
        }
        self.rank_all();
        self.stale = true;
    }

    fn restore_index(&mut self, id: Id, text: &[u8]) {
        let Some(key) = self.known(id).map(|known| known.key.clone()) else { return };
        if let Some((index, hash)) = self.verified::<Index>(&key, text) {
            self.take_index(index, hash, text, From::Disk);
        }
    }

    fn restore_revoked(&mut self, id: Id, text: &[u8]) {
        let Some(key) = self.known(id).map(|known| known.key.clone()) else { return };
        if let Some((list, hash)) = self.verified::<Revoked>(&key, text) {
            self.take_revoked(list, hash, text, From::Disk);
        }
    }

    /// What a text says that `key` has signed, and the SHA-256 of what was signed.
    pub(super) fn verified<T: Format>(&self, key: &PublicKey, text: &[u8]) -> Option<(T, Hash)> {
        self.verify(key, text).ok()
    }

    /// The same with the reason why it is none.
    pub(super) fn verify<T: Format>(&self, key: &PublicKey, text: &[u8]) -> Result<(T, Hash)> {
        let network = self.settings.as_ref().map(|settings| settings.network);
        let Some(network) = network else {
            return Err(super::super::fields::wrong("network", "it is not configured yet"));
        };
        let verified = Verified::by(&*self.signatures, key, T::PURPOSE, text)?;
        Ok((read(&verified, network)?, Sha256::digest(verified.message).into()))
    }

    /// Writes what is known of a slice.
    pub(super) fn keep_slice(&mut self, slice: &mut Slice) {
        slice.unsaved = false;
        let name = slice.file();
        let taken = |taken: &Taken| {
            let members = Members::default().with("at", taken.at).with("length", taken.bytes.len() as u64);
            let members = members.with_some("renewed", taken.renewed.map(|renewed| renewed.expires));
            members
                .with_some("renewed_issued", taken.renewed.map(|renewed| renewed.issued))
                .with_some("renewed_at", taken.renewed.map(|renewed| renewed.at))
        };
        let serials = &slice.serials;
        let key = self.known(slice.member).map(|known| known.key.to_line());
        let members = Members::default().with_id("member", slice.member).with("slice", slice.name.as_str());
        let members =
            members.with_some("key", key).with_list("void", &serials.void, |serial| (*serial).into());
        let members = members.with("twice", serials.twice).with("seen", serials.seen);
        let members = members.with_some("skipped", serials.skipped).with_some("gone_at", slice.gone_at);
        let members = members.with_some("taken", serials.taken.as_ref().map(taken));
        let members = members.with_some("before", serials.before.as_ref().map(taken));
        let header = Value::from(members.with_list("groups", &slice.members, write_member)).to_string();
        let bytes =
            |taken: &Option<Taken>| taken.as_ref().map(|taken| Rc::clone(&taken.bytes)).unwrap_or_default();
        let text = [header.as_bytes(), b"\n", &bytes(&serials.taken), &bytes(&serials.before)].concat();
        self.out.push_back(Effect::Keep(name, text.into()));
    }

    fn restore_slice(&self, text: &[u8]) -> Option<Slice> {
        let end = text.iter().position(|byte| *byte == b'\n')?;
        let (header, rest) = (object(&text[..end])?, &text[end + 1..]);
        let fields = Fields::new(&header);
        let (member, name) = (fields.id("member").ok()?, fields.label("slice", Kind::Slice).ok()?);
        let mut slice = Slice::new(member, name);
        self.read_slice(fields, rest, &mut slice).ok()?;
        slice.follow(self.me, self.clock.mono());
        Some(slice)
    }

    fn read_slice(&self, fields: Fields<'_>, rest: &[u8], slice: &mut Slice) -> Result<()> {
        let said = fields.maybe_text("key", 64)?.and_then(|line| PublicKey::parse(line).ok());
        let length = |fields: Fields<'_>| fields.number("length", 0..=1 << 16).map(|length| length as usize);
        let first = fields.object("taken")?;
        let split = first.map_or(Ok(0), length)?.min(rest.len());
        let (taken, before) = rest.split_at(split);
        let read = |fields: Fields<'_>, text: &[u8]| -> Result<Option<Taken>> {
            let known = self.known(slice.member).map(|known| known.key.clone());
            let Some(key) = known.or_else(|| said.clone()).or_else(|| key_of(slice.member, text)) else {
                return Ok(None);
            };
            let (manifest, hash) = self.verify::<Manifest>(&key, text)?;
            let renewed = match fields.maybe_number("renewed", DATES)? {
                Some(expires) => {
                    let (issued, at) =
                        (fields.number("renewed_issued", DATES)?, fields.number("renewed_at", DATES)?);
                    Some(Renewed { issued, expires, at })
                }
                None => None,
            };
            Ok(Some(Taken {
                manifest: manifest.into(),
                bytes: text.into(),
                hash,
                at: fields.number("at", DATES)?,
                renewed,
            }))
        };
        slice.serials = Serials {
            taken: first.map_or(Ok(None), |fields| read(fields, taken))?,
            before: fields.object("before")?.map_or(Ok(None), |fields| read(fields, before))?,
            void: fields.list("void", 1000, |name, value| number(name, value, &DATES))?,
            twice: fields.number("twice", DATES)?,
            skipped: fields.maybe_number("skipped", DATES)?,
            seen: fields.number("seen", DATES)?,
        };
        slice.gone_at = fields.maybe_number("gone_at", DATES)?;
        let (member, name) = (slice.member, slice.name);
        slice.members = fields.list("groups", 100, |_, value| read_member(member, name, value))?;
        Ok(())
    }
}

fn write_member(member: &Member) -> Value {
    let members =
        Members::default().with("name", member.group.as_str()).with_flag("accepted", member.accepted);
    let members = members.with_flag("ran", member.ran).with_flag("by_owner", member.by_owner);
    let members = members.with("placed_at", member.placed_at).with("evicted_until", member.evicted_until);
    let members = members.with("failed_with", member.failed_with).with("made_reset", member.made_reset);
    let members = members.with_some("made_of", member.made_of.map(|hash| hex(&hash)));
    members.with_some("ended_at", member.ended_at).into()
}

fn read_member(of: Id, slice: Label, value: &Value) -> Result<Member> {
    let fields = Fields::of("groups", value)?;
    let mut member = Member::new(of, slice, fields.label("name", Kind::Group)?);
    member.accepted = fields.flag("accepted")?;
    (member.ran, member.by_owner) = (fields.flag("ran")?, fields.flag("by_owner")?);
    member.placed_at = fields.number("placed_at", DATES)?;
    member.evicted_until = fields.number("evicted_until", DATES)?;
    member.failed_with = fields.number("failed_with", DATES)?;
    member.made_reset = fields.number("made_reset", DATES)?;
    member.made_of = match fields.iter().find(|(name, _)| *name == "made_of") {
        Some((name, value)) => Some(hash(name, value)?),
        None => None,
    };
    member.ended_at = fields.maybe_number("ended_at", DATES)?;
    Ok(member)
}

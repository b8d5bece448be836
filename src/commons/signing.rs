//! From a slice file and its plan to the manifest that is signed, and from a manifest to the one after it. Pure: what is read
//! from files, brokers and servers is handed in.

use super::formats::{
    make, open, Entry, Format, Group, Image, Index, Manifest, OnLoss, Published, Secret, Wish, DAY,
    SLICES_MAX,
};
use super::id::Id;
use super::label::Label;
use super::plan::Plan;
use super::seal::{ContentKey, Whose};
use super::signed::Ed25519;
use super::slice_file::{self, SliceFile};
use crate::error::{Code, Error, Result};
use crate::usign::SecretKey;
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;

/// How far ahead of the own clock a serial may be, in seconds: boxes refuse others.
pub const AHEAD: u64 = 2 * DAY;
/// How long a tombstone stands: for as long as any manifest before it could.
const TOMBSTONE: u64 = 90 * DAY;
/// How long an index holds when nothing changes.
const INDEX: u64 = 90 * DAY;

/// What stands in files beside the slice file, and on servers of images: for each group, in the file's order.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Its image, by its hashes.
    pub image: Image,
    /// The script that is run once.
    pub first_boot: Option<String>,
    /// Names and contents of its secrets.
    pub secrets: Vec<(String, Vec<u8>)>,
}

/// What is known of a slice before it is signed.
#[derive(Debug, Clone, Default)]
pub struct Before {
    /// The newest that anybody has of it.
    pub manifest: Option<Manifest>,
    /// The serial that this computer signed last; 0: none.
    pub own: u64,
    /// The highest serial that boxes say they have seen, and that is no lie by the clock.
    pub seen: u64,
    /// Serials that were signed so far ahead that boxes refuse them.
    pub void: Vec<u64>,
}

impl Before {
    /// The serial of the newest manifest that counts.
    fn newest(&self) -> u64 {
        self.manifest.as_ref().map_or(0, |manifest| manifest.serial)
    }

    /// Checks that what is signed now is based on the newest there is.
    ///
    /// # Errors
    /// [`Code::InUse`]: another computer has signed since.
    pub fn check(&self, slice: Label) -> Result<()> {
        let newest = self.newest().max(self.seen);
        if newest <= self.own {
            return Ok(());
        }
        let last = match self.own {
            0 => "this computer has never signed it".to_string(),
            own => format!("this computer has signed {own} last"),
        };
        let why = format!(
            "slice {slice} was signed elsewhere, with serial {newest}, and {last}; look at `cloudbox slice status {slice}`, \
             and go on from there with --over"
        );
        Err(Error::new(Code::InUse, why))
    }

    /// The serial to sign with, and the one it is based on.
    fn next(&self, now: u64) -> (u64, Option<u64>) {
        let highest = self.newest().max(self.own).max(self.seen);
        let serial = now.max(highest.saturating_add(1));
        (serial, Some(highest).filter(|highest| *highest > 0))
    }
}

/// Who signs, when, and for which boxes.
pub struct Signer<'a> {
    /// The slice's owner.
    pub member: Id,
    /// The peer who vouches for him, if boxes know him by that only.
    pub via: Option<Id>,
    /// Seconds since 1970.
    pub now: u64,
    /// The key that a box's offer has for what is sealed.
    pub seal_of: &'a dyn Fn(Id) -> Option<[u8; 32]>,
}

impl Signer<'_> {
    /// The manifest of a slice file.
    ///
    /// # Errors
    /// A secret cannot be sealed: a box offers no key for it.
    pub fn apply(
        &self,
        file: &SliceFile,
        plan: &Plan,
        contents: &[Contents],
        before: &Before,
    ) -> Result<Manifest> {
        let boxes = plan.boxes();
        let key = ContentKey::random();
        let mut groups = Vec::new();
        for ((group, planned), content) in file.groups.iter().zip(&plan.groups).zip(contents) {
            let place = |id: &Id| boxes.iter().position(|other| other == id).map(|place| place as u16);
            let secret = |(name, text): &(String, Vec<u8>)| {
                let encrypted = key.encrypt(group.name, name, text)?;
                Ok(Secret { name: name.as_str().into(), text: BASE64.encode(encrypted).into() })
            };
            groups.push(Group {
                name: group.name,
                count: planned.count as u16,
                places: planned.boxes.iter().filter_map(place).collect(),
                not: group.not_boxes.clone(),
                image: content.image.clone(),
                memory: group.memory.get(),
                disk: group.disk.get(),
                cpus: group.cpus.milli().into(),
                pids: Some(group.pids.into()),
                services: boxed(&group.services),
                publish: group.publish.iter().map(published).collect(),
                authorized_keys: boxed(&group.authorized_keys),
                first_boot: content.first_boot.as_deref().map(Box::from),
                secrets: content.secrets.iter().map(secret).collect::<Result<_>>()?,
                reset: group.reset.into(),
                on_loss: group.on_loss,
                grace: group.grace.into(),
            });
        }
        let has_secrets = groups.iter().any(|group| !group.secrets.is_empty());
        let seals = if has_secrets { self.seals(&key, file.name, &boxes)? } else { Vec::new() };
        let (serial, prev) = before.next(self.now);
        let gone = before.manifest.as_ref().filter(|manifest| manifest.wish == Wish::Gone);
        Ok(Manifest {
            member: self.member,
            slice: file.name,
            serial,
            prev,
            again: gone.map(|tombstone| tombstone.serial),
            void: before.void.clone(),
            via: self.via,
            wish: Wish::Run,
            boxes,
            groups,
            seals,
            renewers: before.manifest.as_ref().map_or(Vec::new(), |manifest| manifest.renewers.clone()),
            issued: self.now,
            expires: self.now + u64::from(file.expires),
        })
    }

    fn seals(&self, key: &ContentKey, slice: Label, boxes: &[Id]) -> Result<Vec<Box<str>>> {
        let seal = |id: &Id| {
            let to = (self.seal_of)(*id).ok_or_else(|| {
                let why = format!(
                    "box {id} offers no key to seal secrets with; leave it out (list not_box '{id}'), or the secrets"
                );
                Error::new(Code::NotSupported, why)
            })?;
            let sealed = key.seal(&to, &Whose { member: self.member, slice, box_id: *id })?;
            Ok(BASE64.encode(sealed).into())
        };
        boxes.iter().map(seal).collect()
    }

    /// The manifest after `before`, with another wish or a later end, and the same boxes. What is sealed is sealed to them.
    pub fn again(&self, manifest: &Manifest, before: &Before, wish: Wish, lives: u64) -> Manifest {
        let (serial, prev) = before.next(self.now);
        let gone = wish == Wish::Gone;
        let empty_if_gone = |texts: &[Box<str>]| if gone { Vec::new() } else { texts.to_vec() };
        Manifest {
            serial,
            prev,
            again: None,
            void: before.void.clone(),
            wish,
            groups: if gone { Vec::new() } else { manifest.groups.clone() },
            seals: empty_if_gone(&manifest.seals),
            renewers: empty_if_gone(&manifest.renewers),
            issued: self.now,
            expires: self.now + if gone { TOMBSTONE } else { lives },
            ..manifest.clone()
        }
    }

    /// The index with `manifest` in it, after the one before. Slices whose tombstones nobody needs any more fall out.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`]: there are more slices than an index has.
    pub fn index(&self, before: Option<&Index>, manifest: &Manifest) -> Result<Index> {
        let entry = Entry::new(manifest.slice, manifest.serial, &manifest.boxes);
        let others = before.map_or(&[][..], |index| &index.slices);
        let old = self.now.saturating_sub(TOMBSTONE + 30 * DAY);
        let others =
            others.iter().filter(|other| other.slice != manifest.slice && other.serial >= old).cloned();
        let mut slices: Vec<Entry> = others.collect();
        if slices.len() >= SLICES_MAX {
            let why = format!(
                "{SLICES_MAX} slices are the most; delete one, and wait until its boxes have let it go"
            );
            return Err(Error::new(Code::InvalidArgument, why));
        }
        slices.push(entry);
        let serial = before.map_or(0, |index| index.serial).saturating_add(1).max(self.now);
        let certs = before.map_or(Vec::new(), |index| index.certs.clone());
        Ok(Index { member: self.member, serial, slices, certs, issued: self.now, expires: self.now + INDEX })
    }
}

fn boxed(texts: &[String]) -> Vec<Box<str>> {
    texts.iter().map(|text| text.as_str().into()).collect()
}

fn published(publish: &slice_file::Publish) -> Published {
    let name = publish.name.as_deref().unwrap_or_default();
    Published { kind: publish.kind.as_str().into(), port: publish.port, name: name.into() }
}

/// Signs what `told` says, and reads it as a box would: what is longer or odder than a format allows is better told to whoever
/// signs it than passed over by everybody.
///
/// # Errors
/// [`Code::InvalidArgument`]: nobody would read it, and why.
pub fn signed<T: Format>(key: &SecretKey, network: Label, told: &T) -> Result<Vec<u8>> {
    let text = make(&Ed25519, key, network, told)?;
    open::<T>(&Ed25519, &key.public(), network, &text)
        .map_err(|error| Error::new(error.code, format_args!("no box would read it: {}", error.message)))?;
    Ok(text)
}

/// What of a manifest everybody can read who reads the brokers, line by line.
pub fn what_is_public(manifest: &Manifest) -> Vec<String> {
    let mut lines =
        vec![format!("that {} has a slice called {}, and on which boxes", manifest.member, manifest.slice)];
    for group in &manifest.groups {
        let name = group.name;
        lines.push(format!(
            "group {name}: its size, its image {}, and its state on each box",
            group.image.alias
        ));
        for publish in &group.publish {
            lines.push(format!("group {name}: the address of {} port {}", publish.kind, publish.port));
        }
        if group.first_boot.is_some() {
            lines.push(format!("group {name}: the whole text of first_boot"));
        }
        if !group.authorized_keys.is_empty() {
            lines.push(format!("group {name}: the SSH keys, with what stands behind them"));
        }
        for secret in &group.secrets {
            lines.push(format!(
                "group {name}: that there is a secret called {}; what is in it, only the listed boxes can read",
                secret.name
            ));
        }
        if group.on_loss == OnLoss::Restore {
            lines.push(format!("group {name}: its data, for every listed box, spares included, for ever"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::super::label::Kind;
    use super::super::plan::GroupPlan;
    use super::*;
    use crate::usign::Number;

    const NOW: u64 = 1_800_000_000;

    fn file(options: &str) -> SliceFile {
        let text = format!(
            "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption count '1'\n\toption image 'a'\n{options}"
        );
        slice_file::read(text.as_bytes()).unwrap()
    }

    fn id(last: char) -> Id {
        format!("aaaaaaaaaaaaaaa{last}").parse().unwrap()
    }

    fn plan() -> Plan {
        let name = Label::new(Kind::Group, "web").unwrap();
        let boxes = vec![id('b'), id('c')];
        Plan { groups: vec![GroupPlan { name, count: 1, boxes, left_out: vec![] }], warnings: vec![] }
    }

    fn contents() -> [Contents; 1] {
        let image = Image { alias: "a".into(), sha256: vec![("x86_64".into(), [1; 32])] };
        [Contents { image, first_boot: None, secrets: vec![] }]
    }

    fn signer(now: u64) -> Signer<'static> {
        Signer { member: Id::of(&key().public()), via: None, now, seal_of: &|_| None }
    }

    fn key() -> SecretKey {
        SecretKey::new([1; 32], Number::new([1; 8]))
    }

    fn applied(before: &Before, now: u64) -> Manifest {
        signer(now).apply(&file(""), &plan(), &contents(), before).unwrap()
    }

    #[test]
    fn a_serial_is_the_time_or_one_more_than_the_highest() {
        let first = applied(&Before::default(), NOW);
        assert_eq!((first.serial, first.prev), (NOW, None));
        for (own, seen, published, now, serial) in [
            (NOW, 0, NOW, NOW, NOW + 1),
            (NOW, 0, NOW, NOW + 5, NOW + 5),
            (NOW + 9, 0, NOW, NOW + 5, NOW + 10),
            (NOW, NOW + 9, NOW, NOW + 5, NOW + 10),
            (NOW, 0, NOW + 9, NOW + 5, NOW + 10),
            // The clock was put back.
            (NOW, 0, NOW, NOW - 1000, NOW + 1),
        ] {
            let manifest = Some(Manifest { serial: published, ..first.clone() });
            let before = Before { manifest, own, seen, void: vec![7] };
            let next = applied(&before, now);
            assert_eq!(next.serial, serial);
            assert_eq!((next.prev, next.void), (Some(own.max(seen).max(published)), vec![7]));
        }
    }

    #[test]
    fn what_is_signed_is_based_on_the_newest() {
        let slice = Label::new(Kind::Slice, "wiki").unwrap();
        let with = |own, seen, published: Option<u64>| {
            let first = applied(&Before::default(), NOW);
            let manifest = published.map(|serial| Manifest { serial, ..first });
            Before { manifest, own, seen, void: vec![] }.check(slice)
        };
        for (own, seen, published) in [(0, 0, None), (5, 5, Some(5)), (6, 5, Some(5)), (6, 6, None)] {
            assert_eq!(with(own, seen, published), Ok(()));
        }
        for (own, seen, published) in [(0, 0, Some(5)), (5, 6, Some(5)), (5, 0, Some(6)), (0, 5, None)] {
            let refusal = with(own, seen, published).unwrap_err();
            assert!(refusal.code == Code::InUse && refusal.message.contains("--over"), "{refusal}");
        }
    }

    #[test]
    fn what_follows_keeps_boxes_and_seals_and_a_tombstone_nothing_else() {
        let first = Manifest { seals: vec!["x".into(), "y".into()], ..applied(&Before::default(), NOW) };
        let before = Before { manifest: Some(first.clone()), own: NOW, ..Before::default() };
        let renewed = signer(NOW + 9).again(&first, &before, Wish::Run, 100);
        assert_eq!((renewed.serial, renewed.prev, renewed.expires), (NOW + 9, Some(NOW), NOW + 109));
        assert_eq!(
            (&renewed.boxes, &renewed.groups, &renewed.seals),
            (&first.boxes, &first.groups, &first.seals)
        );
        let gone = signer(NOW + 9).again(&first, &before, Wish::Gone, 100);
        assert_eq!((gone.groups.len(), gone.seals.len(), &gone.boxes), (0, 0, &first.boxes));
        assert_eq!(gone.expires, NOW + 9 + 90 * DAY);
        let back = applied(
            &Before { manifest: Some(gone.clone()), own: gone.serial, ..Before::default() },
            NOW + 10,
        );
        assert_eq!(back.again, Some(gone.serial));
    }

    #[test]
    fn an_index_names_each_slice_once_and_forgets_old_tombstones() {
        let first = applied(&Before::default(), NOW);
        let index = signer(NOW).index(None, &first).unwrap();
        let again = signer(NOW).index(Some(&index), &Manifest { serial: NOW + 1, ..first.clone() }).unwrap();
        assert_eq!((again.slices.len(), again.slices[0].serial, again.serial), (1, NOW + 1, NOW + 1));
        let other = Manifest { slice: Label::new(Kind::Slice, "blog").unwrap(), ..first.clone() };
        assert_eq!(signer(NOW).index(Some(&index), &other).unwrap().slices.len(), 2);
        let later = NOW + 121 * DAY;
        assert_eq!(signer(later).index(Some(&index), &other).unwrap().slices.len(), 1);
    }

    #[test]
    fn what_no_box_would_read_is_not_signed() {
        let network = Label::new(Kind::Network, "guifi").unwrap();
        let good = applied(&Before::default(), NOW);
        signed(&key(), network, &good).unwrap();
        for (change, why) in [
            ((|m| m.expires = m.issued + 91 * DAY) as fn(&mut Manifest), "within 90 days"),
            (|m| m.groups[0].authorized_keys = vec!["k".into(); 17], "it lists 17, and 16 is the most"),
            (|m| m.groups[0].memory = 1, "no whole number from"),
            (|m| m.groups[0].first_boot = Some("x".repeat(8193).into()), "8192 is the most"),
        ] {
            let mut bad = good.clone();
            change(&mut bad);
            let refusal = signed(&key(), network, &bad).unwrap_err();
            assert!(
                refusal.message.starts_with("no box would read it: ") && refusal.message.contains(why),
                "{refusal}"
            );
        }
    }

    #[test]
    fn everything_that_everybody_can_read_is_told() {
        let file = file(
            "\tlist publish '_http._tcp 80'\n\toption first_boot 'x'\n\tlist authorized_keys 'ssh-rsa A me'\n\toption on_loss 'restore'\n",
        );
        let contents = [Contents { first_boot: Some("x".into()), ..contents()[0].clone() }];
        let manifest = signer(NOW).apply(&file, &plan(), &contents, &Before::default()).unwrap();
        let told = what_is_public(&manifest).join("\n");
        for word in ["slice called wiki", "_http._tcp port 80", "first_boot", "SSH keys", "for ever"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }
}

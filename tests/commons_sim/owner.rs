//! An owner with one or two laptops: he signs manifests and gives them to the brokers that he reaches.

use super::machine::EPOCH;
use super::parts::Quick;
use super::world::{Act, World};
use cloudbox::commons::formats::{
    make, Cert, Entry, Group, Image, Index, Manifest, OnLoss, Revoked, Wish, DAY,
};
use cloudbox::commons::id::Id;
use cloudbox::commons::label::{Kind, Label};
use cloudbox::commons::signed::Parts;
use cloudbox::commons::topic::Topic;
use cloudbox::usign::{Number, SecretKey};
use sha2::{Digest, Sha256};
use std::rc::Rc;

/// A slice as its owner has it.
pub struct Own {
    pub name: Label,
    /// All that he ever signed of it, with the SHA-256 of what was signed.
    pub signed: Vec<(Manifest, [u8; 32])>,
    /// The one that he gave to brokers last, signed.
    pub text: Option<Rc<[u8]>>,
    /// Serials that never count, being too far ahead.
    pub too_new: Vec<u64>,
    /// When something of it was changed last.
    pub changed_at: u64,
}

pub struct Owner {
    pub number: u64,
    pub id: Id,
    /// The peer who vouches for him.
    pub via: Option<Id>,
    pub slices: Vec<Own>,
    index: Option<Rc<[u8]>>,
    index_serial: u64,
    revoked: Option<Rc<[u8]>>,
    /// Since when nobody vouches for him.
    pub revoked_at: Option<u64>,
    /// What his index says besides: certificates.
    pub certs: Vec<Box<str>>,
}

impl Owner {
    pub fn new(number: u64) -> Owner {
        let id = Id::of(&key(number).public());
        Owner {
            number,
            id,
            via: None,
            slices: Vec::new(),
            index: None,
            index_serial: 0,
            revoked: None,
            revoked_at: None,
            certs: Vec::new(),
        }
    }

    pub fn key(&self) -> SecretKey {
        key(self.number)
    }

    /// The manifest that counts most of all that may count.
    pub fn wins(own: &Own) -> Option<&Manifest> {
        let counts = own.signed.iter().filter(|(manifest, _)| !own.too_new.contains(&manifest.serial));
        super::world::wins(counts)
    }

    pub fn act(&mut self, world: &mut World, act: Act) {
        world.log(|| format!("owner {} does {act:?}", self.number));
        let now = EPOCH + world.now / 1000;
        if act == Act::Apply {
            let name = Label::new(Kind::Slice, &format!("s{}", self.slices.len())).unwrap();
            self.slices.push(Own {
                name,
                signed: Vec::new(),
                text: None,
                too_new: Vec::new(),
                changed_at: 0,
            });
        }
        if act == Act::Revoke {
            return self.revoke(world, now);
        }
        // Whoever vouches must say so, even if he has no slice.
        if self.slices.is_empty() {
            return;
        }
        if act == Act::RenewAll {
            for at in 0..self.slices.len() {
                self.act_on(world, Act::Renew, at, now);
            }
            return;
        }
        let at = match act {
            Act::Apply => self.slices.len() - 1,
            _ => world.prng.below(self.slices.len() as u64) as usize,
        };
        if act == Act::Repair {
            for at in 0..self.slices.len() {
                self.give(world, at, true);
            }
            return self.give_revoked(world);
        }
        self.act_on(world, act, at, now);
    }

    fn act_on(&mut self, world: &mut World, act: Act, at: usize, now: u64) {
        let newest = Owner::wins(&self.slices[at]).cloned();
        let Some(mut manifest) = (match &newest {
            None => Some(self.first(world, at, now)),
            Some(newest) => {
                let ok = match act {
                    Act::Again => newest.wish == Wish::Gone,
                    Act::Start => newest.wish == Wish::Stop,
                    _ => newest.wish != Wish::Gone,
                };
                ok.then(|| newest.clone())
            }
        }) else {
            return;
        };
        if let Some(newest) = &newest {
            manifest.prev = Some(newest.serial);
            manifest.serial = now.max(newest.serial + 1);
            (manifest.issued, manifest.expires) = (now, now + world.plan.days * DAY);
        }
        match act {
            Act::Apply | Act::Repair => {}
            Act::Renew | Act::RenewAll | Act::Revoke => {}
            Act::Change => {
                let prng = &mut world.prng;
                let group = &mut manifest.groups[0];
                match prng.below(3) {
                    0 => group.count = (group.count + 1).min(manifest.boxes.len() as u16 - 1).max(1),
                    1 => group.count = (group.count - 1).max(1),
                    _ => group.memory = (32 + prng.below(32)) << 20,
                }
            }
            Act::NewImage => {
                let hash = world.prng.next().to_le_bytes();
                manifest.groups[0].image.sha256[0].1[..8].copy_from_slice(&hash);
            }
            Act::Stop => manifest.wish = Wish::Stop,
            Act::Start => manifest.wish = Wish::Run,
            Act::Delete => {
                manifest.wish = Wish::Gone;
                manifest.groups.clear();
            }
            Act::Again => {
                let before = self.slices[at].signed.iter().rev().find(|(before, _)| before.wish == Wish::Run);
                let Some((before, _)) = before else { return };
                manifest = Manifest {
                    again: Some(manifest.prev.unwrap_or(0)),
                    wish: Wish::Run,
                    groups: before.groups.clone(),
                    ..manifest
                };
            }
            Act::Twice => {
                // With the serial of the newest, and another limit.
                let Some(newest) = &newest else { return };
                (manifest.serial, manifest.prev) = (newest.serial, newest.prev);
                if let Some(group) = manifest.groups.first_mut() {
                    group.memory += 1 << 20;
                }
            }
            Act::Blind => {
                // A laptop that was asleep since the first one.
                let Some((first, _)) = self.slices[at].signed.first() else { return };
                let (issued, expires) = (manifest.issued, manifest.expires);
                manifest = Manifest {
                    serial: manifest.serial,
                    prev: Some(first.serial),
                    issued,
                    expires,
                    ..first.clone()
                };
            }
            Act::TooNew => {
                manifest.serial += 5 * 365 * DAY;
                self.slices[at].too_new.push(manifest.serial);
            }
        }
        // Whoever signs again says what never counted.
        manifest.void =
            self.slices[at].too_new.iter().copied().filter(|serial| *serial != manifest.serial).collect();
        manifest.void.truncate(20);
        world.count(match act {
            Act::Apply => "owner: applies",
            Act::Change => "owner: changes",
            Act::NewImage => "owner: new image",
            Act::Renew | Act::RenewAll => "owner: renews",
            Act::Revoke => "owner: revokes",
            Act::Stop => "owner: stops",
            Act::Start => "owner: starts",
            Act::Delete => "owner: deletes",
            Act::Again => "owner: calls back",
            Act::Twice => "owner: signs a serial twice",
            Act::Blind => "owner: signs without reading",
            Act::TooNew => "owner: signs too far ahead",
            Act::Repair => "owner: repairs",
        });
        let text: Rc<[u8]> = make(&Quick, &self.key(), world.network, &manifest).unwrap().into();
        let hash: [u8; 32] = Sha256::digest(Parts::of(&text).unwrap().message).into();
        world.log(|| {
            let group = manifest.groups.first().map_or(0, |group| group.count);
            format!(
                "owner {} signs {} {} {:?} count {group}",
                self.number, manifest.slice, manifest.serial, manifest.wish
            )
        });
        let own = &mut self.slices[at];
        own.signed.push((manifest, hash));
        own.text = Some(text);
        own.changed_at = world.now;
        self.make_index(world, now);
        let all = world.prng.chance(700);
        self.give(world, at, all);
        // He looks again a while later: what a broker that was down did not get, it gets then.
        for later in [world.now + 30 * 60_000, world.plan.heal.max(world.now) + 60_000] {
            world.at(later, super::world::Event::Act(self.number as usize));
        }
    }

    /// Whom he vouched for he does not any more.
    fn revoke(&mut self, world: &mut World, now: u64) {
        let of: Vec<usize> =
            (0..world.owners.len()).filter(|at| world.owners[*at].via == Some(self.id)).collect();
        if of.is_empty() {
            return;
        }
        world.count("owner: revokes");
        let keys = of.iter().map(|at| world.owners[*at].id).collect();
        let list = Revoked { member: self.id, serial: now, keys, issued: now, expires: now + 90 * DAY };
        let text: Rc<[u8]> = make(&Quick, &self.key(), world.network, &list).unwrap().into();
        self.revoked = Some(text);
        for at in of {
            world.owners[at].revoked_at = Some(world.now);
        }
        self.give_revoked(world);
        for later in [world.now + 30 * 60_000, world.plan.heal.max(world.now) + 60_000] {
            world.at(later, super::world::Event::Act(self.number as usize));
        }
    }

    fn give_revoked(&self, world: &mut World) {
        let topic = Topic::Revoked(self.id).text(world.network);
        for broker in 0..world.brokers.len() {
            if let Some(text) = self.revoked.clone() {
                world.publish(broker, &topic, text, true);
            }
        }
    }

    fn make_index(&mut self, world: &World, now: u64) {
        let entry = |own: &Own| {
            let newest = Owner::wins(own)?;
            Some(Entry::new(own.name, newest.serial, &newest.boxes))
        };
        self.index_serial = now.max(self.index_serial + 1);
        let index = Index {
            member: self.id,
            serial: self.index_serial,
            slices: self.slices.iter().filter_map(entry).collect(),
            certs: self.certs.clone(),
            issued: now,
            expires: now + 90 * DAY,
        };
        self.index = Some(make(&Quick, &self.key(), world.network, &index).unwrap().into());
    }

    /// Gives a slice and the index to all brokers, or, being interrupted, to one.
    fn give(&mut self, world: &mut World, at: usize, all: bool) {
        let own = &self.slices[at];
        let (Some(text), Some(index)) = (own.text.clone(), self.index.clone()) else { return };
        let topic = Topic::Slice(self.id, own.name).text(world.network);
        let of_index = Topic::Index(self.id).text(world.network);
        for broker in 0..world.brokers.len() {
            world.publish(broker, &topic, Rc::clone(&text), true);
            world.publish(broker, &of_index, Rc::clone(&index), true);
            if !all {
                return;
            }
        }
    }

    fn first(&self, world: &mut World, at: usize, now: u64) -> Manifest {
        let plan = &world.plan;
        let (count, listed, days) = (plan.count, usize::from(plan.count + plan.spares), plan.days);
        let mut boxes: Vec<Id> = Vec::new();
        let mut candidates: Vec<Id> = world.boxes.iter().map(|machine| machine.id).collect();
        for _ in 0..listed.min(candidates.len()) {
            let pick = world.prng.below(candidates.len() as u64) as usize;
            boxes.push(candidates.swap_remove(pick));
        }
        let group = Group {
            name: Label::new(Kind::Group, "web").unwrap(),
            count: count.min(boxes.len() as u16),
            places: (0..boxes.len() as u16).collect(),
            not: Vec::new(),
            image: Image {
                alias: "community:distro".into(),
                sha256: vec![("x86_64".into(), [at as u8 + 1; 32])],
            },
            memory: 64 << 20,
            disk: 64 << 20,
            cpus: 100,
            pids: None,
            services: Vec::new(),
            publish: Vec::new(),
            authorized_keys: Vec::new(),
            first_boot: None,
            secrets: Vec::new(),
            reset: 0,
            on_loss: OnLoss::Replace,
            grace: 900,
        };
        Manifest {
            member: self.id,
            slice: self.slices[at].name,
            serial: now,
            prev: None,
            again: None,
            void: Vec::new(),
            via: self.via,
            wish: Wish::Run,
            boxes,
            groups: vec![group],
            seals: Vec::new(),
            renewers: Vec::new(),
            issued: now,
            expires: now + days * DAY,
        }
    }
}

pub fn key(number: u64) -> SecretKey {
    let mut seed = [3; 32];
    seed[..8].copy_from_slice(&(number + 1).to_le_bytes());
    SecretKey::new(seed, Number::new((number + 77).to_le_bytes()))
}

/// One vouches for another.
pub fn vouch(network: Label, by: &Owner, of: &Owner) -> Box<str> {
    let key = of.key().public();
    let cert = Cert { issuer: by.id, key, share: 50, issued: EPOCH, expires: EPOCH + 80 * DAY };
    String::from_utf8(make(&Quick, &by.key(), network, &cert).unwrap()).unwrap().into()
}

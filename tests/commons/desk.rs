//! A member's computer, and boxes that are nothing but keys.

use crate::server::{Server, PATIENCE};
use cloudbox::commons::formats::{
    make, Alive, Class, Format, Manifest, MemberState, Mode, Offer, Owner, Reported, Stamp, State,
};
use cloudbox::commons::id::Id;
use cloudbox::commons::label::{Kind, Label};
use cloudbox::commons::seal::SealKey;
use cloudbox::commons::signed::Ed25519;
use cloudbox::commons::topic::Topic;
use cloudbox::usign::{Number, SecretKey};
use mqtt_session::{Client, Credentials, Event, Options, QoS};
use std::cell::Cell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub fn network() -> Label {
    Label::new(Kind::Network, "guifi").unwrap()
}

pub fn label_of(slice: &str) -> Label {
    Label::new(Kind::Slice, slice).unwrap()
}

pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A slice of two, with these options behind the usual ones: the last of two that are the same counts.
pub fn slice(options: &str) -> String {
    format!(
        "config slice 'wiki'\n\toption network 'guifi'\nconfig group 'web'\n\toption count '2'\n\toption image 'distro'\n\
         \tlist sha256 'x86_64={}'\n\toption memory '64M'\n{options}",
        "ab".repeat(32)
    )
}

/// A directory of its own, with `cloudbox` in it.
pub struct Desk {
    dir: PathBuf,
    /// As whom commands are run; None: as whoever runs the test.
    uid: Option<u32>,
}

impl Desk {
    /// With a key, and these brokers written down.
    pub fn new(name: &str, brokers: &[&Server]) -> Desk {
        let dir =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("desk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("config/cloudbox")).unwrap();
        let desk = Desk { dir, uid: None };
        desk.begin(brokers);
        desk
    }

    /// The same of an ordinary user. None where the test may not become one.
    pub fn of_nobody(name: &str, brokers: &[&Server]) -> Option<Desk> {
        const NOBODY: u32 = 65_534;
        if !nix::unistd::geteuid().is_root() {
            return None;
        }
        // The checkout may be where others cannot look.
        let dir = std::env::temp_dir().join(format!("desk-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("config/cloudbox")).unwrap();
        fs::copy(env!("CARGO_BIN_EXE_cloudbox"), dir.join("program")).unwrap();
        for path in [dir.clone(), dir.join("config"), dir.join("config/cloudbox")] {
            nix::unistd::chown(&path, Some(NOBODY.into()), Some(NOBODY.into())).unwrap();
        }
        let desk = Desk { dir, uid: Some(NOBODY) };
        desk.begin(brokers);
        Some(desk)
    }

    fn begin(&self, brokers: &[&Server]) {
        let desk = self;
        assert_eq!(desk.run(&["key", "new", "config/cloudbox/me"]).0, 0);
        if !brokers.is_empty() {
            let section = |(at, server): (usize, &&Server)| {
                let (host, port) = (server.address.ip(), server.address.port());
                format!("config broker 'b{at}'\n\toption host '{host}'\n\toption port '{port}'\n")
            };
            let brokers: String = brokers.iter().enumerate().map(section).collect();
            desk.write(
                "config/cloudbox/commons",
                &format!("config commons 'commons'\n\toption network 'guifi'\n{brokers}"),
            );
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    /// All brokers are logged in to.
    pub fn logs_in(&self, user: &str, password: &str) {
        let path = self.path("config/cloudbox/commons");
        let text = fs::read_to_string(&path).unwrap();
        let more =
            format!("\toption user '{user}'\n\toption password_file '{}'\n", self.path(password).display());
        fs::write(path, text + &more).unwrap();
    }

    /// Runs `cloudbox`: its exit code, what it prints, and what it complains of.
    pub fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What runs `cloudbox`.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = match self.uid {
            None => Command::new(env!("CARGO_BIN_EXE_cloudbox")),
            Some(uid) => {
                let mut command = Command::new(self.path("program"));
                command.uid(uid).gid(uid);
                command
            }
        };
        command.args(words).current_dir(&self.dir).env("XDG_CONFIG_HOME", self.path("config"));
        command.env("CLOUDBOX_CONFIG_DIR", self.path("etc")).env("UBUS_SOCKET", self.path("no-bus"));
        command
    }

    pub fn key(&self) -> SecretKey {
        SecretKey::parse(&fs::read_to_string(self.path("config/cloudbox/me.sec")).unwrap()).unwrap()
    }

    pub fn id(&self) -> Id {
        Id::of(&self.key().public())
    }

    pub fn takes_key_of(&self, other: &Desk) {
        fs::copy(other.path("config/cloudbox/me.sec"), self.path("config/cloudbox/me.sec")).unwrap();
    }

    /// Makes an owner of boxes known, whose key is the same in all tests.
    pub fn makes_known(&self, name: &str) -> SecretKey {
        let owner = SecretKey::new([200; 32], Number::new([2; 8]));
        let (code, _, why) = self.run(&["key", "know", name, &owner.public().to_line()]);
        assert_eq!(code, 0, "{why}");
        owner
    }

    pub fn signed(&self, told: &impl Format) -> Vec<u8> {
        make(&Ed25519, &self.key(), network(), told).unwrap()
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

pub struct FakeBox {
    pub key: SecretKey,
    pub seal: SealKey,
    owner: String,
    seq: Cell<u32>,
}

impl FakeBox {
    pub fn new(seed: u8, owner: &SecretKey) -> FakeBox {
        let key = SecretKey::new([seed; 32], Number::new([seed; 8]));
        let seal = SealKey::new([seed.wrapping_add(1); 32]);
        let mut made = FakeBox { key, seal, owner: String::new(), seq: Cell::new(1) };
        made.owner = made.owned(owner, made.id()).into();
        made
    }

    pub fn id(&self) -> Id {
        Id::of(&self.key.public())
    }

    fn stamp(&self) -> Stamp {
        self.seq.set(self.seq.get() + 1);
        Stamp { session: 1, seq: self.seq.get() }
    }

    /// That the owner of this key has the box `of`.
    pub fn owned(&self, owner: &SecretKey, of: Id) -> Box<str> {
        let told = Owner { member: Id::of(&owner.public()), of, issued: now(), expires: now() + 3600 };
        String::from_utf8(make(&Ed25519, owner, network(), &told).unwrap()).unwrap().into()
    }

    pub fn offer_topic(&self) -> Topic {
        Topic::Offer(Label::new(Kind::Zone, "osona").unwrap(), self.id())
    }

    pub fn offer_text(&self, accepts: Id, change: impl Fn(&mut Offer)) -> Vec<u8> {
        let mut offer = Offer {
            of: self.id(),
            zone: Label::new(Kind::Zone, "osona").unwrap(),
            name: "box".into(),
            stamp: self.stamp(),
            arch: "x86_64".into(),
            address: "10.0.0.1".into(),
            memory: 1 << 30,
            disk: 10 << 30,
            cpus: 2000,
            containers: 4,
            members: 0,
            class: Class::Any,
            mode: Mode::Production,
            owner: Some(self.owner.as_str().into()),
            seal: Some(self.seal.public()),
            accepts: Some(vec![accepts]),
            hours: None,
            issued: now(),
            expires: now() + 86_400,
        };
        change(&mut offer);
        make(&Ed25519, &self.key, network(), &offer).unwrap()
    }

    pub fn offers(&self, server: &Server, accepts: Id, change: impl Fn(&mut Offer)) {
        publish(server, &self.offer_topic(), &self.offer_text(accepts, change));
    }

    pub fn lives(&self, server: &Server) {
        let alive =
            Alive { of: self.id(), stamp: self.stamp(), run: *b"aaaaaaaa", at: now(), back: 0, lost: false };
        publish(server, &Topic::Alive(self.id()), &make(&Ed25519, &self.key, network(), &alive).unwrap());
    }

    pub fn says(&self, server: &Server, of: &Manifest, state: MemberState, reason: &str) {
        let group = Reported {
            group: of.groups[0].name,
            state,
            since: now(),
            code: "".into(),
            reason: if state == MemberState::Refused { reason.into() } else { "".into() },
            address: "".into(),
            restored: 0,
        };
        let state = State {
            of: self.id(),
            member: of.member,
            slice: of.slice,
            stamp: self.stamp(),
            run: *b"aaaaaaaa",
            seen: of.serial,
            applied: of.serial,
            skipped: None,
            twice: false,
            unheard: false,
            groups: vec![group],
            expires: of.expires,
        };
        let text = make(&Ed25519, &self.key, network(), &state).unwrap();
        publish(server, &Topic::State(self.id(), of.member, of.slice), &text);
    }
}

fn client(server: &Server, login: Option<(&str, &str)>) -> Client {
    let mut options = Options::new("");
    options.credentials =
        login.map(|(user, password)| Credentials { user: user.to_string(), password: password.to_string() });
    Client::connect(&server.address.ip().to_string(), server.address.port(), options, PATIENCE).unwrap()
}

/// Publishes a retained text, which must be kept.
pub fn publish(server: &Server, topic: &Topic, text: &[u8]) {
    let topic = topic.text(network());
    try_publish(server, &topic, text, None);
    assert_eq!(read(server, &topic).as_deref(), Some(text));
}

/// Publishes it as this user, whatever comes of it.
pub fn try_publish(server: &Server, topic: &str, text: &[u8], login: Option<(&str, &str)>) {
    let _ = client(server, login).publish(topic, text, true, PATIENCE);
}

pub fn clear(server: &Server, topic: &str) {
    try_publish(server, topic, b"", None);
    assert_eq!(read(server, topic), None);
}

/// What is retained at a topic. That nothing is, is known by what stands at another one and is asked for behind it.
pub fn read(server: &Server, topic: &str) -> Option<Vec<u8>> {
    let mut client = client(server, None);
    client.subscribe(&[(topic, QoS::AtLeastOnce)], PATIENCE).unwrap();
    // Answered behind what is retained, or soon after.
    client.subscribe(&[("$SYS/broker/version", QoS::AtLeastOnce)], PATIENCE).unwrap();
    let mut found = None;
    while let Some(event) = client.next_event(Duration::from_millis(300)).unwrap() {
        if let Event::Message(message) = event {
            if message.topic == topic {
                found = Some(message.payload);
            }
        }
    }
    found
}

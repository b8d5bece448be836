//! The options of a container: the one table that UCI, `create`, `set`, `info`, `restart_required` and the manual are
//! made of. A new option is a field of [`Spec`] and a row here; what it does is its step's to write.

use super::address::{parse_gateway, Address};
use super::name::ImageName;
use super::size::Cpus;
use super::spec::{
    check_bridge, check_description, check_hostname, check_key, check_peer, check_script, check_service,
    check_slice, check_timezone, parse_bool, parse_connections, parse_disk, parse_memory, parse_number,
    parse_pids, parse_rate, parse_reach, parse_restart, parse_swap, Defaults, Spec, PRIORITY_MAX,
};
use crate::error::Result;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// How an option is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A text; on the bus a string only.
    Text,
    /// A size or a number; on the bus a string or a number.
    Amount,
    /// Yes or no; on the bus a boolean.
    Flag,
    /// Several texts.
    List,
}

/// Where an option may be given, besides UCI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// By `create`.
    Create,
    /// By `create`, and by `set` later.
    CreateAndSet,
    /// Nowhere else.
    UciOnly,
}

impl Place {
    /// Whether `create` takes it.
    pub fn is_in_create(self) -> bool {
        self != Place::UciOnly
    }

    /// Whether `set` takes it.
    pub fn is_in_set(self) -> bool {
        self == Place::CreateAndSet
    }
}

/// When a changed option holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// At once, also for a container that runs. A disk only grows.
    AtOnce,
    /// When the container is started next.
    AtStart,
    /// Only when it is made: it stays as it was.
    WhenMade,
    /// It is not the container's, but the daemon's to know: there is nothing to apply.
    Known,
}

impl Applies {
    /// The words of the manual.
    pub fn as_str(self) -> &'static str {
        match self {
            Applies::AtOnce => "at once",
            Applies::AtStart => "at the next start",
            Applies::WhenMade => "only when made",
            Applies::Known => "at once; nothing is restarted",
        }
    }
}

/// One option.
pub struct ContainerOption {
    /// What UCI calls it.
    pub name: &'static str,
    /// What the bus calls it.
    pub on_bus: &'static str,
    /// How it is written.
    pub shape: Shape,
    /// Where it may be given.
    pub place: Place,
    /// When a change holds.
    pub applies: Applies,
    /// Whether `info` shows it by itself.
    pub shown: bool,
    /// What holds when nothing is said, in the words of the manual.
    pub default: &'static str,
    /// What it is, in the words of the manual.
    pub doc: &'static str,
    /// Checks what was said, and puts it where it belongs. The order of the table is the order of these.
    put: fn(&mut Spec, Said<'_>) -> Result<()>,
    /// Its value.
    get: fn(&Spec) -> Value,
    /// Takes the value of another.
    take: fn(&mut Spec, &Spec),
    /// Whether both have the same.
    same: fn(&Spec, &Spec) -> bool,
}

/// What was said of one option.
#[derive(Debug, Clone, Copy)]
struct Said<'a>(&'a [String]);

impl<'a> Said<'a> {
    fn text(self) -> &'a str {
        self.0.first().map_or("", String::as_str)
    }

    /// The texts of a list; `check` says what stays of one.
    fn list(self, check: fn(&str) -> Result<&str>) -> Result<Vec<String>> {
        self.0.iter().map(|text| check(text).map(str::to_string)).collect()
    }
}

/// The value of an option.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A text or a size.
    Text(String),
    /// A number.
    Number(u32),
    /// Yes or no.
    Flag(bool),
    /// Several texts.
    List(Vec<String>),
    /// There is none.
    Nothing,
}

impl Value {
    /// A text; the empty one is none.
    fn text(text: impl ToString) -> Value {
        Some(text.to_string()).filter(|text| !text.is_empty()).map_or(Value::Nothing, Value::Text)
    }

    /// Several texts; none of them is none.
    fn list(texts: &[String]) -> Value {
        if texts.is_empty() {
            Value::Nothing
        } else {
            Value::List(texts.to_vec())
        }
    }

    /// As it is written in UCI.
    fn said(self) -> Vec<String> {
        match self {
            Value::Text(text) => vec![text],
            Value::Number(number) => vec![number.to_string()],
            Value::Flag(value) => vec![flag(value).to_string()],
            Value::List(texts) => texts,
            Value::Nothing => Vec::new(),
        }
    }
}

/// A flag as it stands in UCI.
pub fn flag(value: bool) -> &'static str {
    if value {
        "1"
    } else {
        "0"
    }
}

/// Makes [`OPTIONS`]: each row is a field of [`Spec`].
macro_rules! options {
    ($($field:ident: $shape:ident, $place:ident, $applies:ident {
        $(on_bus: $on_bus:literal,)?
        $(shown: $shown:literal,)?
        default: $default:literal,
        doc: $doc:literal,
        put: $put:expr,
        get: $get:expr,
    })*) => {
        /// All options, in the order in which they are checked and shown.
        pub const OPTIONS: &[ContainerOption] = &[$(ContainerOption {
            name: stringify!($field),
            on_bus: options!(@first $($on_bus)? {stringify!($field)}),
            shape: Shape::$shape,
            place: Place::$place,
            applies: Applies::$applies,
            shown: options!(@first $($shown)? {false}),
            default: $default,
            doc: $doc,
            put: $put,
            get: $get,
            take: |to, from| to.$field.clone_from(&from.$field),
            same: |a, b| a.$field == b.$field,
        },)*];
    };
    (@first $given:literal {$otherwise:expr}) => { $given };
    (@first {$otherwise:expr}) => { $otherwise };
}

options! {
    image: Text, Create, WhenMade {
        default: "that of `main`",
        doc: "The image it is made from: its name here, or `remote:alias`. One that is not here is pulled.",
        put: |spec, said| ImageName::new(said.text()).map(|image| spec.image = image),
        get: |spec| Value::text(&spec.image),
    }
    memory: Amount, CreateAndSet, AtOnce {
        default: "that of `main`",
        doc: "Memory limit, `256M`.",
        put: |spec, said| parse_memory(said.text()).map(|memory| spec.memory = memory),
        get: |spec| Value::text(spec.memory.exact()),
    }
    swap: Amount, CreateAndSet, AtOnce {
        default: "`none`",
        doc: "How much of the box's swap it may use beside its memory, `256M`, or `none`. It counts as memory that is \
              promised: a router's swap is often its own memory (zram).",
        put: |spec, said| parse_swap(said.text()).map(|swap| spec.swap = swap),
        get: |spec| spec.swap.map_or(Value::Nothing, |swap| Value::Text(swap.exact())),
    }
    cpus: Amount, CreateAndSet, AtOnce {
        default: "that of `main`",
        doc: "Processors, `0.5`.",
        put: |spec, said| Cpus::parse("cpus", said.text()).map(|cpus| spec.cpus = cpus),
        get: |spec| Value::text(spec.cpus),
    }
    disk: Amount, CreateAndSet, AtOnce {
        default: "that of `main`",
        doc: "Disk quota, `4G`, or `none`. It can only grow.",
        put: |spec, said| parse_disk(said.text()).map(|disk| spec.disk = disk),
        get: |spec| Value::Text(spec.disk.map_or_else(|| "none".to_string(), |disk| disk.exact())),
    }
    pids: Amount, CreateAndSet, AtOnce {
        default: "that of `main`",
        doc: "Most processes.",
        put: |spec, said| parse_pids(said.text()).map(|pids| spec.pids = pids),
        get: |spec| Value::Number(spec.pids),
    }
    bridge: Text, CreateAndSet, AtStart {
        on_bus: "network",
        default: "that of `main`",
        doc: "The bridge its interface joins.",
        put: |spec, said| check_bridge(said.text()).map(|()| spec.bridge = said.text().to_string()),
        get: |spec| Value::text(&spec.bridge),
    }
    address: Text, CreateAndSet, AtStart {
        default: "`dhcp`",
        doc: "`dhcp`, or a static address such as `10.139.40.10/27`.",
        put: |spec, said| Address::parse(said.text()).map(|address| spec.address = address),
        get: |spec| Value::text(spec.address),
    }
    gateway: Text, CreateAndSet, AtStart {
        default: "the bridge's own address",
        doc: "Default route of a static address.",
        put: |spec, said| parse_gateway(said.text(), spec.address).map(|gateway| spec.gateway = Some(gateway)),
        get: |spec| spec.gateway.map_or(Value::Nothing, Value::text),
    }
    isolate: Flag, CreateAndSet, AtOnce {
        default: "`1`",
        doc: "It can send only in its own name: from its own hardware address and addresses, and nothing that makes it \
              a router, a DHCP server or somebody else for its neighbours ([security.md](security.md)).",
        put: |spec, said| parse_bool("isolate", said.text()).map(|isolate| spec.isolate = isolate),
        get: |spec| Value::Flag(spec.isolate),
    }
    reach: Text, CreateAndSet, AtOnce {
        shown: true,
        default: "`all`; `internet` with a `slice`",
        doc: "Where it may go: `internet`, beyond the box's own networks only; `lan`, also to machines in these; `all`, \
              also to LuCI, SSH and what else the box serves. DHCP, DNS and mDNS it always has \
              ([security.md](security.md#where-a-container-may-go)).",
        put: |spec, said| parse_reach(said.text()).map(|reach| spec.reach = Some(reach)),
        get: |spec| spec.reach.map_or(Value::Nothing, Value::text),
    }
    rate: Amount, CreateAndSet, AtOnce {
        shown: true,
        default: "`none`",
        doc: "Most bytes in a second that it may send, and as many that it may get: `2M`, or `none`. What is more is \
              dropped.",
        put: |spec, said| parse_rate(said.text()).map(|rate| spec.rate = rate),
        get: |spec| spec.rate.map_or(Value::Nothing, |rate| Value::Text(rate.exact())),
    }
    connections: Amount, CreateAndSet, AtOnce {
        shown: true,
        default: "`none`",
        doc: "Most new connections in a second, 1 to 1000, or `none`. Of UDP each new pair of ports counts, too; and \
              what was still for 20 s, again.",
        put: |spec, said| parse_connections(said.text()).map(|number| spec.connections = number),
        get: |spec| spec.connections.map_or(Value::Nothing, Value::Number),
    }
    autostart: Flag, CreateAndSet, Known {
        default: "`1`",
        doc: "It is started with the box.",
        put: |spec, said| parse_bool("autostart", said.text()).map(|autostart| spec.autostart = autostart),
        get: |spec| Value::Flag(spec.autostart),
    }
    priority: Amount, CreateAndSet, Known {
        shown: true,
        default: "`50`",
        doc: "Its place in the order of starts with the box, 0 to 999. The smallest starts first and stops last; \
              each group waits until the one before has been started.",
        put: |spec, said| {
            let number = parse_number("priority", said.text(), 0, PRIORITY_MAX.into())?;
            spec.priority = number as u16;
            Ok(())
        },
        get: |spec| Value::Number(spec.priority.into()),
    }
    restart: Text, CreateAndSet, Known {
        shown: true,
        default: "`on-failure`",
        doc: "Whether it is started again when it ended by itself: `no`; `on-failure`, when its init crashed or ran \
              out of memory; `always`. The first time after 1 s, then later and later, up to 5 min; a run of a minute \
              begins anew.",
        put: |spec, said| parse_restart(said.text()).map(|restart| spec.restart = restart),
        get: |spec| Value::text(spec.restart),
    }
    description: Text, CreateAndSet, Known {
        default: "empty",
        doc: "Free text, one line of at most 256 bytes.",
        put: |spec, said| check_description(said.text()).map(|()| spec.description = said.text().to_string()),
        get: |spec| Value::text(&spec.description),
    }
    authorized_keys: List, Create, WhenMade {
        shown: true,
        default: "none",
        doc: "SSH keys of its root.",
        put: |spec, said| said.list(check_key).map(|keys| spec.authorized_keys = keys),
        get: |spec| Value::list(&spec.authorized_keys),
    }
    hostname: Text, Create, WhenMade {
        default: "its name",
        doc: "What its guest calls itself.",
        put: |spec, said| check_hostname(said.text()).map(|()| spec.hostname = said.text().to_string()),
        get: |spec| Value::text(&spec.hostname),
    }
    timezone: Text, Create, WhenMade {
        default: "the image's",
        doc: "Its time zone, `Europe/Madrid`.",
        put: |spec, said| check_timezone(said.text()).map(|()| spec.timezone = said.text().to_string()),
        get: |spec| Value::text(&spec.timezone),
    }
    first_boot: Text, Create, WhenMade {
        default: "none",
        doc: "A script of at most 64 KiB: its text, not a path. It is run once inside, as root, when \
              the container first runs and has an address.",
        put: |spec, said| check_script(said.text()).map(|()| spec.first_boot = said.text().to_string()),
        get: |spec| Value::text(&spec.first_boot),
    }
    services: List, Create, WhenMade {
        shown: true,
        default: "none",
        doc: "Services of its image that are switched on in it, such as `tahoe-storage`. `image info` shows them. A \
              section `service` is something else: it announces one.",
        put: |spec, said| said.list(check_service).map(|services| spec.services = services),
        get: |spec| Value::list(&spec.services),
    }
    slice: Text, CreateAndSet, AtOnce {
        shown: true,
        default: "none",
        doc: "The slice it belongs to, a group of containers on several boxes: `<member>/<slice>/<group>`, which only root \
              and the process of the commons may write; or a word of the owner's own.",
        put: |spec, said| check_slice(said.text()).map(|()| spec.slice = said.text().to_string()),
        get: |spec| Value::text(&spec.slice),
    }
    peer: Text, UciOnly, Known {
        shown: true,
        default: "the slice's member",
        doc: "Of a container of the commons: the id of the peer that has vouched for the slice's member, and on whose \
              account it counts.",
        put: |spec, said| check_peer(said.text()).map(|()| spec.peer = said.text().to_string()),
        get: |spec| Value::text(&spec.peer),
    }
    advertise: Flag, UciOnly, Known {
        default: "`1`",
        doc: "Its services and its host name are announced.",
        put: |spec, said| parse_bool("advertise", said.text()).map(|advertise| spec.advertise = advertise),
        get: |spec| Value::Flag(spec.advertise),
    }
    protected: Flag, CreateAndSet, Known {
        default: "`0`",
        doc: "`delete` and `prune` refuse to remove it.",
        put: |spec, said| parse_bool("protected", said.text()).map(|protected| spec.protected = protected),
        get: |spec| if spec.protected { Value::Flag(true) } else { Value::Nothing },
    }
    nesting: Flag, CreateAndSet, AtStart {
        default: "`0`",
        doc: "Its programs may use the kernel's keyrings, as runtimes of containers inside of it do. No limit counts \
              the memory of these.",
        put: |spec, said| parse_bool("nesting", said.text()).map(|nesting| spec.nesting = nesting),
        get: |spec| if spec.nesting { Value::Flag(true) } else { Value::Nothing },
    }
    io_uring: Flag, CreateAndSet, AtStart {
        default: "`0`",
        doc: "Its programs may use io_uring, a part of the kernel that many holes were found in.",
        put: |spec, said| parse_bool("io_uring", said.text()).map(|io_uring| spec.io_uring = io_uring),
        get: |spec| if spec.io_uring { Value::Flag(true) } else { Value::Nothing },
    }
}

/// The option that UCI calls so.
pub fn find(name: &str) -> Option<&'static ContainerOption> {
    OPTIONS.iter().find(|option| option.name == name)
}

/// What `set` takes, as a sentence says it: `memory, cpus or disk`.
pub fn settable() -> String {
    let names: Vec<&str> =
        OPTIONS.iter().filter(|option| option.place.is_in_set()).map(|option| option.on_bus).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// What is said of a container before defaults: by UCI, by `create` and `set`. In the order in which it was said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OptionValues(Vec<(&'static str, Vec<String>)>);

impl OptionValues {
    /// What says all of `spec`, whatever the defaults are.
    pub fn of(spec: &Spec) -> OptionValues {
        let mut all = OptionValues::default();
        for option in OPTIONS {
            all.put_list(option.name, (option.get)(spec).said());
        }
        all
    }

    /// Says one text of an option, in the place of what was said before.
    pub fn put(&mut self, name: &'static str, text: &str) {
        self.put_list(name, vec![text.to_string()]);
    }

    /// The same with several texts. None says nothing.
    pub fn put_list(&mut self, name: &'static str, texts: Vec<String>) {
        self.0.retain(|(said, _)| *said != name);
        if !texts.is_empty() {
            self.0.push((name, texts));
        }
    }

    /// What was said of an option that is no list.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name)?.first().map(String::as_str)
    }

    fn texts(&self, name: &str) -> Option<&[String]> {
        self.0.iter().find(|(said, _)| *said == name).map(|(_, texts)| texts.as_slice())
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All options that were said, with whether they are lists.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &[String], bool)> {
        let is_list = |name: &str| find(name).is_some_and(|option| option.shape == Shape::List);
        self.0.iter().map(move |(name, texts)| (*name, texts.as_slice(), is_list(name)))
    }

    /// Checks every value and fills in the defaults.
    ///
    /// # Errors
    /// The first wrong value, by its option's name.
    pub fn resolve(&self, defaults: &Defaults) -> Result<Spec> {
        self.apply(defaults.spec())
    }

    /// Checks every value and puts what was said over `spec`. A gateway outside of a new address's network goes.
    ///
    /// # Errors
    /// The first wrong value, by its option's name.
    pub fn apply(&self, mut spec: Spec) -> Result<Spec> {
        for option in OPTIONS {
            if let Some(texts) = self.texts(option.name) {
                (option.put)(&mut spec, Said(texts)).map_err(|error| error.about(option.name))?;
            }
        }
        if self.texts("gateway").is_none() {
            let fits =
                |gateway: &std::net::Ipv4Addr| parse_gateway(&gateway.to_string(), spec.address).is_ok();
            spec.gateway = spec.gateway.filter(fits);
        }
        Ok(spec)
    }
}

/// What a container's options are, as `info` shows them: what holds when it was made is shown as it was then.
#[derive(Debug)]
pub struct Shown(Vec<(&'static str, Value)>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The options that `info` shows of a container that was made as `made` and shall be `spec`.
pub fn shown(spec: &Spec, made: &Spec) -> Shown {
    let value = |option: &ContainerOption| {
        let of = if option.applies == Applies::WhenMade { made } else { spec };
        (option.on_bus, (option.get)(of))
    };
    let shown = OPTIONS.iter().filter(|option| option.shown).map(value);
    Shown(shown.filter(|(_, value)| *value != Value::Nothing).collect())
}

/// What differs, and what is put together, by the table.
impl Spec {
    /// Names of the options in which `made` differs and that a container keeps from its making to its end.
    pub fn fixed_since_made(&self, made: &Spec) -> Vec<&'static str> {
        self.differing(made, |option| match option.name {
            "disk" => !self.grows(made),
            _ => option.applies == Applies::WhenMade,
        })
    }

    /// The spec a start applies to a container made by `made`: this one, but for what stays as it was made.
    pub fn for_start(&self, made: &Spec) -> Spec {
        let mut spec = self.with(made, Applies::WhenMade);
        if !self.grows(made) {
            spec.disk = made.disk;
        }
        spec
    }

    /// Names of the options in which `running` differs from what shall be in force.
    pub fn differs_from(&self, running: &Spec) -> Vec<&'static str> {
        self.differing(running, |option| match option.name {
            "disk" => self.grows(running),
            _ => matches!(option.applies, Applies::AtOnce | Applies::AtStart),
        })
    }

    /// Those of them that only a start applies.
    pub fn needs_restart(&self, running: &Spec) -> Vec<&'static str> {
        self.differing(running, |option| option.applies == Applies::AtStart)
    }

    /// The spec of a container that runs as `running` after everything else is applied.
    pub fn while_running(&self, running: &Spec) -> Spec {
        self.for_start(running).with(running, Applies::AtStart)
    }

    /// Whether the quota is larger than that of `made`. It cannot be made smaller, nor be given or taken away.
    pub fn grows(&self, made: &Spec) -> bool {
        matches!((self.disk, made.disk), (Some(now), Some(before)) if now > before)
    }

    /// Names of the `wanted` options in which `other` differs.
    fn differing(&self, other: &Spec, wanted: impl Fn(&ContainerOption) -> bool) -> Vec<&'static str> {
        let differing = OPTIONS.iter().filter(|option| wanted(option) && !(option.same)(self, other));
        differing.map(|option| option.name).collect()
    }

    /// This spec, with the options of one kind as in `other`.
    fn with(&self, other: &Spec, applies: Applies) -> Spec {
        let mut spec = self.clone();
        for option in OPTIONS.iter().filter(|option| option.applies == applies) {
            (option.take)(&mut spec, other);
        }
        spec
    }
}

#[cfg(test)]
mod tests {
    use super::super::size::Bytes;
    use super::super::spec::{tests::defaults, Restart};
    use super::*;
    use crate::error::Code;

    fn said(options: &[(&'static str, &str)]) -> OptionValues {
        let mut said = OptionValues::default();
        for (name, text) in options {
            said.put(name, text);
        }
        said
    }

    fn spec(options: &[(&'static str, &str)]) -> Spec {
        said(options).resolve(&defaults()).unwrap()
    }

    #[test]
    fn every_field_of_a_spec_is_an_option() {
        let mut spec = spec(&OTHER);
        spec.disk = Some(Bytes(1 << 30));
        let fields = serde_json::to_value(&spec).unwrap();
        let mut fields: Vec<&str> = fields.as_object().unwrap().keys().map(String::as_str).collect();
        let mut names: Vec<&str> = OPTIONS.iter().map(|option| option.name).collect();
        fields.sort_unstable();
        names.sort_unstable();
        assert_eq!(names, fields);
    }

    #[test]
    fn nothing_said_is_all_defaults() {
        let spec = spec(&[]);
        assert_eq!((spec.memory, spec.pids, spec.autostart), (Bytes(512 << 20), 512, true));
        assert_eq!(
            (spec.image.as_str(), spec.bridge.as_str(), spec.address),
            ("distro", "br-lan", Address::Dhcp)
        );
    }

    /// A good value of each option, which is not the default.
    const OTHER: [(&str, &str); 28] = [
        ("image", "other"),
        ("memory", "100000001"),
        ("swap", "64M"),
        ("cpus", "0.5"),
        ("disk", "none"),
        ("pids", "7"),
        ("bridge", "br-x"),
        ("address", "10.0.0.2/24"),
        ("gateway", "10.0.0.1"),
        ("isolate", "0"),
        ("reach", "lan"),
        ("rate", "2M"),
        ("connections", "200"),
        ("autostart", "0"),
        ("priority", "9"),
        ("restart", "always"),
        ("description", "two words"),
        ("authorized_keys", "ssh-ed25519 AAAA me"),
        ("hostname", "web.example.org"),
        ("timezone", "Europe/Madrid"),
        ("first_boot", "#!/bin/sh\necho 'a' \"b\" \\ $c\n"),
        ("services", "proxy"),
        ("slice", "s"),
        ("peer", "o6cgvbb4hsvzjf6g"),
        ("advertise", "0"),
        ("protected", "1"),
        ("nesting", "1"),
        ("io_uring", "1"),
    ];

    #[test]
    fn a_spec_is_said_whole() {
        let elsewhere = Defaults { memory: Bytes(1 << 30), disk: Some(Bytes(1 << 33)), ..defaults() };
        assert_eq!(OTHER.map(|(name, _)| name).to_vec(), OPTIONS.iter().map(|o| o.name).collect::<Vec<_>>());
        for spec in [spec(&[]), spec(&OTHER)] {
            assert_eq!(OptionValues::of(&spec).resolve(&elsewhere).unwrap(), spec);
        }
        let all = OptionValues::of(&spec(&OTHER));
        for (name, text) in OTHER {
            assert_eq!(all.text(name), Some(text), "{name}");
        }
    }

    #[test]
    fn a_changed_option_holds_when_the_table_says() {
        let old = spec(&[("address", "10.0.0.3/24")]);
        for option in OPTIONS {
            let (name, text) = OTHER.into_iter().find(|(name, _)| *name == option.name).unwrap();
            let text = if name == "disk" { "8G" } else { text };
            let new = said(&[(name, text)]).apply(old.clone()).unwrap();
            assert_ne!(new, old, "{name}");
            let is = |names: Vec<&str>| names == [name];
            assert_eq!(is(new.fixed_since_made(&old)), option.applies == Applies::WhenMade, "{name}");
            assert_eq!(is(new.needs_restart(&old)), option.applies == Applies::AtStart, "{name}");
            let at_once = is(new.differs_from(&old)) && !is(new.needs_restart(&old));
            assert_eq!(at_once, option.applies == Applies::AtOnce, "{name}");
            let started = new.for_start(&old);
            assert_eq!(started == new, option.applies != Applies::WhenMade, "{name}");
            let holds = matches!(option.applies, Applies::AtOnce | Applies::Known);
            assert_eq!(new.while_running(&old) == new, holds, "{name}");
            if option.shown {
                let made = option.applies == Applies::WhenMade;
                let expected = (option.get)(if made { &old } else { &new });
                let is = shown(&new, &old).0.into_iter().find(|(key, _)| *key == option.on_bus);
                assert_eq!(is.map_or(Value::Nothing, |(_, value)| value), expected, "{name}");
            }
        }
    }

    #[test]
    fn a_limit_is_within_itself() {
        for (name, value) in [
            ("bridge", "0123456789abcde"),
            ("priority", "999"),
            ("priority", "0"),
            ("pids", "1"),
            ("pids", "1000000"),
        ] {
            assert_eq!(OptionValues::of(&spec(&[(name, value)])).text(name), Some(value), "{name}");
        }
    }

    #[test]
    fn every_wrong_value_is_named() {
        let rows: [(&'static str, &[&str]); 28] = [
            ("image", &["", "a/b", "-"]),
            ("memory", &["-1", "0", "10X", "1M", ""]),
            ("swap", &["-1", "10X", "no", ""]),
            ("cpus", &["-1", "0", "x"]),
            ("disk", &["-1", "0", "10X", "1M", "no"]),
            ("pids", &["0", "-1", "x", "1.5", "1000001"]),
            ("bridge", &["", "a b", "x/y", "br-lan\nlxc.hook", "0123456789abcdef"]),
            ("address", &["x", "10.0.0.1"]),
            ("gateway", &["x", "10.0.0.1"]),
            ("isolate", &["maybe", ""]),
            ("reach", &["", "wan", "1"]),
            ("rate", &["", "0", "-1", "1K", "11G", "fast"]),
            ("connections", &["", "0", "-1", "1001", "1.5", "99999999999"]),
            ("autostart", &["maybe", ""]),
            ("priority", &["", "-1", "1000", "x", "99999999999"]),
            ("restart", &["", "yes", "1", "onfailure"]),
            ("description", &["two\nlines"]),
            ("authorized_keys", &["x", "ssh-rsa", "ssh-rsa A\nB", "rm -rf"]),
            ("hostname", &["a b", "-a", "a..b", "a\nb", "A", "a/b"]),
            ("timezone", &["../etc", "/etc/passwd", "a//b", "a b", "a\nb", "."]),
            ("first_boot", &["a\0b"]),
            ("services", &["", "a/b", "A"]),
            ("slice", &["a b", "a/b", "o6cgvbb4hsvzjf6g/a-b/c", "o6cgvbb4hsvzjf6g/a/b/c"]),
            ("peer", &["anna", "O6CGVBB4HSVZJF6G"]),
            ("advertise", &["maybe"]),
            ("protected", &["", "2"]),
            ("nesting", &["", "2"]),
            ("io_uring", &["", "2"]),
        ];
        assert_eq!(rows.map(|(name, _)| name).to_vec(), OPTIONS.iter().map(|o| o.name).collect::<Vec<_>>());
        for (name, values) in rows {
            for value in values {
                let error = said(&[(name, value)]).resolve(&defaults()).unwrap_err();
                assert!(matches!(error.code, Code::InvalidArgument | Code::InvalidName), "{name}={value:?}");
                assert_eq!(error.option.as_deref(), Some(name), "{name}={value:?}");
                let named = error.message.contains(name) || name == "image";
                assert!(named, "{name}={value:?}: {}", error.message);
            }
        }
        assert_eq!(spec(&[("disk", "none")]).disk, None);
    }

    #[test]
    fn what_differs_is_told_by_what_applies_it() {
        let old = spec(&[]);
        let new =
            spec(&[("description", "x"), ("autostart", "0"), ("memory", "1G"), ("address", "10.0.0.2/24")]);
        assert_eq!(new.differs_from(&old), ["memory", "address"]);
        assert_eq!(new.needs_restart(&old), ["address"]);
        let applied = new.while_running(&old);
        assert_eq!((applied.memory, applied.address), (new.memory, old.address));
        assert_eq!(new.differs_from(&applied), ["address"]);
    }

    #[test]
    fn a_quota_only_grows() {
        let made = spec(&[]);
        let with = |disk| Spec { disk, ..made.clone() };
        for (disk, grows) in
            [(made.disk, false), (Some(Bytes(8 << 30)), true), (Some(Bytes(1 << 30)), false), (None, false)]
        {
            let new = with(disk);
            assert_eq!(new.grows(&made), grows, "{disk:?}");
            let fixed = new.fixed_since_made(&made).contains(&"disk");
            assert_eq!(fixed, !grows && disk != made.disk, "{disk:?}");
            assert_eq!(new.for_start(&made).disk, if grows { disk } else { made.disk });
        }
        assert!(!with(Some(Bytes(8 << 30))).grows(&with(None)));
    }

    #[test]
    fn what_is_not_said_stays_but_for_a_gateway_that_no_longer_fits() {
        let first = spec(&[
            ("memory", "64M"),
            ("address", "10.0.0.2/24"),
            ("gateway", "10.0.0.9"),
            ("restart", "always"),
            ("priority", "7"),
        ]);
        let change = |options: &[(&'static str, &str)]| said(options).apply(first.clone());
        assert_eq!(change(&[]).unwrap(), first);
        let lighter = change(&[("memory", "32M")]).unwrap();
        assert_eq!(Spec { memory: first.memory, ..lighter }, first);
        let near = change(&[("address", "10.0.0.3/24")]).unwrap();
        assert_eq!(near.gateway, first.gateway);
        for far in ["dhcp", "10.1.0.3/24"] {
            assert_eq!(change(&[("address", far)]).unwrap().gateway, None, "{far}");
            assert!(change(&[("address", far), ("gateway", "10.0.0.9")]).is_err(), "{far}");
        }
        assert_eq!((first.restart, first.priority), (Restart::Always, 7));
    }

    #[test]
    fn what_can_be_set_is_a_sentence() {
        let expected = "memory, swap, cpus, disk, pids, network, address, gateway, isolate, reach, rate, \
                        connections, autostart, priority, restart, description, slice, protected, nesting or io_uring";
        assert_eq!(settable(), expected);
    }
}

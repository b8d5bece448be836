//! Arguments of the methods. Unknown fields are ignored: uhttpd adds `ubus_rpc_session` to every call.

use crate::model::service;
use crate::model::spec::Asked;
use openwrt_ubus::blobmsg::{Type, Value};
use openwrt_ubus::read::{self, FromValue};
use openwrt_ubus::{json, tables, Error};

/// The longest a caller may ask us to hold back a reply, in seconds: LuCI gives up after 20.
pub const WAIT_MAX: u32 = 15;
/// How long `stop` lets a container shut down, in seconds.
pub const STOP_TIMEOUT: u32 = 30;
/// The longest it may be given.
pub const STOP_TIMEOUT_MAX: u32 = 3600;
/// How long all containers may take to shut down with the box, in seconds: procd gives an init script no more than 25.
pub const SHUTDOWN_TIMEOUT: u32 = 20;
/// How long a command may run inside a container, in seconds.
pub const EXEC_TIMEOUT: u32 = 10;
/// The longest it may be given.
pub const EXEC_TIMEOUT_MAX: u32 = 3600;
/// How many lines `log` shows.
pub const LOG_LINES: u32 = 100;
/// The longest argument or variable a program can be given: the kernel's MAX_ARG_STRLEN, less its NUL.
pub const EXEC_WORD_MAX: usize = (128 << 10) - 1;

/// How long `browse` listens to the network, in seconds.
pub const BROWSE_TIMEOUT: u32 = 5;
/// The longest it may be given.
pub const BROWSE_TIMEOUT_MAX: u32 = 15;

/// A value that people write as text or as a number: `"memory":"256M"`, `"cpus":2`, `"autostart":true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(pub String);

impl FromValue for Text {
    const TYPE: Type = Type::String;

    fn blank() -> Text {
        Text(String::new())
    }

    fn from_value(value: Value<'_>, _: usize) -> Result<Text, Error> {
        Ok(Text(match value {
            Value::Str(_) => read::text(value)?.to_string(),
            Value::Bool(v) => if v != 0 { "1" } else { "0" }.to_string(),
            Value::Double(number) => {
                let text = json::double(number);
                // A person who writes 2.0 means 2.
                text.strip_suffix(".0").unwrap_or(&text).to_string()
            }
            _ => match value.as_i64() {
                Some(number) => number.to_string(),
                None => return Err(read::expected("a string or a number", value)),
            },
        }))
    }
}

/// Variables of a program: `{"LANG":"C"}`, or `["LANG=C"]`.
#[derive(Debug)]
pub struct Variables(pub Vec<String>);

impl FromValue for Variables {
    // Published as a table; a list is read as well.
    const TYPE: Type = Type::Table;

    fn blank() -> Variables {
        Variables(Vec::new())
    }

    fn from_value(value: Value<'_>, depth: usize) -> Result<Variables, Error> {
        match value {
            Value::Array(_) => FromValue::from_value(value, depth).map(Variables),
            Value::Table(fields) => {
                let mut variables = Vec::new();
                for field in fields.iter() {
                    let field = field?;
                    let name = read::text(Value::Str(field.name))?;
                    let value = Text::from_value(field.value, depth).map_err(|error| error.in_field(name))?;
                    variables.push([name, "=", &value.0].concat());
                }
                Ok(Variables(variables))
            }
            other => Err(read::expected("a table, or a list of NAME=value", other)),
        }
    }
}

tables! {
    /// A method on one thing: `info`, `delete` of an image.
    #[derive(Debug)]
    pub struct Named {
        /// Its name.
        pub name: String,
    }

    /// `cloudbox.container list`
    #[derive(Debug)]
    pub struct List {
        /// What to say of each container besides its name, as the reply's fields are called; everything unless said
        /// otherwise. Who asks every few seconds asks for what changes.
        pub fields: Option<Vec<String>>,
    }

    /// `cloudbox.container create`
    #[derive(Debug)]
    pub struct Create {
        /// The container's name: a DNS label.
        pub name: String,
        /// The image it is made from: its name here, or `remote:alias`. One that is not here is pulled.
        pub image: Option<String>,
        /// Memory limit, `256M`.
        pub memory: Option<Text>,
        /// Processors, `0.5`.
        pub cpus: Option<Text>,
        /// Disk quota, `4G`, or `none`.
        pub disk: Option<Text>,
        /// Most processes.
        pub pids: Option<Text>,
        /// The bridge it joins.
        pub network: Option<String>,
        /// `dhcp`, or `10.139.40.10/27`.
        pub address: Option<String>,
        /// Default route of a static address.
        pub gateway: Option<String>,
        /// Start it at boot; yes unless said otherwise.
        pub autostart: Option<bool>,
        /// Its place in the order of starts at boot, 0 to 999; 50 unless said otherwise.
        pub priority: Option<Text>,
        /// `no`, `on-failure` or `always`: whether it is started again when it ended by itself.
        pub restart: Option<String>,
        /// Start it now; yes unless said otherwise.
        pub start: Option<bool>,
        /// Free text.
        pub description: Option<String>,
        /// SSH keys of its root.
        pub authorized_keys: Option<Vec<String>>,
        /// What its guest calls itself; as the container is called unless said otherwise.
        pub hostname: Option<String>,
        /// Its time zone, `Europe/Madrid`.
        pub timezone: Option<String>,
        /// A script that is run once inside, or the path of one on the box.
        pub first_boot: Option<String>,
        /// Services of its image that are switched on in it, `tahoe-storage`.
        pub services: Option<Vec<String>>,
        /// The slice it belongs to.
        pub slice: Option<String>,
        /// Refuse to delete it.
        pub protected: Option<bool>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container restart`
    #[derive(Debug)]
    pub struct Restart {
        /// The container's name.
        pub name: String,
        /// Seconds it may take to shut down before it is killed; 30 unless said otherwise.
        pub timeout: Option<u32>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox shutdown`
    #[derive(Debug)]
    pub struct Shutdown {
        /// Seconds it may take in all; what still runs then is killed. 20 unless said otherwise.
        pub timeout: Option<u32>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container rename`
    #[derive(Debug)]
    pub struct Rename {
        /// The container's name.
        pub name: String,
        /// The name it gets: a DNS label.
        pub new_name: String,
    }

    /// `cloudbox.container set`
    #[derive(Debug)]
    pub struct Set {
        /// The container's name.
        pub name: String,
        /// Memory limit, `256M`.
        pub memory: Option<Text>,
        /// Processors, `0.5`.
        pub cpus: Option<Text>,
        /// Disk quota, `4G`; it can only grow.
        pub disk: Option<Text>,
        /// Most processes.
        pub pids: Option<Text>,
        /// The bridge it joins, at its next start.
        pub network: Option<String>,
        /// `dhcp`, or `10.139.40.10/27`, at its next start.
        pub address: Option<String>,
        /// Default route of a static address, at its next start.
        pub gateway: Option<String>,
        /// Start it at boot.
        pub autostart: Option<bool>,
        /// Its place in the order of starts at boot, 0 to 999.
        pub priority: Option<Text>,
        /// `no`, `on-failure` or `always`: whether it is started again when it ended by itself.
        pub restart: Option<String>,
        /// Free text.
        pub description: Option<String>,
        /// The slice it belongs to.
        pub slice: Option<String>,
        /// Refuse to delete it.
        pub protected: Option<bool>,
        /// Also a memory limit below what it uses: the kernel then kills what does not fit.
        pub force: Option<bool>,
        /// Seconds to hold back the reply until it is done; 15 unless said otherwise.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container delete`
    #[derive(Debug)]
    pub struct Delete {
        /// The container's name.
        pub name: String,
        /// Also when it is running.
        pub force: Option<bool>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container adopt`
    #[derive(Debug)]
    pub struct Adopt {
        /// The orphan's or the foreign container's name.
        pub name: String,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container prune` and `cloudbox.image prune`
    #[derive(Debug)]
    pub struct Prune {
        /// Remove it; without, the reply says what there is.
        pub yes: Option<bool>,
    }

    /// `cloudbox.container start`
    #[derive(Debug)]
    pub struct Start {
        /// The container's name.
        pub name: String,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container stop`
    #[derive(Debug)]
    pub struct Stop {
        /// The container's name.
        pub name: String,
        /// Seconds it may take to shut down before it is killed; 30 unless said otherwise.
        pub timeout: Option<u32>,
        /// Kill it at once.
        pub force: Option<bool>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container snapshot`, `restore` and `snapshot_delete`
    #[derive(Debug)]
    pub struct Snapshot {
        /// The container's name.
        pub name: String,
        /// The snapshot's name; a new one is called by the time when nothing is said.
        pub snapshot: Option<String>,
        /// Restore it also when the container is running: it is killed and started again.
        pub force: Option<bool>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container clone`
    #[derive(Debug)]
    pub struct Clone {
        /// The container that is copied.
        pub name: String,
        /// The copy's name.
        pub new_name: String,
        /// A snapshot to copy instead of what there is now.
        pub snapshot: Option<String>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container export`
    #[derive(Debug)]
    pub struct Export {
        /// The container's name.
        pub name: String,
        /// The archive on the box; there must be no such file yet.
        pub path: String,
        /// A snapshot to export instead of what there is now.
        pub snapshot: Option<String>,
        /// Put the image into it, for a box that has not got it.
        pub image: Option<bool>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container import`
    #[derive(Debug)]
    pub struct Import {
        /// The archive on the box.
        pub path: String,
        /// The name the container gets.
        pub name: String,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.container exec`
    #[derive(Debug)]
    pub struct Exec {
        /// The container's name.
        pub name: String,
        /// The program and its arguments; no shell reads them.
        pub command: Vec<String>,
        /// Variables: a table, or a list of `NAME=value`.
        pub environment: Option<Variables>,
        /// Who runs it, by name or number in the container; root unless said otherwise.
        pub user: Option<Text>,
        /// Where it runs, an absolute path in the container; `/` unless said otherwise.
        pub directory: Option<String>,
        /// Seconds it may run; 10 unless said otherwise.
        pub timeout: Option<u32>,
    }

    /// `cloudbox.container log`
    #[derive(Debug)]
    pub struct Log {
        /// The container's name.
        pub name: String,
        /// The last so many lines; 100 unless said otherwise.
        pub lines: Option<u32>,
        /// What the first-boot script said, instead of the console.
        pub first_boot: Option<bool>,
    }

    /// `cloudbox.image import`
    #[derive(Debug)]
    pub struct ImageImport {
        /// The file on the box: a squashfs, or a tar, plain or packed with gzip, xz or zstd.
        pub path: String,
        /// The name the image gets.
        pub name: String,
        /// The file's sha256, 64 hex digits, to be checked.
        pub sha256: Option<String>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.image available`
    #[derive(Debug)]
    pub struct Available {
        /// Only this server; all of them unless said otherwise.
        pub remote: Option<String>,
        /// Only images with this in one of their names.
        pub filter: Option<String>,
    }

    /// `cloudbox.image pull`
    #[derive(Debug)]
    pub struct Pull {
        /// The image: its name here, or what a server calls it, such as `debian/12` or `community:debian/12`.
        pub name: String,
        /// The server; any that has it unless said otherwise.
        pub remote: Option<String>,
        /// Seconds to hold back the reply until it is done.
        pub wait: Option<u32>,
    }

    /// `cloudbox.service publish`
    #[derive(Debug)]
    pub struct Publish {
        /// The container it runs in.
        pub container: String,
        /// The name people see; made from the container's and the box's unless said.
        pub name: Option<String>,
        /// DNS-SD type, such as `_http._tcp`.
        pub kind as "type": String,
        /// Its port.
        pub port: Text,
        /// TXT records, such as `path=/wiki`.
        pub txt: Option<Vec<String>>,
        /// `any`, `ipv4`, `ipv6`
        pub protocol: Option<String>,
        /// `tcp`: announced only while the port answers; `none`
        pub check: Option<String>,
    }

    /// `cloudbox.service withdraw`
    #[derive(Debug)]
    pub struct Withdraw {
        /// The service's id, as `list` shows it.
        pub id: String,
    }

    /// `cloudbox.service browse`
    #[derive(Debug)]
    pub struct Browse {
        /// Only services of this type.
        pub kind as "type": Option<String>,
        /// Seconds to listen at most; 5 unless said otherwise. It ends earlier when nothing new is said.
        pub timeout: Option<u32>,
    }

    /// `cloudbox.job status` and `cancel`
    #[derive(Debug)]
    pub struct JobId {
        /// The job's number.
        pub id: Text,
    }

    /// `cloudbox.job wait`
    #[derive(Debug)]
    pub struct JobWait {
        /// The job's number.
        pub id: Text,
        /// Seconds to hold back the reply; 15 is the most, and what is taken when nothing is said.
        pub timeout: Option<u32>,
    }
}

impl Set {
    /// What its section will say anew.
    pub fn asked(&self) -> Asked {
        let text = |value: &Option<Text>| value.as_ref().map(|t| t.0.clone());
        Asked {
            memory: text(&self.memory),
            cpus: text(&self.cpus),
            disk: text(&self.disk),
            pids: text(&self.pids),
            bridge: self.network.clone(),
            address: self.address.clone(),
            gateway: self.gateway.clone(),
            autostart: self.autostart.map(flag),
            priority: text(&self.priority),
            restart: self.restart.clone(),
            description: self.description.clone(),
            slice: self.slice.clone(),
            protected: self.protected.map(flag),
            ..Asked::default()
        }
    }
}

/// A flag as it stands in UCI.
fn flag(value: bool) -> String {
    if value { "1" } else { "0" }.to_string()
}

impl Create {
    /// What its section will say. Whether it is started at boot is always written, being the owner's to see.
    pub fn asked(&self) -> Asked {
        let text = |value: &Option<Text>| value.as_ref().map(|t| t.0.clone());
        Asked {
            image: self.image.clone(),
            memory: text(&self.memory),
            cpus: text(&self.cpus),
            disk: text(&self.disk),
            pids: text(&self.pids),
            bridge: self.network.clone(),
            address: self.address.clone(),
            gateway: self.gateway.clone(),
            autostart: Some(flag(self.autostart.unwrap_or(true))),
            priority: text(&self.priority),
            restart: self.restart.clone(),
            description: self.description.clone(),
            authorized_keys: self.authorized_keys.clone().unwrap_or_default(),
            slice: self.slice.clone(),
            protected: self.protected.map(flag),
            hostname: self.hostname.clone(),
            timezone: self.timezone.clone(),
            first_boot: self.first_boot.clone(),
            services: self.services.clone().unwrap_or_default(),
            advertise: None,
            deleting: None,
        }
    }
}

impl Publish {
    /// What its section will say.
    pub fn asked(&self) -> service::Asked {
        service::Asked {
            container: Some(self.container.clone()),
            name: self.name.clone(),
            kind: Some(self.kind.clone()),
            port: Some(self.port.0.clone()),
            txt: self.txt.clone().unwrap_or_default(),
            protocol: self.protocol.clone(),
            check: self.check.clone(),
            enabled: None,
        }
    }
}

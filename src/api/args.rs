//! Arguments of the methods. Unknown fields are ignored: uhttpd adds `ubus_rpc_session` to every call.

use crate::model::service;
use crate::model::spec::Asked;
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

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

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        // Published as a string; the bus' deserializer gives whatever there is.
        deserializer.deserialize_string(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a number")
    }

    fn visit_str<E>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_string()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
        Ok(Text(flag(value)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }

    /// A person who writes 2.0 means 2.
    fn visit_f64<E>(self, number: f64) -> Result<Text, E> {
        Ok(Text(number.to_string()))
    }
}

/// Variables of a program: `{"LANG":"C"}`, or `["LANG=C"]`.
#[derive(Debug)]
pub struct Variables(pub Vec<String>);

impl<'de> Deserialize<'de> for Variables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Variables, D::Error> {
        // Published as a table; a list is read as well.
        deserializer.deserialize_map(VariablesVisitor)
    }
}

struct VariablesVisitor;

impl<'de> Visitor<'de> for VariablesVisitor {
    type Value = Variables;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table, or a list of NAME=value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Variables, A::Error> {
        let mut variables = Vec::new();
        while let Some(variable) = list.next_element()? {
            variables.push(variable);
        }
        Ok(Variables(variables))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Variables, A::Error> {
        let mut variables = Vec::new();
        while let Some((name, Text(value))) = table.next_entry::<String, Text>()? {
            variables.push([&name, "=", &value].concat());
        }
        Ok(Variables(variables))
    }
}

/// A method on one thing: `info`, `delete` of an image.
#[derive(Debug, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
}

/// `cloudbox.container list`
#[derive(Debug, Deserialize)]
pub struct List {
    /// What to say of each container besides its name, as the reply's fields are called; everything unless said
    /// otherwise. Who asks every few seconds asks for what changes.
    pub fields: Option<Vec<String>>,
}

/// `cloudbox.container create`
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub struct Restart {
    /// The container's name.
    pub name: String,
    /// Seconds it may take to shut down before it is killed; 30 unless said otherwise.
    pub timeout: Option<u32>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox shutdown`
#[derive(Debug, Deserialize)]
pub struct Shutdown {
    /// Seconds it may take in all; what still runs then is killed. 20 unless said otherwise.
    pub timeout: Option<u32>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.container rename`
#[derive(Debug, Deserialize)]
pub struct Rename {
    /// The container's name.
    pub name: String,
    /// The name it gets: a DNS label.
    pub new_name: String,
}

/// `cloudbox.container set`
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub struct Delete {
    /// The container's name.
    pub name: String,
    /// Also when it is running.
    pub force: Option<bool>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.container adopt`
#[derive(Debug, Deserialize)]
pub struct Adopt {
    /// The orphan's or the foreign container's name.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.container prune` and `cloudbox.image prune`
#[derive(Debug, Deserialize)]
pub struct Prune {
    /// Remove it; without, the reply says what there is.
    pub yes: Option<bool>,
}

/// `cloudbox.container start`
#[derive(Debug, Deserialize)]
pub struct Start {
    /// The container's name.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.container stop`
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub struct Import {
    /// The archive on the box.
    pub path: String,
    /// The name the container gets.
    pub name: String,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.container exec`
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub struct Log {
    /// The container's name.
    pub name: String,
    /// The last so many lines; 100 unless said otherwise.
    pub lines: Option<u32>,
    /// What the first-boot script said, instead of the console.
    pub first_boot: Option<bool>,
}

/// `cloudbox.image import`
#[derive(Debug, Deserialize)]
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
#[derive(Debug, Deserialize)]
pub struct Available {
    /// Only this server; all of them unless said otherwise.
    pub remote: Option<String>,
    /// Only images with this in one of their names.
    pub filter: Option<String>,
}

/// `cloudbox.image pull`
#[derive(Debug, Deserialize)]
pub struct Pull {
    /// The image: its name here, or what a server calls it, such as `debian/12` or `community:debian/12`.
    pub name: String,
    /// The server; any that has it unless said otherwise.
    pub remote: Option<String>,
    /// Seconds to hold back the reply until it is done.
    pub wait: Option<u32>,
}

/// `cloudbox.service publish`
#[derive(Debug, Deserialize)]
pub struct Publish {
    /// The container it runs in.
    pub container: String,
    /// The name people see; made from the container's and the box's unless said.
    pub name: Option<String>,
    /// DNS-SD type, such as `_http._tcp`.
    #[serde(rename = "type")]
    pub kind: String,
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
#[derive(Debug, Deserialize)]
pub struct Withdraw {
    /// The service's id, as `list` shows it.
    pub id: String,
}

/// `cloudbox.service browse`
#[derive(Debug, Deserialize)]
pub struct Browse {
    /// Only services of this type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Seconds to listen at most; 5 unless said otherwise. It ends earlier when nothing new is said.
    pub timeout: Option<u32>,
}

/// `cloudbox.job status` and `cancel`
#[derive(Debug, Deserialize)]
pub struct JobId {
    /// The job's number.
    pub id: Text,
}

/// `cloudbox.job wait`
#[derive(Debug, Deserialize)]
pub struct JobWait {
    /// The job's number.
    pub id: Text,
    /// Seconds to hold back the reply; 15 is the most, and what is taken when nothing is said.
    pub timeout: Option<u32>,
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
    pub fn asked(&self) -> service::ServiceOptions {
        service::ServiceOptions {
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

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::{from_fields, to_fields};
    use serde_json::{json, Value as Json};

    #[derive(Debug, Deserialize)]
    struct Both {
        text: Option<Text>,
        variables: Option<Variables>,
    }

    fn read(json: &Json) -> Result<Both, String> {
        from_fields(&to_fields(json).unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn text_is_also_a_number_or_a_flag() {
        for (json, text) in [
            (json!("256M"), Some("256M")),
            (json!(2), Some("2")),
            (json!(-5_000_000_000_i64), Some("-5000000000")),
            (json!(2.0), Some("2")),
            (json!(0.1), Some("0.1")),
            (json!(true), Some("1")),
            (json!(false), Some("0")),
            (json!(""), None),
            (json!(null), None),
        ] {
            assert_eq!(
                read(&json!({"text": json})).unwrap().text.map(|text| text.0).as_deref(),
                text,
                "{json}"
            );
        }
        let error = read(&json!({"text": [1]})).unwrap_err();
        assert_eq!(error, "text: expected a string or a number, found an array");
    }

    #[test]
    fn variables_are_a_table_or_a_list() {
        for json in [json!({"A": "b", "N": 1}), json!(["A=b", "N=1"])] {
            let found = read(&json!({"variables": json})).unwrap().variables.unwrap();
            assert_eq!(found.0, ["A=b", "N=1"]);
        }
        for (json, error) in [
            (json!(5), "variables: expected a table, or a list of NAME=value, found 5"),
            (json!({"A": null}), "variables.A: expected a string or a number, found null"),
            (json!(["A=b", 5]), "variables[1]: expected text, found 5"),
        ] {
            assert_eq!(read(&json!({"variables": json})).unwrap_err(), error);
        }
    }
}

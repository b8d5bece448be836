//! Another machine on the box's network: a network namespace on its bridge, with an avahi-daemon of its own. What it
//! sees is what the community sees.

use crate::avahi::{Avahi, Place};
use crate::bus::Answer;
use crate::processes::{network_namespace, output, sh, Process};
use crate::test_box::{eventually, TestBox, PATIENCE};
use serde_json::{json, Value};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::mpsc::{channel, Receiver};
use std::time::{Duration, Instant};

pub struct Neighbour {
    avahi: Avahi,
    /// Keeps the network namespace, and with it the link.
    _holder: Process,
}

/// A service as the neighbour sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `IPv4` or `IPv6`: what carried the announcement.
    pub over: String,
    pub name: String,
    pub kind: String,
    pub host: String,
    pub address: IpAddr,
    pub port: u16,
    /// In order.
    pub txt: Vec<String>,
}

impl Neighbour {
    /// Moves in.
    pub fn of(the_box: &TestBox) -> Neighbour {
        let dir = the_box.dir.join("neighbour");
        for sub in ["avahi/services", "run"] {
            fs::create_dir_all(dir.join(sub)).unwrap();
        }
        let (holder, namespace) = network_namespace();
        let (bridge, port) = (&the_box.bridge, the_box.neighbour_port());
        sh(&format!(
            "ip link add {port} type veth peer name eth0 netns {pid}; ip link set {port} master {bridge} up; \
             nsenter --net={namespace} sh -ec 'ip link set lo up; ip addr add {address}/24 dev eth0; ip link set eth0 up'",
            pid = holder.pid(),
            address = the_box.address(5),
        ));
        let place = Place {
            etc: dir.join("avahi"),
            run: dir.join("run"),
            bus: dir.join("dbus"),
            log: dir.join("avahi.log"),
            enter: vec!["nsenter".into(), format!("--net={namespace}")],
            interface: "eth0".into(),
            host_name: "neighbour",
        };
        Neighbour { avahi: Avahi::start_at(place, true), _holder: holder }
    }

    /// The services of a kind that it can resolve now. Something that it knows of but cannot resolve costs five seconds.
    pub fn services(&self, kind: &str) -> Vec<Seen> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            // avahi-browse 0.8 waits for ever when a service goes while it is being resolved.
            let shown = output(self.avahi.client("timeout").args(["8", "avahi-browse", "-rptk", kind]));
            if shown.status.success() {
                let text = String::from_utf8_lossy(&shown.stdout);
                return text.lines().filter_map(Line::read).filter_map(|line| line.resolved).collect();
            }
            let cut_short = shown.status.code() == Some(124) && Instant::now() < deadline;
            assert!(cut_short, "avahi-browse: {}", String::from_utf8_lossy(&shown.stderr));
        }
    }

    /// The names of the services of a kind, each once.
    pub fn names(&self, kind: &str) -> Vec<String> {
        let names: BTreeSet<String> = self.services(kind).into_iter().map(|seen| seen.name).collect();
        names.into_iter().collect()
    }

    /// Looks again and again: changes of TXT are told to nobody who only listens.
    pub fn wait_until(&self, kind: &str, what: &str, holds: impl Fn(&[Seen]) -> bool) -> Duration {
        let begun = Instant::now();
        loop {
            let services = self.services(kind);
            let elapsed = begun.elapsed();
            if holds(&services) {
                return elapsed;
            }
            assert!(elapsed < PATIENCE, "waited in vain for {what}: {services:?}");
        }
    }

    /// Announces a service of its own.
    pub fn announce(&self, name: &str, kind: &str, port: u16) {
        let text = format!(
            "<service-group><name>{name}</name><service><type>{kind}</type><port>{port}</port>\
             <txt-record>of=neighbour</txt-record></service></service-group>"
        );
        self.avahi.write_service(&format!("{port}.service"), &text);
    }

    /// Announces a host that is not itself, with a service, as a box does of a container.
    pub fn announce_host(&self, host: &str, address: IpAddr, name: &str, kind: &str, port: u16) {
        self.avahi.write_hosts(&format!("{address} {host}\n"));
        let text = format!(
            "<service-group><name>{name}</name><service protocol=\"ipv4\"><type>{kind}</type>\
             <host-name>{host}</host-name><port>{port}</port></service></service-group>"
        );
        self.avahi.write_service("of-host.service", &text);
    }

    /// The address of a name, if anybody has one; to learn that nobody has takes five seconds.
    pub fn resolve(&self, host: &str) -> Option<IpAddr> {
        self.avahi.resolve(host)
    }

    pub fn resolve_ipv6(&self, host: &str) -> Option<IpAddr> {
        self.avahi.resolve_ipv6(host)
    }

    /// Watches the services of a kind from now on, with an exact clock.
    pub fn watch(&self, kind: &str) -> Watch {
        let mut command = self.avahi.client("avahi-browse");
        command.args(["-rpk", kind]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = Process::spawn(&mut command);
        let stdout = BufReader::new(process.stdout());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let at = Instant::now();
                if Line::read(&line).is_some_and(|line| send.send((at, line)).is_err()) {
                    return;
                }
            }
        });
        Watch { _process: process, lines, heard: Vec::new() }
    }
}

/// A box with its avahi-daemon, and a neighbour.
pub struct Neighbourhood {
    pub avahi: Avahi,
    pub neighbour: Neighbour,
    /// The last to go.
    pub the_box: TestBox,
}

impl Neighbourhood {
    pub fn of(the_box: TestBox) -> Neighbourhood {
        Neighbourhood { avahi: Avahi::of(&the_box), neighbour: Neighbour::of(&the_box), the_box }
    }

    pub fn without_dbus(the_box: TestBox) -> Neighbourhood {
        Neighbourhood { avahi: Avahi::without_dbus(&the_box), neighbour: Neighbour::of(&the_box), the_box }
    }

    pub fn call(&self, method: &str, arguments: Value) -> Answer {
        self.the_box.call("cloudbox.service", method, arguments)
    }

    /// Publishes a service, with `more` arguments than it must have. Returns its id.
    pub fn publish(&self, container: &str, kind: &str, port: u16, more: Value) -> String {
        let mut arguments = more;
        for (field, value) in [("container", json!(container)), ("type", json!(kind)), ("port", json!(port))]
        {
            arguments[field] = value;
        }
        let shown = arguments.to_string();
        let reply = self.call("publish", arguments).unwrap_or_else(|e| panic!("publish {shown}: {e:?}"));
        reply["id"].as_str().unwrap().to_string()
    }

    pub fn withdraw(&self, id: &str) {
        self.call("withdraw", json!({ "id": id })).unwrap_or_else(|e| panic!("withdraw {id}: {e:?}"));
    }

    pub fn services(&self) -> Vec<Value> {
        self.call("list", json!({})).unwrap()["services"].as_array().unwrap().clone()
    }

    /// An entry of `list`; null when there is none.
    pub fn service(&self, id: &str) -> Value {
        self.services().into_iter().find(|service| service["id"] == id).unwrap_or_default()
    }

    pub fn wait_for_state(&self, id: &str, state: &str) {
        eventually(&format!("{id} is {state}"), || self.service(id)["state"] == state);
    }

    /// Waits until all of so many are announced.
    pub fn wait_for_all_published(&self, count: usize) {
        eventually(&format!("{count} services to be published"), || {
            self.services().iter().filter(|service| service["state"] == "published").count() == count
        });
    }

    /// What the box calls itself on the network.
    pub fn box_name(&self) -> String {
        self.service("box")["name"].as_str().unwrap().to_string()
    }

    /// The name of a container on the network.
    pub fn host(&self, container: &str) -> String {
        format!("{container}-{}.local", self.box_name())
    }

    /// What the box has in avahi's file of hosts.
    pub fn hosts(&self) -> String {
        fs::read_to_string(self.the_box.avahi().join("hosts")).unwrap_or_default()
    }

    /// The box's service files.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.the_box.avahi().join("services")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// Starts a web server in a guest of the mini image.
    pub fn serve(&self, container: &str, port: u16) {
        self.the_box.inside(container, &format!("httpd -p {port} -h /www </dev/null >/dev/null 2>&1"));
    }

    /// Ends all of them.
    pub fn silence(&self, container: &str) {
        self.the_box.inside(container, "killall httpd");
    }
}

/// The moment at which a port answers.
pub fn answering(address: IpAddr, port: u16) -> Instant {
    let at = SocketAddr::new(address, port);
    eventually(&format!("an answer of {at}"), || {
        TcpStream::connect_timeout(&at, Duration::from_millis(200)).is_ok()
    });
    Instant::now()
}

/// A line of `avahi-browse -p`.
#[derive(Debug, Clone)]
struct Line {
    /// `+` for seen, `=` for resolved, `-` for gone.
    sign: char,
    over: String,
    name: String,
    resolved: Option<Seen>,
}

impl Line {
    fn read(line: &str) -> Option<Line> {
        let fields: Vec<&str> = line.splitn(10, ';').collect();
        let (sign, over) = (fields.first()?.chars().next()?, fields.get(2)?.to_string());
        let name = unescape(fields.get(3)?);
        let resolved = if sign == '=' {
            Some(Seen {
                over: over.clone(),
                name: name.clone(),
                kind: fields.get(4)?.to_string(),
                host: fields.get(6)?.to_string(),
                address: fields.get(7)?.parse().ok()?,
                port: fields.get(8)?.parse().ok()?,
                txt: txt(fields.get(9)?),
            })
        } else {
            None
        };
        Some(Line { sign, over, name, resolved })
    }
}

/// `\.`, `\\` and `\032`.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let number = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u8>().ok());
        (bytes, rest) = match (first, number) {
            (b'\\', Some(byte)) => ([bytes, vec![byte]].concat(), &after[3..]),
            (b'\\', None) => ([bytes, after[..1].to_vec()].concat(), &after[1..]),
            _ => ([bytes, vec![*first]].concat(), after),
        };
    }
    String::from_utf8(bytes).unwrap()
}

/// `"a=1" "b=2"`, with escapes as in names.
fn txt(text: &str) -> Vec<String> {
    let mut records = Vec::new();
    let mut current: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (&mut current, c) {
            (None, '"') => current = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => records.extend(current.take()),
            (Some(record), '\\') => {
                record.push('\\');
                record.extend(characters.next());
            }
            (Some(record), c) => record.push(c),
        }
    }
    let mut records: Vec<String> = records.iter().map(|record| unescape(record)).collect();
    records.sort();
    records
}

/// A running `avahi-browse`: what came when.
pub struct Watch {
    _process: Process,
    lines: Receiver<(Instant, Line)>,
    heard: Vec<(Instant, Line)>,
}

impl Watch {
    /// How long after `since` the service was resolved for the first time.
    pub fn found(&mut self, name: &str, since: Instant) -> Duration {
        self.found_as(name, since).0
    }

    /// The same, and what it was resolved to.
    pub fn found_as(&mut self, name: &str, since: Instant) -> (Duration, Seen) {
        let is_it = |(at, line): &&(Instant, Line)| *at >= since && line.sign == '=' && line.name == name;
        self.listen_until(&format!("{name} to be resolved"), |heard| heard.iter().any(|h| is_it(&h)));
        let (at, line) = self.heard.iter().find(is_it).unwrap();
        (at.duration_since(since), line.resolved.clone().unwrap())
    }

    /// How long after `since` all of these were resolved.
    pub fn found_all(&mut self, names: &[String], since: Instant) -> Duration {
        names.iter().map(|name| self.found(name, since)).max().unwrap_or_default()
    }

    /// How long after `since` the service was known no more. It must have been known.
    pub fn gone(&mut self, name: &str, since: Instant) -> Duration {
        self.listen_until(&format!("{name} to be gone"), |heard| {
            last_sign(heard, name).is_some_and(|(at, known)| at >= since && !known)
        });
        last_sign(&self.heard, name).unwrap().0.duration_since(since)
    }

    /// Whether it knows the service at this moment.
    pub fn knows(&mut self, name: &str) -> bool {
        self.listen();
        last_sign(&self.heard, name).is_some_and(|(_, known)| known)
    }

    /// How often the service has gone since.
    pub fn times_gone(&mut self, name: &str, since: Instant) -> usize {
        self.listen();
        self.heard.iter().filter(|(at, line)| *at >= since && line.sign == '-' && line.name == name).count()
    }

    fn listen(&mut self) {
        self.heard.extend(self.lines.try_iter());
    }

    fn listen_until(&mut self, what: &str, mut holds: impl FnMut(&[(Instant, Line)]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        self.listen();
        while !holds(&self.heard) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => self.heard.push(line),
                Err(e) => panic!("waited in vain for {what} ({e}): {:#?}", self.heard),
            }
        }
    }
}

/// When the service came or went last, and whether it is known since, over IPv4 or IPv6.
fn last_sign(heard: &[(Instant, Line)], name: &str) -> Option<(Instant, bool)> {
    let mut known: BTreeSet<&str> = BTreeSet::new();
    let mut last = None;
    for (at, line) in heard.iter().filter(|(_, line)| line.name == name) {
        match line.sign {
            '-' => known.remove(line.over.as_str()),
            _ => known.insert(&line.over),
        };
        last = Some((*at, !known.is_empty()));
    }
    last
}

#[test]
fn what_avahi_browse_prints_is_understood() {
    let line = r#"=;eth0;IPv4;Ada\039s\032\060wiki\062\032\038\032m\195\161s\.\\;_http._tcp;local;web-box.local;10.200.0.7;8080;"path=/a;b" "say=\"hi\" \\" "n=\010""#;
    let seen = Line::read(line).unwrap().resolved.unwrap();
    assert_eq!(seen.name, r"Ada's <wiki> & más.\");
    assert_eq!((seen.kind.as_str(), seen.host.as_str()), ("_http._tcp", "web-box.local"));
    assert_eq!((seen.address.to_string().as_str(), seen.port), ("10.200.0.7", 8080));
    assert_eq!(seen.txt, ["n=\n", "path=/a;b", r#"say="hi" \"#]);
    assert_eq!(Line::read(";").map(|l| l.sign), None);
}

//! Replies as people read them.

use super::args::Args;
use super::page::Page;
use super::pattern::fill;
use super::text::{count, spaces, Table};
use super::view::View;
use super::{OK, REFUSED};

/// How the tables of an array are shown: one line each.
struct List {
    /// The array.
    field: &'static str,
    /// With `--names`: a pattern.
    names: &'static str,
    /// What is said when there are none; otherwise only the titles are shown.
    none: &'static str,
    /// As [`Table::titled`] takes them.
    titles: &'static str,
    /// A pattern for each column.
    cells: &'static str,
    /// Patterns of lines below the table, for each that has something to say.
    notes: &'static [&'static str],
}

impl List {
    fn show(&self, view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
        let entries = view.tables(self.field);
        if args.flag("names") {
            entries.iter().for_each(|entry| page.add(self.names, entry));
            return OK;
        }
        if entries.is_empty() && !self.none.is_empty() {
            page.line(self.none);
            return OK;
        }
        let mut table = Table::titled(self.titles);
        for entry in &entries {
            let mut row = Vec::new();
            for pattern in self.cells.split('|') {
                row.push(match fill(pattern, entry, page) {
                    // Otherwise columns could not be told apart.
                    empty if empty.is_empty() => "-".to_string(),
                    text => text,
                });
            }
            table.row(row);
        }
        table.write(&mut page.text, "", page.color);
        for entry in &entries {
            self.notes.iter().for_each(|note| page.add(note, entry));
        }
        OK
    }
}

/// Writes names and values, `name|pattern` in each line. What is empty is left out.
fn pairs(patterns: &str, view: &View<'_>, page: &Page, table: &mut Table) {
    for line in patterns.lines() {
        let (name, pattern) = line.split_once('|').unwrap_or_default();
        table.pair(name, fill(pattern, view, page));
    }
}

/// A page of nothing but names and values.
fn only_pairs(patterns: &str, view: &View<'_>, page: &mut Page) -> u8 {
    let mut table = Table::default();
    pairs(patterns, view, page, &mut table);
    table.write(&mut page.text, "", false);
    OK
}

const CONTAINERS: List = List {
    field: "containers",
    names: "{name}",
    none: "there are no containers yet; `cloudbox create web` makes one",
    titles: "NAME|STATE|ADDRESS|>CPU|MEMORY|>PIDS|DISK|UP|IMAGE",
    cells: "{name}|{state}|{addresses:first}|{cpu:percent}|{memory:share}|{pids}|{disk:share}|{uptime:duration}|{image}",
    notes: &[
        "[{name}: {error.message}[; it is started again in {restart_in:duration} (so far {restarts:restarts})]]",
        "[{name}: a restart applies {restart_required}]",
    ],
};

/// What [`containers`] shows of each, besides its name. What passes through the interfaces takes the daemon a while.
#[rustfmt::skip]
pub const CONTAINER_FIELDS: &[&str] = &[
    "state", "addresses", "cpu", "memory", "memory_limit", "pids", "disk", "disk_limit", "uptime", "image", "error",
    "restart_in", "restarts", "restart_required", "path",
];

/// `cloudbox list`
pub fn containers(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    CONTAINERS.show(view, args, page);
    if !args.flag("names") {
        apart(view, page);
    }
    OK
}

/// What stands apart from the containers that are declared.
fn apart(view: &View<'_>, page: &mut Page) {
    let orphans: Vec<String> = view.tables("orphans").iter().map(|orphan| orphan.text("name")).collect();
    if !orphans.is_empty() {
        page.line(&format!(
            "orphans, whose section is gone and whose data is kept: {}; `cloudbox adopt` brings one back, \
             `cloudbox prune` removes them",
            orphans.join(", ")
        ));
    }
    for foreign in &view.tables("foreign") {
        page.add("{name} ({state}) in {path} is another tool's; `cloudbox adopt` takes it over", foreign);
    }
}

/// `cloudbox prune`
pub fn prune(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    page.add("[orphans, with all their data: {orphans}]", view);
    page.add("[left half made or half removed: {leftovers}]", view);
    let nothing = page.text.is_empty();
    page.add("[protected, and stay: {protected}]", view);
    match () {
        () if nothing => page.line("there is nothing to remove"),
        () if view.texts("jobs").is_empty() && !args.flag("yes") => {
            page.line("`cloudbox prune --yes` removes them; there is no way back");
        }
        () => page.add("they are being removed; `cloudbox job wait {jobs:words}` follows", view),
    }
    OK
}

/// `cloudbox info`
pub fn container(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    pairs(
        "\
name|{name}
state|{state:painted}[ (pid {pid})]
error|{error.message}
job|{job}
description|{description}
image|{image} {image_sha256:short}
made|{created:ago}
autostart|{autostart:yes}
priority|{priority}
restart|{restart}
slice|{slice}
addresses|{addresses}
network|{address} on {network}
interface|{veth}, MAC {mac}
memory|{memory:share}[, {memory_peak:size} at most]
disk|{disk:share}",
        view,
        page,
        &mut table,
    );
    for interface in &view.tables("interfaces") {
        let traffic = fill("[{received:size} in, {sent:size} out]", interface, page);
        table.pair(&interface.text("name"), traffic);
    }
    pairs(
        "\
processes|{pids}
cpu time|[{cpu_time:micro}[, {cpu:percent} now]]
up|{uptime:duration}
last end|{last_exit.reason}[, exit code {last_exit.code}][, signal {last_exit.signal}][ {last_exit.at:ago}]
restarts|{restarts}
asked for|{asked:limits}
in force|{in_force:limits}
restart for|{restart_required}
not changed|{fixed}
host ids|{id_base:ids}
root|{rootfs}
lxcpath|{lxcpath}
console|{console_log}
section|{section}
first boot|{first_boot.state}[, status {first_boot.code:some}]
services|{services}",
        view,
        page,
        &mut table,
    );
    for key in view.texts("authorized_keys") {
        table.pair("ssh key", key);
    }
    table.write(&mut page.text, "", false);
    OK
}

const IMAGES: List = List {
    field: "images",
    names: "{names:lines}",
    none: "there are no images yet; `cloudbox image pull` fetches one, `cloudbox image import` makes one of a file",
    titles: "NAME|SYSTEM|ARCH|>SIZE|SHA256|IMPORTED|USED BY",
    cells: "{names}|{os}[ {release}]|{arch}|{size:size}|{sha256:short}|{imported:ago}|{used_by}",
    notes: &["[{names}: version {newer} is there; `cloudbox image pull {names}` fetches it]"],
};

/// `cloudbox image list`
pub fn images(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    IMAGES.show(view, args, page)
}

const REMOTES: List = List {
    field: "remotes",
    names: "{name}",
    none: "there are no remotes; a section `remote` in /etc/config/cloudbox names one",
    titles: "NAME|ADDRESS|SIGNED|KEYS",
    cells: "{name}|{url}|{signed:yes}|{keys}",
    notes: &["[{name}: {error.message}]"],
};

/// `cloudbox image remotes`
pub fn remotes(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    REMOTES.show(view, args, page)
}

const OFFERS: List = List {
    field: "images",
    names: "{remote}:{aliases:alone}",
    none: "there is nothing; `cloudbox image remotes` shows who was asked",
    titles: "REMOTE|NAME|SYSTEM|VERSION|>SIZE|STATE",
    cells: "{remote}|{aliases:alone}|{os}[ {release}]|{version}|{size:size}|{state}",
    notes: &["[{aliases:alone} cannot be had: {error.message}]"],
};

/// `cloudbox image available`
pub fn offers(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    OFFERS.show(view, args, page);
    if !args.flag("names") {
        page.add("{errors:lines}", view);
    }
    OK
}

/// `cloudbox image prune`
pub fn image_prune(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    page.add("[nobody uses: {images} ({bytes:size})]", view);
    page.add("[pulls that ended early have left {partial:bytes}]", view);
    match () {
        () if page.text.is_empty() => page.line("there is nothing to remove"),
        () if view.text("job").is_empty() && !args.flag("yes") => {
            page.line("`cloudbox image prune --yes` removes it; there is no way back");
        }
        () => page.add("it is being removed; `cloudbox job wait {job}` follows", view),
    }
    OK
}

const SNAPSHOTS: List = List {
    field: "snapshots",
    names: "{name}",
    none: "",
    titles: "NAME|>SIZE|MADE",
    cells: "{name}|{bytes:size}|{created:ago}",
    notes: &[],
};

/// `cloudbox snapshots`
pub fn snapshots(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    SNAPSHOTS.show(view, args, page)
}

/// `cloudbox image info`
pub fn image(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    pairs(
        "\
name|{names}
description|{description}
version|{version}
system|{os}[ {release}]
arch|{arch}
init|{init}
size|{size:size}
sha256|{sha256}
imported|{imported:ago}
pulled from|{source}
newer|{newer}
used by|{used_by}",
        view,
        page,
        &mut table,
    );
    for service in view.texts("services") {
        table.pair("service", service);
    }
    table.write(&mut page.text, "", false);
    OK
}

const SERVICES: List = List {
    field: "services",
    names: "{id}",
    none: "",
    titles: "ID|STATE|NAME|TYPE|>PORT|HOST|BY",
    cells: "{id}|{state}|{name}|{type}|{port}|{host}|{source}",
    notes: &["[{id}: {reason}]"],
};

/// `cloudbox service list`
pub fn services(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    SERVICES.show(view, args, page)
}

/// `cloudbox service publish` and `withdraw`
pub fn service_id(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    page.line(&view.text("id"));
    OK
}

const FOUND: List = List {
    field: "services",
    names: "{name}",
    none: "nobody announces such a service here; `cloudbox doctor` looks for reasons on this box",
    titles: "TYPE|NAME|HOST|ADDRESS|>PORT|BOX|TXT",
    cells: "{type}|{name}|{host}|{addresses:first}|{port}|{box}{ours:star}|{txt:words}",
    notes: &[],
};

/// `cloudbox browse`
pub fn found(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    FOUND.show(view, args, page)
}

const JOBS: List = List {
    field: "jobs",
    names: "{id}",
    none: "there are no jobs",
    titles: ">ID|KIND|TARGET|STATE|STEP|>DONE|BEGUN|TOOK",
    cells: "{id}|{kind}|{target}|{state}|{step}|{percent:int}%|{started:ago}|{finished:took}",
    notes: &["[{id}: {error.message}]"],
};

/// `cloudbox job list`
pub fn jobs(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    JOBS.show(view, args, page)
}

/// `cloudbox job status` and `cancel`
pub fn job(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    only_pairs(
        "\
job|{id}: {kind} {target}
state|{state}
step|{step}
done|{percent:int}%[ {bytes:bytes}]
begun|{started:ago}
took|{finished:took}
error|{error.message}",
        view,
        page,
    )
}

/// `cloudbox status`
pub fn status(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    only_pairs(
        "\
cloudbox|{version} (API {api:int}), pid {pid:int}, up {uptime:duration}
enabled|[{enabled:off}: `uci set cloudbox.main.enabled=1` and `uci commit cloudbox`]
containers|[{containers.total:int}, {containers.running:int} running\
[, {containers.failed:some} failed][, {containers.orphans:some} without a section]]
images|{images}
jobs|{jobs:jobs} at work
memory|[{memory.free:size} free of {memory.total:size}; {memory.reserve:size} kept for the box, \
{memory.promised:size} promised to containers]
disk|[{disk.free:size} free of {disk.total:size}; {disk.reserve:size} kept for the box, \
{disk.promised:size} promised to containers]
avahi|[{avahi.state}, {avahi.published:services} announced]
storage|{storage}
config|{config}
arch|{arch}",
        view,
        page,
    );
    warnings(view, page);
    OK
}

/// `cloudbox doctor`: 1 when something does not work.
pub fn doctor(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let checks = view.tables("checks");
    let width = checks.iter().map(|check| check.text("name").chars().count()).max().unwrap_or(0);
    let mut code = if view.raw("state") == "error" { REFUSED } else { OK };
    for check in &checks {
        let word = match &*check.raw("state") {
            "ok" => "ok",
            "warning" => "warn",
            _ => {
                code = REFUSED;
                "FAIL"
            }
        };
        let (name, remedy) = (check.text("name"), check.text("remedy"));
        let painted = page.painted(word);
        page.text.push_str(&painted);
        spaces(&mut page.text, 6 - word.len());
        page.text.push_str(&name);
        spaces(&mut page.text, width + 2 - name.chars().count());
        page.line(&check.text("message"));
        if !remedy.is_empty() {
            spaces(&mut page.text, width + 8);
            page.line(&remedy);
        }
    }
    code
}

/// `cloudbox reload`
pub fn reload(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let jobs = view.texts("jobs");
    if jobs.is_empty() {
        page.line("the configuration is applied; there was nothing to do");
    } else {
        let what = count(jobs.len() as u64, "job");
        let numbers = jobs.join(" ");
        page.line(&format!("the configuration is applied by {what}; `cloudbox job wait {numbers}` follows"));
    }
    page.add("[a restart is needed by {restart_required}]", view);
    warnings(view, page);
    OK
}

fn warnings(view: &View<'_>, page: &mut Page) {
    for warning in view.texts("warnings") {
        let painted = page.painted("warning");
        page.line(&[&painted, ": ", &warning].concat());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{parse_line, Parsed};
    use crate::cli::commands::Action;
    use openwrt_ubus::to_fields;

    const NOW: u64 = 1_000_000;

    /// What `words` print for the reply `json`, and the exit code.
    fn shown(words: &[&str], json: &str) -> (String, u8) {
        painted(words, json, false)
    }

    fn painted(words: &[&str], json: &str, color: bool) -> (String, u8) {
        let Ok(Parsed::Run(args)) = parse_line(words) else { panic!("{words:?}") };
        let Action::Show { show, .. } = args.command.action else { panic!("{words:?}") };
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let fields = to_fields(&value).unwrap();
        let mut page = Page { text: String::new(), color, now: NOW };
        let code = page.reply(&fields, show, &args);
        (page.text, code)
    }

    const LIST: &str = r#"{"containers":[
        {"name":"db","state":"stopped","image":"distro","addresses":[],"memory_limit":536870912,"autostart":false},
        {"name":"web-server","state":"running","image":"distro","pid":812,"addresses":["10.0.0.2","fd00::2","fe80::1"],
         "memory":24537907,"memory_limit":268435456,"pids":14,"disk":104857600,"disk_limit":4294967296,"autostart":true,
         "cpu":123,"uptime":7500,"restart_required":["image"]},
        {"name":"x","state":"failed","image":"","addresses":[],"autostart":true,
         "restart_in":8,"restarts":1,"error":{"code":"no_memory","message":"no\u001b[2J memory"}}]}"#;

    #[test]
    fn list() {
        let (text, code) = shown(&["list"], LIST);
        assert_eq!(
            text,
            "\
NAME        STATE    ADDRESS        CPU  MEMORY      PIDS  DISK     UP     IMAGE
db          stopped  -                -  -/512M         -  -        -      distro
web-server  running  10.0.0.2 +2  12.3%  23.4M/256M    14  100M/4G  2h 5m  distro
x           failed   -                -  -              -  -        -      -
web-server: a restart applies image
x: no\\u{1b}[2J memory; it is started again in 8s (so far 1 restart)
"
        );
        assert_eq!(code, 0);
        assert_eq!(shown(&["list", "--names"], LIST).0, "db\nweb-server\nx\n");
        let (text, _) = painted(&["list"], LIST, true);
        assert!(text.contains("  \x1b[32mrunning\x1b[0m  10.0.0.2"), "{text}");
        assert!(text.contains("  \x1b[31mfailed\x1b[0m   -"), "{text}");
        assert!(text.contains("  stopped  -"), "{text}");
    }

    #[test]
    fn a_list_needs_only_the_fields_it_asks_for() {
        let all = r#"{"containers":[],"orphans":[{"name":"left","state":"orphan","image":"distro"}],
            "foreign":[{"name":"his","state":"stopped","path":"/var/lib/lxc"}]}"#;
        for json in [LIST, all] {
            let mut reply: serde_json::Value = serde_json::from_str(json).unwrap();
            let lists = reply.as_object_mut().unwrap().values_mut();
            for entry in lists.flat_map(|list| list.as_array_mut().unwrap()) {
                let asked_for = |field: &str| field == "name" || CONTAINER_FIELDS.contains(&field);
                entry.as_object_mut().unwrap().retain(|field, _| asked_for(field));
            }
            assert_eq!(shown(&["list"], &reply.to_string()), shown(&["list"], json));
        }
    }

    #[test]
    fn nothing_yet() {
        for (words, json, text) in [
            (
                &["list"][..],
                r#"{"containers":[]}"#,
                "there are no containers yet; `cloudbox create web` makes one\n",
            ),
            (&["list", "--names"], r#"{"containers":[]}"#, ""),
            (
                &["image", "list"],
                r#"{"images":[]}"#,
                "there are no images yet; `cloudbox image pull` fetches one, `cloudbox image import` makes one of a file\n",
            ),
            (&["job", "list"], "{}", "there are no jobs\n"),
        ] {
            assert_eq!(shown(words, json), (text.to_string(), 0));
        }
    }

    #[test]
    fn info() {
        let json = r#"{"name":"web","state":"running","image":"distro","pid":812,"addresses":["10.0.0.2","fd00::2"],
            "memory":24537907,"memory_limit":268435456,"pids":14,"disk":104857600,"disk_limit":4294967296,
            "autostart":true,"description":"a\nwiki","image_sha256":"0123456789abcdef0123","section":"web",
            "network":"br-lan","address":"dhcp","mac":"02:00:00:00:00:01","veth":"cb0","id_base":100000,
            "id_count":65536,"asked":{"memory":268435456,"cpus":"0.5","pids":200,"disk":4294967296},
            "in_force":{"memory":268435456,"cpus":"0.5","pids":200},"cpu_time":61500000,"cpu":5,"uptime":184,
            "memory_peak":104857600,"interfaces":[{"name":"eth0","host":"cb0","received":3000,"sent":70}],
            "last_exit":{"reason":"crashed","signal":9,"at":913600},"restarts":2,"slice":"",
            "authorized_keys":["ssh-ed25519 AAAA me"],"created":913600,"rootfs":"/srv/c/web/rootfs",
            "lxcpath":"/srv/c","console_log":"/srv/c/web/console.log","job":null,"error":null}"#;
        let (text, _) = shown(&["info", "web"], json);
        assert_eq!(
            text,
            "\
name         web
state        running (pid 812)
description  a\\nwiki
image        distro 0123456789ab
made         1d 0h ago
autostart    yes
addresses    10.0.0.2, fd00::2
network      dhcp on br-lan
interface    cb0, MAC 02:00:00:00:00:01
memory       23.4M/256M, 100M at most
disk         100M/4G
eth0         2.9K in, 70 out
processes    14
cpu time     1m 1s, 0.5% now
up           3m 4s
last end     crashed, signal 9 1d 0h ago
restarts     2
asked for    memory 256M, cpus 0.5, pids 200, disk 4G
in force     memory 256M, cpus 0.5, pids 200
host ids     100000 to 165535
root         /srv/c/web/rootfs
lxcpath      /srv/c
console      /srv/c/web/console.log
section      web
ssh key      ssh-ed25519 AAAA me
"
        );
    }

    #[test]
    fn image_and_images() {
        let json = r#"{"images":[{"names":["distro","debian"],"sha256":"0123456789abcdef0123","description":"Debian",
            "version":"12.1","os":"Debian","release":"12","arch":"x86_64","init":"systemd","size":95420416,
            "imported":992800,"used_by":["web","db"]}]}"#;
        assert_eq!(
            shown(&["image", "list"], json).0,
            "\
NAME            SYSTEM     ARCH    SIZE  SHA256        IMPORTED   USED BY
distro, debian  Debian 12  x86_64   91M  0123456789ab  2h 0m ago  web, db
"
        );
        assert_eq!(shown(&["image", "list", "--names"], json).0, "distro\ndebian\n");
        let one = json.strip_prefix(r#"{"images":["#).and_then(|json| json.strip_suffix("]}")).unwrap();
        assert_eq!(
            shown(&["image", "info", "distro"], one).0,
            "\
name         distro, debian
description  Debian
version      12.1
system       Debian 12
arch         x86_64
init         systemd
size         91M
sha256       0123456789abcdef0123
imported     2h 0m ago
used by      web, db
"
        );
    }

    #[test]
    fn servers_and_what_they_have() {
        let json = r#"{"remotes":[{"name":"community","url":"https://c","signed":true,"keys":["a5c5","b6"]},
            {"name":"bad","url":"","signed":false,"error":{"code":"invalid_argument","message":"url is wrong"}}]}"#;
        assert_eq!(
            shown(&["image", "remotes"], json).0,
            "\
NAME       ADDRESS    SIGNED  KEYS
community  https://c  yes     a5c5, b6
bad        -          no      -
bad: url is wrong
"
        );
        assert_eq!(shown(&["image", "remotes", "--names"], json).0, "community\nbad\n");
        assert!(shown(&["image", "remotes"], r#"{"remotes":[]}"#).0.contains("section `remote`"));
        let json = r#"{"images":[{"remote":"c","aliases":["debian/12","debian"],"os":"debian","release":"12","variant":"x",
            "version":"7","packing":"squashfs","size":95420416,"sha256":"ab","state":"newer"},
            {"remote":"c","aliases":["x"],"os":"","release":"","variant":"","version":"1","state":"new",
            "error":{"code":"failed","message":"the path leads out"}}],"errors":["lan: down"]}"#;
        assert_eq!(
            shown(&["image", "available"], json).0,
            "\
REMOTE  NAME       SYSTEM     VERSION  SIZE  STATE
c       debian/12  debian 12  7         91M  newer
c       x          -          1           -  new
x cannot be had: the path leads out
lan: down
"
        );
        assert_eq!(shown(&["image", "available", "--names"], json).0, "c:debian/12\nc:x\n");
        assert!(shown(&["image", "available"], r#"{"images":[]}"#).0.contains("image remotes"));
    }

    #[test]
    fn images_that_nobody_uses() {
        for (words, json, text) in [
            (
                &["image", "prune"][..],
                r#"{"images":[],"bytes":0,"partial":0}"#,
                "there is nothing to remove\n",
            ),
            (
                &["image", "prune"],
                r#"{"images":["a","b"],"bytes":2097152,"partial":1048576}"#,
                "nobody uses: a, b (2M)\npulls that ended early have left 1M\n\
                 `cloudbox image prune --yes` removes it; there is no way back\n",
            ),
            (
                &["image", "prune", "--yes"],
                r#"{"images":["a"],"bytes":2097152,"partial":0,"job":"7"}"#,
                "nobody uses: a (2M)\nit is being removed; `cloudbox job wait 7` follows\n",
            ),
        ] {
            assert_eq!(shown(words, json), (text.to_string(), 0));
        }
        let json = r#"{"images":[{"names":["os"],"newer":"8","source":"c:os"}]}"#;
        assert!(shown(&["image", "list"], json)
            .0
            .ends_with("os: version 8 is there; `cloudbox image pull os` fetches it\n"));
    }

    #[test]
    fn snapshots() {
        let json = r#"{"snapshots":[
            {"name":"2026-11-22-101500","created":992800,"bytes":209715200,"image_sha256":"0123456789abcdef0123"},
            {"name":"x","created":999000,"bytes":4096,"image_sha256":"0123456789abcdef0123"}]}"#;
        assert_eq!(
            shown(&["snapshots", "web"], json).0,
            "\
NAME               SIZE  MADE
2026-11-22-101500  200M  2h 0m ago
x                    4K  16m 40s ago
"
        );
        assert_eq!(shown(&["snapshots", "web", "--names"], json).0, "2026-11-22-101500\nx\n");
    }

    #[test]
    fn jobs_and_job() {
        let json = r#"{"jobs":[
            {"id":"9","kind":"create","target":"web","state":"done","step":"start","percent":100,"bytes":0,
             "started":999000,"finished":999004},
            {"id":"10","kind":"image_import","target":"distro","state":"failed","step":"unpack","percent":25,
             "bytes":12582912,"total":50331648,"started":999990,"finished":999995,
             "error":{"code":"bad_image","message":"no squashfs"}}]}"#;
        assert_eq!(
            shown(&["job", "list"], json).0,
            "\
ID  KIND          TARGET  STATE   STEP    DONE  BEGUN        TOOK
 9  create        web     done    start   100%  16m 40s ago  4s
10  image_import  distro  failed  unpack   25%  10s ago      5s
10: no squashfs
"
        );
        assert_eq!(shown(&["job", "list", "--names"], json).0, "9\n10\n");
        let one = r#"{"id":"10","kind":"image_import","target":"distro","state":"running","step":"unpack",
            "percent":25,"bytes":12582912,"total":50331648,"started":999990}"#;
        assert_eq!(
            shown(&["job", "status", "10"], one).0,
            "\
job    10: image_import distro
state  running
step   unpack
done   25% 12M/48M
begun  10s ago
"
        );
    }

    #[test]
    fn status() {
        let json = r#"{"version":"0.1.0","api":1,"pid":77,"uptime":273600,"enabled":true,"arch":"x86_64",
            "storage":"/srv/cloudbox","config":"/etc/config/cloudbox",
            "containers":{"total":3,"running":2,"failed":1,"orphans":0},"images":1,"jobs":0,
            "memory":{"total":4187593113,"free":1288490188,"reserve":536870912,"promised":1073741824},
            "disk":{"total":128849018880,"free":107374182400,"reserve":2147483648,"promised":0},
            "warnings":["container x: no memory"]}"#;
        assert_eq!(
            shown(&["status"], json).0,
            "\
cloudbox    0.1.0 (API 1), pid 77, up 3d 4h
containers  3, 2 running, 1 failed
images      1
jobs        0 jobs at work
memory      1.1G free of 3.8G; 512M kept for the box, 1G promised to containers
disk        100G free of 120G; 2G kept for the box, 0 promised to containers
storage     /srv/cloudbox
config      /etc/config/cloudbox
arch        x86_64
warning: container x: no memory
"
        );
    }

    #[test]
    fn doctor_fails_when_something_does_not_work() {
        let json = |state: &str| {
            format!(
                r#"{{"state":"{state}","checks":[
                {{"name":"lxc","state":"ok","message":"LXC 6.0 is there"}},
                {{"name":"overlay","state":"{state}","message":"the kernel has no overlay","remedy":"install kmod-fs-overlay"}}]}}"#
            )
        };
        assert_eq!(
            shown(&["doctor"], &json("error")),
            (
                "\
ok    lxc      LXC 6.0 is there
FAIL  overlay  the kernel has no overlay
               install kmod-fs-overlay
"
                .to_string(),
                1
            )
        );
        let (text, code) = shown(&["doctor"], &json("warning"));
        assert!(text.contains("\nwarn  overlay"), "{text}");
        assert_eq!(code, 0);
    }

    #[test]
    fn reload() {
        for (json, text) in [
            (r#"{"jobs":[]}"#, "the configuration is applied; there was nothing to do\n"),
            (
                r#"{"jobs":["4","5"],"restart_required":["web"],"warnings":["x"]}"#,
                "the configuration is applied by 2 jobs; `cloudbox job wait 4 5` follows\na restart is needed by web\nwarning: x\n",
            ),
        ] {
            assert_eq!(shown(&["reload"], json).0, text);
        }
    }

    #[test]
    fn any_reply_is_shown_without_a_panic() {
        for command in crate::cli::commands::COMMANDS {
            let Action::Show { show, .. } = command.action else { continue };
            let mut words: Vec<&str> = command.name().split(' ').collect();
            words.extend(command.operands().iter().map(|_| "x"));
            let Ok(Parsed::Run(args)) = parse_line(&words) else { panic!("{words:?}") };
            for fields in [&[][..], &[0, 0, 0, 1], &[0xff; 64], &[0x83, 0, 0, 9, 0, 1, b'a', 0, 0]] {
                let mut page = Page { text: String::new(), color: true, now: 0 };
                page.reply(fields, show, &args);
            }
        }
    }
}

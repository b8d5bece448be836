//! What replies look like to people.

use super::action;
use crate::cli::action::Action;
use crate::cli::container::LIST_FIELDS;
use crate::cli::page::Page;
use crate::cli::view::View;
use crate::cli::{command, help};
use openwrt_ubus::to_fields;

const NOW: u64 = 1_000_000;

/// What `line` prints for the reply `json`, and the exit code.
fn shown(line: &str, json: &str) -> (String, u8) {
    painted(line, json, false)
}

fn painted(line: &str, json: &str, color: bool) -> (String, u8) {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let mut page = Page { color, now: NOW, ..Page::plain() };
    let code = page_of(line, &to_fields(&value).unwrap(), &mut page);
    (page.text + &page.errors, code)
}

fn page_of(line: &str, fields: &[u8], page: &mut Page) -> u8 {
    match action(line).unwrap_or_else(|failure| panic!("{line}: {failure}")) {
        Action::Show(_, show) => show(&View::new(fields), page),
        _ => panic!("{line} shows no reply"),
    }
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
    let (text, code) = shown("list", LIST);
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
    assert_eq!(shown("list --names", LIST).0, "db\nweb-server\nx\n");
    let (text, _) = painted("list", LIST, true);
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
            let asked_for = |field: &str| field == "name" || LIST_FIELDS.contains(&field);
            entry.as_object_mut().unwrap().retain(|field, _| asked_for(field));
        }
        assert_eq!(shown("list", &reply.to_string()), shown("list", json));
    }
}

#[test]
fn nothing_yet() {
    for (words, json, text) in [
        (
            "list",
            r#"{"containers":[]}"#,
            "there are no containers yet; `cloudbox create web` makes one\n",
        ),
        ("list --names", r#"{"containers":[]}"#, ""),
        (
            "image list",
            r#"{"images":[]}"#,
            "there are no images yet; `cloudbox image pull` fetches one, `cloudbox image import` makes one of a file\n",
        ),
        ("job list", "{}", "there are no jobs\n"),
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
    let (text, _) = shown("info web", json);
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
        shown("image list", json).0,
        "\
NAME            SYSTEM     ARCH    SIZE  SHA256        IMPORTED   USED BY
distro, debian  Debian 12  x86_64   91M  0123456789ab  2h 0m ago  web, db
"
    );
    assert_eq!(shown("image list --names", json).0, "distro\ndebian\n");
    let one = json.strip_prefix(r#"{"images":["#).and_then(|json| json.strip_suffix("]}")).unwrap();
    assert_eq!(
        shown("image info distro", one).0,
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
        shown("image remotes", json).0,
        "\
NAME       ADDRESS    SIGNED  KEYS
community  https://c  yes     a5c5, b6
bad        -          no      -
bad: url is wrong
"
    );
    assert_eq!(shown("image remotes --names", json).0, "community\nbad\n");
    assert!(shown("image remotes", r#"{"remotes":[]}"#).0.contains("section `remote`"));
    let json = r#"{"images":[{"remote":"c","aliases":["debian/12","debian"],"os":"debian","release":"12","variant":"x",
        "version":"7","packing":"squashfs","size":95420416,"sha256":"ab","state":"newer"},
        {"remote":"c","aliases":["x"],"os":"","release":"","variant":"","version":"1","state":"new",
        "error":{"code":"failed","message":"the path leads out"}}],"errors":["lan: down"]}"#;
    assert_eq!(
        shown("image available", json).0,
        "\
REMOTE  NAME       SYSTEM     VERSION  SIZE  STATE
c       debian/12  debian 12  7         91M  newer
c       x          -          1           -  new
x cannot be had: the path leads out
lan: down
"
    );
    assert_eq!(shown("image available --names", json).0, "c:debian/12\nc:x\n");
    assert!(shown("image available", r#"{"images":[]}"#).0.contains("image remotes"));
}

#[test]
fn images_that_nobody_uses() {
    for (words, json, text) in [
        ("image prune", r#"{"images":[],"bytes":0,"partial":0}"#, "there is nothing to remove\n"),
        (
            "image prune",
            r#"{"images":["a","b"],"bytes":2097152,"partial":1048576}"#,
            "nobody uses: a, b (2M)\npulls that ended early have left 1M\n\
             `cloudbox image prune --yes` removes it; there is no way back\n",
        ),
        (
            "image prune --yes",
            r#"{"images":["a"],"bytes":2097152,"partial":0,"job":"7"}"#,
            "nobody uses: a (2M)\nit is being removed; `cloudbox job wait 7` follows\n",
        ),
    ] {
        assert_eq!(shown(words, json), (text.to_string(), 0));
    }
    let json = r#"{"images":[{"names":["os"],"newer":"8","source":"c:os"}]}"#;
    assert!(shown("image list", json)
        .0
        .ends_with("os: version 8 is there; `cloudbox image pull os` fetches it\n"));
}

#[test]
fn snapshots() {
    let json = r#"{"snapshots":[
        {"name":"2026-11-22-101500","created":992800,"bytes":209715200,"image_sha256":"0123456789abcdef0123"},
        {"name":"x","created":999000,"bytes":4096,"image_sha256":"0123456789abcdef0123"}]}"#;
    assert_eq!(
        shown("snapshots web", json).0,
        "\
NAME               SIZE  MADE
2026-11-22-101500  200M  2h 0m ago
x                    4K  16m 40s ago
"
    );
    assert_eq!(shown("snapshots web --names", json).0, "2026-11-22-101500\nx\n");
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
        shown("job list", json).0,
        "\
ID  KIND          TARGET  STATE   STEP    DONE  BEGUN        TOOK
 9  create        web     done    start   100%  16m 40s ago  4s
10  image_import  distro  failed  unpack   25%  10s ago      5s
10: no squashfs
"
    );
    assert_eq!(shown("job list --names", json).0, "9\n10\n");
    let one = r#"{"id":"10","kind":"image_import","target":"distro","state":"running","step":"unpack",
        "percent":25,"bytes":12582912,"total":50331648,"started":999990}"#;
    assert_eq!(
        shown("job status 10", one).0,
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
        shown("status", json).0,
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
        shown("doctor", &json("error")),
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
    let (text, code) = shown("doctor", &json("warning"));
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
        assert_eq!(shown("reload", json).0, text);
    }
}

#[test]
fn what_stands_apart() {
    let json = r#"{"containers":[],"orphans":[{"name":"left"},{"name":"lost"}],
        "foreign":[{"name":"his","state":"stopped","path":"/var/lib/lxc"}]}"#;
    let text = shown("list", json).0;
    assert!(
        text.contains("orphans, whose section is gone and whose data is kept: left, lost; `cloudbox adopt`")
    );
    assert!(
        text.ends_with("his (stopped) in /var/lib/lxc is another tool's; `cloudbox adopt` takes it over\n")
    );
    for (line, json, text) in [
        (
            "prune",
            r#"{"orphans":[],"leftovers":[],"protected":["x"]}"#,
            "protected, and stay: x\nthere is nothing to remove\n",
        ),
        (
            "prune",
            r#"{"orphans":["left"],"leftovers":["half"]}"#,
            "orphans, with all their data: left\nleft half made or half removed: half\n\
             `cloudbox prune --yes` removes them; there is no way back\n",
        ),
        (
            "prune --yes",
            r#"{"orphans":["left"],"jobs":["4","5"]}"#,
            "orphans, with all their data: left\nthey are being removed; `cloudbox job wait 4 5` follows\n",
        ),
    ] {
        assert_eq!(shown(line, json), (text.to_string(), 0));
    }
}

#[test]
fn services() {
    let json = r#"{"services":[{"id":"web_http_80","state":"withheld","name":"web","type":"_http._tcp","port":80,
        "host":"web.local","source":"image","reason":"the port does not answer"}]}"#;
    assert_eq!(
        shown("service list", json).0,
        "\
ID           STATE     NAME  TYPE        PORT  HOST       BY
web_http_80  withheld  web   _http._tcp    80  web.local  image
web_http_80: the port does not answer
"
    );
    assert_eq!(shown("service list --names", json).0, "web_http_80\n");
    assert_eq!(shown("service withdraw x", r#"{"id":"x"}"#).0, "x\n");
    let json = r#"{"services":[{"type":"_http._tcp","name":"Wiki","host":"b.local","addresses":["10.0.0.9","fd00::9"],
        "port":80,"box":"b","ours":true,"txt":["path=/wiki"]}]}"#;
    assert_eq!(
        shown("browse", json).0,
        "\
TYPE        NAME  HOST     ADDRESS      PORT  BOX  TXT
_http._tcp  Wiki  b.local  10.0.0.9 +1    80  b*   path=/wiki
"
    );
}

#[test]
fn what_a_program_wrote() {
    let json = r#"{"code":7,"stdout":"out\u001b[1m\n","stderr":"err\n","truncated":true}"#;
    let (text, code) = shown("exec web ls", json);
    assert!(text.starts_with("out\x1b[1m\nerr\ncloudbox: the middle of a long output"), "{text}");
    assert_eq!((code, shown("exec web ls", r#"{"code":300}"#).1), (7, 255));
    let (text, _) = shown("log web", r#"{"log":"a\nb\n","truncated":true}"#);
    assert!(text.starts_with("a\nb\ncloudbox: there are earlier lines"), "{text}");
}

/// Every pattern is filled in, also with what an older or a damaged daemon answers: a verb that is not known panics.
#[test]
fn any_reply_is_shown_without_a_panic() {
    let lists =
        ["containers", "orphans", "foreign", "images", "remotes", "snapshots", "services", "jobs", "checks"];
    let lists = lists.map(|list| (list.to_string(), serde_json::json!([{}])));
    let entries = to_fields(&serde_json::Value::Object(lists.into_iter().collect())).unwrap();
    let mut root = command();
    root.build();
    let mut pages = 0;
    for (name, _) in help::leaves(&root) {
        let leaf = name.split(' ').fold(&root, |at, word| at.find_subcommand(word).unwrap());
        let needed = leaf.get_positionals().map(|_| " web:/x").collect::<String>();
        let line = format!("{name}{needed}");
        if name == "help" || !matches!(action(&line), Ok(Action::Show(..))) {
            continue;
        }
        pages += 1;
        for fields in [&entries[..], &[], &[0, 0, 0, 1], &[0xff; 64], &[0x83, 0, 0, 9, 0, 1, b'a', 0, 0]] {
            page_of(&line, fields, &mut Page { color: true, ..Page::plain() });
        }
    }
    assert_eq!(pages, 21);
}

//! What replies look like to people.

use super::action;
use crate::cli::action::Action;
use crate::cli::container::LIST_FIELDS;
use crate::cli::page::Page;
use crate::cli::view::View;
use crate::cli::{command, help};
use crate::error::is_dangerous;
use crate::testing::golden;
use openwrt_ubus::to_fields;

const NOW: u64 = 1_000_000;

/// What `line` prints for the reply `json`, and the exit code.
fn shown(line: &str, json: &str) -> (String, u8) {
    painted(line, json, false)
}

fn painted(line: &str, json: &str, color: bool) -> (String, u8) {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    keeps_the_terminal(line, &value);
    let mut page = Page { color, now: NOW, ..Page::plain() };
    let code = page_of(line, &to_fields(&value).unwrap(), &mut page);
    (page.text + &page.errors, code)
}

/// Whatever page is shown below: were each text of its reply a guest's or a neighbour's, no terminal would obey it.
fn keeps_the_terminal(line: &str, reply: &serde_json::Value) {
    // What programs wrote, as they wrote it: the terminal, which this is not, is asked for there.
    if matches!(line.split_whitespace().next(), Some("exec" | "log")) {
        return;
    }
    let mut reply = reply.clone();
    make_hostile(&mut reply);
    let mut page = Page { color: false, now: NOW, ..Page::plain() };
    page_of(line, &to_fields(&reply).unwrap(), &mut page);
    let text = [page.text, page.errors].concat();
    let obeyed: Vec<char> = text.chars().filter(|c| *c != '\n' && is_dangerous(*c)).collect();
    assert!(obeyed.is_empty(), "{line}: {obeyed:?} in {text}");
}

/// Each text of it tries to command the terminal besides what it said.
fn make_hostile(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) => text.push_str("\r\x1b]0;x\x07\x1b[2J\u{9b}31m\u{202e}"),
        serde_json::Value::Array(values) => values.iter_mut().for_each(make_hostile),
        serde_json::Value::Object(fields) => fields.values_mut().for_each(make_hostile),
        _ => {}
    }
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

/// `tests/golden/pages.txt`: replies, and the pages that are made of them.
#[test]
fn pages() {
    golden::compare_answers("pages.txt", |line, json| match shown(line, json) {
        (page, 0) => page,
        (page, code) => format!("{page}exit {code}\n"),
    });
}

#[test]
fn states_are_painted() {
    let text = painted("list", LIST, true).0;
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
    let lists = [
        "containers",
        "orphans",
        "foreign",
        "images",
        "remotes",
        "snapshots",
        "services",
        "jobs",
        "checks",
        "peers",
        "asks",
        "brokers",
    ];
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
    assert_eq!(pages, 27);
}

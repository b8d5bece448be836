//! What words become on the bus.

use super::{action, action_of, in_words, requests};
use crate::cli::failure::Failure;
use crate::cli::request::job_wait;
use crate::cli::{command, help};
use clap::{Arg, ArgAction};
use openwrt_ubus::blobmsg::{Type, Value};
use openwrt_ubus::Fields;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

/// The calls that `line` leads to.
fn calls(line: &str) -> Result<Vec<String>, Failure> {
    Ok(requests(action(line)?).iter().map(in_words).collect())
}

/// Fields of methods that no command sends, or that are sent as another type than the published one, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("*", "wait", "a command follows its job itself"),
    ("cloudbox.container create", "peer", "the process of the commons says it"),
    ("cloudbox.container create", "publish", "likewise; a person has `service publish`"),
    ("cloudbox.container exec", "environment", "published as a table, and read as a list, too"),
    ("cloudbox.container snapshot", "force", "its arguments are those of restore"),
    ("cloudbox.container snapshot_delete", "force", "its arguments are those of restore"),
];

/// Commands that make no call of their own, or only by and by.
const NO_CALL: &[&str] = &[
    "top",
    "shell",
    "push",
    "pull",
    "console",
    "image publish",
    "key new",
    "key show",
    "key id",
    "key split",
    "daemon",
    // These ask brokers, and no bus.
    "key know",
    "key vouch",
    "key own",
    "key revoke",
    "slice example",
    "slice plan",
    "slice apply",
    "slice again",
    "slice list",
    "slice status",
    "slice renew",
    "slice stop",
    "slice start",
    "slice delete",
    "slice log",
    "commons offers",
    "commons ask",
    "commons invite",
    "commons join",
    "commons broker",
    "commons run",
    "commons answer",
    "version",
    "job wait",
    "events",
    "call",
    "help",
];

/// Options that decide whether a call is made or how it is followed.
const NOT_SENT: &[&str] = &["help", "version", "json", "socket", "names", "no_wait", "follow"];

/// A method's name, and its fields with their types.
type Signatures = BTreeMap<String, BTreeMap<String, Type>>;

#[test]
fn commands_send_what_the_bus_publishes() {
    let mut published = Signatures::new();
    let commons = crate::commons_daemon::offered();
    let all = crate::daemon::objects().map(|(_, object)| object).chain(commons);
    for object in all {
        for (method, arguments) in object.methods() {
            let fields = arguments.iter().map(|argument| (argument.name.clone(), argument.ty)).collect();
            published.insert(format!("{} {method}", object.path()), fields);
        }
    }
    let sent = everything_sent();
    let excepted = |method: &str, field: &str| {
        EXCEPTIONS.iter().any(|(of, name, _)| [method, "*"].contains(of) && *name == field)
    };
    let methods: BTreeSet<&String> = published.keys().chain(sent.keys()).collect();
    // The first is what a command follows its job by, the second is asked by the process of the commons. Slices and offers are
    // asked for at the brokers; `commons answer` makes more of its call than one, and `trust` says more than `peers`.
    let others = [
        "cloudbox.job wait",
        "cloudbox.config commons",
        "cloudbox.commons offers",
        "cloudbox.commons answer",
        "cloudbox.commons peers",
    ];
    let is_other = |method: &str| others.contains(&method) || method.starts_with("cloudbox.slice ");
    for method in methods.into_iter().filter(|method| !is_other(method)) {
        let (published, sent) = (&published[method], sent.get(method));
        let sent = sent.unwrap_or_else(|| panic!("no command calls {method}"));
        for field in published.keys().chain(sent.keys()) {
            let (sent, published) = (sent.get(field), published.get(field));
            // An exception that is none any more is to go, too.
            assert_eq!(
                sent != published,
                excepted(method, field),
                "{method}: {field} {sent:?} {published:?}"
            );
        }
    }
}

/// What all commands send when they are given everything they take.
fn everything_sent() -> Signatures {
    let mut root = command();
    root.build();
    let mut sent = Signatures::new();
    for (name, _) in help::leaves(&root) {
        if NO_CALL.contains(&name.as_str()) {
            continue;
        }
        let leaf = name.split(' ').fold(&root, |at, word| at.find_subcommand(word).unwrap());
        let mut words: Vec<OsString> = name.split(' ').map(OsString::from).collect();
        // Options first: a program takes all that is behind it.
        let (operands, options): (Vec<&Arg>, Vec<&Arg>) =
            leaf.get_arguments().partition(|arg| arg.is_positional());
        for arg in options.into_iter().filter(|arg| !NOT_SENT.contains(&arg.get_id().as_str())) {
            words.push(format!("--{}", arg.get_long().unwrap()).into());
            if matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) {
                words.push(value_of(arg).into());
            }
        }
        words.extend(operands.into_iter().map(|arg| OsString::from(value_of(arg))));
        for request in requests(action_of(&words).unwrap()) {
            let fields = sent.entry(format!("{} {}", request.object, request.method)).or_default();
            for field in Fields::new(&request.fields).iter().map(Result::unwrap) {
                let ty = match field.value {
                    Value::Str(_) => Type::String,
                    Value::Int32(_) => Type::Int32,
                    Value::Bool(_) => Type::Bool,
                    Value::Array(_) => Type::Array,
                    Value::Table(_) => Type::Table,
                    other => panic!("{name} sends {other:?}"),
                };
                fields.insert(String::from_utf8(field.name.to_vec()).unwrap(), ty);
            }
        }
    }
    sent
}

fn value_of(arg: &Arg) -> String {
    match arg.get_id().as_str() {
        "key" => "ssh-ed25519 AAAA".to_string(),
        "first_boot" => "/dev/null".to_string(),
        "secret" => "db=/dev/null".to_string(),
        _ => arg.get_possible_values().first().map_or("7", |value| value.get_name()).to_string(),
    }
}

#[test]
fn every_example_is_right() {
    let mut root = command();
    root.build();
    for (name, about) in help::leaves(&root) {
        let leaf = name.split(' ').fold(&root, |at, word| at.find_subcommand(word).unwrap());
        let text = leaf.get_after_help().unwrap().to_string();
        let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  cloudbox ")).collect();
        assert!(!examples.is_empty() && about.len() <= 60, "{name}: {about}");
        for example in examples {
            assert!(example.starts_with(&name), "{name}: {example}");
            let line = example.split(" | ").next().unwrap().replace("~/.ssh/id_ed25519.pub", "/dev/null");
            assert!(name == "help" || action(&line).is_ok(), "{example}");
        }
    }
}

#[test]
fn waiting_is_sliced() {
    for (seconds, timeout) in [(3, 3), (15, 15), (600, 15)] {
        let request = job_wait("17", seconds).unwrap();
        let json = serde_json::to_string(&Fields::new(&request.fields)).unwrap();
        assert_eq!(json, format!(r#"{{"id":"17","timeout":{timeout}}}"#));
        assert_eq!(request.patience, Duration::from_secs(timeout + 5));
    }
}

#[test]
fn a_relative_path_is_made_absolute() {
    let call = calls("image import x.tar").unwrap().remove(0);
    let here = std::env::current_dir().unwrap();
    assert!(call.contains(&format!("\"path\":\"{}/x.tar\"", here.display())), "{call}");
}

#[test]
fn keys_are_read_from_files() {
    let directory = std::env::temp_dir().join(format!("cloudbox-keys-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (public, private) = (directory.join("k.pub"), directory.join("k"));
    std::fs::write(&public, "# mine\nssh-ed25519 AAAA me\n\nssh-rsa BBBB\n").unwrap();
    std::fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let create = |key: &Path| calls(&format!("create web --key {}", key.display()));
    let call = create(&public).unwrap().remove(0);
    assert!(call.ends_with(r#""authorized_keys":["ssh-ed25519 AAAA me","ssh-rsa BBBB"]}"#), "{call}");
    let failure = create(&private).unwrap_err();
    assert!(failure.exit == 2 && failure.message.contains("private"), "{failure}");
    let failure = create(&directory.join("none")).unwrap_err();
    assert!(failure.exit == 2 && failure.message.contains("neither an SSH key"), "{failure}");
    std::fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn what_cannot_be_sent_is_wrong_usage() {
    assert_eq!(calls("info a\0b").unwrap_err().exit, 2);
    let failure = calls(&format!("exec web -- echo {}", "x".repeat(1 << 20))).unwrap_err();
    assert!(failure.exit == 2 && failure.message.contains("1 MiB"), "{failure}");
    assert_eq!(calls("image import /tmp/.tar").unwrap_err().exit, 2);
}

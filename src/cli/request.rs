//! From arguments to calls. What values mean is the daemon's to judge: nothing is checked here that it checks.

use super::args::Args;
use super::commands::{bare, Opt};
use super::{show, Failure};
use cloudbox::api::args::{BROWSE_TIMEOUT, EXEC_TIMEOUT, WAIT_MAX};
use cloudbox::error::quoted;
use openwrt_ubus::blobmsg::Builder;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take: as long as `ubus call` waits.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// What all containers are like.
const CONTAINER_LIST: &str = "cloudbox.container list";
/// What a reply may take beyond the time that was asked for.
const MARGIN: Duration = Duration::from_secs(5);

/// A call to be made.
#[derive(Debug)]
pub struct Request {
    /// Path of the object.
    pub object: String,
    /// The method.
    pub method: String,
    /// Its encoded arguments.
    pub fields: Vec<u8>,
    /// How long the reply may take.
    pub patience: Duration,
}

impl Request {
    /// `call` is an object and a method.
    fn new(call: &str, fields: Builder) -> Result<Request, Failure> {
        let (object, method) = call.split_once(' ').unwrap_or_default();
        Ok(Request {
            object: object.to_string(),
            method: method.to_string(),
            fields: fields.finish().map_err(|error| Failure::usage(format_args!("{error}")))?,
            patience: PATIENCE,
        })
    }
}

/// The requests that a command line makes of `call`: one for each name where there may be several. A name given twice is
/// meant once.
pub fn of(args: &Args, call: &str) -> Result<Vec<Request>, Failure> {
    let many = args.command.operands().first().is_some_and(|first| first.ends_with("..."));
    let times = if many { args.operands.len() } else { 1 };
    let mut requests = Vec::new();
    for at in 0..times {
        if args.operands.iter().take(at).all(|earlier| *earlier != args.operand(at)) {
            requests.push(beginning_at(at, args, call)?);
        }
    }
    Ok(requests)
}

/// The one request that a command line makes of `call`.
pub fn one(args: &Args, call: &str) -> Result<Request, Failure> {
    beginning_at(0, args, call)
}

/// A request with the operands that begin at the one with the number `at`, and with all options. Help calls them as the
/// API does, but for a few.
fn beginning_at(at: usize, args: &Args, call: &str) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    for (index, operand) in args.command.operands().iter().enumerate() {
        put_operand(&mut fields, args, operand, at + index)?;
    }
    for line in args.command.options() {
        put_option(&mut fields, args, &Opt::of(line))?;
    }
    if call == CONTAINER_LIST && !args.json {
        put_list(&mut fields, "fields", if args.flag("names") { &["name"] } else { show::CONTAINER_FIELDS });
    }
    let mut request = Request::new(call, fields)?;
    let usual = match &*request.method {
        "exec" => EXEC_TIMEOUT,
        "browse" => BROWSE_TIMEOUT,
        _ => return Ok(request),
    };
    let runs = args.seconds("timeout")?.unwrap_or(usual);
    request.patience = Duration::from_secs(runs.into()) + MARGIN;
    Ok(request)
}

fn put_operand(fields: &mut Builder, args: &Args, operand: &str, at: usize) -> Result<(), Failure> {
    let value = args.operand(at);
    let name = bare(operand);
    match name {
        "PATH" => drop(fields.str("path", &absolute(value)?)),
        // An image is called as its file is.
        _ if value.is_empty() && operand == "[NAME]" => {
            fields.str("name", &image_name(&absolute(args.operand(0))?)?);
        }
        _ if value.is_empty() && operand.starts_with('[') => {}
        "WORD" => drop(fields.str("filter", value)),
        _ if operand.starts_with("-- ") => {
            put_list(fields, "command", args.operands.get(at..).unwrap_or_default())
        }
        _ => drop(fields.str(&field(name), value)),
    }
    Ok(())
}

fn put_option(fields: &mut Builder, args: &Args, option: &Opt) -> Result<(), Failure> {
    let long = option.long;
    let Some(value) = args.value(long) else { return Ok(()) };
    let wrong = |why: String| Failure::usage(format_args!("--{long} {}{why}", quoted(value)));
    match long {
        // Of these the daemon knows nothing.
        "names" | "no-wait" | "follow" => {}
        "lines" | "timeout" => {
            let what = if long == "lines" { long } else { "seconds" };
            let number = args.number(long, what)?.unwrap_or_default();
            fields.int(long, number.into());
        }
        "env" => put_list(fields, "environment", &args.values(long)),
        "txt" => put_list(fields, "txt", &args.values(long)),
        "service" => put_list(fields, "services", &args.values(long)),
        "key" => put_list(fields, "authorized_keys", &keys(args)?),
        "first-boot" if option.value == "FILE" => {
            let script = std::fs::read_to_string(value);
            let script = script.map_err(|error| wrong(format!(" cannot be read: {error}")))?;
            fields.str("first_boot", &script);
        }
        _ if option.value == "YES|NO" => {
            if !["yes", "no"].contains(&value) {
                return Err(wrong(": write yes or no".to_string()));
            }
            fields.bool(long, value == "yes");
        }
        _ if !option.value.is_empty() => drop(fields.str(&field(long), value)),
        _ => match long.strip_prefix("no-") {
            Some(long) => drop(fields.bool(&field(long), false)),
            None => drop(fields.bool(&field(long), true)),
        },
    }
    Ok(())
}

/// What the API calls the thing that help calls `name`: `new_name` for `NEW-NAME`.
fn field(name: &str) -> String {
    name.to_ascii_lowercase().replace('-', "_")
}

/// Adds a list, unless it is empty.
fn put_list(fields: &mut Builder, name: &str, texts: &[&str]) {
    if !texts.is_empty() {
        fields.array(name, |list| {
            for text in texts {
                list.str("", text);
            }
        });
    }
}

/// Of all containers the names and the fields that are `wanted`.
pub fn container_list(wanted: &[&str]) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    put_list(&mut fields, "fields", wanted);
    Request::new(CONTAINER_LIST, fields)
}

/// What `info` tells of container `name`.
pub fn container_info(name: &str) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    fields.str("name", name);
    Request::new("cloudbox.container info", fields)
}

/// One slice of waiting for job `id`, of `seconds` at most.
pub fn job_wait(id: &str, seconds: u32) -> Result<Request, Failure> {
    let seconds = seconds.min(WAIT_MAX);
    let mut fields = Builder::new();
    fields.str("id", id).int("timeout", seconds.into());
    let mut request = Request::new("cloudbox.job wait", fields)?;
    request.patience = Duration::from_secs(seconds.into()) + MARGIN;
    Ok(request)
}

/// `path` as the daemon knows it, which works in another directory than the person who types.
fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::usage(format_args!("{} is no path: {error}", quoted(path))))?;
    let text = absolute.to_str().map(str::to_string);
    text.ok_or_else(|| Failure::usage(format_args!("{} is not UTF-8", quoted(&absolute.to_string_lossy()))))
}

/// The keys that `--key` gives: each a key, or a file with one in each line.
fn keys(args: &Args) -> Result<Vec<&'static str>, Failure> {
    let mut keys = Vec::new();
    for value in args.values("key") {
        let is_key = ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| value.starts_with(kind));
        if is_key && value.contains(' ') {
            keys.push(value);
            continue;
        }
        let content: &'static str = match std::fs::read_to_string(value) {
            Ok(content) => content.leak(),
            Err(error) => {
                let value = quoted(value);
                return Err(Failure::usage(format_args!(
                    "--key {value} is neither an SSH key nor a file that can be read: {error}"
                )));
            }
        };
        // The private half lies beside the public one, and its name is shorter to type.
        if content.contains("PRIVATE KEY") {
            return Err(Failure::usage(format_args!(
                "{value} is a private key; give the public one, {value}.pub"
            )));
        }
        for line in content.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                keys.push(line);
            }
        }
    }
    Ok(keys)
}

/// What an image from the file at `path` is called: the file's name without its ending, made a valid name.
fn image_name(path: &str) -> Result<String, Failure> {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let lower = file.to_ascii_lowercase();
    let mut stem = lower.as_str();
    for ending in [".gz", ".xz", ".zst", ".tar", ".tgz", ".txz", ".squashfs", ".sqfs", ".img"] {
        stem = stem.strip_suffix(ending).unwrap_or(stem);
    }
    let name = stem.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    match name.trim_matches('-') {
        "" => Err(Failure::usage(format_args!("{} makes no name; write one behind it", quoted(path)))),
        name => Ok(name.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{parse_line, Parsed};
    use crate::cli::commands::Action;
    use openwrt_ubus::Fields;

    /// The calls that `words` lead to, as `object method json`.
    fn calls(words: &[&str]) -> Result<Vec<String>, Failure> {
        let Ok(Parsed::Run(args)) = parse_line(words) else { panic!("{words:?}") };
        let requests = match args.command.action {
            Action::Show { call, .. } => vec![one(&args, call)?],
            Action::Work { call } => of(&args, call)?,
            _ => vec![one(&args, &["cloudbox.container ", args.command.name()].concat())?],
        };
        let text = |request: &Request| {
            let json = serde_json::to_string(&Fields::new(&request.fields)).unwrap();
            format!("{} {} {json}", request.object, request.method)
        };
        Ok(requests.iter().map(text).collect())
    }

    #[test]
    fn words_become_calls() {
        for (words, expected) in [
            (&["status"][..], &["cloudbox status {}"][..]),
            (&["doctor"], &["cloudbox doctor {}"]),
            (&["reload"], &["cloudbox reload {}"]),
            (&["list", "--names"], &[r#"cloudbox.container list {"fields":["name"]}"#]),
            (&["list", "--json"], &["cloudbox.container list {}"]),
            (
                &["set", "web", "--memory", "1G", "--autostart", "no", "--priority", "7", "--force"],
                &[
                    r#"cloudbox.container set {"name":"web","memory":"1G","autostart":false,"priority":"7","force":true}"#,
                ],
            ),
            (
                &["set", "web", "--autostart", "yes"],
                &[r#"cloudbox.container set {"name":"web","autostart":true}"#],
            ),
            (
                &["restart", "web", "--timeout", "5"],
                &[r#"cloudbox.container restart {"name":"web","timeout":5}"#],
            ),
            (&["rename", "web", "www"], &[r#"cloudbox.container rename {"name":"web","new_name":"www"}"#]),
            (&["shutdown", "--timeout", "9"], &[r#"cloudbox shutdown {"timeout":9}"#]),
            (&["freeze", "web"], &[r#"cloudbox.container freeze {"name":"web"}"#]),
            (&["unfreeze", "web"], &[r#"cloudbox.container unfreeze {"name":"web"}"#]),
            (&["info", "web"], &[r#"cloudbox.container info {"name":"web"}"#]),
            (&["create", "web"], &[r#"cloudbox.container create {"name":"web"}"#]),
            (
                &[
                    "create",
                    "web",
                    "--image",
                    "i",
                    "--memory",
                    "256M",
                    "--cpus",
                    "0.5",
                    "--disk",
                    "none",
                    "--pids",
                    "99",
                    "--network",
                    "br-lan",
                    "--address",
                    "10.0.0.2/24",
                    "--gateway",
                    "10.0.0.1",
                    "--no-autostart",
                    "--no-start",
                    "--description",
                    "a b",
                    "--key",
                    "ssh-ed25519 AAAA me",
                    "--key",
                    "ssh-rsa BBBB",
                    "--slice",
                    "s",
                    "--service",
                    "proxy",
                    "--service",
                    "graphs",
                ],
                &[
                    r#"cloudbox.container create {"name":"web","image":"i","memory":"256M","cpus":"0.5","disk":"none","pids":"99","network":"br-lan","address":"10.0.0.2/24","gateway":"10.0.0.1","autostart":false,"start":false,"description":"a b","authorized_keys":["ssh-ed25519 AAAA me","ssh-rsa BBBB"],"services":["proxy","graphs"],"slice":"s"}"#,
                ],
            ),
            (
                &["delete", "--force", "web", "db", "web"],
                &[
                    r#"cloudbox.container delete {"name":"web","force":true}"#,
                    r#"cloudbox.container delete {"name":"db","force":true}"#,
                ],
            ),
            (&["start", "web", "--no-wait"], &[r#"cloudbox.container start {"name":"web"}"#]),
            (&["stop", "web", "--timeout", "5"], &[r#"cloudbox.container stop {"name":"web","timeout":5}"#]),
            (&["stop", "web", "--force"], &[r#"cloudbox.container stop {"name":"web","force":true}"#]),
            (
                &["exec", "web", "--timeout", "60", "--", "ls", "-l", ""],
                &[r#"cloudbox.container exec {"name":"web","command":["ls","-l",""],"timeout":60}"#],
            ),
            (
                &["exec", "web", "--env", "A=b", "--env", "C=", "--user", "33", "--directory", "/srv", "id"],
                &[
                    r#"cloudbox.container exec {"name":"web","command":["id"],"user":"33","directory":"/srv","environment":["A=b","C="]}"#,
                ],
            ),
            (&["image", "remotes"], &["cloudbox.image remotes {}"]),
            (&["image", "available"], &["cloudbox.image available {}"]),
            (
                &["image", "available", "deb", "--remote", "c"],
                &[r#"cloudbox.image available {"filter":"deb","remote":"c"}"#],
            ),
            (
                &["image", "pull", "a", "c:b", "--remote", "c"],
                &[
                    r#"cloudbox.image pull {"name":"a","remote":"c"}"#,
                    r#"cloudbox.image pull {"name":"c:b","remote":"c"}"#,
                ],
            ),
            (&["image", "prune", "--yes"], &[r#"cloudbox.image prune {"yes":true}"#]),
            (&["snapshot", "web"], &[r#"cloudbox.container snapshot {"name":"web"}"#]),
            (
                &["snapshot", "web", "one"],
                &[r#"cloudbox.container snapshot {"name":"web","snapshot":"one"}"#],
            ),
            (&["snapshots", "web", "--names"], &[r#"cloudbox.container snapshots {"name":"web"}"#]),
            (
                &["restore", "web", "one", "--force"],
                &[r#"cloudbox.container restore {"name":"web","snapshot":"one","force":true}"#],
            ),
            (
                &["snapshot-delete", "web", "one"],
                &[r#"cloudbox.container snapshot_delete {"name":"web","snapshot":"one"}"#],
            ),
            (
                &["clone", "web", "copy", "--snapshot", "one"],
                &[r#"cloudbox.container clone {"name":"web","new_name":"copy","snapshot":"one"}"#],
            ),
            (
                &["export", "web", "/x/web.tar", "--image", "--snapshot", "one"],
                &[
                    r#"cloudbox.container export {"name":"web","path":"/x/web.tar","snapshot":"one","image":true}"#,
                ],
            ),
            (
                &["import", "/x/web.tar", "web"],
                &[r#"cloudbox.container import {"path":"/x/web.tar","name":"web"}"#],
            ),
            (&["image", "list"], &["cloudbox.image list {}"]),
            (&["image", "info", "d"], &[r#"cloudbox.image info {"name":"d"}"#]),
            (
                &["image", "import", "/tmp/Debian_12.tar.xz", "--sha256", "ab"],
                &[
                    r#"cloudbox.image import {"path":"/tmp/Debian_12.tar.xz","name":"debian-12","sha256":"ab"}"#,
                ],
            ),
            (
                &[
                    "create",
                    "web",
                    "--first-boot",
                    "/dev/null",
                    "--protected",
                    "--hostname",
                    "h",
                    "--restart",
                    "no",
                ],
                &[
                    r#"cloudbox.container create {"name":"web","restart":"no","protected":true,"hostname":"h","first_boot":""}"#,
                ],
            ),
            (
                &["log", "web", "--lines", "5", "--follow", "--first-boot"],
                &[r#"cloudbox.container log {"name":"web","lines":5,"first_boot":true}"#],
            ),
            (
                &["image", "import", "/tmp/x.squashfs", "distro"],
                &[r#"cloudbox.image import {"path":"/tmp/x.squashfs","name":"distro"}"#],
            ),
            (&["image", "delete", "d"], &[r#"cloudbox.image delete {"name":"d"}"#]),
            (&["service", "list"], &["cloudbox.service list {}"]),
            (
                &["service", "publish", "web", "_http._tcp", "80"],
                &[r#"cloudbox.service publish {"container":"web","type":"_http._tcp","port":"80"}"#],
            ),
            (
                &["service", "publish", "web", "_a._tcp", "1", "--name", "x", "--txt", "a=1", "--txt", "b=2"],
                &[
                    r#"cloudbox.service publish {"container":"web","type":"_a._tcp","port":"1","name":"x","txt":["a=1","b=2"]}"#,
                ],
            ),
            (&["service", "withdraw", "x"], &[r#"cloudbox.service withdraw {"id":"x"}"#]),
            (&["browse"], &["cloudbox.service browse {}"]),
            (
                &["browse", "_http._tcp", "--timeout", "5"],
                &[r#"cloudbox.service browse {"type":"_http._tcp","timeout":5}"#],
            ),
            (&["job", "list"], &["cloudbox.job list {}"]),
            (&["job", "status", "17"], &[r#"cloudbox.job status {"id":"17"}"#]),
            (&["job", "cancel", "17"], &[r#"cloudbox.job cancel {"id":"17"}"#]),
        ] {
            assert_eq!(calls(words).unwrap(), expected);
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
        let call = calls(&["image", "import", "x.tar"]).unwrap().remove(0);
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
        let create = |key: &Path| calls(&["create", "web", "--key", key.to_str().unwrap()]);
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
        for (words, message) in [
            (
                &["stop", "web", "--timeout", "-1"][..],
                "--timeout \"-1\" is no number of seconds; write a whole one, such as 60",
            ),
            (
                &["log", "web", "--lines", "x"],
                "--lines \"x\" is no number of lines; write a whole one, such as 60",
            ),
            (&["set", "web", "--autostart", "on"], "--autostart \"on\": write yes or no"),
        ] {
            let failure = calls(words).unwrap_err();
            assert_eq!((failure.exit, failure.message.as_str()), (2, message));
        }
        assert_eq!(calls(&["info", "a\0b"]).unwrap_err().exit, 2);
        let failure = calls(&["exec", "web", "--", "echo", &"x".repeat(1 << 20)]).unwrap_err();
        assert!(failure.exit == 2 && failure.message.contains("1 MiB"), "{failure}");
        assert_eq!(calls(&["image", "import", "/tmp/.tar"]).unwrap_err().exit, 2);
    }
}

//! From arguments to calls. What values mean is the daemon's to judge: nothing is checked here that it checks.

use super::args::Args;
use super::Failure;
use cloudbox::api::args::{BROWSE_TIMEOUT, EXEC_TIMEOUT, WAIT_MAX};
use cloudbox::api::Face;
use cloudbox::error::quoted;
use openwrt_ubus::blobmsg::Builder;
use std::path::Path;
use std::time::Duration;

/// How long a reply may take: as long as `ubus call` waits.
pub const PATIENCE: Duration = Duration::from_secs(30);
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
    fn new(face: Face, method: &str, fields: Builder) -> Result<Request, Failure> {
        Ok(Request {
            object: face.path().to_string(),
            method: method.to_string(),
            fields: fields.finish().map_err(|error| Failure::usage(error.to_string()))?,
            patience: PATIENCE,
        })
    }

    fn plain(face: Face, method: &str) -> Result<Request, Failure> {
        Request::new(face, method, Builder::new())
    }

    fn of(face: Face, method: &str, key: &str, value: &str) -> Result<Request, Failure> {
        let mut fields = Builder::new();
        fields.str(key, value);
        Request::new(face, method, fields)
    }
}

/// `cloudbox status`
pub fn box_status(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Box, "status")
}

/// `cloudbox doctor`
pub fn box_doctor(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Box, "doctor")
}

/// `cloudbox reload`
pub fn box_reload(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Box, "reload")
}

/// `cloudbox shutdown`
pub fn box_shutdown(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    if let Some(timeout) = args.seconds("timeout")? {
        fields.int("timeout", timeout.into());
    }
    Ok(vec![Request::new(Face::Box, "shutdown", fields)?])
}

/// `cloudbox list`
pub fn container_list(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Container, "list")
}

/// `cloudbox info`
pub fn container_info(args: &Args) -> Result<Request, Failure> {
    container_named(args.operand(0))
}

/// What `info` tells of container `name`.
pub fn container_named(name: &str) -> Result<Request, Failure> {
    Request::of(Face::Container, "info", "name", name)
}

/// `cloudbox create`
pub fn container_create(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0));
    pass_on(args, &mut fields, &["image"]);
    pass_on(args, &mut fields, SETTINGS);
    for option in ["autostart", "start"] {
        if args.flag(&format!("no-{option}")) {
            fields.bool(option, false);
        }
    }
    if args.flag("protected") {
        fields.bool("protected", true);
    }
    for option in ["hostname", "timezone"] {
        if let Some(value) = args.value(option) {
            fields.str(option, value);
        }
    }
    if let Some(path) = args.value("first-boot") {
        let wrong = |error| {
            Failure::usage(format!("--first-boot {path} cannot be read: {error}", path = quoted(path)))
        };
        fields.str("first_boot", &std::fs::read_to_string(path).map_err(wrong)?);
    }
    put_list(&mut fields, "authorized_keys", &keys(args)?);
    let services: Vec<String> = args.values("service").map(str::to_string).collect();
    put_list(&mut fields, "services", &services);
    Ok(vec![Request::new(Face::Container, "create", fields)?])
}

/// Adds a list, unless it is empty.
fn put_list(fields: &mut Builder, name: &str, texts: &[String]) {
    if !texts.is_empty() {
        fields.array(name, |list| {
            for text in texts {
                list.str("", text);
            }
        });
    }
}

/// `cloudbox set`
pub fn container_set(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0));
    pass_on(args, &mut fields, SETTINGS);
    for option in ["autostart", "protected"] {
        match args.value(option) {
            None => {}
            Some("yes") => drop(fields.bool(option, true)),
            Some("no") => drop(fields.bool(option, false)),
            Some(other) => {
                return Err(Failure::usage(format!(
                    "--{option} {other}: write yes or no",
                    other = quoted(other)
                )))
            }
        }
    }
    if args.flag("force") {
        fields.bool("force", true);
    }
    Ok(vec![Request::new(Face::Container, "set", fields)?])
}

/// What `create` and `set` take as it was typed.
const SETTINGS: &[&str] = &[
    "memory",
    "cpus",
    "disk",
    "pids",
    "network",
    "address",
    "gateway",
    "priority",
    "restart",
    "description",
    "slice",
];

fn pass_on(args: &Args, fields: &mut Builder, options: &[&'static str]) {
    for option in options {
        if let Some(value) = args.value(option) {
            fields.str(option, value);
        }
    }
}

/// `cloudbox adopt`
pub fn container_adopt(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Container, "adopt", &|_| {})
}

/// `cloudbox prune`
pub fn container_prune(args: &Args) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    if args.flag("yes") {
        fields.bool("yes", true);
    }
    Request::new(Face::Container, "prune", fields)
}

/// `cloudbox delete`
pub fn container_delete(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Container, "delete", &|fields| {
        if args.flag("force") {
            fields.bool("force", true);
        }
    })
}

/// `cloudbox start`
pub fn container_start(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Container, "start", &|_| {})
}

/// `cloudbox stop`
pub fn container_stop(args: &Args) -> Result<Vec<Request>, Failure> {
    let timeout = args.seconds("timeout")?;
    for_each_name(args, Face::Container, "stop", &|fields| {
        if let Some(timeout) = timeout {
            fields.int("timeout", timeout.into());
        }
        if args.flag("force") {
            fields.bool("force", true);
        }
    })
}

/// `cloudbox restart`
pub fn container_restart(args: &Args) -> Result<Vec<Request>, Failure> {
    let timeout = args.seconds("timeout")?;
    for_each_name(args, Face::Container, "restart", &|fields| {
        if let Some(timeout) = timeout {
            fields.int("timeout", timeout.into());
        }
    })
}

/// `cloudbox rename`
pub fn container_rename(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0)).str("new_name", args.operand(1));
    Ok(vec![Request::new(Face::Container, "rename", fields)?])
}

/// `cloudbox freeze`
pub fn container_freeze(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Container, "freeze", &|_| {})
}

/// `cloudbox unfreeze`
pub fn container_unfreeze(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Container, "unfreeze", &|_| {})
}

/// `cloudbox exec`
pub fn container_exec(args: &Args) -> Result<Request, Failure> {
    let timeout = args.seconds("timeout")?;
    let mut fields = Builder::new();
    fields.str("name", args.operand(0));
    fields.array("command", |list| {
        for word in args.operands.iter().skip(1) {
            list.str("", word);
        }
    });
    let variables: Vec<&str> = args.values("env").collect();
    if !variables.is_empty() {
        fields.array("environment", |list| {
            for variable in variables {
                list.str("", variable);
            }
        });
    }
    for option in ["user", "directory"] {
        if let Some(value) = args.value(option) {
            fields.str(option, value);
        }
    }
    if let Some(timeout) = timeout {
        fields.int("timeout", timeout.into());
    }
    let request = Request::new(Face::Container, "exec", fields)?;
    let runs = Duration::from_secs(timeout.unwrap_or(EXEC_TIMEOUT).into());
    Ok(Request { patience: runs + MARGIN, ..request })
}

/// `cloudbox log`
pub fn container_log(args: &Args) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0));
    if let Some(lines) = args.number("lines", "lines")? {
        fields.int("lines", lines.into());
    }
    if args.flag("first-boot") {
        fields.bool("first_boot", true);
    }
    Request::new(Face::Container, "log", fields)
}

/// `cloudbox snapshot`
pub fn container_snapshot(args: &Args) -> Result<Vec<Request>, Failure> {
    of_snapshot(args, "snapshot")
}

/// `cloudbox snapshots`
pub fn container_snapshots(args: &Args) -> Result<Request, Failure> {
    Request::of(Face::Container, "snapshots", "name", args.operand(0))
}

/// `cloudbox restore`
pub fn container_restore(args: &Args) -> Result<Vec<Request>, Failure> {
    of_snapshot(args, "restore")
}

/// `cloudbox snapshot-delete`
pub fn container_snapshot_delete(args: &Args) -> Result<Vec<Request>, Failure> {
    of_snapshot(args, "snapshot_delete")
}

/// `cloudbox clone`
pub fn container_clone(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0)).str("new_name", args.operand(1));
    if let Some(snapshot) = args.value("snapshot") {
        fields.str("snapshot", snapshot);
    }
    Ok(vec![Request::new(Face::Container, "clone", fields)?])
}

/// `cloudbox export`
pub fn container_export(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0)).str("path", &absolute(args.operand(1))?);
    if let Some(snapshot) = args.value("snapshot") {
        fields.str("snapshot", snapshot);
    }
    if args.flag("image") {
        fields.bool("image", true);
    }
    Ok(vec![Request::new(Face::Container, "export", fields)?])
}

/// `cloudbox import`
pub fn container_import(args: &Args) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("path", &absolute(args.operand(0))?).str("name", args.operand(1));
    Ok(vec![Request::new(Face::Container, "import", fields)?])
}

/// `path` as the daemon knows it, which works in another directory than the person who types.
fn absolute(path: &str) -> Result<String, Failure> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{} is no path: {error}", quoted(path))))?;
    let text = absolute.to_str().map(str::to_string);
    text.ok_or_else(|| Failure::usage(format!("{} is not UTF-8", quoted(&absolute.to_string_lossy()))))
}

/// A request about one snapshot of one container.
fn of_snapshot(args: &Args, method: &str) -> Result<Vec<Request>, Failure> {
    let mut fields = Builder::new();
    fields.str("name", args.operand(0));
    if !args.operand(1).is_empty() {
        fields.str("snapshot", args.operand(1));
    }
    if args.flag("force") {
        fields.bool("force", true);
    }
    Ok(vec![Request::new(Face::Container, method, fields)?])
}

/// `cloudbox image list`
pub fn image_list(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Image, "list")
}

/// `cloudbox image info`
pub fn image_info(args: &Args) -> Result<Request, Failure> {
    Request::of(Face::Image, "info", "name", args.operand(0))
}

/// `cloudbox image import`
pub fn image_import(args: &Args) -> Result<Vec<Request>, Failure> {
    let path = &absolute(args.operand(0))?;
    let mut fields = Builder::new();
    fields.str("path", path);
    match args.operand(1) {
        "" => fields.str("name", &image_name(path)?),
        name => fields.str("name", name),
    };
    if let Some(hash) = args.value("sha256") {
        fields.str("sha256", hash);
    }
    Ok(vec![Request::new(Face::Image, "import", fields)?])
}

/// `cloudbox image remotes`
pub fn image_remotes(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Image, "remotes")
}

/// `cloudbox image available`
pub fn image_available(args: &Args) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    if !args.operand(0).is_empty() {
        fields.str("filter", args.operand(0));
    }
    pass_on(args, &mut fields, &["remote"]);
    Request::new(Face::Image, "available", fields)
}

/// `cloudbox image pull`
pub fn image_pull(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Image, "pull", &|fields| pass_on(args, fields, &["remote"]))
}

/// `cloudbox image prune`
pub fn image_prune(args: &Args) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    if args.flag("yes") {
        fields.bool("yes", true);
    }
    Request::new(Face::Image, "prune", fields)
}

/// `cloudbox image delete`
pub fn image_delete(args: &Args) -> Result<Vec<Request>, Failure> {
    for_each_name(args, Face::Image, "delete", &|_| {})
}

/// `cloudbox service list`
pub fn service_list(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Service, "list")
}

/// `cloudbox service publish`
pub fn service_publish(args: &Args) -> Result<Request, Failure> {
    let mut fields = Builder::new();
    for (at, name) in ["container", "type", "port"].into_iter().enumerate() {
        fields.str(name, args.operand(at));
    }
    for option in ["name", "protocol", "check"] {
        if let Some(value) = args.value(option) {
            fields.str(option, value);
        }
    }
    fields.array("txt", |list| {
        for record in args.values("txt") {
            list.str("", record);
        }
    });
    Request::new(Face::Service, "publish", fields)
}

/// `cloudbox service withdraw`
pub fn service_withdraw(args: &Args) -> Result<Request, Failure> {
    Request::of(Face::Service, "withdraw", "id", args.operand(0))
}

/// `cloudbox browse`
pub fn service_browse(args: &Args) -> Result<Request, Failure> {
    let timeout = args.seconds("timeout")?;
    let mut fields = Builder::new();
    if !args.operand(0).is_empty() {
        fields.str("type", args.operand(0));
    }
    if let Some(timeout) = timeout {
        fields.int("timeout", timeout.into());
    }
    let request = Request::new(Face::Service, "browse", fields)?;
    let listens = Duration::from_secs(timeout.unwrap_or(BROWSE_TIMEOUT).into());
    Ok(Request { patience: listens + MARGIN, ..request })
}

/// `cloudbox job list`
pub fn job_list(_: &Args) -> Result<Request, Failure> {
    Request::plain(Face::Job, "list")
}

/// `cloudbox job status`
pub fn job_status(args: &Args) -> Result<Request, Failure> {
    Request::of(Face::Job, "status", "id", args.operand(0))
}

/// `cloudbox job cancel`
pub fn job_cancel(args: &Args) -> Result<Request, Failure> {
    Request::of(Face::Job, "cancel", "id", args.operand(0))
}

/// One slice of waiting for job `id`, of `seconds` at most.
pub fn job_wait(id: &str, seconds: u32) -> Result<Request, Failure> {
    let seconds = seconds.min(WAIT_MAX);
    let mut fields = Builder::new();
    fields.str("id", id).int("timeout", seconds.into());
    let request = Request::new(Face::Job, "wait", fields)?;
    Ok(Request { patience: Duration::from_secs(seconds.into()) + MARGIN, ..request })
}

/// One request for each name that was given. A name given twice is meant once.
fn for_each_name(
    args: &Args,
    face: Face,
    method: &str,
    fill: &dyn Fn(&mut Builder),
) -> Result<Vec<Request>, Failure> {
    let mut requests = Vec::new();
    for (at, name) in args.operands.iter().enumerate() {
        if args.operands.iter().take(at).any(|earlier| earlier == name) {
            continue;
        }
        let mut fields = Builder::new();
        fields.str("name", name);
        fill(&mut fields);
        requests.push(Request::new(face, method, fields)?);
    }
    Ok(requests)
}

/// The keys that `--key` gives: each a key, or a file with one in each line.
fn keys(args: &Args) -> Result<Vec<String>, Failure> {
    let mut keys = Vec::new();
    for value in args.values("key") {
        let kind = value.split(' ').next().unwrap_or_default();
        if value.contains(' ') && ["ssh-", "ecdsa-", "sk-"].iter().any(|prefix| kind.starts_with(prefix)) {
            keys.push(value.to_string());
            continue;
        }
        let content = std::fs::read_to_string(value).map_err(|error| {
            Failure::usage(format!(
                "--key {value} is neither an SSH key nor a file that can be read: {error}",
                value = quoted(value)
            ))
        })?;
        // The private half lies beside the public one, and its name is shorter to type.
        if content.contains("PRIVATE KEY") {
            return Err(Failure::usage(format!(
                "{value} is a private key; give the public one, {value}.pub"
            )));
        }
        let lines = content.lines().map(str::trim);
        keys.extend(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_string));
    }
    Ok(keys)
}

/// What an image from the file at `path` is called: the file's name without its ending, made a valid name.
fn image_name(path: &str) -> Result<String, Failure> {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let mut stem = file.to_ascii_lowercase();
    for ending in [".gz", ".xz", ".zst", ".tar", ".tgz", ".txz", ".squashfs", ".sqfs", ".img"] {
        if let Some(shorter) = stem.strip_suffix(ending) {
            stem = shorter.to_string();
        }
    }
    let letter = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = stem.chars().map(letter).collect();
    match name.trim_matches('-') {
        "" => Err(Failure::usage(format!("{path} makes no name; write one behind it", path = quoted(path)))),
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
            Action::Show { request, .. } => vec![request(&args)?],
            Action::Work { requests } => requests(&args)?,
            _ => vec![container_exec(&args)?],
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
            (&["list", "--names"], &["cloudbox.container list {}"]),
            (
                &["set", "web", "--memory", "1G", "--autostart", "no", "--priority", "7", "--force"],
                &[
                    r#"cloudbox.container set {"name":"web","memory":"1G","priority":"7","autostart":false,"force":true}"#,
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
                    r#"cloudbox.container create {"name":"web","image":"i","memory":"256M","cpus":"0.5","disk":"none","pids":"99","network":"br-lan","address":"10.0.0.2/24","gateway":"10.0.0.1","description":"a b","slice":"s","autostart":false,"start":false,"authorized_keys":["ssh-ed25519 AAAA me","ssh-rsa BBBB"],"services":["proxy","graphs"]}"#,
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
                    r#"cloudbox.container exec {"name":"web","command":["id"],"environment":["A=b","C="],"user":"33","directory":"/srv"}"#,
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
                &["image", "import", "/tmp/x.squashfs", "distro"],
                &[r#"cloudbox.image import {"path":"/tmp/x.squashfs","name":"distro"}"#],
            ),
            (&["image", "delete", "d"], &[r#"cloudbox.image delete {"name":"d"}"#]),
            (&["service", "list"], &["cloudbox.service list {}"]),
            (
                &["service", "publish", "web", "_http._tcp", "80"],
                &[r#"cloudbox.service publish {"container":"web","type":"_http._tcp","port":"80","txt":[]}"#],
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
        assert_eq!(calls(&["stop", "web", "--timeout", "-1"]).unwrap_err().exit, 2);
        assert_eq!(calls(&["info", "a\0b"]).unwrap_err().exit, 2);
        let failure = calls(&["exec", "web", "--", "echo", &"x".repeat(1 << 20)]).unwrap_err();
        assert!(failure.exit == 2 && failure.message.contains("1 MiB"), "{failure}");
        assert_eq!(calls(&["image", "import", "/tmp/.tar"]).unwrap_err().exit, 2);
    }
}

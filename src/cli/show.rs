//! Replies as people read them.

use super::args::Args;
use super::page::Page;
use super::text::{count, duration, or_dash, percent, share, size, tone, Table};
use super::view::View;
use super::{OK, REFUSED};

/// Hex digits of a sha256 that tell images apart.
const SHORT_HASH: usize = 12;

/// `cloudbox list`
pub fn containers(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let containers = view.tables("containers");
    if args.flag("names") {
        containers.iter().for_each(|container| page.line(&container.text("name")));
        return OK;
    }
    if containers.is_empty() {
        page.line("there are no containers yet; `cloudbox create web` makes one");
        apart(view, page);
        return OK;
    }
    let titles = ["NAME", "STATE", "ADDRESS", "CPU", "MEMORY", "PIDS", "DISK", "UP", "IMAGE"];
    let mut table = Table::titled(&titles, &[3, 5], Some(1));
    for container in &containers {
        table.row(vec![
            container.text("name"),
            container.text("state"),
            or_dash(first_addresses(container)),
            or_dash(container.number("cpu").map_or_else(String::new, percent)),
            share(container.number("memory"), container.number("memory_limit")),
            or_dash(number(container, "pids")),
            share(container.number("disk"), container.number("disk_limit")),
            or_dash(container.number("uptime").map_or_else(String::new, duration)),
            or_dash(container.text("image")),
        ]);
    }
    table.write(&mut page.text, "", page.color);
    for container in &containers {
        let name = container.text("name");
        if let Some(error) = container.table("error") {
            page.line(&format!("{name}: {}{}", error.text("message"), again(container)));
        }
        let changed = container.texts("restart_required");
        if !changed.is_empty() {
            page.line(&format!("{name}: a restart applies {}", changed.join(", ")));
        }
    }
    apart(view, page);
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
    for foreign in view.tables("foreign") {
        page.line(&format!(
            "{} ({}) in {} is another tool's; `cloudbox adopt` takes it over",
            foreign.text("name"),
            foreign.text("state"),
            foreign.text("path")
        ));
    }
}

/// `cloudbox prune`
pub fn prune(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let (orphans, leftovers) = (view.texts("orphans"), view.texts("leftovers"));
    for (names, what) in [
        (&orphans, "orphans, with all their data"),
        (&leftovers, "left half made or half removed"),
        (&view.texts("protected"), "protected, and stay"),
    ] {
        if !names.is_empty() {
            page.line(&format!("{what}: {}", names.join(", ")));
        }
    }
    match view.texts("jobs").as_slice() {
        _ if orphans.is_empty() && leftovers.is_empty() => page.line("there is nothing to remove"),
        [] if !args.flag("yes") => page.line("`cloudbox prune --yes` removes them; there is no way back"),
        jobs => page.line(&format!("they are being removed; `cloudbox job wait {}` follows", jobs.join(" "))),
    }
    OK
}

/// `; it is started again in 8s, for the 4th time`
fn again(container: &View<'_>) -> String {
    let Some(seconds) = container.number("restart_in") else { return String::new() };
    let before = container.number("restarts").unwrap_or(0);
    format!("; it is started again in {} (so far {})", duration(seconds), count(before, "restart"))
}

/// The first address and how many more there are: a container may have a dozen of IPv6.
fn first_addresses(container: &View<'_>) -> String {
    let addresses = container.texts("addresses");
    match addresses.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} +{}", more.len()),
    }
}

/// `cloudbox info`
pub fn container(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    let pid = view.number("pid").map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let state = view.text("state");
    let paint = if page.color { tone(&state) } else { "" };
    let end = if paint.is_empty() { "" } else { "\x1b[0m" };
    table.pair("name", view.text("name"));
    table.pair("state", format!("{paint}{state}{end}{pid}"));
    if let Some(error) = view.table("error") {
        table.pair("error", error.text("message"));
    }
    table.pair("job", view.text("job"));
    table.pair("description", view.text("description"));
    table.pair("image", format!("{} {}", view.text("image"), short_hash(view, "image_sha256")));
    table.pair("made", ago(view, "created", page.now));
    table.pair("autostart", yes_no(view, "autostart"));
    table.pair("priority", number(view, "priority"));
    table.pair("restart", view.text("restart"));
    table.pair("slice", view.text("slice"));
    table.pair("addresses", view.texts("addresses").join(", "));
    table.pair("network", format!("{} on {}", view.text("address"), view.text("network")));
    table.pair("interface", format!("{}, MAC {}", view.text("veth"), view.text("mac")));
    let peak =
        view.number("memory_peak").map_or_else(String::new, |peak| format!(", {} at most", size(Some(peak))));
    table.pair("memory", share(view.number("memory"), view.number("memory_limit")) + &peak);
    table.pair("disk", share(view.number("disk"), view.number("disk_limit")));
    for interface in
        view.tables("interfaces").iter().filter(|interface| interface.number("received").is_some())
    {
        let bytes = |field| size(interface.number(field));
        table.pair(&interface.text("name"), format!("{} in, {} out", bytes("received"), bytes("sent")));
    }
    table.pair("processes", number(view, "pids"));
    if let Some(microseconds) = view.number("cpu_time") {
        let now = view.number("cpu").map_or_else(String::new, |cpu| format!(", {} now", percent(cpu)));
        table.pair("cpu time", duration(microseconds / 1_000_000) + &now);
    }
    table.pair("up", view.number("uptime").map_or_else(String::new, duration));
    if let Some(exit) = view.table("last_exit") {
        let how = [("code", "exit code"), ("signal", "signal")];
        let how = how.iter().find_map(|(field, word)| Some(format!(", {word} {}", exit.number(field)?)));
        table.pair(
            "last end",
            format!("{}{} {}", exit.text("reason"), how.unwrap_or_default(), ago(&exit, "at", page.now)),
        );
    }
    table.pair("restarts", number(view, "restarts"));
    table.pair("asked for", limits(view, "asked"));
    table.pair("in force", limits(view, "in_force"));
    table.pair("restart for", view.texts("restart_required").join(", "));
    table.pair("not changed", view.texts("fixed").join(", "));
    if let (Some(base), Some(ids)) = (view.number("id_base"), view.number("id_count")) {
        table.pair("host ids", format!("{base} to {}", base.saturating_add(ids).saturating_sub(1)));
    }
    for (title, field) in
        [("root", "rootfs"), ("lxcpath", "lxcpath"), ("console", "console_log"), ("section", "section")]
    {
        table.pair(title, view.text(field));
    }
    if let Some(script) = view.table("first_boot") {
        let code = script.number("code").filter(|code| *code > 0);
        let status = code.map_or_else(String::new, |code| format!(", status {code}"));
        table.pair("first boot", format!("{}{status}", script.text("state")));
    }
    table.pair("services", view.texts("services").join(", "));
    for key in view.texts("authorized_keys") {
        table.pair("ssh key", key);
    }
    table.write(&mut page.text, "", false);
    OK
}

/// `memory 256M, cpus 0.5`
fn limits(view: &View<'_>, field: &str) -> String {
    let Some(limits) = view.table(field) else { return String::new() };
    let shown = ["memory", "cpus", "pids", "disk"].map(|name| match (name, limits.number(name)) {
        ("memory" | "disk", Some(bytes)) => format!("{name} {}", size(Some(bytes))),
        _ => match limits.text(name) {
            value if value.is_empty() => value,
            value => format!("{name} {value}"),
        },
    });
    let shown: Vec<String> = shown.into_iter().filter(|text| !text.is_empty()).collect();
    shown.join(", ")
}

/// `cloudbox image list`
pub fn images(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let images = view.tables("images");
    if args.flag("names") {
        images.iter().flat_map(|image| image.texts("names")).for_each(|name| page.line(&name));
        return OK;
    }
    if images.is_empty() {
        page.line("there are no images yet; `cloudbox image pull` fetches one, `cloudbox image import` makes one of a file");
        return OK;
    }
    let mut table =
        Table::titled(&["NAME", "SYSTEM", "ARCH", "SIZE", "SHA256", "IMPORTED", "USED BY"], &[3], None);
    for image in &images {
        table.row(vec![
            or_dash(image.texts("names").join(", ")),
            or_dash(system(image)),
            or_dash(image.text("arch")),
            size(image.number("size")),
            or_dash(short_hash(image, "sha256")),
            or_dash(ago(image, "imported", page.now)),
            or_dash(image.texts("used_by").join(", ")),
        ]);
    }
    table.write(&mut page.text, "", page.color);
    for image in images.iter().filter(|image| !image.text("newer").is_empty()) {
        let (name, newer) = (image.texts("names").join(", "), image.text("newer"));
        page.line(&format!("{name}: version {newer} is there; `cloudbox image pull {name}` fetches it"));
    }
    OK
}

/// `cloudbox image remotes`
pub fn remotes(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let remotes = view.tables("remotes");
    if args.flag("names") {
        remotes.iter().for_each(|remote| page.line(&remote.text("name")));
        return OK;
    }
    if remotes.is_empty() {
        page.line("there are no remotes; a section `remote` in /etc/config/cloudbox names one");
        return OK;
    }
    let mut table = Table::titled(&["NAME", "ADDRESS", "SIGNED", "KEYS"], &[], None);
    for remote in &remotes {
        table.row(vec![
            remote.text("name"),
            or_dash(remote.text("url")),
            yes_no(remote, "signed"),
            or_dash(remote.texts("keys").join(", ")),
        ]);
    }
    table.write(&mut page.text, "", page.color);
    for remote in &remotes {
        if let Some(error) = remote.table("error") {
            page.line(&format!("{}: {}", remote.text("name"), error.text("message")));
        }
    }
    OK
}

/// `cloudbox image available`
pub fn offers(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let offers = view.tables("images");
    let first = |offer: &View<'_>| offer.texts("aliases").into_iter().next().unwrap_or_default();
    if args.flag("names") {
        offers.iter().for_each(|offer| page.line(&format!("{}:{}", offer.text("remote"), first(offer))));
        return OK;
    }
    if offers.is_empty() {
        page.line("there is nothing; `cloudbox image remotes` shows who was asked");
    } else {
        let mut table =
            Table::titled(&["REMOTE", "NAME", "SYSTEM", "VERSION", "SIZE", "STATE"], &[4], Some(5));
        for offer in &offers {
            table.row(vec![
                offer.text("remote"),
                first(offer),
                or_dash(system(offer)),
                offer.text("version"),
                size(offer.number("size")),
                offer.text("state"),
            ]);
        }
        table.write(&mut page.text, "", page.color);
    }
    for offer in &offers {
        if let Some(error) = offer.table("error") {
            page.line(&format!("{} cannot be had: {}", first(offer), error.text("message")));
        }
    }
    view.texts("errors").iter().for_each(|error| page.line(error));
    OK
}

/// `cloudbox image prune`
pub fn image_prune(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let images = view.texts("images");
    let partial = view.number("partial").filter(|bytes| *bytes > 0);
    if !images.is_empty() {
        page.line(&format!("nobody uses: {} ({})", images.join(", "), size(view.number("bytes"))));
    }
    if partial.is_some() {
        page.line(&format!("pulls that ended early have left {}", size(partial)));
    }
    match view.text("job").as_str() {
        _ if images.is_empty() && partial.is_none() => page.line("there is nothing to remove"),
        "" if !args.flag("yes") => page.line("`cloudbox image prune --yes` removes it; there is no way back"),
        job => page.line(&format!("it is being removed; `cloudbox job wait {job}` follows")),
    }
    OK
}

/// `cloudbox snapshots`
pub fn snapshots(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let mut table = Table::titled(&["NAME", "SIZE", "MADE"], &[1], None);
    for snapshot in &view.tables("snapshots") {
        let name = snapshot.text("name");
        if args.flag("names") {
            page.line(&name);
        } else {
            table.row(vec![name, size(snapshot.number("bytes")), ago(snapshot, "created", page.now)]);
        }
    }
    if !args.flag("names") {
        table.write(&mut page.text, "", page.color);
    }
    OK
}

/// `cloudbox image info`
pub fn image(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    table.pair("name", view.texts("names").join(", "));
    table.pair("description", view.text("description"));
    table.pair("version", view.text("version"));
    table.pair("system", system(view));
    table.pair("arch", view.text("arch"));
    table.pair("init", view.text("init"));
    table.pair("size", size(view.number("size")));
    table.pair("sha256", view.text("sha256"));
    table.pair("imported", ago(view, "imported", page.now));
    table.pair("pulled from", view.text("source"));
    table.pair("newer", view.text("newer"));
    table.pair("used by", view.texts("used_by").join(", "));
    for service in view.texts("services") {
        table.pair("service", service);
    }
    table.write(&mut page.text, "", false);
    OK
}

fn system(image: &View<'_>) -> String {
    format!("{} {}", image.text("os"), image.text("release")).trim().to_string()
}

/// `cloudbox service list`
pub fn services(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let services = view.tables("services");
    if args.flag("names") {
        services.iter().for_each(|service| page.line(&service.text("id")));
        return OK;
    }
    let mut table = Table::titled(&["ID", "STATE", "NAME", "TYPE", "PORT", "HOST", "BY"], &[4], Some(1));
    for service in &services {
        let fields = ["id", "state", "name", "type", "port", "host", "source"];
        table.row(fields.iter().map(|field| service.text(field)).collect());
    }
    table.write(&mut page.text, "", page.color);
    for service in &services {
        let reason = service.text("reason");
        if !reason.is_empty() {
            page.line(&format!("{}: {reason}", service.text("id")));
        }
    }
    OK
}

/// `cloudbox service publish` and `withdraw`
pub fn service_id(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    page.line(&view.text("id"));
    OK
}

/// `cloudbox browse`
pub fn found(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let services = view.tables("services");
    if services.is_empty() {
        page.line("nobody announces such a service here; `cloudbox doctor` looks for reasons on this box");
        return OK;
    }
    let mut table = Table::titled(&["TYPE", "NAME", "HOST", "ADDRESS", "PORT", "BOX", "TXT"], &[4], None);
    for service in &services {
        let ours = if service.flag("ours") { "*" } else { "" };
        table.row(vec![
            service.text("type"),
            service.text("name"),
            service.text("host"),
            or_dash(first_addresses(service)),
            service.text("port"),
            or_dash(service.text("box") + ours),
            service.texts("txt").join(" "),
        ]);
    }
    table.write(&mut page.text, "", page.color);
    OK
}

/// `cloudbox job list`
pub fn jobs(view: &View<'_>, args: &Args, page: &mut Page) -> u8 {
    let jobs = view.tables("jobs");
    if args.flag("names") {
        jobs.iter().for_each(|job| page.line(&job.text("id")));
        return OK;
    }
    if jobs.is_empty() {
        page.line("there are no jobs");
        return OK;
    }
    let mut table =
        Table::titled(&["ID", "KIND", "TARGET", "STATE", "STEP", "DONE", "BEGUN", "TOOK"], &[0, 5], Some(3));
    for job in &jobs {
        table.row(vec![
            job.text("id"),
            job.text("kind"),
            job.text("target"),
            job.text("state"),
            or_dash(job.text("step")),
            format!("{}%", job.number("percent").unwrap_or(0)),
            ago(job, "started", page.now),
            or_dash(took(job)),
        ]);
    }
    table.write(&mut page.text, "", page.color);
    for job in &jobs {
        if let Some(error) = job.table("error") {
            page.line(&format!("{}: {}", job.text("id"), error.text("message")));
        }
    }
    OK
}

/// `cloudbox job status` and `cancel`
pub fn job(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    table.pair("job", format!("{}: {} {}", view.text("id"), view.text("kind"), view.text("target")));
    table.pair("state", view.text("state"));
    table.pair("step", view.text("step"));
    let bytes = share(view.number("bytes").filter(|bytes| *bytes > 0), view.number("total"));
    let percent = format!("{}%", view.number("percent").unwrap_or(0));
    table.pair("done", if bytes == "-" { percent } else { format!("{percent} {bytes}") });
    table.pair("begun", ago(view, "started", page.now));
    table.pair("took", took(view));
    if let Some(error) = view.table("error") {
        table.pair("error", error.text("message"));
    }
    table.write(&mut page.text, "", false);
    OK
}

fn took(job: &View<'_>) -> String {
    match (job.number("started"), job.number("finished")) {
        (Some(started), Some(finished)) => duration(finished.saturating_sub(started)),
        _ => String::new(),
    }
}

/// `cloudbox status`
pub fn status(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let mut table = Table::default();
    let uptime = duration(view.number("uptime").unwrap_or(0));
    table.pair(
        "cloudbox",
        format!("{} (API {}), pid {}, up {uptime}", view.text("version"), view.int("api"), view.int("pid")),
    );
    if !view.flag("enabled") {
        table.pair("enabled", "no: `uci set cloudbox.main.enabled=1` and `uci commit cloudbox`".to_string());
    }
    if let Some(counts) = view.table("containers") {
        let mut text = format!("{}, {} running", counts.int("total"), counts.int("running"));
        for (field, word) in [("failed", "failed"), ("orphans", "without a section")] {
            if let Some(number) = counts.number(field).filter(|number| *number > 0) {
                text.push_str(&format!(", {number} {word}"));
            }
        }
        table.pair("containers", text);
    }
    table.pair("images", number(view, "images"));
    table.pair("jobs", count(view.number("jobs").unwrap_or(0), "job") + " at work");
    for name in ["memory", "disk"] {
        if let Some(resource) = view.table(name) {
            let part = |field| size(resource.number(field));
            table.pair(
                name,
                format!(
                    "{} free of {}; {} kept for the box, {} promised to containers",
                    part("free"),
                    part("total"),
                    part("reserve"),
                    part("promised")
                ),
            );
        }
    }
    if let Some(avahi) = view.table("avahi") {
        let published = count(avahi.number("published").unwrap_or(0), "service");
        table.pair("avahi", format!("{}, {published} announced", avahi.text("state")));
    }
    for name in ["storage", "config", "arch"] {
        table.pair(name, view.text(name));
    }
    table.write(&mut page.text, "", false);
    warnings(view, page);
    OK
}

/// `cloudbox doctor`: 1 when something does not work.
pub fn doctor(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let checks = view.tables("checks");
    let width = checks.iter().map(|check| check.text("name").chars().count()).max().unwrap_or(0);
    for check in &checks {
        let word = match &*check.raw("state") {
            "ok" => "ok",
            "warning" => "warn",
            _ => "FAIL",
        };
        let (start, end) = if page.color { (tone(word), "\x1b[0m") } else { ("", "") };
        let (name, message) = (check.text("name"), check.text("message"));
        page.line(&format!("{start}{word:4}{end}  {name:width$}  {message}"));
        let remedy = check.text("remedy");
        if !remedy.is_empty() {
            page.line(&format!("      {:width$}  {remedy}", ""));
        }
    }
    let errors = checks.iter().filter(|check| !matches!(&*check.raw("state"), "ok" | "warning")).count();
    if errors > 0 || view.raw("state") == "error" {
        REFUSED
    } else {
        OK
    }
}

/// `cloudbox reload`
pub fn reload(view: &View<'_>, _: &Args, page: &mut Page) -> u8 {
    let (jobs, restart) = (view.texts("jobs"), view.texts("restart_required"));
    match jobs.as_slice() {
        [] => page.line("the configuration is applied; there was nothing to do"),
        jobs => {
            let numbers = jobs.join(" ");
            let what = count(jobs.len() as u64, "job");
            page.line(&format!(
                "the configuration is applied by {what}; `cloudbox job wait {numbers}` follows"
            ));
        }
    }
    if !restart.is_empty() {
        page.line(&format!("a restart is needed by {}", restart.join(", ")));
    }
    warnings(view, page);
    OK
}

fn warnings(view: &View<'_>, page: &mut Page) {
    let (start, end) = if page.color { (tone("warning"), "\x1b[0m") } else { ("", "") };
    for warning in view.texts("warnings") {
        page.line(&format!("{start}warning{end}: {warning}"));
    }
}

fn number(view: &View<'_>, field: &str) -> String {
    view.number(field).map_or_else(String::new, |number| number.to_string())
}

fn yes_no(view: &View<'_>, field: &str) -> String {
    if view.flag(field) { "yes" } else { "no" }.to_string()
}

fn short_hash(view: &View<'_>, field: &str) -> String {
    view.text(field).chars().take(SHORT_HASH).collect()
}

/// `3m 4s ago`; a box without a clock battery may think that it is yet to come.
fn ago(view: &View<'_>, field: &str, now: u64) -> String {
    match view.number(field) {
        Some(then) if then > 0 => format!("{} ago", duration(now.saturating_sub(then))),
        _ => String::new(),
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
            let mut words: Vec<&str> = command.name.split(' ').collect();
            words.extend(command.operands.iter().map(|_| "x"));
            let Ok(Parsed::Run(args)) = parse_line(&words) else { panic!("{words:?}") };
            for fields in [&[][..], &[0, 0, 0, 1], &[0xff; 64], &[0x83, 0, 0, 9, 0, 1, b'a', 0, 0]] {
                let mut page = Page { text: String::new(), color: true, now: 0 };
                page.reply(fields, show, &args);
            }
        }
    }
}

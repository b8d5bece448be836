//! Files written into a guest before its first start: who it is, who may enter, how it reaches the network.
//!
//! All of them by [`GuestRoot`], so that no link in an image leads the daemon to a file of the host.

use super::super::guest_root::GuestRoot;
use super::Record;
use crate::error::{quoted, Code, Error, Result};
use crate::model::address::{Address, Ipv4Net};
use crate::model::image::hex;
use crate::model::secrets::Secrets;
use crate::model::spec::{is_path, Spec};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

/// Where a container's first-boot script lies in its guest until it is run.
pub const FIRST_BOOT_SCRIPT: &str = "var/lib/cloudbox/first-boot";
/// The directory in which a guest finds what it was given to keep.
pub const SECRETS: &str = "var/lib/cloudbox/secrets";

/// What a guest with a static address must know of its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuestNetwork {
    /// Its default route.
    pub gateway: Option<Ipv4Addr>,
    /// Its name server.
    pub dns: Option<Ipv4Addr>,
}

/// The guest's machine id: its own for ever, without asking for random numbers at boot.
pub fn machine_id(box_id: &str, record: &Record) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("machine-id\0{box_id}\0{}\0{}", record.name, record.created));
    hex(&hash.finalize()[..16])
}

/// Writes all of them into the root mounted at `rootfs`.
pub fn write(
    rootfs: &Path,
    record: &Record,
    machine_id: &str,
    network: &GuestNetwork,
    secrets: &Secrets,
) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    let name = record.hostname();
    // Behind the whole name the first word of it.
    let names = match name.split_once('.') {
        Some((first, _)) => format!("{name} {first}"),
        None => name.to_string(),
    };
    root.put_text("etc/hostname", 0o644, format_args!("{name}\n"))?;
    root.put_text("etc/machine-id", 0o444, format_args!("{machine_id}\n"))?;
    let own = root.read("etc/hosts", TEXT_MAX).ok().and_then(|text| String::from_utf8(text).ok());
    root.put("etc/hosts", 0o644, &hosts(&own.unwrap_or_default(), &names))?;
    if !record.spec.authorized_keys.is_empty() {
        root.make_dir("root/.ssh", 0o700)?;
        root.put_text(
            "root/.ssh/authorized_keys",
            0o600,
            format_args!("{}\n", record.spec.authorized_keys.join("\n")),
        )?;
    }
    // Images ask by DHCP by themselves.
    if let Address::Static(address) = record.spec.address {
        set_static(&root, address, network)?;
    }
    if !record.spec.timezone.is_empty() {
        let zone = &record.spec.timezone;
        check_zone(&root, record)?;
        root.put_text("etc/timezone", 0o644, format_args!("{zone}\n"))?;
        root.link("etc/localtime", &format!("../usr/share/zoneinfo/{zone}"))?;
    }
    if root.has("etc/cloud") {
        write_seed(&root, record, machine_id)?;
    }
    // A path of an earlier version's is no script, and opens nothing.
    if !record.spec.first_boot.is_empty() && !is_path(&record.spec.first_boot) {
        root.put(FIRST_BOOT_SCRIPT, 0o700, &record.spec.first_boot)?;
    }
    for service in &record.spec.services {
        root.make_dir(SERVICES, 0o755)?;
        root.put(&(SERVICES.to_string() + "/" + service + ".conf"), 0o644, "enabled=1\n")?;
    }
    if !secrets.is_empty() {
        root.make_private_dir(SECRETS)?;
    }
    for (name, content) in secrets.iter() {
        root.put_bytes(&[SECRETS, "/", name].concat(), 0o600, content)?;
    }
    root.sync()
}

/// A guest's hosts file: its name in the place of the one that its image was built with, and what else the image has.
fn hosts(own: &str, names: &str) -> String {
    let name = format!("127.0.1.1\t{names}");
    let ours = ["127.0.0.1\tlocalhost", &name, "::1\tlocalhost ip6-localhost ip6-loopback"];
    let stays = |line: &&str| {
        line.split_whitespace().next() != Some("127.0.1.1")
            && !ours.iter().any(|known| known.split_whitespace().eq(line.split_whitespace()))
    };
    let lines: Vec<&str> = ours.into_iter().chain(own.lines().filter(stays)).collect();
    lines.join("\n") + "\n"
}

/// Checks that the image knows the time zone: without, the guest would be in UTC, and nobody told.
fn check_zone(root: &GuestRoot, record: &Record) -> Result<()> {
    let Spec { timezone, image, .. } = &record.spec;
    if root.find(&Path::new(ZONES).join(timezone)).is_ok_and(|(_, meta)| meta.is_file()) {
        return Ok(());
    }
    let what = match root.has(ZONES) {
        true => "it may be misspelt, or one of the old names, which Debian has in its package tzdata-legacy",
        false => "it has none at all: install tzdata in it, or say nothing of a time zone",
    };
    let why = format!("timezone {}: image {image} has no such file below /{ZONES}; {what}", quoted(timezone));
    Err(Error::new(Code::InvalidArgument, why).about("timezone"))
}

/// Where an image has its time zones.
const ZONES: &str = "usr/share/zoneinfo";
/// Where an image's optional services are switched on: `<service>.conf`.
const SERVICES: &str = "etc/cloudbox-distro";

/// What cloud-init finds in an image that has it: who the guest is, and that it needs nobody else to tell.
fn write_seed(root: &GuestRoot, record: &Record, machine_id: &str) -> Result<()> {
    // JSON's strings are YAML's, too.
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let name = quoted(record.hostname());
    let mut user_data = format!("#cloud-config\nhostname: {name}\ndisable_root: false\n");
    if !record.spec.timezone.is_empty() {
        let _ = writeln!(user_data, "timezone: {}", quoted(&record.spec.timezone));
    }
    if !record.spec.authorized_keys.is_empty() {
        user_data.push_str("ssh_authorized_keys:\n");
        for key in &record.spec.authorized_keys {
            let _ = writeln!(user_data, "  - {}", quoted(key));
        }
    }
    let mut settings = String::from("datasource_list: [NoCloud, None]\n");
    if matches!(record.spec.address, Address::Static(_)) {
        settings.push_str("network: {config: disabled}\n");
    }
    let seed = "var/lib/cloud/seed/nocloud";
    root.put_text(
        &format!("{seed}/meta-data"),
        0o644,
        format_args!("instance-id: {machine_id}\nlocal-hostname: {name}\n"),
    )?;
    root.put(&format!("{seed}/user-data"), 0o600, &user_data)?;
    root.put("etc/cloud/cloud.cfg.d/99-cloudbox.cfg", 0o644, &settings)
}

/// Tells a copy of a container, mounted at `rootfs`, who it is: its name, and nothing by which it could be taken for
/// the one that it was. The keys of its SSH server are made anew when that starts, as they were in the first place: the
/// image has none.
pub fn write_identity(rootfs: &Path, record: &Record, machine_id: &str, was: &Record) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    let name = record.hostname();
    root.put_text("etc/hostname", 0o644, format_args!("{name}\n"))?;
    let line = format!("{machine_id}\n");
    root.put("etc/machine-id", 0o444, &line)?;
    if root.has("var/lib/dbus") {
        root.put("var/lib/dbus/machine-id", 0o444, &line)?;
    }
    let hosts = root.read("etc/hosts", TEXT_MAX).ok().and_then(|text| String::from_utf8(text).ok());
    if let Some(mut hosts) = hosts {
        let names = was.was.iter().chain([&was.name]).map(|was| was.as_str());
        for was in names.chain([was.hostname()]) {
            hosts = with_word(&hosts, was, name);
        }
        root.put("etc/hosts", 0o644, &hosts)?;
    }
    for dir in ["etc/ssh", "etc/dropbear"] {
        for file in root.entries(dir) {
            if file.starts_with("ssh_host_") || file.ends_with("_host_key") {
                root.remove(&format!("{dir}/{file}"))?;
            }
        }
    }
    root.remove("var/lib/systemd/random-seed")?;
    if was.spec.address != Address::Dhcp {
        set_dhcp(&root)?;
    }
    if root.has("etc/cloud") {
        write_seed(&root, record, machine_id)?;
    }
    root.sync()
}

/// Writes the network anew into the root mounted at `rootfs`, after the container's address was changed.
pub fn write_network(rootfs: &Path, record: &Record, network: &GuestNetwork) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    match record.spec.address {
        Address::Dhcp => set_dhcp(&root)?,
        Address::Static(address) => set_static(&root, address, network)?,
    }
    root.sync()
}

/// The configuration of a guest's own avahi-daemon.
const AVAHI_FILE: &str = "etc/avahi/avahi-daemon.conf";
/// The most that is read of a guest's file.
const TEXT_MAX: u64 = 64 << 10;

/// Gives the guest's own avahi-daemon the name by which the box announces it, and the guest its name if it still has
/// one that the container had before.
pub fn write_label(rootfs: &Path, record: &Record, label: &str) -> Result<()> {
    let root = GuestRoot::open(rootfs, record.ids.base)?;
    let read = |path: &str| root.read(path, TEXT_MAX).ok().and_then(|text| String::from_utf8(text).ok());
    let hostname = if record.was.is_empty() { None } else { read("etc/hostname") };
    if let Some(was) = hostname.and_then(|is| record.was.iter().find(|was| was.as_str() == is.trim())) {
        let name = record.name.as_str();
        root.put_text("etc/hostname", 0o644, format_args!("{name}\n"))?;
        if let Some(hosts) = read("etc/hosts") {
            root.put("etc/hosts", 0o644, &with_word(&hosts, was.as_str(), name))?;
        }
    }
    let Ok(text) = root.read(AVAHI_FILE, TEXT_MAX) else { return Ok(()) };
    let Ok(text) = String::from_utf8(text) else { return Ok(()) };
    let named = with_host_name(&text, label);
    if named == text {
        return Ok(());
    }
    root.put(AVAHI_FILE, 0o644, &named)
}

/// `text` with the word `was` wherever it stands alone replaced by `is`.
fn with_word(text: &str, was: &str, is: &str) -> String {
    let mut changed = String::with_capacity(text.len() + is.len());
    for piece in text.split_inclusive(char::is_whitespace) {
        match piece.strip_prefix(was) {
            Some(rest) if rest.trim().is_empty() => changed.extend([is, rest]),
            _ => changed.push_str(piece),
        }
    }
    changed
}

/// An avahi-daemon.conf with `host-name=label` in its section `[server]`.
fn with_host_name(text: &str, label: &str) -> String {
    let mut named = String::with_capacity(text.len() + label.len() + 12);
    for line in text.split_inclusive('\n') {
        if line.starts_with("host-name=") {
            continue;
        }
        named.push_str(line);
        if line.trim() == "[server]" {
            named.push_str("host-name=");
            named.push_str(label);
            named.push('\n');
        }
    }
    named
}

#[cfg(test)]
#[test]
fn only_whole_words_are_replaced() {
    let own = "127.0.0.1 localhost\n127.0.1.1 builder\n\n# ours\n10.0.0.2 db\n::1 localhost ip6-localhost ip6-loopback\n";
    let local = "127.0.0.1\tlocalhost\n127.0.1.1\tweb\n::1\tlocalhost ip6-localhost ip6-loopback\n";
    assert_eq!(hosts(own, "web"), [local, "\n# ours\n10.0.0.2 db\n"].concat());
    assert_eq!(hosts("", "web"), local);
    let hosts = "127.0.0.1\tlocalhost\n127.0.1.1\tweb web.lan myweb\n10.0.0.2 web";
    let changed = with_word(hosts, "web", "www");
    assert_eq!(changed, "127.0.0.1\tlocalhost\n127.0.1.1\twww web.lan myweb\n10.0.0.2 www");
}

#[cfg(test)]
#[test]
fn only_the_name_of_a_guests_avahi_is_changed() {
    let before = "[server]\n#host-name=foo\nuse-ipv4=yes\n[wide-area]\n";
    let named = with_host_name(before, "web-alpha");
    assert_eq!(named, "[server]\nhost-name=web-alpha\n#host-name=foo\nuse-ipv4=yes\n[wide-area]\n");
    assert_eq!(with_host_name(&named, "web-alpha"), named);
    assert_eq!(with_host_name(&named, "db-alpha"), named.replace("web-", "db-"));
    assert_eq!(with_host_name("", "x"), "");
}

/// systemd-networkd's file for a static address; it goes before the image's own.
const NETWORKD_FILE: &str = "etc/systemd/network/10-cloudbox.network";
const INTERFACES: &str = "auto lo\niface lo inet loopback\n\nauto eth0\n";

/// Takes back what [`set_static`] wrote.
fn set_dhcp(root: &GuestRoot) -> Result<()> {
    root.remove(NETWORKD_FILE)?;
    if !root.has("etc/systemd/network") && root.has("etc/network") {
        root.put_text("etc/network/interfaces", 0o644, format_args!("{INTERFACES}iface eth0 inet dhcp\n"))?;
    }
    Ok(())
}

/// LXC has set the address when the guest starts; the guest's own tools must not ask for another one.
fn set_static(root: &GuestRoot, address: Ipv4Net, network: &GuestNetwork) -> Result<()> {
    if root.has("etc/systemd/network") {
        let mut text = format!("[Match]\nName=eth0\n\n[Network]\nAddress={address}\n");
        if let Some(gateway) = network.gateway {
            let _ = writeln!(text, "Gateway={gateway}");
        }
        if let Some(dns) = network.dns {
            let _ = writeln!(text, "DNS={dns}");
        }
        return root.put(NETWORKD_FILE, 0o644, &text);
    }
    if root.has("etc/network") {
        // busybox's ifup does not know the prefix behind the address.
        let mask = address.netmask();
        let address = address.addr;
        let mut text = format!("{INTERFACES}iface eth0 inet static\n\taddress {address}\n\tnetmask {mask}\n");
        if let Some(gateway) = network.gateway {
            let _ = writeln!(text, "\tgateway {gateway}");
        }
        root.put("etc/network/interfaces", 0o644, &text)?;
    }
    if let Some(dns) = network.dns {
        root.put_text("etc/resolv.conf", 0o644, format_args!("nameserver {dns}\n"))?;
    }
    Ok(())
}

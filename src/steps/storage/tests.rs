//! Containers' files on a real disk, in a directory of the test's own. What needs root is skipped without it.

use super::*;
use crate::model::address::Address;
use crate::model::size::{Bytes, Cpus};
pub(super) use crate::testing::record;
use crate::testing::TempDir;
use nix::sys::stat::{mknod, Mode, SFlag};
use std::collections::BTreeMap;
use std::os::unix::fs::{symlink, MetadataExt};

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn layout(dir: &TempDir) -> Layout {
    Layout { storage: dir.path().join("srv"), run: dir.path().join("run") }
}

pub(super) fn disk(dir: &TempDir) -> Disk {
    Disk::new(layout(dir)).unwrap()
}

/// Whether the test runs as root; says so where it does not.
pub(super) fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("skipped: needs root");
    }
    root
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

/// Everything below a directory: paths with owner, mode and content.
fn tree(dir: &Path) -> BTreeMap<String, (u32, u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(path) = open.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if meta.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            Vec::new()
        };
        let shown = path.strip_prefix(dir).unwrap().display().to_string();
        found.insert(shown, (meta.uid(), meta.mode(), content));
    }
    found
}

#[test]
fn paths_are_where_lxc_and_people_look_for_them() {
    let layout = Layout { storage: "/srv/cloudbox".into(), run: "/var/run/cloudbox".into() };
    let web = name("web");
    let dir = layout.container(&web);
    for (path, expected) in [
        (layout.box_id(), "/srv/cloudbox/box-id"),
        (layout.containers(), "/srv/cloudbox/containers"),
        (layout.blanks(), "/srv/cloudbox/blank"),
        (layout.unborn(&web).0, "/srv/cloudbox/containers/.new-web"),
        (layout.dead(&web).0, "/srv/cloudbox/containers/.gone-web"),
        (dir.path().to_path_buf(), "/srv/cloudbox/containers/web"),
        (dir.record(), "/srv/cloudbox/containers/web/record.json"),
        (dir.lxc_config(), "/srv/cloudbox/containers/web/config"),
        (dir.rootfs(), "/srv/cloudbox/containers/web/rootfs"),
        (dir.upper(), "/srv/cloudbox/containers/web/layer/upper"),
        (dir.work(), "/srv/cloudbox/containers/web/layer/work"),
        (dir.disk(), "/srv/cloudbox/containers/web/disk.img"),
        (layout.lower(&web), "/var/run/cloudbox/lower/web"),
        (layout.pid_file(&web), "/var/run/cloudbox/pid/web"),
        (layout.jobs(), "/var/run/cloudbox/jobs.json"),
    ] {
        assert_eq!(path, Path::new(expected));
    }
    assert_eq!(layout.cgroup(), "cloudbox");
    let other = Layout { storage: "/tmp/test".into(), ..layout.clone() };
    assert!(other.cgroup().starts_with("cloudbox-"), "another daemon's containers have another group");
    assert_eq!(other.cgroup(), other.clone().cgroup());
}

/// A hidden directory can never be a container's, nor a container's a hidden one.
#[test]
fn no_name_of_a_container_is_a_hidden_directory() {
    for hidden in [".new-web", ".gone-web", ".tmp-web"] {
        assert!(Name::new(hidden).is_err());
    }
}

#[test]
fn directories_have_their_modes_whatever_was_there() {
    let dir = TempDir::make();
    let layout = layout(&dir);
    fs::create_dir_all(layout.containers()).unwrap();
    fs::set_permissions(layout.containers(), fs::Permissions::from_mode(0o777)).unwrap();
    disk(&dir);
    assert_eq!(mode(&layout.containers()), 0o711);
    for private in [layout.blanks(), layout.run.clone(), layout.run.join("lower"), layout.run.join("pid")] {
        assert_eq!(mode(&private), 0o700, "{}", private.display());
    }
}

#[test]
fn the_mode_of_a_directory_of_somebody_elses_stays() {
    let dir = TempDir::make();
    let layout = layout(&dir);
    fs::create_dir_all(&layout.storage).unwrap();
    // As /tmp is.
    fs::set_permissions(&layout.storage, fs::Permissions::from_mode(0o1777)).unwrap();
    for _ in 0..2 {
        disk(&dir);
        assert_eq!(mode(&layout.storage), 0o1777);
    }
    fs::remove_dir_all(&layout.storage).unwrap();
    disk(&dir);
    assert_eq!(mode(&layout.storage), 0o711, "one that we make is passed through, and not looked into");
    assert_eq!((mode(&layout.containers()), mode(&layout.archives())), (0o711, 0o700));
}

#[test]
fn a_box_keeps_its_identity_and_makes_another_only_where_there_is_none() {
    let dir = TempDir::make();
    let id = disk(&dir).box_id().unwrap();
    assert_eq!(id.len(), 36, "{id}");
    assert_eq!(disk(&dir).box_id().unwrap(), id);
    assert_eq!(mode(&layout(&dir).box_id()), 0o600);
    // A power cut on a file system without ordered data leaves an empty file.
    fs::write(layout(&dir).box_id(), "\n").unwrap();
    assert_ne!(disk(&dir).box_id().unwrap(), id);
}

#[test]
fn a_file_written_durably_is_whole_private_and_alone() {
    let dir = TempDir::make();
    let path = dir.path().join("file");
    for content in [&b"first, and longer"[..], b"second"] {
        write_durably(&path, content).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert_eq!(mode(&path), 0o600);
    // What an earlier daemon left in the middle is in nobody's way.
    fs::write(dir.path().join(".tmp-file"), "half").unwrap();
    write_durably(&path, b"third").unwrap();
    assert_eq!(tree(dir.path()).len(), 2, "{:?}", tree(dir.path()).keys());
}

#[test]
fn a_file_that_cannot_be_written_leaves_the_old_one_and_nothing_else() {
    let dir = TempDir::make();
    let path = dir.path().join("file");
    fs::create_dir_all(path.join("in-the-way")).unwrap();
    let before = tree(dir.path());
    let error = write_durably(&path, b"new").unwrap_err();
    assert!(error.message.starts_with(&format!("cannot write {}", path.display())), "{}", error.message);
    assert_eq!(tree(dir.path()), before);
    let nowhere = dir.path().join("none/file");
    assert!(write_durably(&nowhere, b"new").is_err());
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_full_disk_is_told_apart() {
    // A file that takes no byte gives the same error as a full disk.
    let mut full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let error = Error::io("cannot write", Path::new("/srv/x"), full.write_all(b"x").unwrap_err());
    assert_eq!(error.code, Code::NoSpace);
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let dir = TempDir::make();
    let disk = disk(&dir);
    let mut plain = record("plain");
    plain.spec = Spec { disk: Some(Bytes(1 << 30)), address: Address::Dhcp, gateway: None, ..plain.spec };
    let records = [record("web"), plain];
    for record in &records {
        fs::create_dir_all(layout(&dir).container(&record.name).path()).unwrap();
        disk.save_record(record).unwrap();
    }
    let mut found: Vec<Record> = disk
        .scan()
        .unwrap()
        .into_iter()
        .map(|found| match found {
            Found::Container(record) => *record,
            Found::Unreadable(name, error) => panic!("{name}: {error}"),
        })
        .collect();
    found.sort_by(|a, b| b.name.cmp(&a.name));
    assert_eq!(found, records);
}

#[test]
fn the_file_of_a_record_is_read_and_written_as_ever() {
    let text = r#"{
  "name": "web",
  "was": [
    "old"
  ],
  "spec": {
    "image": "debian-12.5",
    "memory": 268435456,
    "cpus": 500,
    "disk": 4294967296,
    "pids": 512,
    "bridge": "br-lan",
    "address": "10.139.40.10/27",
    "gateway": "10.139.40.1",
    "autostart": true,
    "priority": 50,
    "restart": "on-failure",
    "description": "two words",
    "authorized_keys": [],
    "slice": "",
    "advertise": true,
    "protected": false,
    "hostname": "www"
  },
  "image_sha256": "abababababababababababababababababababababababababababababababab",
  "init": "systemd",
  "ids": 1879048192,
  "mac": "02:00:00:00:00:01",
  "veth": "cb01",
  "created": 1795342500
}"#;
    let read: Record = serde_json::from_str(text).unwrap();
    assert_eq!(encode(Path::new("x"), &read).unwrap(), text.as_bytes());
    let without = |text: &str, gone: &[&str]| -> String {
        text.lines()
            .filter(|line| !gone.iter().any(|gone| line.contains(gone)))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let text = without(text, &["\"disk\"", "\"gateway\""]);
    let read: Record = serde_json::from_str(&text).unwrap();
    assert_eq!((read.spec.disk, read.spec.gateway), (None, None));
    assert_eq!(encode(Path::new("x"), &read).unwrap(), text.as_bytes());
}

/// Records outlive the version that wrote them: the fields of the first one must be enough, and more do no harm.
#[test]
fn a_record_of_another_version_is_read() {
    let text = r#"{
        "name": "web", "image_sha256": "ab", "init": "busybox", "ids": 1879048192, "mac": "02:00:00:00:00:01",
        "veth": "cb01", "created": 5, "later": {"x": 1},
        "spec": {"image": "distro", "memory": 67108864, "cpus": 500, "disk": null, "pids": 100,
            "bridge": "br-lan", "address": "dhcp", "gateway": null, "autostart": true}
    }"#;
    let read: Record = serde_json::from_str(text).unwrap();
    assert_eq!(
        (read.spec.memory, read.spec.cpus, read.spec.address),
        (Bytes(64 << 20), Cpus(500), Address::Dhcp)
    );
    for missing in ["name", "image_sha256", "init", "ids", "spec"] {
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        value.as_object_mut().unwrap().remove(missing);
        let why = serde_json::from_value::<Record>(value).unwrap_err().to_string();
        assert_eq!(why, format!("missing field `{missing}`"));
    }
}

#[test]
fn a_damaged_record_is_told_with_what_to_do_and_strangers_are_passed_over() {
    let dir = TempDir::make();
    let disk = disk(&dir);
    let containers = layout(&dir).containers();
    for stranger in ["lost+found", ".new-half", ".gone-old", ".tmp-x", "UPPER"] {
        fs::create_dir(containers.join(stranger)).unwrap();
    }
    fs::create_dir(containers.join("empty")).unwrap();
    for (name, text) in [("cut", "{\"name\": \"cu"), ("wrong", "[]"), ("evil", "{\"name\": \"../x\"}")] {
        fs::create_dir(containers.join(name)).unwrap();
        fs::write(containers.join(name).join("record.json"), text).unwrap();
    }
    let mut told = BTreeMap::new();
    for found in disk.scan().unwrap() {
        match found {
            Found::Container(record) => panic!("{record:?}"),
            Found::Unreadable(name, error) => told.insert(name.to_string(), error.into_message()),
        };
    }
    assert_eq!(told.keys().collect::<Vec<_>>(), ["cut", "empty", "evil", "wrong"]);
    assert!(told["cut"].contains("is damaged") && told["cut"].contains("is left alone: save what you need"));
    assert!(told["empty"].contains("cannot read"), "{}", told["empty"]);
}

#[test]
fn a_container_is_built_hidden_named_and_removed_without_a_trace() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let (disk, layout) = (disk(&dir), layout(&dir));
    let before = tree(dir.path());
    let (web, ctx) = (record("web"), Ctx::silent().unwrap());
    disk.build(&ctx, &web).unwrap();
    assert!(disk.scan().unwrap().is_empty(), "it is not there before it has its name");
    let unborn = layout.unborn(&web.name);
    assert_eq!(mode(unborn.path()), 0o710);
    assert_eq!(fs::metadata(unborn.path()).unwrap().gid(), web.ids.base);
    assert_eq!(fs::metadata(unborn.upper()).unwrap().uid(), web.ids.base);
    disk.give_name(&web.name).unwrap();
    assert!(matches!(&disk.scan().unwrap()[..], [Found::Container(record)] if **record == web));
    disk.take_name(&web.name).unwrap();
    assert!(disk.scan().unwrap().is_empty());
    disk.erase(&web.name).unwrap();
    assert_eq!(tree(dir.path()), before);
    // None of it is an error where there is nothing.
    disk.take_name(&web.name).unwrap();
    disk.erase(&web.name).unwrap();
    disk.discard(&web.name).unwrap();
    disk.unmount(&web.name).unwrap();
}

#[test]
fn a_name_is_not_given_over_what_is_there() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let (disk, layout) = (disk(&dir), layout(&dir));
    let web = record("web");
    fs::create_dir(layout.container(&web.name).path()).unwrap();
    fs::write(layout.container(&web.name).record(), "damaged").unwrap();
    let before = tree(dir.path());
    disk.build(&Ctx::silent().unwrap(), &web).unwrap();
    disk.give_name(&web.name).unwrap_err();
    disk.discard(&web.name).unwrap();
    assert_eq!(tree(dir.path()), before);
}

#[test]
fn a_build_that_is_cancelled_at_any_step_is_discarded_whole() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let disk = disk(&dir);
    let before = tree(dir.path());
    for step in ["create.directory", "create.record"] {
        let cancel = super::super::ctx::Cancel::new().unwrap();
        let token = cancel.clone();
        let ctx = Ctx::new(cancel, move |update| {
            if update == super::super::ctx::Update::Step(step) {
                token.cancel();
            }
        });
        let built = disk.build(&ctx, &record("web"));
        assert_eq!(built.is_err(), step == "create.directory", "{step}");
        disk.discard(&name("web")).unwrap();
        assert_eq!(tree(dir.path()), before, "{step}");
    }
}

/// What stands in the place of a file of ours is told of, and neither waited for nor read without end.
#[test]
fn only_regular_files_of_few_bytes_are_read() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let (disk, layout) = (disk(&dir), layout(&dir));
    disk.build(&Ctx::silent().unwrap(), &record("web")).unwrap();
    disk.give_name(&name("web")).unwrap();
    let container = layout.container(&name("web"));
    fs::create_dir_all(container.snapshot(&name("s")).path()).unwrap();
    let places = [
        container.record(),
        container.snapshot(&name("s")).snapshot_record(),
        container.first_boot_status(),
        container.console_log(),
        layout.box_id(),
    ];
    let null = nix::sys::stat::makedev(1, 5);
    type Make<'a> = &'a dyn Fn(&Path);
    let made: [Make<'_>; 4] = [
        &|path| mknod(path, SFlag::S_IFIFO, Mode::S_IRUSR, 0).unwrap(),
        &|path| mknod(path, SFlag::S_IFCHR, Mode::S_IRUSR, null).unwrap(),
        &|path| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        &|path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
    ];
    for make in made {
        for path in &places {
            let _ = fs::remove_file(path);
            make(path);
        }
        let found = disk.scan().unwrap();
        assert!(matches!(&found[..], [Found::Unreadable(..)]), "a damaged record");
        assert_eq!(disk.snapshots(&name("web")).unwrap(), []);
        disk.box_id().unwrap_err();
        assert!(crate::steps::lxc::first_boot::status(&container).is_none());
        let log = crate::steps::console::tail(&crate::steps::console::files(&container), 5);
        assert!(log.is_err() || log.is_ok_and(|(text, more)| more && text.len() <= 256 << 10));
    }
}

#[test]
fn a_sweep_removes_what_is_hidden_and_only_that() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let (disk, layout) = (disk(&dir), layout(&dir));
    let ctx = Ctx::silent().unwrap();
    for whole in ["web", "idle"] {
        disk.build(&ctx, &record(whole)).unwrap();
        disk.give_name(&name(whole)).unwrap();
    }
    fs::create_dir(layout.containers().join(".hidden-by-its-owner")).unwrap();
    let before = tree(dir.path());
    disk.build(&ctx, &record("half")).unwrap();
    disk.build(&ctx, &record("gone")).unwrap();
    disk.give_name(&name("gone")).unwrap();
    disk.take_name(&name("gone")).unwrap();
    // A name that is both alive and half built, or half erased, as after a crash between two steps.
    fs::create_dir_all(layout.unborn(&name("web")).rootfs()).unwrap();
    fs::create_dir_all(layout.dead(&name("idle")).layer()).unwrap();
    // Files that a kill left before they had their names.
    let unnamed = [
        layout.storage.join(".tmp-box-id"),
        layout.blanks().join(".tmp-1048576-1-0"),
        layout.container(&name("web")).path().join(".tmp-record.json"),
    ];
    unnamed.iter().for_each(|path| fs::write(path, "half").unwrap());
    // A guest's own is in its layer.
    let own = layout.container(&name("web")).upper().join(".tmp-own");
    fs::write(&own, "").unwrap();
    let mut swept = disk.sweep().unwrap();
    swept.sort();
    let mut expected = ["gone", "half", "idle", "web"].map(str::to_string).to_vec();
    expected.extend(unnamed.iter().map(|path| path.display().to_string()));
    expected.sort();
    assert_eq!(swept, expected);
    fs::remove_file(own).unwrap();
    assert_eq!(tree(dir.path()), before);
    assert!(disk.sweep().unwrap().is_empty());
}

#[test]
fn space_is_only_counted_where_there_is_a_quota() {
    let dir = TempDir::make();
    let (disk, layout) = (disk(&dir), layout(&dir));
    assert_eq!(disk.used(&name("web")), None);
    fs::create_dir(layout.container(&name("web")).path()).unwrap();
    let file = fs::File::create(layout.container(&name("web")).disk()).unwrap();
    file.set_len(1 << 30).unwrap();
    assert!(disk.used(&name("web")).unwrap() < 1 << 20, "the holes of a sparse file take no room");
}

fn network() -> GuestNetwork {
    let gateway = "10.139.40.1".parse().ok();
    GuestNetwork { gateway, dns: gateway }
}

#[test]
fn a_machine_id_is_a_containers_own_for_ever() {
    let web = record("web");
    let id = guest::machine_id("box", &web);
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)), "{id}");
    assert_eq!(guest::machine_id("box", &web), id);
    assert_ne!(guest::machine_id("other", &web), id);
    assert_ne!(guest::machine_id("box", &record("web2")), id);
    assert_ne!(guest::machine_id("box", &Record { created: 6, ..web }), id, "a new one of the same name");
}

#[test]
fn a_guest_is_told_its_name_keys_and_network() {
    if !is_root() {
        return;
    }
    for (has, file, text) in [
        (
            "etc/systemd/network",
            "etc/systemd/network/10-cloudbox.network",
            "[Match]\nName=eth0\n\n[Network]\nAddress=10.139.40.10/27\nGateway=10.139.40.1\nDNS=10.139.40.1\n",
        ),
        (
            "etc/network",
            "etc/network/interfaces",
            "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n\
             \taddress 10.139.40.10\n\tnetmask 255.255.255.224\n\tgateway 10.139.40.1\n",
        ),
        ("etc", "etc/resolv.conf", "nameserver 10.139.40.1\n"),
    ] {
        let dir = TempDir::make();
        let root = dir.path();
        fs::create_dir_all(root.join(has)).unwrap();
        let web = record("web");
        guest::write(root, &web, "0123", &network(), &Secrets::default()).unwrap();
        assert_eq!(fs::read_to_string(root.join(file)).unwrap(), text, "{has}");
        assert_eq!(fs::read_to_string(root.join("etc/hostname")).unwrap(), "web\n");
        assert_eq!(fs::read_to_string(root.join("etc/machine-id")).unwrap(), "0123\n");
        assert!(fs::read_to_string(root.join("etc/hosts")).unwrap().contains("127.0.1.1\tweb\n"));
        let keys = root.join("root/.ssh/authorized_keys");
        assert_eq!(fs::read_to_string(&keys).unwrap(), "ssh-ed25519 AAAA me\nssh-rsa BBBB you\n");
        assert_eq!((mode(&keys), mode(keys.parent().unwrap())), (0o600, 0o700), "sshd reads no others");
        for made in [keys.parent().unwrap(), &keys, &root.join("etc/hostname"), &root.join(file)] {
            assert_eq!(fs::metadata(made).unwrap().uid(), web.ids.base, "{}", made.display());
        }
        // Again, over what is there.
        guest::write(root, &web, "0123", &network(), &Secrets::default()).unwrap();
    }
}

#[test]
fn a_changed_address_is_the_only_one_the_guest_has() {
    if !is_root() {
        return;
    }
    for (has, file) in [
        ("etc/systemd/network", "etc/systemd/network/10-cloudbox.network"),
        ("etc/network", "etc/network/interfaces"),
    ] {
        let dir = TempDir::make();
        fs::create_dir_all(dir.path().join(has)).unwrap();
        let mut web = record("web");
        guest::write(dir.path(), &web, "0123", &network(), &Secrets::default()).unwrap();
        let text = || fs::read_to_string(dir.path().join(file)).unwrap_or_default();
        web.spec.address = Address::parse("10.139.40.11/27").unwrap();
        guest::write_network(dir.path(), &web, &network()).unwrap();
        assert!(text().contains("10.139.40.11") && !text().contains("10.139.40.10"), "{}", text());
        web.spec.address = Address::Dhcp;
        guest::write_network(dir.path(), &web, &GuestNetwork::default()).unwrap();
        assert!(!text().contains("10.139.40."), "{}", text());
    }
}

/// Images come from anywhere. Whatever links one holds, no file of the host is made, changed or chowned.
#[test]
fn no_link_in_an_image_leads_outside() {
    if !is_root() {
        return;
    }
    type Hostile = (&'static str, fn(&Path, &Path));
    let images: [Hostile; 18] = [
        ("etc is the host's root", |root, _| symlink("/", root.join("etc")).unwrap()),
        ("etc is the host's etc", |root, outside| symlink(outside.join("etc"), root.join("etc")).unwrap()),
        ("etc climbs out", |root, _| symlink("../outside/etc", root.join("etc")).unwrap()),
        ("etc climbs far", |root, _| symlink("../../../../../../etc", root.join("etc")).unwrap()),
        ("etc leads nowhere", |root, _| symlink("/nowhere/at/all", root.join("etc")).unwrap()),
        ("etc leads to itself", |root, _| symlink("etc", root.join("etc")).unwrap()),
        ("etc is a file", |root, _| fs::write(root.join("etc"), "x").unwrap()),
        ("etc/hostname is the host's passwd", |root, outside| {
            fs::create_dir(root.join("etc")).unwrap();
            for file in ["hostname", "hosts", "machine-id", "resolv.conf"] {
                symlink(outside.join("etc/passwd"), root.join("etc").join(file)).unwrap();
            }
        }),
        ("etc/hosts climbs out", |root, _| {
            fs::create_dir(root.join("etc")).unwrap();
            symlink("../../outside/etc/passwd", root.join("etc/hosts")).unwrap();
        }),
        ("etc/hosts is a hard link of a file of its own", |root, _| {
            fs::create_dir(root.join("etc")).unwrap();
            fs::write(root.join("etc/x"), "x").unwrap();
            fs::hard_link(root.join("etc/x"), root.join("etc/hosts")).unwrap();
        }),
        ("root is the host's", |root, outside| symlink(outside.join("root"), root.join("root")).unwrap()),
        (".ssh is the host's", |root, outside| {
            fs::create_dir(root.join("root")).unwrap();
            symlink(outside.join("root/.ssh"), root.join("root/.ssh")).unwrap();
        }),
        ("authorized_keys are the host's", |root, outside| {
            fs::create_dir_all(root.join("root/.ssh")).unwrap();
            symlink(outside.join("root/.ssh/authorized_keys"), root.join("root/.ssh/authorized_keys"))
                .unwrap();
        }),
        ("the network is the host's", |root, outside| {
            fs::create_dir_all(root.join("etc/systemd")).unwrap();
            symlink(outside.join("etc"), root.join("etc/systemd/network")).unwrap();
            symlink(outside.join("etc"), root.join("etc/network")).unwrap();
        }),
        ("the time zone is the host's", |root, outside| {
            fs::create_dir_all(root.join("etc")).unwrap();
            symlink(outside.join("etc/passwd"), root.join("etc/timezone")).unwrap();
            symlink(outside.join("etc/passwd"), root.join("etc/localtime")).unwrap();
        }),
        ("the seed is the host's", |root, outside| {
            fs::create_dir_all(root.join("etc/cloud")).unwrap();
            fs::create_dir_all(root.join("var/lib/cloud")).unwrap();
            symlink(outside.join("etc"), root.join("etc/cloud/cloud.cfg.d")).unwrap();
            symlink(outside.join("etc"), root.join("var/lib/cloud/seed")).unwrap();
        }),
        ("a service's switch is the host's", |root, outside| {
            fs::create_dir_all(root.join("etc")).unwrap();
            symlink(outside.join("etc"), root.join("etc/cloudbox-distro")).unwrap();
        }),
        ("the script's place is the host's", |root, outside| {
            fs::create_dir_all(root.join("var/lib")).unwrap();
            symlink(outside.join("etc"), root.join("var/lib/cloudbox")).unwrap();
        }),
    ];
    for (title, make) in images {
        let dir = TempDir::make();
        let (root, outside) = (dir.path().join("rootfs"), dir.path().join("outside"));
        for made in [&root, &outside.join("etc"), &outside.join("root/.ssh")] {
            fs::create_dir_all(made).unwrap();
        }
        for file in ["etc/passwd", "etc/hostname", "etc/10-cloudbox.network", "root/.ssh/authorized_keys"] {
            fs::write(outside.join(file), "the host's").unwrap();
        }
        give_zone(&root);
        make(&root, &outside);
        let before = tree(&outside);
        let host = fs::read("/etc/hostname").ok();
        let mut evil = record("evil-guest");
        evil.spec.timezone = "Europe/Madrid".into();
        evil.spec.first_boot = "#!/bin/sh\n".into();
        evil.spec.services = vec!["proxy".into()];
        let written = guest::write(&root, &evil, "0123", &network(), &Secrets::default());
        for address in ["10.139.40.11/27", "dhcp"] {
            evil.spec.address = Address::parse(address).unwrap();
            let _ = guest::write_network(&root, &evil, &network());
        }
        assert_eq!(tree(&outside), before, "{title}");
        assert_eq!(fs::read("/etc/hostname").ok(), host, "{title}");
        if let Err(error) = written {
            assert!(
                error.message.starts_with(&format!("cannot write {}", root.display())),
                "{title}: {error}"
            );
        }
    }
}

/// The image has the time zone of these tests.
fn give_zone(root: &Path) {
    fs::create_dir_all(root.join("usr/share/zoneinfo/Europe")).unwrap();
    fs::write(root.join("usr/share/zoneinfo/Europe/Madrid"), "TZif").unwrap();
}

#[test]
fn a_time_zone_that_the_image_lacks_is_refused() {
    let dir = TempDir::make();
    let root = dir.path().join("rootfs");
    fs::create_dir_all(root.join("etc")).unwrap();
    let mut web = record("web");
    web.spec.timezone = "Europe/Madrid".into();
    let refused = || guest::write(&root, &web, "0123", &network(), &Secrets::default()).unwrap_err();
    assert!(refused().message.contains("it has none at all"), "{}", refused());
    fs::create_dir_all(root.join("usr/share/zoneinfo/Europe/Madrid")).unwrap();
    assert!(refused().message.contains("it may be misspelt"), "{}", refused());
    assert_eq!(refused().option.as_deref(), Some("timezone"));
    assert!(fs::symlink_metadata(root.join("etc/localtime")).is_err(), "a link that leads nowhere");
}

/// A name inside the root that happens to be one of the host's means the guest's.
#[test]
fn an_absolute_link_in_an_image_means_the_guests_own_file() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let root = dir.path();
    fs::create_dir_all(root.join("usr/etc")).unwrap();
    symlink("/usr/etc", root.join("etc")).unwrap();
    guest::write(root, &record("web"), "0123", &network(), &Secrets::default()).unwrap();
    assert_eq!(fs::read_to_string(root.join("usr/etc/hostname")).unwrap(), "web\n");
}

#[test]
fn a_guest_is_told_all_it_needs_at_its_first_boot() {
    if !is_root() {
        return;
    }
    let dir = TempDir::make();
    let root = dir.path().join("rootfs");
    fs::create_dir_all(root.join("etc/cloud")).unwrap();
    give_zone(&root);
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let mut web = record("web");
    web.spec.hostname = "www.example.org".into();
    web.spec.timezone = "Europe/Madrid".into();
    web.spec.authorized_keys = vec!["ssh-ed25519 AAAA \"me\": #1".into()];
    web.spec.first_boot = "#!/bin/sh\necho hello\n".into();
    web.spec.services = vec!["proxy".into()];
    guest::write(&root, &web, "0123", &network(), &Secrets::default()).unwrap();
    assert_eq!(read("etc/hostname"), "www.example.org\n");
    assert!(read("etc/hosts").contains("127.0.1.1\twww.example.org www\n"));
    assert_eq!(read("etc/timezone"), "Europe/Madrid\n");
    assert_eq!(read("etc/cloudbox-distro/proxy.conf"), "enabled=1\n");
    assert_eq!(
        fs::read_link(root.join("etc/localtime")).unwrap(),
        Path::new("../usr/share/zoneinfo/Europe/Madrid")
    );
    assert_eq!(
        read("var/lib/cloud/seed/nocloud/meta-data"),
        "instance-id: 0123\nlocal-hostname: \"www.example.org\"\n"
    );
    assert_eq!(
        read("var/lib/cloud/seed/nocloud/user-data"),
        "#cloud-config\nhostname: \"www.example.org\"\ndisable_root: false\ntimezone: \"Europe/Madrid\"\n\
         ssh_authorized_keys:\n  - \"ssh-ed25519 AAAA \\\"me\\\": #1\"\n"
    );
    assert!(read("etc/cloud/cloud.cfg.d/99-cloudbox.cfg").contains("network: {config: disabled}"));
    let script = root.join("var/lib/cloudbox/first-boot");
    assert_eq!(
        (read("var/lib/cloudbox/first-boot").as_str(), mode(&script)),
        ("#!/bin/sh\necho hello\n", 0o700)
    );
    assert_eq!(fs::symlink_metadata(root.join("etc/localtime")).unwrap().uid(), web.ids.base);

    // A file of the box is never opened, whatever a record of an earlier version names.
    let file = dir.path().join("script");
    fs::write(&file, "secret\n").unwrap();
    web.spec.first_boot = file.display().to_string();
    fs::remove_file(&script).unwrap();
    guest::write(&root, &web, "0123", &network(), &Secrets::default()).unwrap();
    assert!(!script.exists());
}

#[test]
fn what_a_guest_is_given_to_keep_its_root_alone_reads() {
    if !is_root() {
        return;
    }
    let mut secrets = Secrets::default();
    secrets.add("db", b"x\0\xff".to_vec()).unwrap();
    type Make = fn(&Path);
    let images: [(&str, bool, Make); 6] = [
        ("it has no such directory", true, |_| {}),
        ("everybody may enter it, and there is such a file", true, |root| {
            let dir = root.join(guest::SECRETS);
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
            fs::write(dir.join("db"), "theirs").unwrap();
        }),
        ("the file is a link", true, |root| {
            fs::create_dir_all(root.join(guest::SECRETS)).unwrap();
            symlink("/etc/db", root.join(guest::SECRETS).join("db")).unwrap();
        }),
        ("the directory is a link", false, |root| {
            fs::create_dir_all(root.join("var/lib/cloudbox")).unwrap();
            symlink("/tmp", root.join(guest::SECRETS)).unwrap();
        }),
        ("a directory above is a link", false, |root| {
            fs::create_dir_all(root.join("data/lib")).unwrap();
            symlink("data", root.join("var")).unwrap();
        }),
        ("the directory is a file", false, |root| {
            fs::create_dir_all(root.join("var/lib/cloudbox")).unwrap();
            fs::write(root.join(guest::SECRETS), "x").unwrap();
        }),
    ];
    for (what, good, make) in images {
        let dir = TempDir::make();
        let root = dir.path().join("rootfs");
        for needed in ["etc", "tmp"] {
            fs::create_dir_all(root.join(needed)).unwrap();
        }
        make(&root);
        let web = record("web");
        let written = guest::write(&root, &web, "0123", &network(), &secrets);
        assert_eq!(written.is_ok(), good, "{what}: {written:?}");
        assert!(fs::read_dir(root.join("tmp")).unwrap().next().is_none(), "{what}: it lies elsewhere");
        if !good {
            continue;
        }
        let place = root.join(guest::SECRETS);
        assert_eq!((mode(&place), mode(&place.join("db"))), (0o700, 0o600), "{what}");
        assert_eq!(fs::read(place.join("db")).unwrap(), b"x\0\xff", "{what}");
        for made in [&place, &place.join("db")] {
            assert_eq!(fs::symlink_metadata(made).unwrap().uid(), web.ids.base, "{what}");
        }
        assert!(!root.join("etc/db").exists(), "{what}");
    }
}

#[test]
fn a_blank_that_has_lost_its_holes_is_made_anew() {
    let dir = TempDir::make();
    let ctx = Ctx::silent().unwrap();
    let size = Bytes(32 << 20);
    let make = |file: &str| disk::make(&ctx, dir.path(), &dir.path().join(file), size);
    if let Err(error) = make("one") {
        println!("skipped: {error}");
        return;
    }
    let blank = dir.path().join(format!("ext4-{}", size.get()));
    // As a backup writes it back.
    let whole = fs::read(&blank).unwrap();
    fs::write(&blank, &whole).unwrap();
    let blocks = |path: &Path| std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512;
    fs::File::open(&blank).unwrap().sync_all().unwrap();
    assert!(blocks(&blank) >= size.get());
    make("two").unwrap();
    fs::File::open(dir.path().join("two")).unwrap().sync_all().unwrap();
    assert!(blocks(&dir.path().join("two")) < size.get() / 2, "{}", blocks(&dir.path().join("two")));
}

//! Looks into a finished image: has it an init, is it for this box, what does it say of itself.
//!
//! Every path is walked with the image's root as the root of the walk, so that no link in it leads to the host. What the
//! image says of itself is a claim: a wrong one is ignored with a warning, and the processor architecture is read from
//! the programs themselves.

use super::bad;
use crate::error::Result;
use crate::model::image::{Init, Manifest, OfferedService};
use crate::steps::filesystem::{open_in_root, path_of, read_up_to};
use log::warn;
use nix::fcntl::OFlag;
use nix::sys::stat::{fstat, FileStat, SFlag};
use openwrt_ubus::blobmsg::Value;
use openwrt_ubus::{json, Fields};
use serde::de::{value, IntoDeserializer};
use serde::Deserialize;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Where an image says what it is.
const DECLARED: &str = "usr/share/cloudbox/image.json";
/// The longest such file, and the longest os-release.
const FILE_MAX: u64 = 64 << 10;
/// The longest text taken from one.
const TEXT_MAX: usize = 128;
/// The most services one image offers.
const SERVICES_MAX: usize = 64;
/// What LXC runs as the first process.
const INIT: &str = "sbin/init";

/// The manifest of the image whose root is open as `root`; its sha256, size and time of import are the caller's to fill
/// in. `box_arch` is this box's processor architecture as `uname -m` names it.
///
/// # Errors
/// [`crate::error::Code::BadImage`]: it has no init, or is for other processors.
pub fn probe(root: BorrowedFd<'_>, box_arch: &str) -> Result<Manifest> {
    let init = init_of(root)?;
    let arch = arch_of(root, box_arch);
    if let Some(arch) = &arch {
        if family(arch) != family(box_arch) {
            return Err(bad(format_args!(
                "it is for {arch}, this box is {box_arch}; get the one for {box_arch}"
            )));
        }
    }
    let release = os_release(root);
    let mut manifest = Manifest {
        sha256: String::new(),
        name: release.get("PRETTY_NAME"),
        version: release.get("IMAGE_VERSION"),
        os: release.get("ID"),
        release: release.get("VERSION_ID"),
        arch: arch.unwrap_or_default(),
        init,
        services: Vec::new(),
        source: String::new(),
        source_version: String::new(),
        size: 0,
        imported: 0,
    };
    if let Some(text) = read_text(root, DECLARED) {
        declare(&mut manifest, &text);
    }
    Ok(manifest)
}

fn init_of(root: BorrowedFd<'_>) -> Result<Init> {
    let Some((found, name)) = open_file(root, INIT) else {
        let systemd = ["lib/systemd/systemd", "usr/lib/systemd/systemd"];
        let remedy = if systemd.into_iter().any(|path| open_file(root, path).is_some()) {
            "; it has systemd: install systemd-sysv in it"
        } else {
            "; is it the root filesystem of a whole system?"
        };
        return Err(bad(format_args!("it has no /{INIT}{remedy}")));
    };
    let same = |path: &str| {
        open_file(root, path)
            .is_some_and(|(other, _)| (other.st_dev, other.st_ino) == (found.st_dev, found.st_ino))
    };
    Ok(match name.as_str() {
        "systemd" => Init::Systemd,
        _ if name.starts_with("busybox") || same("bin/busybox") => Init::Busybox,
        _ if open_file(root, "sbin/procd").is_some() => Init::Procd,
        "init" | "sysvinit" if open_file(root, "etc/inittab").is_some() => Init::Sysvinit,
        _ => Init::Other,
    })
}

/// The regular file that `path` leads to, and its own name behind all links.
fn open_file(root: BorrowedFd<'_>, path: &str) -> Option<(FileStat, String)> {
    let file = open_in_root(root, Path::new(path), OFlag::O_PATH).ok()?;
    let stat = regular(&file)?;
    let target = path_of(&file).ok()?;
    let name = target.file_name()?.to_string_lossy().into_owned();
    Some((stat, name))
}

fn regular(file: &OwnedFd) -> Option<FileStat> {
    let stat = fstat(file.as_fd()).ok()?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    (kind == SFlag::S_IFREG).then_some(stat)
}

/// The first `limit` bytes of the regular file at `path`. Opened so that a fifo of that name cannot hold us.
fn read_head(root: BorrowedFd<'_>, path: &str, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_in_root(root, Path::new(path), OFlag::O_RDONLY | OFlag::O_NONBLOCK)?;
    if regular(&file).is_none() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    read_up_to(&File::from(file), limit)
}

/// The text file at `path`, when there is one of a sane length.
fn read_text(root: BorrowedFd<'_>, path: &str) -> Option<String> {
    let problem = match read_head(root, path, FILE_MAX + 1) {
        Ok(data) if data.len() as u64 > FILE_MAX => "it is too long".to_string(),
        Ok(data) => match String::from_utf8(data) {
            Ok(text) => return Some(text),
            Err(_) => "it is no UTF-8".to_string(),
        },
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return None,
        Err(e) => e.to_string(),
    };
    warn!("the image's /{path} is ignored: {problem}");
    None
}

/// The architecture of the image's programs: that of its init, or of its shell when the init is a script.
fn arch_of(root: BorrowedFd<'_>, box_arch: &str) -> Option<String> {
    let programs = [INIT, "bin/sh"];
    let arch = programs.iter().find_map(|path| elf_arch(&read_head(root, path, 20).ok()?))?;
    // uname -m names the processor, an ELF file only its family.
    let arch = if family(&arch) == family(box_arch) { box_arch.to_string() } else { arch };
    Some(arch)
}

/// The architecture in an ELF header, as `uname -m` names it.
fn elf_arch(head: &[u8]) -> Option<String> {
    let head = head.first_chunk::<20>()?;
    let (wide, big) = (head[4] == 2, head[5] == 2);
    if &head[..4] != b"\x7fELF" {
        return None;
    }
    let bytes = [head[18], head[19]];
    let machine = if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) };
    let name = match (machine, wide, big) {
        (3, ..) => "i686",
        (8, false, _) => "mips",
        (8, true, _) => "mips64",
        (20, ..) => "ppc",
        (21, _, true) => "ppc64",
        (21, _, false) => "ppc64le",
        (22, ..) => "s390x",
        (40, ..) => "armv7l",
        (62, ..) => "x86_64",
        (183, _, false) => "aarch64",
        (183, _, true) => "aarch64_be",
        (243, false, _) => "riscv32",
        (243, true, _) => "riscv64",
        (258, ..) => "loongarch64",
        _ => return Some(format!("machine {machine}")),
    };
    Some(name.to_string())
}

/// What several names of `uname -m` have in common: the programs one can run, the other can.
fn family(arch: &str) -> &str {
    match arch {
        "i386" | "i486" | "i586" | "i686" => "i686",
        _ if arch.starts_with("arm") => "arm",
        _ => arch,
    }
}

/// The lines of an os-release.
struct OsRelease(String);

fn os_release(root: BorrowedFd<'_>) -> OsRelease {
    let paths = ["etc/os-release", "usr/lib/os-release"];
    OsRelease(paths.into_iter().find_map(|path| read_text(root, path)).unwrap_or_default())
}

impl OsRelease {
    /// The value of `key`, empty when there is none that could be shown.
    fn get(&self, key: &str) -> String {
        let mut values = self.0.lines().filter_map(|line| line.trim().split_once('='));
        // As the shell that may source it: the last assignment holds.
        let value = values.rfind(|(k, _)| *k == key).map_or("", |(_, value)| value);
        let quoted = |quote| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
        let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
        if sane(value) {
            value.to_string()
        } else {
            String::new()
        }
    }
}

/// A text that can stand in a list on a terminal.
fn sane(text: &str) -> bool {
    text.len() <= TEXT_MAX && !text.chars().any(char::is_control)
}

/// Puts what the image declares into `manifest`.
fn declare(manifest: &mut Manifest, text: &str) {
    // By way of fields, whose nesting ends early: images are read in threads with small stacks.
    let fields = match json::to_fields(text) {
        Ok(fields) => fields,
        Err(e) => return warn!("the image's /{DECLARED} is ignored: {e}"),
    };
    for key in ["name", "version", "os", "release", "arch", "init", "services"] {
        let value = Fields::new(&fields).get(key).unwrap_or(Value::Null);
        if !matches!(value, Value::Null) && !take(manifest, key, value) {
            ignored(key, value);
        }
    }
}

/// Puts what an image declares as `key` into `manifest`; false when it cannot be that.
fn take(manifest: &mut Manifest, key: &str, value: Value) -> bool {
    if let ("services", Value::Array(services)) = (key, value) {
        for service in services.iter().map_while(|field| field.ok()) {
            match offered(service.value) {
                Some(offered) if manifest.services.len() < SERVICES_MAX => manifest.services.push(offered),
                _ => ignored(key, service.value),
            }
        }
        return true;
    }
    let Some(text) = value.as_str() else { return false };
    let field = match key {
        "name" => &mut manifest.name,
        "version" => &mut manifest.version,
        "os" => &mut manifest.os,
        "release" => &mut manifest.release,
        "arch" if !manifest.arch.is_empty() => return family(text) == family(&manifest.arch),
        "arch" => &mut manifest.arch,
        "init" => {
            let init: std::result::Result<_, value::Error> = Init::deserialize(text.into_deserializer());
            return init.map(|init| manifest.init = init).is_ok();
        }
        _ => return false,
    };
    if sane(text) {
        *field = text.to_string();
    }
    sane(text)
}

fn ignored(key: &str, value: Value) {
    let mut value = serde_json::to_string(&value).unwrap_or_default();
    if let Some((end, _)) = value.char_indices().nth(TEXT_MAX) {
        value.truncate(end);
    }
    warn!("the image's /{DECLARED}: {key} cannot be {value}; it is ignored");
}

fn offered(service: Value) -> Option<OfferedService> {
    let Value::Table(service) = service else { return None };
    let text = |key: &str| {
        service.get(key)?.as_str().filter(|text| !text.is_empty() && text.len() <= 63 && sane(text))
    };
    let kind = text("type").filter(|kind| is_service_type(kind))?;
    let Value::Int32(port) = service.get("port")? else { return None };
    let port = u16::try_from(port).ok().filter(|port| *port != 0)?;
    let optional = matches!(service.get("optional"), Some(Value::Bool(on)) if on != 0);
    Some(OfferedService { name: text("name")?.to_string(), kind: kind.to_string(), port, optional })
}

/// `_name._tcp` or `_name._udp`.
fn is_service_type(text: &str) -> bool {
    let name =
        text.strip_suffix("._tcp").or_else(|| text.strip_suffix("._udp")).and_then(|t| t.strip_prefix('_'));
    name.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A root filesystem in a temporary directory.
    struct Root(std::path::PathBuf);

    impl Root {
        fn new(name: &str) -> Root {
            let path = std::env::temp_dir().join(format!("cloudbox-probe-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Root(path)
        }

        fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Root {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            self
        }

        fn link(&self, path: &str, target: &str) -> &Root {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(target, path).unwrap();
            self
        }

        fn probe(&self) -> Result<Manifest> {
            probe(File::open(&self.0).unwrap().as_fd(), "x86_64")
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn elf(machine: u16, class: u8, data: u8) -> Vec<u8> {
        let mut head = b"\x7fELF".to_vec();
        head.extend([class, data]);
        head.resize(18, 0);
        head.extend(if data == 2 { machine.to_be_bytes() } else { machine.to_le_bytes() });
        head
    }

    fn program() -> Vec<u8> {
        elf(62, 2, 1)
    }

    #[test]
    fn a_debian_with_systemd() {
        let root = Root::new("debian");
        root.file("usr/lib/systemd/systemd", program())
            .link("usr/sbin/init", "/lib/systemd/systemd")
            .link("sbin", "usr/sbin")
            .link("lib", "usr/lib")
            .file("usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\nVERSION_ID=\"12\"\n")
            .link("etc/os-release", "../usr/lib/os-release");
        let manifest = root.probe().unwrap();
        assert_eq!(manifest.init, Init::Systemd);
        assert_eq!((manifest.os.as_str(), manifest.release.as_str()), ("debian", "12"));
        assert_eq!((manifest.name.as_str(), manifest.arch.as_str()), ("Debian GNU/Linux 12", "x86_64"));
    }

    #[test]
    fn inits() {
        for (name, files, links, init) in [
            ("busybox", vec!["bin/busybox"], vec![("sbin/init", "/bin/busybox")], Init::Busybox),
            ("procd", vec!["sbin/init", "sbin/procd"], vec![], Init::Procd),
            ("sysv", vec!["sbin/init", "etc/inittab"], vec![], Init::Sysvinit),
            ("plain", vec!["sbin/init"], vec![], Init::Other),
            ("runit", vec!["sbin/runit-init"], vec![("sbin/init", "runit-init")], Init::Other),
        ] {
            let root = Root::new(name);
            for file in files {
                root.file(file, program());
            }
            for (path, target) in links {
                root.link(path, target);
            }
            assert_eq!(root.probe().unwrap().init, init, "{name}");
        }
    }

    #[test]
    fn no_init_is_refused() {
        let root = Root::new("no-init");
        // A link that would lead to a file of the host, were it not walked within the root.
        root.link("sbin/init", "/proc/self/exe");
        let error = root.probe().unwrap_err();
        assert_eq!(error.code, Code::BadImage);
        assert!(error.message.starts_with("it has no /sbin/init; is it"), "{}", error.message);
        root.file("lib/systemd/systemd", program());
        assert!(root.probe().unwrap_err().message.contains("install systemd-sysv"));
        fs::remove_file(root.0.join("sbin/init")).unwrap();
        fs::create_dir(root.0.join("sbin/init")).unwrap();
        assert!(root.probe().is_err(), "a directory is no init");
    }

    #[test]
    fn architectures() {
        for (machine, class, data, name) in [
            (62, 2, 1, "x86_64"),
            (3, 1, 1, "i686"),
            (183, 2, 1, "aarch64"),
            (183, 2, 2, "aarch64_be"),
            (40, 1, 1, "armv7l"),
            (8, 1, 2, "mips"),
            (8, 1, 1, "mips"),
            (243, 2, 1, "riscv64"),
            (9999, 2, 1, "machine 9999"),
        ] {
            assert_eq!(elf_arch(&elf(machine, class, data)).as_deref(), Some(name));
        }
        for not_elf in [&b""[..], b"#!/bin/sh", b"\x7fELF", &[0; 20]] {
            assert_eq!(elf_arch(not_elf), None);
        }
    }

    #[test]
    fn another_architecture_is_refused() {
        let root = Root::new("aarch64");
        root.file("sbin/init", "#!/bin/sh\n").file("bin/sh", elf(183, 2, 1));
        let error = root.probe().unwrap_err();
        assert_eq!(error.code, Code::BadImage);
        assert!(error.message.starts_with("it is for aarch64, this box is x86_64"), "{}", error.message);
    }

    #[test]
    fn what_it_declares() {
        let root = Root::new("declared");
        root.file("sbin/init", program()).file("etc/os-release", "ID=debian\nVERSION_ID='12'\nNAME=\"broken").file(
            DECLARED,
            r#"{"name":"guifi-community-distro","version":"1.2","release":13,"arch":"aarch64","init":"systemd",
                "services":[{"name":"wiki","type":"_http._tcp","port":80,"optional":false},
                {"name":"proxy","type":"_proxy3._tcp","port":3128,"optional":true},{"name":"x","type":"http","port":80},
                {"name":"y","type":"_y._udp","port":70000},{"name":"","type":"_z._tcp","port":1},7]}"#,
        );
        let manifest = root.probe().unwrap();
        assert_eq!((manifest.name.as_str(), manifest.version.as_str()), ("guifi-community-distro", "1.2"));
        assert_eq!((manifest.os.as_str(), manifest.release.as_str()), ("debian", "12"));
        assert_eq!((manifest.arch.as_str(), manifest.init), ("x86_64", Init::Systemd));
        let wiki =
            OfferedService { name: "wiki".into(), kind: "_http._tcp".into(), port: 80, optional: false };
        let proxy =
            OfferedService { name: "proxy".into(), kind: "_proxy3._tcp".into(), port: 3128, optional: true };
        assert_eq!(manifest.services, [wiki, proxy]);
    }

    /// Images are read in threads, whose stacks are small.
    #[test]
    fn a_deep_declaration_needs_little_stack() {
        for depth in [30, 120, 30_000] {
            let text = ["{\"services\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
            let thread = std::thread::Builder::new().stack_size(128 << 10).spawn(move || {
                let least = r#"{"sha256":"","init":"other","size":0,"imported":0}"#;
                let mut manifest: Manifest = serde_json::from_str(least).unwrap();
                declare(&mut manifest, &text);
                manifest.services.len()
            });
            assert_eq!(thread.unwrap().join().unwrap(), 0);
        }
    }

    #[test]
    fn wrong_declarations_are_ignored() {
        let root = Root::new("wrong");
        root.file("sbin/init", program());
        let plain = root.probe().unwrap();
        let long = "x".repeat(100_000);
        let long_name = format!("{{\"name\":\"{}\"}}", "x".repeat(200));
        for text in [
            "",
            "{",
            "[]",
            "7",
            "null",
            &long,
            &long_name,
            "{\"name\":\"a\\nb\",\"services\":{}}",
            "{\"init\":7}",
        ] {
            root.file(DECLARED, text);
            assert_eq!(root.probe().unwrap(), plain, "{}", &text[..text.len().min(40)]);
        }
        fs::remove_file(root.0.join(DECLARED)).unwrap();
        nix::unistd::mkfifo(&root.0.join(DECLARED), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        assert_eq!(root.probe().unwrap(), plain, "a fifo");
    }
}

//! The packages for OpenWrt and the files in them, looked at as the box's own programs do: opkg, rpcd, ubusd, make.
//! What needs root and containers is in `tests/system/package.rs`.

use cloudbox::daemon::objects;
use cloudbox::model::config::{self, Settings};
use cloudbox::model::size::Bytes;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const EPOCH: u64 = 1_700_000_000;

/// A directory of its own for each test, emptied when it begins.
fn scratch(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package").join(test);
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs what must succeed; returns what it wrote.
fn stdout(command: &mut Command) -> Vec<u8> {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn text(command: &mut Command) -> String {
    String::from_utf8(stdout(command)).unwrap()
}

fn package_sh(out: &Path) -> Command {
    let mut command = Command::new(project().join("scripts/package.sh"));
    command.arg("--out").arg(out).env("SOURCE_DATE_EPOCH", EPOCH.to_string()).env_remove("USIGN_KEY");
    command
}

/// What is packed here: a debug build would take minutes to compress.
const PROGRAM: &[u8] = b"#!/bin/sh\necho cloudbox\n";

fn program(dir: &Path) -> PathBuf {
    let program = dir.join("program");
    fs::write(&program, PROGRAM).unwrap();
    program
}

/// Packs a program; returns the directory of the feed.
fn pack(dir: &Path) -> PathBuf {
    stdout(package_sh(dir).arg("--binary").arg(program(dir)).arg("x86_64"));
    dir.join("x86_64")
}

fn ipk_of(feed: &Path) -> PathBuf {
    feed.join(format!("cloudbox_{}_x86_64.ipk", version()))
}

/// A package that suits every box.
fn noarch(feed: &Path, name: &str) -> PathBuf {
    feed.join(format!("{name}_{}_all.ipk", version()))
}

fn version() -> String {
    format!("{}-r{}", env!("CARGO_PKG_VERSION"), makefile("PKG_RELEASE"))
}

/// A variable of the feed's Makefile.
fn makefile(variable: &str) -> String {
    let text = fs::read_to_string(project().join("openwrt/cloudbox/Makefile")).unwrap();
    let head = format!("{variable}:=");
    text.lines()
        .find_map(|line| line.strip_prefix(&head))
        .unwrap_or_else(|| panic!("no {variable}"))
        .to_string()
}

/// A member of an archive.
struct Member {
    path: String,
    mode: u32,
    directory: bool,
    content: Vec<u8>,
}

/// Unpacks a gzipped tar and checks what holds for every member of every archive in a package.
fn unpack(gzipped: &[u8], dir: &Path) -> Vec<Member> {
    let file = dir.join("archive.gz");
    fs::write(&file, gzipped).unwrap();
    let tar = stdout(Command::new("gzip").arg("-dc").arg(&file));
    let mut members = Vec::new();
    for entry in tar::Archive::new(tar.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        assert!(path.starts_with("./"), "opkg looks for ./NAME, not {path}");
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0), "{path} belongs to somebody");
        assert_eq!(header.mtime().unwrap(), EPOCH, "{path} has a date of its own");
        let directory = header.entry_type().is_dir();
        assert!(directory || header.entry_type().is_file(), "{path} is {:?}", header.entry_type());
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        members.push(Member { path, mode: header.mode().unwrap(), directory, content });
    }
    members
}

fn content<'m>(members: &'m [Member], path: &str) -> &'m [u8] {
    &members.iter().find(|m| m.path == path).unwrap_or_else(|| panic!("no {path}")).content
}

fn content_text(members: &[Member], path: &str) -> String {
    String::from_utf8(content(members, path).to_vec()).unwrap()
}

/// What is in a package: outer members, control, data.
fn open(ipk: &Path, dir: &Path) -> (Vec<Member>, Vec<Member>, Vec<Member>) {
    let outer = unpack(&fs::read(ipk).unwrap(), dir);
    let control = unpack(content(&outer, "./control.tar.gz"), dir);
    let data = unpack(content(&outer, "./data.tar.gz"), dir);
    (outer, control, data)
}

fn listing(members: &[Member]) -> Vec<(&str, u32)> {
    members.iter().filter(|m| !m.directory).map(|m| (m.path.as_str(), m.mode)).collect()
}

/// `Name: value` lines; a line that begins with a blank continues the one before.
fn fields(text: &str) -> BTreeMap<String, String> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut last = String::new();
    for line in text.lines() {
        if let Some(more) = line.strip_prefix(' ') {
            fields.get_mut(&last).unwrap().push_str(&format!("\n{more}"));
        } else if let Some((name, value)) = line.split_once(": ") {
            assert!(fields.insert(name.into(), value.into()).is_none(), "{name} stands twice");
            last = name.into();
        } else {
            panic!("no field: {line:?}");
        }
    }
    fields
}

/// As OpenWrt's include/package-pack.mk writes them.
fn assert_openwrt_scripts(control: &[Member]) {
    assert_eq!(
        content_text(control, "./postinst"),
        "#!/bin/sh\n[ \"${IPKG_NO_SCRIPT}\" = \"1\" ] && exit 0\n[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n\
         . ${IPKG_INSTROOT}/lib/functions.sh\ndefault_postinst $0 $@\n"
    );
    assert_eq!(
        content_text(control, "./prerm"),
        "#!/bin/sh\n[ -s ${IPKG_INSTROOT}/lib/functions.sh ] || exit 0\n\
         . ${IPKG_INSTROOT}/lib/functions.sh\ndefault_prerm $0 $@\n"
    );
}

#[test]
fn every_path_mode_and_script_of_the_package() {
    let dir = scratch("contents");
    let (outer, control, data) = open(&ipk_of(&pack(&dir)), &dir);

    let order: Vec<&str> = outer.iter().map(|m| m.path.as_str()).collect();
    assert_eq!(order, ["./debian-binary", "./data.tar.gz", "./control.tar.gz"]);
    assert_eq!(content(&outer, "./debian-binary"), b"2.0\n");

    assert_eq!(
        listing(&data),
        [
            ("./etc/apparmor.d/cloudbox-guest", 0o644),
            ("./etc/config/cloudbox", 0o600),
            ("./etc/config/cloudbox-host", 0o600),
            ("./etc/hotplug.d/ntp/60-cloudbox", 0o644),
            ("./etc/init.d/cloudbox", 0o755),
            ("./etc/sysctl.d/60-cloudbox.conf", 0o644),
            ("./etc/uci-defaults/59-cloudbox-host", 0o644),
            ("./etc/uci-defaults/60-cloudbox", 0o644),
            ("./lib/upgrade/keep.d/cloudbox", 0o644),
            ("./usr/bin/cloudbox", 0o755),
            ("./usr/sbin/cloudbox-bridge", 0o755),
            ("./usr/share/acl.d/cloudbox-commons.json", 0o644),
            ("./usr/share/acl.d/cloudbox.json", 0o644),
            ("./usr/share/rpcd/acl.d/cloudbox.json", 0o644),
        ]
    );
    assert!(data.iter().filter(|m| m.directory).all(|m| m.mode == 0o755 && m.path.ends_with('/')));
    assert_eq!(content(&data, "./usr/bin/cloudbox"), PROGRAM);

    assert_eq!(
        listing(&control),
        [
            ("./conffiles", 0o644),
            ("./control", 0o644),
            ("./postinst", 0o755),
            ("./postinst-pkg", 0o755),
            ("./prerm", 0o755),
            ("./prerm-pkg", 0o755),
        ]
    );
    // What its owner may have changed is kept, by opkg and by sysupgrade.
    let conffiles = content_text(&control, "./conffiles");
    assert_eq!(
        conffiles,
        "/etc/config/cloudbox\n/etc/config/cloudbox-host\n/etc/sysctl.d/60-cloudbox.conf\n"
    );
    // And the keys: those of remotes, and the box's own, which is no other box's.
    let kept = content_text(&data, "./lib/upgrade/keep.d/cloudbox");
    assert_eq!(kept, conffiles + "/etc/cloudbox/\n");
    assert_openwrt_scripts(&control);

    let fields = fields(&content_text(&control, "./control"));
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    assert_eq!(field("Package"), "cloudbox");
    assert_eq!(field("Version"), version());
    assert_eq!(field("Architecture"), "x86_64");
    assert_eq!(field("Require-User"), "cloudbox:cloudbox cloudbox-commons:cloudbox-commons");
    for dependency in [
        "lxc-start",
        "lxc-attach",
        "kmod-veth",
        "kmod-loop",
        "kmod-fs-squashfs",
        "kmod-nft-bridge",
        "avahi-daemon",
    ] {
        assert!(field("Depends").split(", ").any(|d| d == dependency), "{dependency} is no dependency");
    }
    let sum: u64 = data.iter().map(|m| m.content.len() as u64).sum();
    let installed: u64 = field("Installed-Size").parse().unwrap();
    assert!((sum..sum + 65_536).contains(&installed), "{installed} is not the size of {sum} bytes");
    assert!(field("Description").lines().count() > 1, "{}", field("Description"));
}

#[test]
fn the_pages_are_packed_for_every_box_and_each_language_apart() {
    let dir = scratch("pages");
    let feed = pack(&dir);
    let (_, control, data) = open(&noarch(&feed, "luci-app-cloudbox"), &dir);
    let fields_of = |control: &[Member]| fields(&content_text(control, "./control"));
    let said = fields_of(&control);
    assert_eq!((said["Architecture"].as_str(), said["Depends"].as_str()), ("all", "luci-base, cloudbox"));
    let names: Vec<_> = listing(&control).iter().map(|(path, _)| *path).collect();
    assert_eq!(names, ["./control", "./postinst", "./postinst-pkg", "./prerm"]);
    assert_openwrt_scripts(&control);
    // Each file of the application, where LuCI looks for it.
    let app = project().join("openwrt/luci-app-cloudbox");
    let mut expected = BTreeSet::new();
    for (part, place) in [("htdocs", "./www"), ("root", ".")] {
        let found = text(Command::new("find").args([".", "-type", "f"]).current_dir(app.join(part)));
        for path in found.lines().map(|path| path.trim_start_matches('.')) {
            let packed = format!("{place}{path}");
            assert_eq!(content(&data, &packed), fs::read(app.join(part).join(&path[1..])).unwrap());
            expected.insert(packed);
        }
    }
    assert!(expected.contains("./usr/share/luci/menu.d/luci-app-cloudbox.json"), "{expected:?}");
    for (path, mode) in listing(&data) {
        assert!(expected.remove(path), "{path} is nothing of the application's");
        assert_eq!(mode, if path.starts_with("./usr/libexec/") { 0o755 } else { 0o644 }, "{path}");
    }
    assert!(expected.is_empty(), "{expected:?} are not packed");

    for (language, name) in [("ca", "Català (Catalan)"), ("es", "Español (Spanish)")] {
        let package = format!("luci-i18n-cloudbox-{language}");
        let (_, control, data) = open(&noarch(&feed, &package), &dir);
        assert_openwrt_scripts(&control);
        let said = fields_of(&control);
        assert_eq!((said["Package"].as_str(), said["Depends"].as_str()), (&*package, "luci-app-cloudbox"));
        let defaults = format!("./etc/uci-defaults/{package}");
        let texts = format!("./usr/lib/lua/luci/i18n/cloudbox.{language}.lmo");
        assert_eq!(listing(&data), [(defaults.as_str(), 0o644), (texts.as_str(), 0o644)]);
        assert_eq!(
            content_text(&data, &defaults),
            format!("uci set luci.languages.{language}='{name}'; uci commit luci\n")
        );
        assert!(content(&data, &texts).len() > 10_000);
    }
}

/// Runs scripts/po2lmo.py on `po`; its complaint when it refuses.
fn lmo(dir: &Path, po: &str) -> Result<Vec<u8>, String> {
    let (from, to) = (dir.join("texts.po"), dir.join("texts.lmo"));
    fs::write(&from, po).unwrap();
    let output = run(Command::new(project().join("scripts/po2lmo.py")).arg(&from).arg(&to));
    if !output.status.success() {
        return Err(String::from_utf8(output.stderr).unwrap());
    }
    Ok(fs::read(to).unwrap())
}

#[test]
fn translations_are_written_as_lucis_own_tool_writes_them() {
    let dir = scratch("po2lmo");
    let po = r#"# a comment
msgid ""
msgstr ""
"Content-Type: text/plain; charset=UTF-8\n"
"Plural-Forms: nplurals=2; plural=n != 1;\n"

#: a/place.js
msgid "Start"
msgstr "Engega"

msgid "four"
msgstr "quatre"

msgid "caf\"é\\"
msgstr "ca\\f\"è"

msgid "%d lines"
msgstr "%d "
"línies\n"

msgid "Image"
msgstr "Image"

msgid "empty"
msgstr ""
"#;
    // What LuCI's po2lmo made of it.
    let mut golden =
        "nplurals=2; plural=n != 1;\0\0Engega\0\0quatre\0\0ca\\f\"è\0%d línies\\n".as_bytes().to_vec();
    for entry in [
        [0, 0, 0, 26],
        [0x0a11_079c, 1, 0x34, 12],
        [0x0e0b_8223, 1, 0x2c, 7],
        [0x9566_0ce9, 1, 0x1c, 6],
        [0xd449_9232_u32, 1, 0x24, 6],
    ] {
        golden.extend(entry.iter().flat_map(|number| number.to_be_bytes()));
    }
    golden.extend(0x40_u32.to_be_bytes());
    assert_eq!(lmo(&dir, po).unwrap(), golden);

    for (wrong, line) in [
        ("msgid \"a\"\nmsgid_plural \"b\"\nmsgstr[0] \"c\"\n", "line 2"),
        ("msgctxt \"menu\"\nmsgid \"a\"\nmsgstr \"b\"\n", "line 1"),
        ("msgid \"a\nmsgstr \"b\"\n", "line 1"),
        ("\"begins in the middle\"\n", "line 1"),
        ("msgid \"a\"\nmsgstr b\n", "line 2"),
    ] {
        let said = lmo(&dir, wrong).unwrap_err();
        assert!(said.contains(line) && said.contains("texts.po"), "{said}");
    }
}

#[test]
fn the_same_sources_make_the_same_package() {
    let dir = scratch("twice");
    let packed = |name: &str, setting: &str| {
        let out = dir.join(name);
        let script = format!(
            "{setting}; '{}' --binary '{}' --out '{}' x86_64",
            project().join("scripts/package.sh").display(),
            program(&dir).display(),
            out.display()
        );
        stdout(Command::new("sh").args(["-ec", &script]).env("SOURCE_DATE_EPOCH", EPOCH.to_string()));
        let mut files: Vec<_> =
            fs::read_dir(out.join("x86_64")).unwrap().map(|e| e.unwrap().path()).collect();
        files.sort();
        files.iter().map(|f| (f.file_name().unwrap().to_owned(), fs::read(f).unwrap())).collect::<Vec<_>>()
    };
    let first = packed("one", "umask 022; export TZ=UTC LC_ALL=C");
    assert!(first == packed("two", "umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8"), "they differ");
}

#[test]
fn the_index_says_what_is_there() {
    let dir = scratch("index");
    let feed = pack(&dir);
    let mut names: BTreeSet<_> =
        fs::read_dir(&feed).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let packages = fs::read_to_string(feed.join("Packages")).unwrap();
    assert_eq!(text(Command::new("gzip").arg("-dc").arg(feed.join("Packages.gz"))), packages);
    let entries: Vec<_> = packages.split("\n\n").filter(|entry| !entry.is_empty()).map(fields).collect();
    let packed: Vec<&str> = entries.iter().map(|entry| entry["Package"].as_str()).collect();
    let i18n = ["luci-i18n-cloudbox-ca", "luci-i18n-cloudbox-es"];
    assert_eq!(packed, ["cloudbox", "luci-app-cloudbox", i18n[0], i18n[1]]);
    for entry in entries {
        let name = &entry["Filename"];
        assert!(names.remove(name), "there is no {name}");
        assert_eq!(entry["Size"], fs::metadata(feed.join(name)).unwrap().len().to_string());
        let sum = text(Command::new("sha256sum").arg(feed.join(name)));
        assert_eq!(Some(entry["SHA256sum"].as_str()), sum.split(' ').next());
    }
    assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["Packages", "Packages.gz"]);
}

/// By the box's own usign where there is one; else by OpenBSD's signify, which takes the same words.
#[test]
fn a_key_signs_the_index() {
    let dir = scratch("signed");
    let (key, public) = (dir.join("feed.sec"), dir.join("feed.pub"));
    let has = |program| run(Command::new("sh").args(["-c", "command -v $0", program])).status.success();
    let (usign, make_key): (_, &[_]) = match () {
        () if has("usign") => ("usign", &["-G"]),
        // It asks for a passphrase otherwise.
        () if has("signify-openbsd") => ("signify-openbsd", &["-G", "-n"]),
        () => return println!("skipped: neither usign nor signify-openbsd is installed"),
    };
    stdout(Command::new(usign).args(make_key).arg("-s").arg(&key).arg("-p").arg(&public));
    let mut path = std::env::var("PATH").unwrap();
    if usign != "usign" {
        // package.sh calls it by the name it has on a box.
        let stand_in = dir.join("bin/usign");
        fs::create_dir_all(dir.join("bin")).unwrap();
        fs::write(&stand_in, format!("#!/bin/sh\nexec {usign} \"$@\"\n")).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        path = format!("{}:{path}", dir.join("bin").display());
    }
    let mut command = package_sh(&dir);
    command.arg("--key").arg(&key).arg("--binary").arg(program(&dir)).arg("x86_64").env("PATH", path);
    assert!(text(&mut command).contains("a feed, signed"));
    let index = dir.join("x86_64/Packages");
    let signature = dir.join("x86_64/Packages.sig");
    let verify = || {
        let mut verify = Command::new(usign);
        verify.args(["-V", "-q", "-m"]).arg(&index).arg("-x").arg(&signature).arg("-p").arg(&public);
        run(&mut verify).status.success()
    };
    assert!(verify());
    fs::write(&index, fs::read_to_string(&index).unwrap().replace("net", "nat")).unwrap();
    assert!(!verify(), "a changed index passes");
}

#[test]
fn a_package_that_cannot_be_made_is_refused_with_the_reason() {
    let dir = scratch("refused");
    let refused = |arguments: &[&str], reason: &str| {
        let output = run(package_sh(&dir.join("out")).args(arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} was accepted");
        assert!(said.contains(reason), "{arguments:?}: {said}");
        assert!(!dir.join("out").exists(), "{arguments:?} left something");
    };
    let program = program(&dir);
    let binary = program.to_str().unwrap();
    refused(&["--binary", binary, "x86_64", "aarch64_generic"], "one architecture");
    refused(&["--binary", "/nonexistent", "x86_64"], "/nonexistent");
    refused(&["../x86_64"], "../x86_64");
    for without in ["arm_arm1176jzf-s_vfp", "arm_cortex-a9", "i386_pentium-mmx", "mips_mips32", "sparc"] {
        refused(&[without], without);
    }
    refused(&["--binary"], "--binary needs a value");
    refused(&["--force"], "--force");
    refused(&["--key", "/nonexistent", "--binary", binary, "x86_64"], "/nonexistent");
}

// ---- The feed ----------------------------------------------------------------------------------------------------

/// What the Makefile of the feed means to OpenWrt's make, with just enough of the build system around it.
#[test]
fn the_feed_packs_what_the_script_packs() {
    if run(Command::new("make").arg("--version")).status.code() != Some(0) {
        println!("skipped: make is not installed");
        return;
    }
    let dir = scratch("feed");
    let write = |path: &str, text: &str| {
        let path = dir.join("top").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write(
        "rules.mk",
        "INCLUDE_DIR:=$(TOPDIR)/include\nCP:=cp -fpR\nINSTALL_DIR:=install -d -m0755\nINSTALL_BIN:=install -m0755\n",
    );
    write("include/package.mk", "PKG_BUILD_DIR:=$(TOPDIR)/build\nPKG_INSTALL_DIR:=$(TOPDIR)/installed\n");
    write(
        "feeds/packages/lang/rust/rust-package.mk",
        "RUST_ARCH_DEPENDS:=@(x86_64)\nCARGO_RUSTFLAGS+=-Ctarget-feature=-crt-static\n\
         define RustBinPackage\nendef\n\
         define BuildPackage\n$(eval $(Package/$(1)))\n\
         facts:\n\t@echo 'version $(PKG_VERSION)-r$(PKG_RELEASE)'\n\t@echo 'flags $(CARGO_RUSTFLAGS)'\n\
         \t@echo 'depends $(DEPENDS)'\n\t@echo 'user $(USERID)'\n\
         pack:\n\t$$(Build/Prepare)\n\tmkdir -p $(TOPDIR)/root\n\t$$(call Package/$(1)/install,$(TOPDIR)/root)\n\
         postinst prerm:\n\t@printf '%s\\n' \"$$$$SCRIPT\"\n\
         postinst: export SCRIPT=$$(Package/$(1)/postinst)\nprerm: export SCRIPT=$$(Package/$(1)/prerm)\n\
         endef\n",
    );
    fs::create_dir_all(dir.join("top/installed/bin")).unwrap();
    fs::write(dir.join("top/installed/bin/cloudbox"), PROGRAM).unwrap();
    let make = |goal: &str| {
        let mut command = Command::new("make");
        command.args(["--no-print-directory", "-C"]).arg(project().join("openwrt/cloudbox"));
        text(command.arg(format!("TOPDIR={}", dir.join("top").display())).arg(goal).env_remove("MAKEFLAGS"))
    };

    let (_, control, data) = open(&ipk_of(&pack(&dir)), &dir);
    let said = fields(&content_text(&control, "./control"));
    let facts: BTreeMap<String, String> =
        make("facts").lines().filter_map(|l| l.split_once(' ')).map(|(n, v)| (n.into(), v.into())).collect();
    assert_eq!(facts["version"], said["Version"]);
    assert_eq!(facts["user"], said["Require-User"]);
    let depends: Vec<&str> =
        facts["depends"].split_whitespace().filter_map(|d| d.strip_prefix('+')).collect();
    assert_eq!(depends.join(", "), said["Depends"]);
    // The last word counts.
    let linked: Vec<&str> = facts["flags"].split_whitespace().filter(|f| f.contains("crt-static")).collect();
    assert_eq!(linked.last(), Some(&"-Ctarget-feature=+crt-static"));
    for script in ["postinst", "prerm"] {
        assert_eq!(make(script).trim_end(), content_text(&control, &format!("./{script}-pkg")).trim_end());
    }

    make("pack");
    let root = dir.join("top/root");
    let found = text(Command::new("find").arg(".").args(["-type", "f"]).current_dir(&root));
    let mut found: Vec<&str> = found.lines().collect();
    found.sort_unstable();
    assert_eq!(found, listing(&data).iter().map(|(path, _)| *path).collect::<Vec<_>>());
    for member in data.iter().filter(|m| !m.directory) {
        let path = root.join(&member.path);
        assert_eq!(fs::read(&path).unwrap(), member.content, "{}", member.path);
        // A checkout's group bit is the owner's umask's; what counts is who may run and who may read it.
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o105, member.mode & 0o105, "{}: {mode:o}", member.path);
    }
    // cargo installs from what was copied: it needs every file that the manifest names.
    let prepared = dir.join("top/build");
    let manifest = fs::read_to_string(prepared.join("Cargo.toml")).unwrap();
    for member in
        ["crates/openwrt-ubus/Cargo.toml", "crates/openwrt-uci/Cargo.toml", "src/main.rs", "Cargo.lock"]
    {
        assert!(prepared.join(member).exists(), "{member} is not copied; {manifest}");
    }
    text(
        Command::new("cargo")
            .args(["metadata", "--offline", "--locked", "--no-deps", "--format-version=1"])
            .current_dir(&prepared),
    );
}

// ---- Grants ------------------------------------------------------------------------------------------------------

fn json(path: &str) -> Value {
    let text = fs::read_to_string(project().join("files").join(path)).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// `object method` pairs of an rpcd list or, with the methods one level deeper, an ubusd list.
fn grants(list: &Value, inner: Option<&str>) -> BTreeSet<String> {
    let mut grants = BTreeSet::new();
    for (object, methods) in list.as_object().unwrap() {
        for method in inner.map_or(methods, |inner| &methods[inner]).as_array().unwrap() {
            let method = method.as_str().unwrap();
            assert!(grants.insert(format!("{object} {method}")), "{object} {method} stands twice");
        }
    }
    grants
}

fn published() -> BTreeSet<String> {
    let objects = objects().map(|(_, object)| object);
    objects
        .flat_map(|o| o.methods().iter().map(|(m, _)| format!("{} {m}", o.path())).collect::<Vec<_>>())
        .collect()
}

/// What the process of the commons offers: it is not the daemon that publishes it.
const OF_COMMONS: [(&str, &[&str]); 2] = [
    ("cloudbox.slice", &["list", "status", "get", "apply", "delete"]),
    (
        "cloudbox.commons",
        &["status", "offers", "peers", "trust", "asks", "answer", "brokers", "pause", "reload"],
    ),
];

/// What others may be let call: that of the daemon, but for what is for the process of the commons alone, and that of this
/// process.
fn for_others() -> BTreeSet<String> {
    let of_commons = OF_COMMONS
        .iter()
        .flat_map(|(object, methods)| methods.iter().map(move |method| format!("{object} {method}")));
    published()
        .into_iter()
        .filter(|method| !method.starts_with("cloudbox.config "))
        .chain(of_commons)
        .collect()
}

#[test]
fn each_method_is_granted_either_to_readers_or_to_writers() {
    let file = "usr/share/rpcd/acl.d/cloudbox.json";
    let list = json(file);
    assert_eq!(list.as_object().unwrap().keys().collect::<Vec<_>>(), ["cloudbox"]);
    let read = grants(&list["cloudbox"]["read"]["ubus"], None);
    let write = grants(&list["cloudbox"]["write"]["ubus"], None);
    assert_eq!(read.intersection(&write).collect::<Vec<_>>(), Vec::<&String>::new());
    // rpcd's own name for following an object's notifications.
    let granted: BTreeSet<String> =
        read.union(&write).filter(|grant| !grant.ends_with(" :subscribe")).cloned().collect();
    let published = for_others();
    let missing: Vec<_> = published.difference(&granted).collect();
    assert!(
        missing.is_empty(),
        "{missing:?}: put each new method into files/{file}, to read when it changes nothing, to write when it does, \
         and into files/usr/share/acl.d/cloudbox.json"
    );
    let unknown: Vec<_> = granted.difference(&published).collect();
    assert!(unknown.is_empty(), "no such methods: {unknown:?}");

    for changing in ["create", "delete", "exec", "start", "stop"] {
        assert!(write.contains(&format!("cloudbox.container {changing}")), "{changing} is not a writer's");
    }
    assert_eq!(list["cloudbox"]["read"]["uci"], serde_json::json!(["cloudbox", "cloudbox-host"]));
    // rpcd grants by the file: whoever could write that one could name any directory of the box.
    assert_eq!(list["cloudbox"]["write"]["uci"], serde_json::json!(["cloudbox"]));
}

#[test]
fn the_group_cloudbox_may_call_what_there_is_and_nothing_else() {
    let list = json("usr/share/acl.d/cloudbox.json");
    assert_eq!(list["group"], "cloudbox");
    assert!(list.get("user").is_none() && list.get("publish").is_none() && list.get("send").is_none());
    assert_eq!(grants(&list["access"], Some("methods")), for_others());
}

#[test]
fn the_process_of_the_commons_gets_what_the_daemon_would_let_it_have() {
    let list = json("usr/share/acl.d/cloudbox-commons.json");
    assert_eq!((&list["user"], list.get("group")), (&"cloudbox-commons".into(), None));
    let granted = grants(&list["access"], Some("methods"));
    assert_eq!(granted, cloudbox::daemon::of_the_commons().collect());
    assert!(granted.is_subset(&published()), "{granted:?}");
    let offered: Vec<&str> = OF_COMMONS.iter().map(|(object, _)| *object).collect();
    assert_eq!(list["publish"], serde_json::json!(offered));
    // Events are everybody's: they name the owner's containers, too.
    assert!(list.get("listen").is_none() && list.get("send").is_none());
    assert_eq!(list["subscribe"], serde_json::json!(["cloudbox.config"]));
}

// ---- The configuration -------------------------------------------------------------------------------------------

/// What the installation makes of `text`, run by the shell that a box has.
fn installed_config(dir: &Path, text: &str) -> String {
    let config = dir.join("cloudbox");
    fs::write(&config, text).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let script = fs::read_to_string(project().join("files/etc/uci-defaults/60-cloudbox")).unwrap();
    let here = format!("config={}", config.display());
    assert!(script.contains("config=/etc/config/cloudbox\n"));
    let script = script.replace("config=/etc/config/cloudbox", &here);
    let script = format!("uci() {{ return 1; }}\n{script}");
    let output = run(Command::new("busybox").args(["ash", "-euc", &script]));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::metadata(&config).unwrap().permissions().mode() & 0o777, 0o600);
    let left: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["cloudbox"]);
    fs::read_to_string(&config).unwrap()
}

fn settings(text: &str) -> Settings {
    let package = openwrt_uci::Package::parse(text.as_bytes()).unwrap();
    let config = config::read(&package, &openwrt_uci::Package::default(), &Settings::default());
    assert_eq!(config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
    config.settings
}

#[test]
fn the_installation_adds_sizes_that_fit_the_box_and_touches_nothing_else() {
    if run(&mut Command::new("busybox")).status.code().is_none() {
        println!("skipped: busybox is not installed");
        return;
    }
    let dir = scratch("uci-defaults");
    let shipped = fs::read_to_string(project().join("files/etc/config/cloudbox")).unwrap();
    let before = settings(&shipped);
    let installed = installed_config(&dir, &shipped);
    assert!(installed.starts_with(&shipped), "a comment or an option was lost");
    let after = settings(&installed);
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
    let kilobytes: u64 = meminfo.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert_eq!(after.memory_reserve >> 20, (kilobytes / 1024 / 4).clamp(64, 512));
    assert!((16..=2048).contains(&(after.disk_reserve >> 20)), "{}", Bytes(after.disk_reserve));
    assert!(after.defaults.memory.0 <= 512 << 20 && after.defaults.disk.unwrap().0 <= 4 << 30);
    assert_eq!(
        (before.enabled, before.storage, before.advertise),
        (after.enabled, after.storage, after.advertise)
    );

    // What an earlier version's file has behind its last option are examples of other sections.
    let example = format!(
        "{shipped}\n# An example:\n#config remote 'community'\n#\toption url 'https://images.example.org'\n"
    );
    let with_example = installed_config(&dir, &example);
    assert_eq!(with_example, [&installed, &example[shipped.len()..]].concat());
    // Again, and after an upgrade: the same.
    assert_eq!(installed_config(&dir, &installed), installed);
    // What the owner has said stays, and other sections too.
    let own = "# mine\n\nconfig container 'web'\n\toption memory '96M'\n\nconfig cloudbox main\n  option \"disk\" none\n\
               \toption memory_reserve '1G' # much\n\n\nconfig container 'mail'\n";
    let kept = installed_config(&dir, own);
    let added: Vec<&str> = kept.lines().filter(|line| !own.lines().any(|l| l == *line)).collect();
    assert_eq!(added.len(), 2, "{kept}");
    assert!(
        added[0].starts_with("\toption memory '") && added[1].starts_with("\toption disk_reserve '"),
        "{kept}"
    );
    let without: Vec<&str> = kept.lines().filter(|line| !added.contains(line)).collect();
    assert_eq!(without, own.lines().collect::<Vec<_>>());
    assert_eq!(settings(&kept).memory_reserve, 1 << 30);
    // A file without the section, and none.
    let strange = "config container 'web'\n";
    assert_eq!(installed_config(&dir, strange), strange);
    assert_eq!(installed_config(&dir, ""), "");
}

/// What the installation makes of the two files: `host` is that of the package, or what a box has.
fn moved(dir: &Path, text: &str, host: Option<&str>) -> (String, String) {
    let paths = [dir.join("cloudbox"), dir.join("cloudbox-host")];
    let _ = fs::remove_file(&paths[1]);
    for (path, text) in paths.iter().zip([Some(text), host]) {
        if let Some(text) = text {
            fs::write(path, text).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
    let script = fs::read_to_string(project().join("files/etc/uci-defaults/59-cloudbox-host")).unwrap();
    let script = script.replace("=/etc/config/", &format!("={}/", dir.display()));
    let output = run(Command::new("busybox").args(["ash", "-euc", &script]));
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(fs::metadata(&paths[1]).unwrap().permissions().mode() & 0o777, 0o600);
    let mut left: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cloudbox", "cloudbox-host"]);
    let [config, host] = paths.map(|path| fs::read_to_string(path).unwrap());
    (config, host)
}

#[test]
fn what_is_the_owners_alone_is_moved_once_to_a_file_of_its_own() {
    if run(&mut Command::new("busybox")).status.code().is_none() {
        println!("skipped: busybox is not installed");
        return;
    }
    let dir = scratch("uci-defaults-host");
    let shipped = fs::read_to_string(project().join("files/etc/config/cloudbox-host")).unwrap();
    let of = |config: &str, host: &str| {
        let package = |text: &str| openwrt_uci::Package::parse(text.as_bytes()).unwrap();
        let config = config::read(&package(config), &package(host), &Settings::default());
        assert_eq!(config.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
        config.settings
    };
    // As a version before shipped it, and as its owner has changed it.
    let was = "# mine\nconfig cloudbox 'main'\n\toption enabled '1'\n\
               \t# Images and containers; on a disk, not in memory.\n\toption storage '/mnt/data/cb'\n\
               \toption lxcpath \"/mnt/lxc\" # theirs\n\toption cpus '2'\n\n\
               config remote 'r'\n\toption url 'https://x'\n\tlist key_file '/etc/keys/a.pub'\n\
               \tlist key_file '/etc/keys/b.pub'\n\nconfig container 'web'\n";
    let (config, host) = moved(&dir, was, Some(&shipped));
    assert!(host.starts_with(&shipped) && !config.contains("Images and containers"), "{config}");
    let settings = of(&config, &host);
    assert_eq!((&*settings.storage, &*settings.lxcpath), (Path::new("/mnt/data/cb"), Path::new("/mnt/lxc")));
    assert_eq!(settings.key_dirs, [PathBuf::from("/etc/keys")]);
    let gone = |line: &&str| !["storage", "lxcpath", "Images and"].iter().any(|word| line.contains(word));
    assert_eq!(config.lines().collect::<Vec<_>>(), was.lines().filter(gone).collect::<Vec<_>>());
    // Never again: what stands there now, anybody may have written who may make containers.
    let attack = config.replace("'main'\n", "'main'\n\toption storage '/etc'\n\toption lxcpath '/x'\n");
    assert_eq!(moved(&dir, &attack, Some(&host)), (attack.clone(), host.clone()));
    // A new box, one without the file, and one whose value nobody could use.
    let fresh = fs::read_to_string(project().join("files/etc/config/cloudbox")).unwrap();
    let (config, host) = moved(&dir, &fresh, Some(&shipped));
    assert_eq!((config == fresh, of(&config, &host)), (true, Settings::default()));
    let (_, host) = moved(&dir, was, None);
    assert!(host.contains("\toption storage '/mnt/data/cb'\n"), "{host}");
    let odd = "config cloudbox 'main'\n\toption storage 'relative'\n\toption lxcpath '/$(reboot)'\n";
    let (config, host) = moved(&dir, odd, Some(&shipped));
    assert_eq!((config.as_str(), host.contains("\toption storage 'relative'")), (odd, false));
}

/// What the service makes of avahi-daemon's configuration on a box with these containers, and whether avahi-daemon was
/// started anew for it.
fn avahi_conf(dir: &Path, verb: &str, conf: &str, config: &str) -> (String, bool) {
    let (file, restarted) = (dir.join("avahi-daemon.conf"), dir.join("restarted"));
    fs::write(&file, conf).unwrap();
    fs::write(dir.join("config"), config).unwrap();
    let _ = fs::remove_file(&restarted);
    let daemon = dir.join("daemon");
    fs::write(&daemon, format!("#!/bin/sh\n[ $1 = running ] || echo $1 >> {}\n", restarted.display()))
        .unwrap();
    fs::set_permissions(&daemon, fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "extra_command() {{ :; }}\nuci() {{ [ \"$*\" = '-q get network.lan.device' ] && echo br-lan; }}\n\
         . {}\nAVAHI={}\nCONFIG={}\nAVAHI_DAEMON={}\n{verb}\n",
        project().join("files/etc/init.d/cloudbox").display(),
        dir.display(),
        dir.join("config").display(),
        daemon.display(),
    );
    let output = run(Command::new("busybox").args(["ash", "-uc", &script]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let left: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    let said = fs::read_to_string(&restarted).unwrap_or_default();
    assert!(matches!(said.as_str(), "" | "restart\n"), "{said}");
    (fs::read_to_string(&file).unwrap(), !said.is_empty())
}

#[test]
fn avahi_daemon_speaks_where_the_lan_and_the_containers_are() {
    if run(&mut Command::new("busybox")).status.code().is_none() {
        println!("skipped: busybox is not installed");
        return;
    }
    let dir = scratch("avahi-conf");
    let conf = "# mine\n[server]\n#host-name=foo\n#allow-interfaces=eth0\nuse-ipv4=yes\n\n[publish]\n";
    let limited = |interfaces: &str| {
        let ours = format!(
            "[server]\n# cloudbox: begin (written by cloudbox: changes in these lines are lost)\n\
             allow-interfaces={interfaces}\n# cloudbox: end\n"
        );
        conf.replace("[server]\n", &ours)
    };
    let nothing = "";
    let uci = "config cloudbox 'main'\n\toption bridge 'br-cloudbox'\nconfig container web\n  option \"bridge\" br-x # mine\n\
               config container 'db'\n\toption bridge 'br-lan'\n#\toption bridge 'br-not'\n\toption bridge 'a/b'\n";
    assert_eq!(avahi_conf(&dir, "limit_avahi", conf, nothing), (limited("br-lan"), true));
    let all = limited("br-lan,br-cloudbox,br-x");
    assert_eq!(avahi_conf(&dir, "limit_avahi", conf, uci), (all.clone(), true));
    // Again: nothing. With other bridges: those. In the end: what there was.
    assert_eq!(avahi_conf(&dir, "limit_avahi", &all, uci), (all.clone(), false));
    assert_eq!(avahi_conf(&dir, "limit_avahi", &all, nothing), (limited("br-lan"), true));
    assert_eq!(avahi_conf(&dir, "free_avahi", &all, uci), (conf.to_string(), true));
    assert_eq!(avahi_conf(&dir, "free_avahi", conf, uci), (conf.to_string(), false));
    // What the owner has said goes first, also when he says it later.
    for own in ["allow-interfaces=br-lan,wlan0\n", "  deny-interfaces = wan\n"] {
        let owned = conf.replace("use-ipv4=yes\n", own);
        assert_eq!(avahi_conf(&dir, "limit_avahi", &owned, uci), (owned.clone(), false));
        let later = all.replace("use-ipv4=yes\n", own);
        assert_eq!(avahi_conf(&dir, "limit_avahi", &later, uci), (owned, true));
    }
    // An empty list is none. Lines that were cut short take nothing of others along.
    let empty = conf.replace("#allow-interfaces=eth0", "allow-interfaces=");
    assert!(avahi_conf(&dir, "limit_avahi", &empty, nothing)
        .0
        .contains("allow-interfaces=br-lan\n# cloudbox: end"));
    let cut = conf.replace("use-ipv4=yes\n", "# cloudbox: begin\nuse-ipv4=yes\n");
    assert_eq!(avahi_conf(&dir, "free_avahi", &cut, nothing), (conf.to_string(), true));
    assert_eq!(avahi_conf(&dir, "limit_avahi", "", nothing), (String::new(), false));
}

/// What the service tells procd on a box where `cloudbox.commons.enabled` is this, and what it did to directories.
fn told_to_procd(dir: &Path, enabled: &str, owner: u32, chown: &str) -> String {
    let commons = dir.join("etc/cloudbox/commons");
    let script = format!(
        "extra_command() {{ :; }}\nuci() {{ :; }}\nlogger() {{ echo \"logged $*\"; }}\nconfig_load() {{ config=$1; }}\n\
         config_get_bool() {{ [ \"$config $2 $3 $4\" = 'cloudbox commons enabled 0' ] && eval \"$1={enabled}\"; }}\n\
         procd_open_instance() {{ echo \"instance $*\"; }}\nprocd_set_param() {{ echo \"$*\"; }}\n\
         procd_close_instance() {{ echo end; }}\nprocd_send_signal() {{ echo \"signal $*\"; }}\n\
         running() {{ true; }}\nstart() {{ echo start; }}\nchown() {{ {chown}; }}\nid() {{ echo {owner}; }}\n\
         . {}\nAVAHI={}\nCONFIG=/nothing\nPROG=/bin/true\nCOMMONS_DIR={}\nstart_service\necho\nreload_service\n",
        project().join("files/etc/init.d/cloudbox").display(),
        dir.display(),
        commons.display(),
    );
    let output = run(Command::new("busybox").args(["ash", "-uc", &script]));
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    if commons.exists() {
        assert_eq!(fs::metadata(&commons).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(fs::metadata(commons.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o755);
    }
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_commons_is_a_second_instance_that_is_not_root() {
    if run(&mut Command::new("busybox")).status.code().is_none() {
        println!("skipped: busybox is not installed");
        return;
    }
    let dir = scratch("second-service");
    let off = told_to_procd(&dir, "0", 61234, "echo chown $*");
    assert_eq!(off.matches("instance").count(), 1, "{off}");
    assert!(!dir.join("etc").exists());
    let on = told_to_procd(&dir, "1", 61234, "echo chown $*");
    let (_, commons) = on.split_once("instance commons\n").unwrap_or_else(|| panic!("{on}"));
    let (commons, after) = commons.split_once("end\n").unwrap();
    for line in [
        "command /bin/true commons run",
        "user cloudbox-commons",
        "group cloudbox-commons",
        "no_new_privs 1",
        "respawn 3600 5 0",
    ] {
        assert!(commons.lines().any(|l| l == line), "no {line:?} in {commons}");
    }
    let owned =
        format!("chown -hR cloudbox-commons:cloudbox-commons {}", dir.join("etc/cloudbox/commons").display());
    assert!(on.lines().any(|l| l == owned), "no {owned:?} in {on}");
    // What it has already is left alone: root follows nothing of another's making.
    let own = nix::unistd::getuid().as_raw();
    assert!(!told_to_procd(&dir, "1", own, "echo chown $*").contains("chown"), "{on}");
    // What runs hears of a change, and then procd begins or ends the second one.
    assert_eq!(after.trim(), "signal cloudbox\nstart");
    // Without its user there is no second one, and the first one runs.
    let without = told_to_procd(&dir, "1", 61234, "return 1");
    assert_eq!(without.matches("instance").count(), 1, "{without}");
    assert!(without.contains("logged") && without.contains("there is no user cloudbox-commons"), "{without}");
}

#[test]
fn every_script_is_one_that_the_shell_of_a_box_reads() {
    for script in [
        "files/etc/hotplug.d/ntp/60-cloudbox",
        "files/etc/init.d/cloudbox",
        "files/etc/uci-defaults/59-cloudbox-host",
        "files/etc/uci-defaults/60-cloudbox",
        "files/usr/sbin/cloudbox-bridge",
        "openwrt/luci-app-cloudbox/root/usr/libexec/cloudbox-console",
        "openwrt/cloudbox/test.sh",
        "openwrt/cloudbox/test-version.sh",
    ] {
        let path = project().join(script);
        stdout(Command::new("busybox").args(["ash", "-n"]).arg(&path));
    }
}

/// Runs `cloudbox-bridge`; returns its exit code and what it asked uci for.
fn bridge(dir: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    bridge_that_has(dir, "", arguments)
}

/// The same where the bridge has a hardware address already, unless that is empty.
fn bridge_that_has(dir: &Path, address: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let bin = dir.join("bin");
    let asked = dir.join("asked");
    let _ = fs::remove_file(&asked);
    fs::create_dir_all(&bin).unwrap();
    let note =
        "#!/bin/sh\necho \"$(basename \"$0\") $*\" >> \"$ASKED\"\n[ \"$1\" != batch ] || cat >> \"$ASKED\"\n\
                [ \"$*\" != '-q get cloudbox.main.bridge' ] || echo br-cloudbox\n\
                [ \"$*\" != '-q show firewall' ] || echo firewall.commons_to_mesh=forwarding\n\
                [ \"$*\" != '-q get network.cloudbox_bridge.macaddr' ] || echo \"$KEPT\" | grep .\n";
    for program in ["uci", "reload_config"] {
        fs::write(bin.join(program), note).unwrap();
        fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("busybox");
    command.arg("ash").arg(project().join("files/usr/sbin/cloudbox-bridge")).args(arguments);
    let output = run(command.env("PATH", path).env("ASKED", &asked).env("KEPT", address));
    (output.status.code(), fs::read_to_string(&asked).unwrap_or_default())
}

#[test]
fn a_bridge_of_its_own_is_made_when_asked_for_and_removed_whole() {
    let dir = scratch("bridge");
    let (code, asked) = bridge(&dir, &["add", "10.50.16.1/20"]);
    assert_eq!(code, Some(0), "{asked}");
    for line in [
        "set network.cloudbox.ipaddr='10.50.16.1'",
        "set network.cloudbox.netmask='255.255.240.0'",
        "set dhcp.cloudbox.limit='4092'",
        "set firewall.cloudbox.input='REJECT'",
        "set firewall.cloudbox_wan.dest='wan'",
        "uci set cloudbox.main.bridge=br-cloudbox",
        "uci commit firewall",
        "reload_config ",
    ] {
        assert!(asked.lines().any(|l| l == line), "no {line:?} in {asked}");
    }
    // A hardware address of its own, which it keeps.
    let own = asked.lines().find_map(|line| line.strip_prefix("set network.cloudbox_bridge.macaddr='"));
    let own = own.unwrap_or_else(|| panic!("no macaddr in {asked}")).trim_end_matches('\'');
    assert!(own.starts_with("02:") && cloudbox::model::address::parse_mac(own).is_some(), "{own}");
    let (_, kept) = bridge_that_has(&dir, own, &["add"]);
    assert!(kept.contains(&format!("set network.cloudbox_bridge.macaddr='{own}'")), "{kept}");
    // Whatever is made is removed again, and nothing else.
    let made: BTreeSet<&str> = asked
        .lines()
        .filter_map(|line| line.strip_prefix("set "))
        .filter_map(|line| line.split_once('=').map(|(path, _)| path))
        .filter(|path| path.split('.').count() == 2)
        .collect();
    let (code, asked) = bridge(&dir, &["remove"]);
    assert_eq!(code, Some(0), "{asked}");
    assert!(asked.lines().any(|line| line == "uci -q show firewall"), "{asked}");
    let removed: BTreeSet<&str> =
        asked.lines().filter_map(|line| line.strip_prefix("uci -q delete ")).collect();
    assert_eq!(made, removed);
    assert!(asked.contains("uci set cloudbox.main.bridge=br-lan"), "{asked}");

    // That of other people's containers: the internet and the community yes, the owner's LAN no.
    let (code, asked) = bridge(&dir, &["commons", "10.50.32.1/24", "mesh", "guifi"]);
    assert_eq!(code, Some(0), "{asked}");
    let forwardings: BTreeSet<(&str, &str)> = asked
        .lines()
        .filter_map(|line| line.strip_prefix("set firewall.")?.split_once(".src='"))
        .filter(|(section, _)| asked.contains(&format!("set firewall.{section}=forwarding\n")))
        .map(|(section, from)| {
            let to = asked.split(&format!("set firewall.{section}.dest='")).nth(1).unwrap();
            (from.trim_end_matches('\''), to.split('\'').next().unwrap())
        })
        .collect();
    let expected = [
        ("commons", "guifi"),
        ("commons", "mesh"),
        ("commons", "wan"),
        ("guifi", "commons"),
        ("lan", "commons"),
        ("mesh", "commons"),
    ];
    assert_eq!(forwardings.into_iter().collect::<Vec<_>>(), expected);
    assert!(asked.contains("set firewall.commons.forward='REJECT'\n"), "{asked}");
    assert!(asked.contains("uci set cloudbox.commons.bridge=br-commons\n"), "{asked}");
    assert!(!asked.contains("cloudbox.main.bridge"), "the owner's containers are moved: {asked}");
    let (code, asked) = bridge(&dir, &["remove", "commons"]);
    assert_eq!(code, Some(0), "{asked}");
    for section in ["firewall.commons", "network.commons_bridge", "firewall.commons_to_mesh"] {
        assert!(asked.contains(&format!("uci -q delete {section}\n")), "{section} stays: {asked}");
    }

    for wrong in [
        &["commons", "10.0.0.1/24", "lan"] as &[&str],
        &["commons", "10.0.0.1/24", "a b"],
        &["commons", "mesh"],
        &["remove", "lan"],
        &["add", "10.0.0.1"],
        &["add", "10.0.0.256/24"],
        &["add", "10.0.0.1/33"],
        &["add", "10.0.0/24"],
        &["add", "10.0.0.1/24' ; reboot"],
        &["add", "$(reboot)/24"],
        &["add", "1", "2"],
        &["remove", "all"],
        &[],
    ] {
        assert_eq!(bridge(&dir, wrong), (Some(1), String::new()), "{wrong:?}");
    }
}

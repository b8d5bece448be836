//! Somebody who may call every method, and write the configuration that callers may write, wants to be root on the box.

use crate::test_box::TestBox;
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// A box whose owner lets calls reach the archives' directory only, and a file of root's that is nobody's business.
fn strict(what: &str) -> Option<TestBox> {
    let the_box = TestBox::new(what)?;
    fs::write(the_box.dir.join("etc/cloudbox-host"), "config host 'host'\n").unwrap();
    the_box.reload();
    fs::create_dir_all(the_box.dir.join("hotplug.d")).unwrap();
    let secret = the_box.dir.join("shadow");
    fs::write(&secret, "root:SECRET:19000::::::\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    Some(the_box)
}

#[test]
fn an_export_becomes_no_script_of_the_boxs() {
    let Some(the_box) = strict("an export to anywhere") else { return };
    the_box.create("web", json!({ "start": false, "description": "$(id > /tmp/evil)" }));
    let storage = the_box.layout.storage.display();
    let anywhere = the_box.dir.join("hotplug.d/99-evil").display().to_string();
    let up = format!("{storage}/archives/../../hotplug.d/99-evil");
    let archives = the_box.layout.storage.join("archives");
    fs::create_dir_all(&archives).unwrap();
    std::os::unix::fs::symlink(the_box.dir.join("hotplug.d"), archives.join("link")).unwrap();
    let by_link = format!("{storage}/archives/link/99-evil");
    for path in [anywhere, up, by_link] {
        let ended = the_box.whole("cloudbox.container", "export", json!({ "name": "web", "path": path }));
        assert!(ended.is_err(), "{path} was written");
        assert!(fs::read_dir(the_box.dir.join("hotplug.d")).unwrap().next().is_none(), "{path} was written");
    }
    let allowed = format!("{storage}/archives/web.tar");
    the_box.whole("cloudbox.container", "export", json!({ "name": "web", "path": allowed })).unwrap();
    the_box.delete("web");
    the_box.assert_nothing_left();
}

#[test]
fn a_first_boot_script_reads_no_file_of_the_boxs() {
    let Some(the_box) = strict("a first-boot script by its path") else { return };
    let path = the_box.dir.join("shadow");
    let created = the_box.whole("cloudbox.container", "create", json!({ "name": "web", "first_boot": path }));
    if created.is_ok() {
        let files = the_box.inside("web", "cat /var/lib/cloudbox/* 2>/dev/null || true");
        assert!(!files.contains("SECRET"), "the guest has read {}", path.display());
    }
    assert!(created.is_err(), "a path was taken for a script");
    the_box.assert_nothing_left();
}

#[test]
fn what_callers_may_write_moves_neither_lxcs_directory_nor_the_storage() {
    let Some(the_box) = strict("directories in the callers' file") else { return };
    // Foreign containers are looked for below `lxcpath`: in a guest, its root says which directories they have.
    the_box.create("web", json!({}));
    let root = the_box.dir.join("root");
    for dir in ["etc", "sbin", "bin"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    fs::copy(the_box.dir.join("shadow"), root.join("etc/shadow")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("../bin/busybox", root.join("sbin/init")).unwrap();
    let says = format!("lxc.rootfs.path = dir:{}/etc/..", root.display());
    the_box.inside("web", &format!("mkdir -p /lx/evil; echo '{says}' > /lx/evil/config"));
    let inside = the_box.container("web").rootfs().join("lx");
    the_box.edit_config(|text| {
        text.replace(
            "\toption image 'mini'\n",
            &format!("\toption image 'mini'\n\toption lxcpath '{}'\n", inside.display()),
        )
    });
    the_box.reload();
    let adopted = the_box.whole("cloudbox.container", "adopt", json!({ "name": "evil" }));
    assert!(adopted.is_err(), "a directory of the box's became an image of a guest's making");
    the_box.delete("web");
    the_box.assert_nothing_left();
}

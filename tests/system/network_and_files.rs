//! Fixed addresses, keys, and a root filesystem on which everything works that a package manager does.

use crate::processes::sh;
use crate::test_box::{Image, TestBox};
use serde_json::json;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKt3r0cZ1n0yWmLwZ0C3x0m4n5b6v7c8x9z0a1s2d3f4 ada@laptop";

#[test]
fn a_fixed_address_and_its_route_hold_in_both_images() {
    let Some(the_box) = TestBox::new("fixed addresses") else { return };
    the_box.import(Image::Distro);
    for (last, image) in [(20, Image::Mini), (21, Image::Distro)] {
        let (name, address) = (image.name(), the_box.address(last));
        let asked = json!({ "image": name, "address": format!("{address}/24"), "memory": "256M" });
        the_box.create(name, asked);
        sh(&format!("ping -c 1 -W 5 {address}"));
        if matches!(image, Image::Distro) {
            the_box.booted(name);
            sh(&format!("ping -c 1 -W 5 {address}"));
        }
        assert_eq!(the_box.wait_for_address(name), address);
        let inside = the_box.inside(name, "ip -4 -o address show dev eth0");
        assert_eq!(inside.lines().count(), 1, "another address was taken too: {inside}");
        // Nothing was said of a gateway: the bridge is one.
        let route = the_box.inside(name, "ip route show default");
        assert!(route.contains(&format!("via {}", the_box.address(1))), "{route}");
    }

    // A gateway of one's own choice.
    let (address, gateway) = (the_box.address(30), the_box.address(254));
    let asked = json!({ "address": format!("{address}/24"), "gateway": gateway.to_string() });
    the_box.create("routed", asked);
    let route = the_box.inside("routed", "ip route show default");
    assert!(route.contains(&format!("via {gateway}")), "{route}");

    // It is still so after a restart.
    the_box.kill("distro");
    the_box.start("distro");
    the_box.booted("distro");
    let inside = the_box.inside("distro", "ip -4 -o address show dev eth0");
    assert!(inside.contains(&format!("{}/24", the_box.address(21))), "{inside}");
    for name in the_box.names() {
        the_box.delete(&name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn keys_are_in_place_and_only_roots() {
    let Some(the_box) = TestBox::new("authorized keys") else { return };
    let second = KEY.replace("ada@laptop", "grace@desk");
    the_box.create("keys", json!({ "authorized_keys": [KEY, second] }));
    assert_eq!(the_box.inside("keys", "cat /root/.ssh/authorized_keys"), format!("{KEY}\n{second}"));
    let modes = the_box.inside("keys", "stat -c '%a %u %g' /root/.ssh /root/.ssh/authorized_keys");
    assert_eq!(modes, "700 0 0\n600 0 0");
    the_box.delete_last("keys");
}

#[test]
fn the_root_filesystem_takes_everything_a_package_manager_does() {
    let Some(the_box) = TestBox::new("the root filesystem") else { return };
    the_box.import(Image::Distro);
    for (name, disk) in [("quota", "128M"), ("free", "none")] {
        the_box.create(name, json!({ "image": "distro", "memory": "256M", "disk": disk }));
        // Directories of the image: removed and made again, moved, replaced.
        the_box.inside(
            name,
            "rm -rf /etc/apt && test ! -e /etc/apt && mkdir /etc/apt && test -z \"$(ls /etc/apt)\"",
        );
        the_box.inside(
            name,
            "mv /usr/share/doc /usr/share/moved && test -d /usr/share/moved && test ! -e /usr/share/doc",
        );
        the_box.inside(name, "mv /usr/share/moved /usr/share/doc");
        // Owners, modes, links, devices that a container may not make.
        the_box.inside(
            name,
            "touch /root/f && chown 33:33 /root/f && test \"$(stat -c %u:%g /root/f)\" = 33:33",
        );
        the_box.inside(name, "cp /usr/bin/id /usr/local/bin/id && chmod u+s /usr/local/bin/id");
        let uid = the_box.inside(name, "setpriv --reuid 65534 --clear-groups /usr/local/bin/id -u");
        assert_eq!(uid, "0", "setuid does not work");
        the_box.inside(name, "ln /etc/hostname /etc/second && ln -s second /etc/third && cat /etc/third");
        the_box.inside(name, "! mknod /root/sda b 8 0");
        // Files of the image belong to their owners, not to nobody.
        assert_eq!(the_box.inside(name, "find /etc /usr /var /root /home -xdev -uid 65534"), "");
        the_box.kill(name);
        the_box.start(name);
        the_box.inside(name, "test -d /etc/apt && test -z \"$(ls /etc/apt)\" && test -e /etc/third");
    }
    the_box.delete("quota");
    the_box.delete_last("free");
}

//! What a guest is refused by the kernel, asked from inside.

use crate::test_box::{Image, TestBox};
use nix::libc;
use serde_json::json;

const KEYCTL: libc::c_long = libc::SYS_keyctl;
const IO_URING: libc::c_long = libc::SYS_io_uring_setup;

/// What the kernel answers to these calls, all of their arguments 0: an errno each.
fn answers(the_box: &TestBox, calls: &[libc::c_long]) -> Vec<i32> {
    let list: Vec<String> = calls.iter().map(ToString::to_string).collect();
    let script = format!(
        "for my $n ({}) {{ $! = 0; syscall($n, 0, 0, 0, 0, 0); print $! + 0, qq(\\n) }}",
        list.join(",")
    );
    let said = the_box.exec("web", &["perl", "-e", &script]);
    assert_eq!(said["code"], 0, "{said}");
    said["stdout"].as_str().unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn what_a_guest_is_refused() {
    let Some(the_box) = TestBox::new("refused system calls") else { return };
    the_box.import(Image::Distro);
    the_box.create("web", json!({ "image": "distro", "memory": "256M" }));
    // With all that, a Debian boots whole.
    the_box.booted("web");
    let refused = [
        (libc::SYS_add_key, libc::ENOSYS),
        (libc::SYS_request_key, libc::ENOSYS),
        (KEYCTL, libc::ENOSYS),
        (IO_URING, libc::ENOSYS),
        (libc::SYS_bpf, libc::EPERM),
        (libc::SYS_perf_event_open, libc::EPERM),
        (libc::SYS_userfaultfd, libc::ENOSYS),
        (libc::SYS_mount_setattr, libc::ENOSYS),
        (libc::SYS_open_by_handle_at, libc::EPERM),
        (libc::SYS_syslog, libc::EPERM),
        (libc::SYS_swapon, libc::EPERM),
    ];
    assert_eq!(answers(&the_box, &refused.map(|(call, _)| call)), refused.map(|(_, answer)| answer));
    let status = the_box.inside("web", "grep -E '^(CapBnd|NoNewPrivs)' /proc/1/status");
    let bounds = status.lines().next().unwrap().trim_start_matches("CapBnd:").trim();
    let bounds = u64::from_str_radix(bounds, 16).unwrap();
    // sys_module, sys_rawio, sys_time, syslog.
    for dropped in [16, 17, 25, 34] {
        assert_eq!(bounds & (1 << dropped), 0, "capability {dropped} of {status}");
    }
    assert!(status.ends_with("NoNewPrivs:\t0"), "{status}");

    // What its owner permits, from the next start on.
    let set = json!({ "name": "web", "nesting": true, "io_uring": true });
    the_box.whole("cloudbox.container", "set", set).unwrap();
    assert_eq!(answers(&the_box, &[KEYCTL, IO_URING]), [libc::ENOSYS; 2]);
    the_box.whole("cloudbox.container", "restart", json!({ "name": "web" })).unwrap();
    let permitted = answers(&the_box, &[KEYCTL, IO_URING]);
    assert!(permitted[0] != libc::ENOSYS, "{permitted:?}");
    // Some kernels have no io_uring.
    println!("io_uring answers {}", permitted[1]);
    the_box.delete_last("web");
}

#[test]
fn a_program_in_a_guest_has_three_descriptors() {
    let Some(mut the_box) = TestBox::new("descriptors in a guest") else { return };
    the_box.stop_daemon();
    // Who starts it is careless.
    the_box.wrapper = ["/bin/sh", "-c", "exec 7</ 9</; exec \"$0\" \"$@\""].map(String::from).to_vec();
    the_box.start_daemon();
    the_box.create("web", json!({}));
    let listed = the_box.inside("web", "exec ls /proc/self/fd");
    assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    the_box.delete_last("web");
}

//! The box's own name server: who asks no mDNS finds containers by it.

use crate::processes::{sh, Process};
use crate::test_box::{eventually, TestBox};
use serde_json::json;
use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// dnsmasq in a network of its own, as OpenWrt configures it.
struct NameServer {
    daemon: Process,
    namespace: String,
}

impl NameServer {
    fn of(the_box: &TestBox) -> NameServer {
        fs::create_dir_all(the_box.hosts()).unwrap();
        fs::create_dir_all(the_box.dir.join("dnsmasq-run")).unwrap();
        let mut command = Command::new("unshare");
        command
            .args(["--net", "dnsmasq", "--conf-file=/dev/null", "--keep-in-foreground", "--no-resolv"])
            .args(["--no-hosts", "--expand-hosts", "--domain=lan", "--local=/lan/", "--user=root"])
            .arg(format!("--addn-hosts={}", the_box.hosts().display()))
            .arg(format!("--pid-file={}", the_box.dir.join("dnsmasq-run/dnsmasq.cfg01.pid").display()))
            .stdin(Stdio::null());
        let daemon = Process::spawn(&mut command);
        let namespace = format!("/proc/{}/ns/net", daemon.pid());
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        eventually("a network namespace", || fs::read_link(&namespace).is_ok_and(|it| it != own));
        sh(&format!("nsenter --net={namespace} ip link set lo up"));
        NameServer { daemon, namespace }
    }

    /// The IPv4 addresses of a name, and the number with which it was answered: 3 when there is no such name.
    fn ask(&self, name: &str) -> (Vec<IpAddr>, u8) {
        let mut question = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            question.push(label.len() as u8);
            question.extend(label.bytes());
        }
        question.extend([0, 0, 1, 0, 1]);
        let from = question.len();
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let namespace = fs::File::open(&self.namespace).unwrap();
                nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
                let mut answer = [0; 512];
                // Until it listens, the kernel refuses.
                socket.connect("127.0.0.1:53").and_then(|()| socket.send(&question)).ok()?;
                let length = socket.recv(&mut answer).ok()?;
                Some(answer[..length].to_vec())
            });
            asked.join().unwrap()
        });
        let answer = answer.unwrap_or_default();
        if answer.len() < from {
            return (Vec::new(), 0xff);
        }
        // A name that points back takes two bytes; type, class, time and length eight more; an address four.
        let addresses = answer[from..].chunks_exact(16).take(answer[7] as usize);
        let addresses = addresses.map(|r| IpAddr::from([r[12], r[13], r[14], r[15]])).collect();
        (addresses, answer[3] & 0xf)
    }

    fn eventually_says(&self, name: &str, addresses: &[IpAddr]) {
        eventually(&format!("{name} {addresses:?}"), || {
            let (found, code) = self.ask(name);
            found == addresses && code == if addresses.is_empty() { 3 } else { 0 }
        });
    }
}

#[test]
fn the_boxs_name_server_knows_containers_by_name_also_static_ones() {
    let Some(mut the_box) = TestBox::new("dnsmasq") else { return };
    let mut server = NameServer::of(&the_box);
    server.eventually_says("web.lan", &[]);
    let own = the_box.address(20);
    the_box.create("web", json!({ "address": format!("{own}/24") }));
    the_box.create("mail", json!({}));
    let leased = the_box.wait_for_address("mail");
    server.eventually_says("web.lan", &[own.into()]);
    server.eventually_says("web", &[own.into()]);
    server.eventually_says("mail.lan", &[leased]);
    assert_eq!(server.ask("other.lan"), (Vec::new(), 3));

    // Nothing new, nothing written: dnsmasq keeps what it has cached.
    let file = the_box.hosts().join("cloudbox");
    let written = || fs::metadata(&file).and_then(|meta| meta.modified()).unwrap();
    let before = written();
    the_box.reload();
    the_box.restart_daemon();
    the_box.quiet();
    server.eventually_says("web.lan", &[own.into()]);
    assert_eq!(written(), before);

    // One that is not to be announced is not named either.
    the_box.edit_config(|text| {
        text.replace("config container 'mail'\n", "config container 'mail'\n\toption advertise '0'\n")
    });
    the_box.reload();
    server.eventually_says("mail.lan", &[]);
    the_box.stop("web");
    server.eventually_says("web.lan", &[]);
    eventually("no file", || !file.exists());
    assert!(!server.daemon.has_ended(), "dnsmasq was told nothing but to read again");
    let left = fs::read_dir(the_box.hosts()).unwrap().count();
    assert_eq!(left, 0);
    the_box.delete("mail");
    the_box.delete_last("web");
}

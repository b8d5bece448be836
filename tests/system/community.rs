//! What the distro is for: a grid of storage nodes that find each other, a proxy and graphs, seen by the neighbourhood.

use crate::neighbour::{Neighbourhood, Seen};
use crate::processes::{output, sh, Process};
use crate::test_box::{eventually, Image, TestBox};
use serde_json::{json, Value};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long one answer may take: Tahoe's programs take seconds to start on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);

/// Asks a web server for `path`; the answer's head and body. None while nobody listens.
fn fetch(server: (IpAddr, u16), path: &str) -> Option<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(server), ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(e) if e.kind() == ErrorKind::ConnectionReset => {}
        Err(e) => panic!("{path} of {server:?}: {e}"),
    }
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    Some((String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec()))
}

/// A web server on the box with one page; returns its port.
fn serve_a_page(the_box: &TestBox, page: &'static str) -> u16 {
    let listener = TcpListener::bind((the_box.address(1), 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let length = page.len();
            let _ = write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{page}");
        }
    });
    port
}

/// An SNMP agent on the box's end of the bridge, which tells of the box's interfaces.
fn snmp_agent(the_box: &TestBox) -> Process {
    let config = the_box.dir.join("snmpd.conf");
    fs::write(&config, "rocommunity guifi\n").unwrap();
    let address = format!("udp:{}:161", the_box.address(1));
    let mut command = Command::new("snmpd");
    command.args(["-f", "-Lf", "/dev/null", "-C", "-c"]).arg(&config);
    command.env("SNMP_PERSISTENT_DIR", the_box.dir.join("snmp")).arg(address);
    Process::spawn(&mut command)
}

/// Waits until the neighbour sees exactly one service of `kind` in `container`, at its address.
fn one_of(here: &Neighbourhood, kind: &str, container: &str, port: u16) -> Seen {
    let address = here.the_box.wait_for_address(container);
    let at = |seen: &[Seen]| seen.iter().filter(|seen| seen.address == address).cloned().collect::<Vec<_>>();
    here.neighbour.wait_until(kind, container, |seen| !at(seen).is_empty());
    let mut found = at(&here.neighbour.services(kind));
    assert_eq!(found.len(), 1, "{kind} of {container} is announced more than once: {found:?}");
    let seen = found.remove(0);
    assert_eq!((seen.port, &seen.host), (port, &here.host(container)), "{seen:?}");
    seen
}

const SECRET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/usign/key.sec");
const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/usign/key.pub");

/// A box that has no image, but knows of a web server that serves the distro, signed.
fn with_the_distro_on_a_server() -> Option<(TestBox, Process)> {
    let mut the_box = TestBox::bare("the community's services", false)?;
    let www = the_box.dir.join("www");
    let mut publish = Command::new(env!("CARGO_BIN_EXE_cloudbox"));
    publish.args(["image", "publish"]).arg(&www).arg(Image::Distro.path()).args(["--key", SECRET]);
    let said = output(&mut publish);
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    let at = format!("{}:8080", the_box.address(1));
    let mut httpd = Command::new("busybox");
    httpd.args(["httpd", "-f", "-p", &at, "-h"]).arg(&www).stdin(Stdio::null());
    let httpd = Process::spawn(&mut httpd);
    the_box.write_config(&format!(
        "config remote 'community'\n\toption url 'http://{at}'\n\tlist key_file '{KEY}'\n\
         config image 'distro'\n\toption remote 'community'\n\toption alias 'guifi-community-distro'\n"
    ));
    the_box.start_bus();
    the_box.start_daemon();
    Some((the_box, httpd))
}

#[test]
fn the_distro_serves_its_community() {
    let Some((the_box, _httpd)) = with_the_distro_on_a_server() else { return };
    assert_eq!(the_box.whole("cloudbox.image", "pull", json!({ "name": "distro" })), Ok(()));
    let here = Neighbourhood::of(the_box);
    let the_box = &here.the_box;
    let begun = Instant::now();
    let made_with = |services: Value| json!({ "image": "distro", "memory": "384M", "services": services });
    the_box.create("north", made_with(json!(["tahoe-storage", "proxy"])));
    the_box.create("south", made_with(json!(["tahoe-storage", "graphs"])));
    the_box.create("hill", made_with(json!(["tahoe-introducer"])));
    for name in ["hill", "north", "south"] {
        the_box.booted(name);
    }
    println!("three containers have booted: {:?}", begun.elapsed());

    // Each service announces itself, once, and the box lists it.
    let introducer = one_of(&here, "_tahoe-lafs._tcp", "hill", 8097);
    assert!(introducer.txt.iter().any(|txt| txt.starts_with("furl=pb://")), "{introducer:?}");
    assert!(introducer.txt.iter().any(|txt| txt == "grid=Tahoe-LAFS-Grid"), "{introducer:?}");
    let proxy = one_of(&here, "_proxy3._tcp", "north", 3128);
    assert_eq!(proxy.txt, ["Federated=Yes"]);
    let graphs = one_of(&here, "_snpservice._tcp", "south", 80);
    assert_eq!(graphs.txt, ["path=/snpservices/"]);
    for (id, name) in [("hill_tahoe_lafs_8097", &introducer.name), ("north_proxy3_3128", &proxy.name)] {
        here.wait_for_state(id, "published");
        assert_eq!((&here.service(id)["source"], &here.service(id)["name"]), (&json!("guest"), &json!(name)));
    }

    // Storage nodes find the introducer by its advert, and each other by the introducer.
    for name in ["north", "south"] {
        one_of(&here, "_tahoe-storage._tcp", name, 8098);
    }
    println!("everything is announced: {:?}", begun.elapsed());
    the_box.inside("north", "head -c 300000 /dev/urandom > /root/file");
    let put = "tahoe put -u http://127.0.0.1:8228 /root/file 2>/dev/null";
    let mut capability = String::new();
    eventually("a file to be stored on two nodes", || {
        let reply = the_box.exec("north", &["/bin/sh", "-c", put]);
        capability = reply["stdout"].as_str().unwrap().trim().to_string();
        reply["code"] == 0
    });
    assert!(capability.starts_with("URI:CHK:"), "{capability}");
    let get = format!("tahoe get -u http://127.0.0.1:8228 {capability} /root/file");
    eventually("the file to be read", || the_box.exec("south", &["/bin/sh", "-c", &get])["code"] == 0);
    let sum = |name| the_box.inside(name, "sha256sum </root/file");
    assert_eq!(sum("south"), sum("north"));
    println!("a file went through the grid: {:?}", begun.elapsed());

    // A page through the proxy.
    let page = "the neighbourhood's page";
    let port = serve_a_page(the_box, page);
    let url = format!("http://{}:{port}/page", the_box.address(1));
    let (head, body) = fetch((proxy.address, 3128), &url).expect("the proxy listens");
    assert!(head.contains(" 200 ") && body == page.as_bytes(), "{head} {}", String::from_utf8_lossy(&body));
    let (head, _) = fetch((proxy.address, 3128), "http://127.0.0.1:8228/").expect("the proxy listens");
    assert!(head.contains(" 403 "), "the container's own gateway through the proxy: {head}");

    // A graph of the box's bridge, from what CNML says of it.
    let _agent = snmp_agent(the_box);
    let index = fs::read_to_string(format!("/sys/class/net/{}/ifindex", the_box.bridge)).unwrap();
    let (index, address) = (index.trim(), the_box.address(1));
    the_box.inside(
        "south",
        &format!(
            "cat >/root/cnml <<'EOF'\n<cnml><network><zone><node id='7' title='Turó &amp; &lt;b&gt;'>\
             <device id='42' title='box' mainipv4='{address}' snmp_index='{index}'/>\
             <device id='43' title='evil' mainipv4='`reboot`' snmp_index='1'/>\
             </node></zone></network></cnml>\nEOF\nchmod 644 /root/cnml; chmod 755 /root\n\
             printf 'cnml=/root/cnml\\ncommunity=guifi\\n' >>/etc/cloudbox-distro/graphs.conf"
        ),
    );
    let key = format!("d42-{index}");
    let counted = format!("rrdtool lastupdate /var/lib/graphs/rrd/{key}.rrd | tail -n 1");
    let mut last = Value::Null;
    eventually("the counters of the bridge", || {
        the_box.exec("south", &["systemctl", "start", "graphs-update"]);
        last = the_box.exec("south", &["/bin/sh", "-ec", &counted]);
        let mut words = last["stdout"].as_str().unwrap().split_whitespace().skip(1);
        words.next().is_some_and(|word| word.parse::<u64>().is_ok_and(|bytes| bytes > 0))
    });
    let server = (graphs.address, 80);
    let (_, body) = fetch(server, "/snpservices/").expect("the graphs are served");
    let text = String::from_utf8_lossy(&body);
    assert!(text.contains(&format!("id={key}&")) && text.contains("Turó &amp; &lt;b&gt;"), "{text}");
    assert!(!text.contains("d43"), "{text}");
    let (head, body) = fetch(server, &format!("/snpservices/graph?id={key}&range=day")).unwrap();
    assert!(head.contains(" 200 ") && body.starts_with(b"\x89PNG"), "{head} {} bytes", body.len());
    for wrong in ["id=../../../etc/passwd&range=day", "id=own&range=day+--x", "id=none&range=day", ""] {
        let (head, _) = fetch(server, &format!("/snpservices/graph?{wrong}")).unwrap();
        assert!(head.contains(" 404 "), "{wrong}: {head}");
    }
    println!("pages and graphs: {:?}", begun.elapsed());

    // Switched off, it is not announced any more.
    the_box.inside("north", "echo enabled=0 >/etc/cloudbox-distro/proxy.conf; systemctl restart proxy");
    here.neighbour.wait_until("_proxy3._tcp", "no proxy", <[Seen]>::is_empty);
    for name in ["hill", "north", "south"] {
        let failed = the_box.inside(name, "systemctl --failed --no-legend --plain");
        assert_eq!(failed, "", "{name}");
        let memory = the_box.info(name)["memory"].as_u64().unwrap();
        println!("{name} has {} MiB of memory", memory >> 20);
        the_box.delete(name);
    }
    the_box.assert_nothing_left();
}

#[test]
fn nobody_enters_the_distro_by_a_password() {
    let Some(the_box) = TestBox::new("no passwords") else { return };
    the_box.import(Image::Distro);
    // As little as its manifest says.
    the_box.create("plain", json!({ "image": "distro", "memory": "64M", "disk": "32M" }));
    the_box.booted("plain");
    assert_eq!(the_box.inside("plain", "awk -F: '$2 !~ /^[!*]/' /etc/shadow"), "");
    // Nothing that was not asked for runs or listens but sshd's socket, and that has no key yet.
    let listens = the_box.inside("plain", "ss -Hltn | awk '{ print $4 }' | sed 's/.*://' | sort -u");
    assert_eq!(listens, "22");
    assert_eq!(the_box.inside("plain", "ls /etc/ssh | grep -c ssh_host || true"), "0");
    let address = the_box.wait_for_address("plain");
    let mut greeting = [0; 8];
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((address, 22)), ANSWER).unwrap();
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
    let says = the_box.inside("plain", "sshd -T");
    for line in
        ["passwordauthentication no", "kbdinteractiveauthentication no", "permitrootlogin without-password"]
    {
        assert!(says.lines().any(|said| said == line), "{line}: {says}");
    }
    // It knows what it is made of.
    let manifest: Value =
        serde_json::from_str(&the_box.inside("plain", "cat /usr/share/cloudbox/image.json")).unwrap();
    let packages = manifest["packages"].as_array().unwrap();
    assert!(packages.len() > 200, "{packages:?}");
    for wanted in ["libc6", "squid", "tahoe-lafs"] {
        let found = packages.iter().find(|package| package["name"] == wanted);
        assert!(found.is_some_and(|package| package["version"].is_string()), "{wanted}: {packages:?}");
    }
    println!("memory without services: {} MiB", the_box.info("plain")["memory"].as_u64().unwrap() >> 20);
    sh(&format!("ping -c 1 -W 5 {address}"));
    the_box.delete_last("plain");
}

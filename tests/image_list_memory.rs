//! A list of 5 MB is read within 4 MiB of the reader's memory. Alone in its process, whose memory is measured.

mod web;

use cloudbox::model::remote::Remote;
use cloudbox::model::size::Bytes;
use cloudbox::steps::ctx::Ctx;
use cloudbox::steps::image::{Images, Store};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use web::Web;

/// As the public servers write it, with `count` products of which every fourth is for this machine.
fn list(count: usize) -> String {
    let arch = cloudbox::simplestreams::arch(std::env::consts::ARCH);
    let mut text = String::from("{\"content_id\":\"images\",\"datatype\":\"image-downloads\",\"format\":\"products:1.0\",\"products\":{");
    for number in 0..count {
        let arch = if number % 4 == 0 { arch } else { "other" };
        let comma = if number == 0 { "" } else { "," };
        write!(text, "{comma}\n\"os{number}:1:{arch}:default\":{{\"aliases\":\"os{number}/1/default,os{number}/1\",\"arch\":\"{arch}\",\"os\":\"Os{number}\",\"release\":\"1\",\"release_title\":\"1\",\"requirements\":{{}},\"variant\":\"default\",\"versions\":{{").unwrap();
        for version in 0..3 {
            let comma = if version == 0 { "" } else { "," };
            write!(text, "{comma}\"2026112{version}_05:24\":{{\"items\":{{").unwrap();
            for (place, ftype) in
                ["incus.tar.xz", "root.tar.xz", "squashfs", "disk-kvm.img", "squashfs.vcdiff"]
                    .iter()
                    .enumerate()
            {
                let comma = if place == 0 { "" } else { "," };
                let sha256 = format!("{:064x}", number * 64 + version * 8 + place);
                write!(text, "{comma}\"{ftype}\":{{\"ftype\":\"{ftype}\",\"sha256\":\"{sha256}\",\"size\":112345678,\"path\":\"images/os{number}/1/{arch}/default/2026112{version}_05:24/{ftype}\",\"combined_sha256\":\"{sha256}\",\"combined_rootxz_sha256\":\"{sha256}\"}}").unwrap();
            }
            text.push_str("}}");
        }
        text.push_str("}}");
    }
    text.push_str("}}");
    text
}

/// The most memory this process has had since the last time, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak = peak.trim().trim_end_matches(" kB").parse().unwrap();
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak
}

#[test]
fn five_megabytes_are_read_in_little_memory() {
    if !nix::unistd::geteuid().is_root() {
        return println!("skipped: the store needs root");
    }
    let text = list(1100);
    assert!(text.len() > 5_000_000, "{}", text.len());
    let web = Web::start();
    web.put("/streams/v1/index.json", b"{\"format\":\"index:1.0\",\"index\":{\"images\":{\"datatype\":\"image-downloads\",\"path\":\"streams/v1/images.json\"}}}");
    web.put("/streams/v1/images.json", text.as_bytes());
    let length = text.len();
    drop(text);
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cloudbox-list-{}", std::process::id()));
    let store = Store::new(&base.join("storage"), &base.join("run"), Bytes(0));
    let remote =
        Remote { name: "test".into(), url: web.url(), keys: vec![], key_files: vec![], key_dirs: vec![] };
    let ask = |filter: &str| {
        let until = Instant::now() + Duration::from_secs(60);
        store.available(&Ctx::silent().unwrap(), &remote, filter, until).unwrap().offers
    };
    // Whatever is set up at the first time. The server, which shares our memory, has copied its file by then.
    assert_eq!(ask("os4/").len(), 1);
    peak();
    let before = peak();
    let begun = Instant::now();
    let offers = ask("");
    let (took, grown) = (begun.elapsed(), peak().saturating_sub(before));
    assert_eq!(offers.len(), 275);
    println!("{length} bytes, {} offers: {grown} KiB more at most, {took:?}", offers.len());
    // The server's copy of the file for this answer is part of it.
    let server = (length / 1024) as u64;
    assert!(grown < server + 4096, "{grown} KiB");
    std::fs::remove_dir_all(&base).unwrap();
}

//! The format by tables.

use super::publish::{lists, File, Incus, Version, IMAGES};
use super::*;
use crate::error::Code;
use sha2::{Digest, Sha256};

/// As the public servers write it.
const LIST: &str = r#"{"content_id":"images","datatype":"image-downloads","format":"products:1.0","products":{
 "alpine:3.20:amd64:default":{"aliases":"alpine/3.20/default,alpine/3.20","arch":"amd64","os":"Alpine","release":"3.20",
  "release_title":"3.20","requirements":{},"variant":"default","versions":{
   "20261120_13:00":{"items":{
     "incus.tar.xz":{"ftype":"incus.tar.xz","sha256":"S","size":476,"path":"images/a/incus.tar.xz","combined_sha256":"S"},
     "root.tar.xz":{"ftype":"root.tar.xz","sha256":"S","size":2894884,"path":"images/a/1/rootfs.tar.xz"},
     "root.squashfs":{"ftype":"squashfs","sha256":"S","size":3015680,"path":"images/a/1/rootfs.squashfs"},
     "delta":{"ftype":"squashfs.vcdiff","delta_base":"x","sha256":"S","size":5,"path":"images/a/1/x.vcdiff"}}},
   "20261121_13:00":{"items":{
     "root.tar.xz":{"ftype":"root.tar.xz","sha256":"S","size":2894880,"path":"images/a/2/rootfs.tar.xz"}}},
   "20261119_13:00":{"items":{"disk.qcow2":{"ftype":"disk-kvm.img","sha256":"S","size":9,"path":"d"}}}}},
 "alpine:3.20:arm64:default":{"aliases":"alpine/3.20","arch":"arm64","os":"Alpine","release":"3.20","versions":{
   "1":{"items":{"r":{"ftype":"squashfs","sha256":"S","size":1,"path":"p"}}}}}
}}"#;

fn sample() -> String {
    LIST.replace("\"S\"", &format!("\"{}\"", "Ab".repeat(32)))
}

fn offers(text: &str, arch: &str) -> std::result::Result<Vec<Offer>, String> {
    let mut offers = Vec::new();
    let read = read_offers(&mut text.as_bytes(), arch, &mut |offer| {
        offers.push(offer);
        Ok(())
    });
    read.map(|_| offers).map_err(Error::into_message)
}

#[test]
fn a_list_of_the_public_servers() {
    let found = offers(&sample(), "amd64").unwrap();
    assert_eq!(found.len(), 2, "{found:#?}");
    let newest = &found[0];
    assert_eq!(newest.aliases, ["alpine/3.20/default", "alpine/3.20"]);
    assert_eq!(
        (newest.os.as_str(), newest.release.as_str(), newest.variant.as_str()),
        ("Alpine", "3.20", "default")
    );
    assert_eq!(newest.version, "20261121_13:00");
    let item = newest.item.as_ref().unwrap();
    assert_eq!((item.packing, item.size), (Packing::Tar, 2_894_880));
    // A hash in upper case is the same hash.
    assert_eq!(item.sha256, "ab".repeat(32));
    let older = found[1].item.as_ref().unwrap();
    assert_eq!((older.packing, older.path.as_str()), (Packing::Squashfs, "images/a/1/rootfs.squashfs"));
    assert_eq!(offers(&sample(), "arm64").unwrap().len(), 1);
    assert_eq!(offers(&sample(), "s390x").unwrap().len(), 0);
}

/// As Incus' own tool makes them: `incus-simplestreams add`.
#[test]
fn a_list_of_incus_own_tool() {
    let product = |of: &str, file: &str| {
        format!(
            r#"{{"aliases":"alpine/3.20/default","arch":"{of}","os":"alpine","release":"3.20","release_title":"3.20",
                 "variant":"default","versions":{{"202611201300":{{"items":{{{file}}}}}}}}}"#
        )
    };
    let item = |ftype: &str, more: &str| {
        let sha256 = "ab".repeat(32);
        format!(r#""{ftype}":{{"ftype":"{ftype}","sha256":"{sha256}","size":7,"path":"images/x"{more}}}"#)
    };
    let split = [item("incus.tar.xz", r#","combined_squashfs_sha256":"x""#), item("squashfs", "")].join(",");
    let unified = item("incus_combined.tar.gz", r#","combined_type":"container""#);
    let machine = item("incus_combined.tar.gz", r#","combined_type":"virtual-machine""#);
    let list = format!(
        r#"{{"content_id":"images","datatype":"image-downloads","format":"products:1.0","products":{{
            "a":{},"b":{},"c":{},"d":{}}}}}"#,
        product("x86_64", &split),
        product("x86_64", &unified),
        product("x86_64", &machine),
        product("aarch64", &split)
    );
    let packings: Vec<Packing> =
        offers(&list, "amd64").unwrap().into_iter().map(|offer| offer.item.unwrap().packing).collect();
    assert_eq!(packings, [Packing::Squashfs, Packing::Unified]);
    let passed_over = read_offers(&mut list.as_bytes(), "amd64", &mut |_| Ok(())).unwrap();
    assert_eq!(
        passed_over.to_string(),
        "of what it lists, 1 for other processors (aarch64), 1 without a root file system for containers passed over"
    );
    assert_eq!(offers(&list, "arm64").unwrap().len(), 1);
    assert_eq!(PassedOver::default().to_string(), "it lists nothing");
}

#[test]
fn processors_have_two_names() {
    for (machine, called) in
        [("x86_64", "amd64"), ("aarch64", "arm64"), ("armv7l", "armhf"), ("mips", "mips")]
    {
        assert_eq!(arch(machine), called);
    }
}

/// A list with one version of one image, whose item says `item`.
fn list_with(item: &str) -> String {
    format!(
        r#"{{"format":"products:1.0","products":{{"p":{{"aliases":"a","arch":"x","versions":{{"1":{{"items":{{"i":{item}}}}}}}}}}}}}"#
    )
}

#[test]
fn an_item_that_lies_is_an_offer_that_cannot_be_had() {
    let sha = "0".repeat(64);
    for (path, sha256, size, why) in [
        ("a/b.squashfs", sha.as_str(), "1", None),
        ("../../etc/shadow", &sha, "1", Some("leads out of")),
        ("a/../b", &sha, "1", Some("leads out of")),
        ("a/%2e%2E/b", &sha, "1", Some("leads out of")),
        ("a%2Fb", &sha, "1", Some("leads out of")),
        ("/etc/shadow", &sha, "1", Some("leads out of")),
        ("http://elsewhere/x", &sha, "1", Some("leads out of")),
        ("a//b", &sha, "1", Some("leads out of")),
        ("a/", &sha, "1", Some("leads out of")),
        ("a b", &sha, "1", Some("leads out of")),
        ("a?b", &sha, "1", Some("leads out of")),
        ("a#b", &sha, "1", Some("leads out of")),
        ("a\\\\b", &sha, "1", Some("leads out of")),
        ("", &sha, "1", Some("leads out of")),
        ("a", &sha[1..], "1", Some("sha256")),
        ("a", "", "1", Some("sha256")),
        ("a", &sha, "0", Some("size")),
        ("a", &sha, "-1", Some("size")),
        ("a", &sha, "\"1\"", Some("size")),
        ("a", &sha, "null", Some("size")),
    ] {
        let item = format!(r#"{{"ftype":"squashfs","path":"{path}","sha256":"{sha256}","size":{size}}}"#);
        let found = offers(&list_with(&item), "x").unwrap();
        let said = found[0].item.as_ref().err().map(|e| e.message.clone());
        match (why, &said) {
            (None, None) => {}
            (Some(why), Some(said)) => {
                assert!(said.contains(why) && said.contains("\"p\""), "{item}: {said}")
            }
            _ => panic!("{item}: {said:?}"),
        }
    }
    let long =
        format!(r#"{{"ftype":"squashfs","path":"{}","sha256":"{sha}","size":1}}"#, "a/".repeat(400) + "a");
    assert!(offers(&list_with(&long), "x").unwrap()[0].item.is_err());
    assert_eq!(offers(&list_with("7"), "x").unwrap().len(), 0);
}

#[test]
fn lists_that_are_none() {
    for (text, why) in [
        ("<html>404</html>", "a web page"),
        (&sample()[..900], "ends in the middle"),
        ("{}", "its format is not said"),
        (r#"{"format":"products:2.0","products":{}}"#, "its format is \"products:2.0\""),
        (r#"{"format":"products:1.0","products":{"p":{"arch":}}}"#, "\"p\": expected value"),
        (r#"{"format":"products:1.0","products":{"p":{"arch":tru}}}"#, "\"p\": expected ident"),
        (
            r#"{"format":"products:1.0","products":{"p":7}}"#,
            "\"p\": invalid type: integer `7`, expected an object",
        ),
    ] {
        let said = offers(text, "amd64").unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}

#[test]
fn indexes() {
    let index = |text: &str| read_index(&mut text.as_bytes()).map_err(Error::into_message);
    let with = |entry: &str| format!(r#"{{"index":{{"images":{entry}}},"format":"index:1.0"}}"#);
    assert_eq!(
        index(&with(r#"{"datatype":"image-downloads","path":"streams/v1/images.json","products":[]}"#)),
        Ok(vec![ListFile { path: "streams/v1/images.json".into(), sha256: None }])
    );
    for (text, why) in [
        (with(r#"{"datatype":"image-downloads","path":"../images.json"}"#), "leads out of"),
        (with(r#"{"datatype":"image-ids","path":"x"}"#), "names no list of images"),
        (with("{}").replace("index:1.0", "index:9"), "its format is \"index:9\""),
        ("<html>".to_string(), "a web page"),
    ] {
        let said = index(&text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
}

fn version(name: &str, number: &str) -> Version {
    let file = |path: &str| File {
        path: format!("images/{name}/{number}/{path}"),
        sha256: "cd".repeat(32),
        size: 3 << 30,
    };
    Version {
        name: name.into(),
        os: "debian".into(),
        release: "12".into(),
        arch: "amd64".into(),
        version: number.into(),
        packing: Packing::Squashfs,
        image: file("rootfs.squashfs"),
        manifest: (number == "2").then(|| file("manifest.json")),
        incus: (number == "2").then(|| Incus { file: file("incus.tar.xz"), combined: "ef".repeat(32) }),
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let all = [version("b", "1"), version("a", "2"), version("a", "1")];
    let written = lists(&all);
    let other_way_round = lists(&[all[2].clone(), all[1].clone(), all[0].clone()]);
    assert_eq!((&written.index, &written.images), (&other_way_round.index, &other_way_round.images));
    let sha256 = Some(crate::model::image::hex(&Sha256::digest(&written.images)));
    let bound = ListFile { path: IMAGES.into(), sha256 };
    assert_eq!(read_index(&mut written.index.as_bytes()).unwrap(), [bound]);
    let read = offers(&written.images, "amd64").unwrap();
    let told: Vec<_> = read.iter().map(|o| format!("{} {} {}", o.aliases[0], o.version, o.os)).collect();
    assert_eq!(told, ["a 2 debian", "a 1 debian", "b 1 debian"]);
    for (offer, of) in read.iter().zip([&all[1], &all[2], &all[0]]) {
        let item = offer.item.as_ref().unwrap();
        assert_eq!((&item.path, item.size, &item.sha256), (&of.image.path, 3 << 30, &of.image.sha256));
    }
    assert!(written.images.contains("\"manifest.json\""));
    // As Incus wants it.
    let json = |text: &str| -> serde_json::Value { serde_json::from_str(text).unwrap() };
    assert_eq!(
        json(&written.index)["index"]["images"]["products"],
        serde_json::json!([all[1].product(), all[0].product()])
    );
    let incus =
        &json(&written.images)["products"][all[1].product()]["versions"]["2"]["items"]["incus.tar.xz"];
    assert_eq!(
        (&incus["ftype"], &incus["path"]),
        (&"incus.tar.xz".into(), &"images/a/2/incus.tar.xz".into())
    );
    assert_eq!(incus["combined_squashfs_sha256"], "ef".repeat(32));
    for text in [&written.index, &written.images, &lists(&[]).images] {
        assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
    }
}

/// Lists are read in threads, whose stacks are small.
#[test]
fn deep_nesting_needs_little_stack() {
    for depth in [30, 120, 30_000] {
        let product = ["{\"arch\":", &"[".repeat(depth), &"]".repeat(depth), "}"].concat();
        let list = ["{\"format\":\"products:1.0\",\"products\":{\"p\":", &product, "}}"].concat();
        let thread = std::thread::Builder::new().stack_size(128 << 10);
        let read = thread.spawn(move || offers(&list, "amd64").is_ok()).unwrap().join().unwrap();
        assert_eq!(read, depth == 30);
    }
}

#[test]
fn what_a_visitor_says_ends_it() {
    let stop =
        read_offers(&mut sample().as_bytes(), "amd64", &mut |_| Err(Error::new(Code::Cancelled, "stop")));
    assert_eq!(stop.unwrap_err().code, Code::Cancelled);
}

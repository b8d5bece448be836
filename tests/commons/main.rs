//! A member's commands against real brokers, which the tests start for themselves on loopback. Boxes are keys here, of which a
//! test says what they publish.

mod desk;
#[allow(dead_code)]
#[path = "../../crates/mqtt-session/tests/brokers/server.rs"]
mod server;
#[path = "../web/mod.rs"]
mod web;

use cloudbox::commons::formats::{open, Index, Manifest, MemberState, Revoked, Wish};
use cloudbox::commons::mosquitto::{text, File, Users};
use cloudbox::commons::seal::{ContentKey, SealKey, Whose};
use cloudbox::commons::signed::Ed25519;
use cloudbox::commons::topic::Topic;
use desk::{label_of, network, Desk, FakeBox};
use nix::sys::signal::Signal;
use server::{program, Kind, Server};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// None where there is no mosquitto.
fn broker(more: &str) -> Option<Server> {
    match program(Kind::Mosquitto) {
        Ok(program) => Some(Server::start(Kind::Mosquitto, &program, more)),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

const OPEN: &str = "allow_anonymous true\nmax_queued_messages 0\n";

/// What is retained at a topic.
fn retained(server: &Server, topic: &Topic) -> Option<Vec<u8>> {
    desk::read(server, &topic.text(network()))
}

fn manifest(server: &Server, desk: &Desk) -> Manifest {
    let text = retained(server, &Topic::Slice(desk.id(), label_of("wiki"))).expect("a manifest");
    open(&Ed25519, &desk.key().public(), network(), &text).unwrap()
}

#[test]
fn a_slice_is_planned_signed_followed_renewed_and_deleted() {
    let (Some(a), Some(mut b)) = (broker(OPEN), broker(OPEN)) else { return };
    let desk = Desk::new("whole", &[&a, &b]);
    let owner = desk.makes_known("bert");
    let boxes: Vec<FakeBox> = (1..=6).map(|seed| FakeBox::new(seed, &owner)).collect();
    for (at, one) in boxes.iter().enumerate() {
        // The last one is somebody's whom nobody knows.
        let stranger = (at == 5).then(|| FakeBox::new(99, &owner));
        one.offers(&a, desk.id(), |offer| {
            if let Some(stranger) = &stranger {
                offer.owner = Some(stranger.owned(&stranger.key, one.id()));
            }
        });
    }
    desk.write("wiki.slice", &desk::slice("\toption spares '2'\n"));

    let (code, plan, notes) = desk.run(&["slice", "plan", "wiki.slice"]);
    assert_eq!((code, notes.as_str()), (0, ""), "{plan}");
    assert_eq!(plan.matches(" member ").count(), 2, "{plan}");
    assert_eq!(plan.matches(" spare ").count(), 2, "{plan}");
    assert!(plan.contains("you do not know its owner"), "{plan}");
    assert!(plan.contains("not needed: 2 boxes and 2 spares come before it"), "{plan}");

    let (code, told, notes) = desk.run(&["slice", "apply", "wiki.slice"]);
    assert_eq!(code, 0, "{notes}");
    assert!(
        told.contains("on 2 of 2 brokers") && told.contains("group web: 2 members and 2 spares"),
        "{told}"
    );
    assert!(notes.contains("everybody who reads the brokers will read from now on:"), "{notes}");
    let first = manifest(&a, &desk);
    assert_eq!(first, manifest(&b, &desk));
    assert_eq!((first.groups[0].count, first.boxes.len(), first.prev), (2, 4, None));
    let text = retained(&a, &Topic::Index(desk.id())).unwrap();
    let index: Index = open(&Ed25519, &desk.key().public(), network(), &text).unwrap();
    assert_eq!((index.slices[0].serial, index.slices[0].lists(first.boxes[0])), (first.serial, true));

    // The boxes answer, each on one of the brokers only.
    for (at, id) in first.boxes.iter().enumerate() {
        let one = boxes.iter().find(|one| one.id() == *id).unwrap();
        let server = if at % 2 == 0 { &a } else { &b };
        one.lives(server);
        let state = [MemberState::Ready, MemberState::Pulling, MemberState::Spare, MemberState::Refused][at];
        one.says(server, &first, state, "the disk is full");
    }
    let (code, status, notes) = desk.run(&["slice", "status", "wiki"]);
    assert_eq!(code, 1, "one of two is ready: {status}{notes}");
    assert!(status.contains("group web: 1 of 2 ready, 1 starting, 1 refused, 1 standing by"), "{status}");
    assert!(status.contains("refused  0s ago") || status.contains("refused  1s ago"), "{status}");
    let (code, log, _) = desk.run(&["slice", "log", "wiki", &first.boxes[3].to_string()]);
    assert_eq!((code, log.as_str()), (0, "web: refused the disk is full\n"));
    let one = boxes.iter().find(|one| one.id() == first.boxes[1]).unwrap();
    one.says(&b, &first, MemberState::Ready, "");
    assert_eq!(desk.run(&["slice", "status", "wiki"]).0, 0);
    let (_, list, _) = desk.run(&["slice", "list"]);
    assert!(list.contains("wiki  web    run         2      2       1  "), "{list}");

    // Stopped, and renewed while one broker is away.
    assert_eq!(desk.run(&["slice", "stop", "wiki"]).0, 0);
    let stopped = manifest(&a, &desk);
    assert_eq!((stopped.wish, stopped.prev), (Wish::Stop, Some(first.serial)));
    assert!(stopped.serial > first.serial && stopped.boxes == first.boxes);
    b.stop(Signal::SIGTERM);
    let (code, told, notes) = desk.run(&["slice", "start", "wiki"]);
    assert_eq!(code, 1, "{told}{notes}");
    assert!(told.contains("on 1 of 2 brokers"), "{told}");
    b.start_again();
    let (_, status, _) = desk.run(&["slice", "status", "wiki"]);
    assert!(!status.contains(", stopped"), "the newest counts, whichever broker has it: {status}");
    assert_eq!(desk.run(&["slice", "renew", "wiki", "--for", "90d"]).0, 0);
    let renewed = manifest(&b, &desk);
    assert_eq!((renewed.expires - renewed.issued, renewed.wish), (90 * 86_400, Wish::Run));
    assert_eq!(renewed.prev, Some(manifest_serial(&told)));

    // Deleted, and brought back.
    let (code, told, _) = desk.run(&["slice", "delete", "wiki"]);
    assert!(code == 0 && told.contains("for 7 days"), "{told}");
    let gone = manifest(&a, &desk);
    assert_eq!((gone.wish, gone.groups.len(), gone.boxes.len()), (Wish::Gone, 0, 4));
    let (code, _, why) = desk.run(&["slice", "apply", "wiki.slice"]);
    assert!(code == 1 && why.contains("`cloudbox slice again` brings it back"), "{why}");
    let (_, _, why) = desk.run(&["slice", "renew", "wiki"]);
    assert!(why.contains("no broker has a slice wiki of yours"), "{why}");
    assert_eq!(desk.run(&["slice", "again", "wiki.slice"]).0, 0);
    let again = manifest(&a, &desk);
    assert_eq!((again.again, again.prev, again.wish), (Some(gone.serial), Some(gone.serial), Wish::Run));
    let (code, _, why) = desk.run(&["slice", "again", "wiki.slice"]);
    assert!(code == 1 && why.contains("was not deleted"), "{why}");
}

/// The serial in `wiki: serial 7, on …`.
fn manifest_serial(told: &str) -> u64 {
    told.split(&[' ', ','][..]).nth(2).unwrap().parse().unwrap()
}

#[test]
fn what_another_computer_has_signed_is_not_undone_by_chance() {
    let Some(a) = broker(OPEN) else { return };
    let laptop = Desk::new("laptop", &[&a]);
    let owner = laptop.makes_known("bert");
    FakeBox::new(1, &owner).offers(&a, laptop.id(), |_| ());
    let file = desk::slice("\toption count '1'\n");
    laptop.write("wiki.slice", &file);
    assert_eq!(laptop.run(&["slice", "apply", "wiki.slice"]).0, 0);

    let tower = Desk::new("tower", &[&a]);
    tower.takes_key_of(&laptop);
    tower.makes_known("bert");
    tower.write("wiki.slice", &file);
    for command in
        [&["slice", "apply", "wiki.slice"][..], &["slice", "stop", "wiki"], &["slice", "delete", "wiki"]]
    {
        let (code, _, why) = tower.run(command);
        assert!(
            code == 1 && why.contains("this computer has never signed it") && why.contains("--over"),
            "{why}"
        );
    }
    let first = manifest(&a, &laptop);
    assert_eq!(tower.run(&["slice", "apply", "wiki.slice", "--over"]).0, 0);
    let second = manifest(&a, &laptop);
    assert_eq!(second.prev, Some(first.serial));
    let (code, _, why) = laptop.run(&["slice", "renew", "wiki"]);
    let last = format!("this computer has signed {} last", first.serial);
    assert!(code == 1 && why.contains(&last), "{why}");

    // A broker that was wiped makes nobody sign an old serial again.
    desk::clear(&a, &Topic::Slice(laptop.id(), label_of("wiki")).text(network()));
    assert_eq!(tower.run(&["slice", "apply", "wiki.slice"]).0, 0);
    let third = manifest(&a, &laptop);
    assert!(third.serial > second.serial);
    assert_eq!(third.prev, Some(second.serial));
}

#[test]
fn a_serial_from_the_future_is_taken_back() {
    let Some(a) = broker(OPEN) else { return };
    let desk = Desk::new("future", &[&a]);
    let owner = desk.makes_known("bert");
    let one = FakeBox::new(1, &owner);
    one.offers(&a, desk.id(), |_| ());
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n"));
    assert_eq!(desk.run(&["slice", "apply", "wiki.slice"]).0, 0);
    let good = manifest(&a, &desk);
    let ahead = Manifest { serial: good.serial + 30 * 86_400, ..good.clone() };
    desk::publish(&a, &Topic::Slice(desk.id(), ahead.slice), &desk.signed(&ahead));
    // A box lies about what it has seen.
    one.says(&a, &Manifest { serial: good.serial + 40 * 86_400, ..good.clone() }, MemberState::Ready, "");
    assert_eq!(desk.run(&["slice", "apply", "wiki.slice"]).0, 0);
    let next = manifest(&a, &desk);
    assert_eq!((next.void, next.prev), (vec![ahead.serial], Some(good.serial)));
    assert!(next.serial < good.serial + 86_400);
}

#[test]
fn secrets_are_for_the_listed_boxes_only() {
    let Some(a) = broker(OPEN) else { return };
    let desk = Desk::new("secrets", &[&a]);
    let owner = desk.makes_known("bert");
    let one = FakeBox::new(1, &owner);
    one.offers(&a, desk.id(), |_| ());
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n\tlist secret 'db=./db-password'\n"));
    let refusal = |why: &str| {
        let (code, _, told) = desk.run(&["slice", "apply", "wiki.slice"]);
        assert!(code == 1 && told.contains(why), "{told}");
    };
    refusal("db-password: there is no such file");
    desk.write("db-password", "correct horse\n");
    let path = desk.path("db-password");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    refusal("others on this computer can read it; chmod 600");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(desk.run(&["slice", "apply", "wiki.slice"]).0, 0);
    let signed = manifest(&a, &desk);
    let secret = &signed.groups[0].secrets[0];
    let whose = Whose { member: desk.id(), slice: signed.slice, box_id: one.id() };
    let base64 = |text: &str| {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.decode(text).unwrap()
    };
    let key = ContentKey::open(&one.seal, &base64(&signed.seals[0]), &whose).unwrap();
    let text = key.decrypt(signed.groups[0].name, &secret.name, &base64(&secret.text)).unwrap();
    assert_eq!((&*secret.name, &text[..]), ("db", &b"correct horse\n"[..]));
    assert!(ContentKey::open(&SealKey::new([9; 32]), &base64(&signed.seals[0]), &whose).is_err());
    // A renewal keeps what is sealed.
    assert_eq!(desk.run(&["slice", "renew", "wiki"]).0, 0);
    assert_eq!(manifest(&a, &desk).seals, signed.seals);
    desk.write("db-password", &"x".repeat(3001));
    refusal("3001 bytes, and 3000 are the most");
    // A box that offers no key for it is told.
    one.offers(&a, desk.id(), |offer| offer.seal = None);
    desk.write("db-password", "x");
    refusal("offers no key to seal secrets with");
}

#[test]
fn a_slice_file_that_makes_no_sense_is_told_with_its_place() {
    let Some(a) = broker(OPEN) else { return };
    let desk = Desk::new("nonsense", &[&a]);
    let owner = desk.makes_known("bert");
    FakeBox::new(1, &owner).offers(&a, desk.id(), |_| ());
    let mips = FakeBox::new(2, &owner);
    mips.offers(&a, desk.id(), |offer| offer.arch = "mips".into());
    for (options, why) in [
        (
            "\toption colour 'red'\n",
            "wiki.slice: line 8: group 'web', option 'colour': there is no option \"colour\"",
        ),
        ("\toption count '0'\n", "count \"0\": write a number from 1 to 700"),
        ("\toption count '-1'\n", "count \"-1\": write a number from 1 to 700"),
        ("\toption count '101%'\n", "count \"101%\": write a number"),
        ("\toption count '2'\n", "group 'web' wants 2 boxes, and 1 would take it"),
        ("\tlist secret 'db=./none'\n", "none: there is no such file"),
        ("\toption first_boot './none'\n", "none: there is no such file"),
    ] {
        desk.write("wiki.slice", &desk::slice(options));
        for command in ["plan", "apply"] {
            let (code, _, told) = desk.run(&["slice", command, "wiki.slice"]);
            assert!(code == 1 && told.contains(why), "{command} {options}: {told}");
        }
    }
    let (_, plan, _) = desk.run(&["slice", "plan", "wiki.slice", "--any"]);
    assert!(!plan.contains("mips"), "first_boot is missing: {plan}");
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n"));
    let (_, plan, _) = desk.run(&["slice", "plan", "wiki.slice"]);
    assert!(plan.contains("there is no image for mips; there is one for x86_64"), "{plan}");
    let text = desk::slice("").replace("\tlist sha256", "\t#list sha256");
    desk.write("wiki.slice", &text);
    let (code, _, told) = desk.run(&["slice", "plan", "wiki.slice"]);
    assert!(code == 1 && told.contains("what image distro is, nobody here knows"), "{told}");
    let (code, _, told) = desk.run(&["slice", "plan", "none.slice"]);
    assert!(code == 1 && told.contains("`cloudbox slice example` prints one"), "{told}");
    let (code, _, told) = desk.run(&["slice", "status", "wiki"]);
    assert!(code == 1 && told.contains("no broker has a slice wiki"), "{told}");
    let (code, _, told) = desk.run(&["slice", "status", "wiki-wiki"]);
    assert!(code == 1 && told.contains("cannot be a slice's name"), "{told}");
    let (code, _, told) = desk.run(&["slice", "list", "--broker", "127.0.0.1:1"]);
    assert!(code == 1 && told.contains("no broker can be reached: 127.0.0.1:1"), "{told}");
    let (code, _, told) = desk.run(&["slice", "list", "--key", "nowhere.sec"]);
    assert!(code == 1 && told.contains("there is no nowhere.sec"), "{told}");
}

#[test]
fn a_broker_with_users_lets_each_write_his_own() {
    let Ok(program) = program(Kind::Mosquitto) else { return };
    let owner = cloudbox::usign::SecretKey::new([42; 32], cloudbox::usign::Number::new([1; 8]));
    let one = FakeBox::new(1, &owner);
    let user = one.id().to_string();
    let more = "allow_anonymous true\nmax_queued_messages 0\nacl_file DIR/acl\npassword_file DIR/passwords\n";
    let server = Server::start_with(Kind::Mosquitto, &program, more, |dir| {
        fs::write(dir.join("acl"), text(File::Acl, network(), Users::Boxes)).unwrap();
        fs::write(dir.join("passwords"), "").unwrap();
        for name in [user.as_str(), "sweeper"] {
            let passwords = dir.join("passwords");
            let made =
                Command::new("mosquitto_passwd").arg("-b").arg(passwords).args([name, "secret"]).status();
            assert!(made.unwrap().success());
        }
    });
    let desk = Desk::new("users", &[&server]);
    desk.makes_known("bert");
    // The box says what it has, and nobody else can say it for it.
    let topic = one.offer_topic();
    let text = one.offer_text(desk.id(), |_| ());
    desk::try_publish(&server, &topic.text(network()), &text, None);
    assert_eq!(retained(&server, &topic), None);
    desk::try_publish(&server, &topic.text(network()), &text, Some((&user, "secret")));
    assert_eq!(retained(&server, &topic), Some(text));
    // The member needs no user.
    let (code, offers, notes) = desk.run(&["commons", "offers"]);
    assert!(code == 0 && offers.contains(&user), "{offers}{notes}");
    let (code, told, notes) = desk.run(&["commons", "ask", &user, "--contact", "anna@example.org"]);
    assert_eq!(code, 0, "{told}{notes}");
    assert!(retained(&server, &Topic::Ask(one.id(), desk.id())).is_some());
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n"));
    let (code, _, notes) = desk.run(&["slice", "apply", "wiki.slice", "--any"]);
    assert_eq!(code, 0, "{notes}");
    // What ended long ago is swept by whoever may.
    let now = desk::now();
    let old = one.offer_text(desk.id(), |offer| {
        (offer.issued, offer.expires) = (now - 40 * 86_400, now - 31 * 86_400);
    });
    desk::try_publish(&server, &topic.text(network()), &old, Some((&user, "secret")));
    let (code, told, notes) = desk.run(&["commons", "broker", "sweep"]);
    assert_eq!(code, 1, "{told}{notes}");
    assert!(
        notes.contains("who may write what refuses it") || notes.contains("ended the connection"),
        "{notes}"
    );
    desk.write("password", "secret\n");
    desk.logs_in("sweeper", "password");
    let (code, told, notes) = desk.run(&["commons", "broker", "sweep"]);
    assert!(code == 0 && told.starts_with("1 of "), "{told}{notes}");
    assert_eq!(retained(&server, &topic), None);
    assert!(retained(&server, &Topic::Index(desk.id())).is_some());
}

#[test]
fn a_broker_that_keeps_nothing_is_found_out() {
    let Ok(program) = program(Kind::Mosquitto) else { return };
    let more = "allow_anonymous true\nacl_file DIR/acl\n";
    let deaf = Server::start_with(Kind::Mosquitto, &program, more, |dir| {
        fs::write(dir.join("acl"), "pattern read cloudbox/#\npattern write cloudbox/1/guifi/offer/#\n")
            .unwrap();
    });
    let Some(good) = broker(OPEN) else { return };
    let desk = Desk::new("deaf", &[&deaf, &good]);
    let owner = desk.makes_known("bert");
    let one = FakeBox::new(1, &owner);
    one.offers(&deaf, desk.id(), |_| ());
    one.offers(&good, desk.id(), |_| ());
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n"));
    let (code, told, notes) = desk.run(&["slice", "apply", "wiki.slice"]);
    assert_eq!(code, 1, "{told}{notes}");
    assert!(told.contains("on 1 of 2 brokers"), "{told}");
    let found_out = ["acknowledged it and does not have it", "it ended the connection"];
    assert!(found_out.iter().any(|words| notes.contains(words)), "{notes}");
    drop(good);
    let (code, _, notes) = desk.run(&["slice", "renew", "wiki", "--over"]);
    assert_eq!(code, 1);
    assert!(notes.contains("no broker has a slice wiki"), "{notes}");
}

#[test]
fn a_network_is_joined_by_one_line() {
    let Some(a) = broker(OPEN) else { return };
    let desk = Desk::new("join", &[]);
    let (code, _, why) = desk.run(&["slice", "list"]);
    assert!(code == 1 && why.contains("no broker is known") && why.contains("commons join"), "{why}");
    let line = format!("cloudbox:guifi/bages@{}", a.address);
    for _ in 0..2 {
        let (code, told, why) = desk.run(&["commons", "join", &line]);
        assert!(code == 0 && told.contains("network guifi, zone bages, 1 brokers"), "{told}{why}");
    }
    let (code, told, notes) = desk.run(&["commons", "invite"]);
    assert_eq!((code, told), (0, format!("{line}\n")));
    assert!(notes.contains("is this computer only for itself"), "{notes}");
    assert_eq!(desk.run(&["slice", "list"]).0, 0);
    let (code, _, why) = desk.run(&["commons", "join", "cloudbox:guifi"]);
    assert!(code == 1 && why.contains("an invitation looks like"), "{why}");
    let (code, told, _) = desk.run(&["commons", "broker"]);
    assert!(code == 0 && told.contains("pattern write cloudbox/1/guifi/box/%u/#"), "{told}");
    let (_, plain, _) = desk.run(&["commons", "broker", "--plain", "--open"]);
    assert!(plain.starts_with("listener 1883\nallow_anonymous true\n"), "{plain}");
}

#[test]
fn somebody_is_vouched_for() {
    let Some(a) = broker(OPEN) else { return };
    let desk = Desk::new("vouch", &[&a]);
    let bert = Desk::new("vouched", &[&a]);
    desk.write("bert.pub", &bert.key().public().to_text());
    let (code, cert, why) =
        desk.run(&["key", "vouch", "bert.pub", "--share", "10%", "--days", "30", "--publish"]);
    assert_eq!(code, 0, "{why}");
    let text = retained(&a, &Topic::Index(desk.id())).unwrap();
    let index: Index = open(&Ed25519, &desk.key().public(), network(), &text).unwrap();
    assert_eq!(index.certs.iter().map(|cert| &**cert).collect::<Vec<&str>>(), [cert.as_str()]);
    // The same once more takes the earlier one's place.
    let line = bert.key().public().to_line();
    assert_eq!(desk.run(&["key", "vouch", &line, "--share", "20%", "--publish"]).0, 0);
    let text = retained(&a, &Topic::Index(desk.id())).unwrap();
    let second: Index = open(&Ed25519, &desk.key().public(), network(), &text).unwrap();
    assert_eq!((second.certs.len(), second.serial > index.serial), (1, true));
    for (words, why) in [
        (&["key", "vouch", "bert.pub", "--share", "0%"][..], "write a share from 1% to 100%"),
        (&["key", "vouch", "bert.pub", "--share", "101%"], "write a share from 1% to 100%"),
        (&["key", "vouch", "bert.pub", "--days", "91"], "write a number from 1 to 90"),
        (&["key", "vouch", &desk.key().public().to_line()], "nobody vouches for himself"),
        (&["key", "own", "x"], "is no id"),
        (&["key", "know", "b/rt", "bert.pub"], "cannot be a name"),
    ] {
        let (code, _, told) = desk.run(words);
        assert!(code == 1 && told.contains(why), "{words:?}: {told}");
    }
    // Taken back, and the own key with it.
    let revoked = |words: &[&str]| {
        let (code, _, why) = desk.run(words);
        assert_eq!(code, 0, "{why}");
        let text = retained(&a, &Topic::Revoked(desk.id())).unwrap();
        open::<Revoked>(&Ed25519, &desk.key().public(), network(), &text).unwrap()
    };
    let first = revoked(&["key", "revoke", "bert.pub"]);
    assert_eq!((first.keys.as_slice(), first.is_final()), (&[bert.id()][..], false));
    let (code, _, why) = desk.run(&["key", "revoke", &desk.key().public().to_line()]);
    assert!(code == 1 && why.contains("write --own"), "{why}");
    let last = revoked(&["key", "revoke", "--own"]);
    assert_eq!((last.keys.len(), last.is_final(), last.serial > first.serial), (2, true, true));
}

/// An image's name and processor, and its versions with the digit that their hashes are made of.
type Product<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

/// What a server of images lists.
fn lists(web: &web::Web, products: &[Product<'_>]) {
    let index = r#"{"format":"index:1.0","index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json"}}}"#;
    web.put("/streams/v1/index.json", index.as_bytes());
    let item = |digit: &str| {
        format!(r#"{{"ftype":"squashfs","path":"x","sha256":"{}","size":1}}"#, digit.repeat(64))
    };
    let product = |(alias, arch, versions): &Product<'_>| {
        let version =
            |(name, digit): &(&str, &str)| format!(r#""{name}":{{"items":{{"root":{}}}}}"#, item(digit));
        let versions: Vec<String> = versions.iter().map(version).collect();
        format!(
            r#""{alias}:{arch}":{{"aliases":"{alias}","arch":"{arch}","versions":{{{}}}}}"#,
            versions.join(",")
        )
    };
    let products: Vec<String> = products.iter().map(product).collect();
    let text = format!(r#"{{"format":"products:1.0","products":{{{}}}}}"#, products.join(","));
    web.put("/streams/v1/images.json", text.as_bytes());
}

#[test]
fn an_image_is_what_its_server_lists_on_the_day_of_signing() {
    let Some(a) = broker(OPEN) else { return };
    // Lists are read by a child without rights: that an ordinary user can do as well.
    let desks = [Some(Desk::new("images", &[&a])), Desk::of_nobody("images", &[&a])];
    for desk in desks.into_iter().flatten() {
        let web = web::Web::start();
        let newest: &[(&str, &str)] = &[("20260101", "1"), ("20260303", "3")];
        lists(
            &web,
            &[
                ("distro", "amd64", newest),
                ("distro", "arm64", &[("20260202", "2")]),
                ("other", "amd64", newest),
            ],
        );
        let path = desk.path("config/cloudbox/commons");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + &format!("config remote 'community'\n\toption url '{}'\n", web.url()))
            .unwrap();
        let owner = desk.makes_known("bert");
        FakeBox::new(1, &owner).offers(&a, desk.id(), |_| ());
        let file = |image: &str| {
            desk::slice("\toption count '1'\n")
                .replace("\tlist sha256", "\t#list sha256")
                .replace("'distro'", image)
        };
        desk.write("wiki.slice", &file("'community:distro'"));
        let (code, told, notes) = desk.run(&["slice", "apply", "wiki.slice"]);
        assert_eq!(code, 0, "{told}{notes}");
        let image = manifest(&a, &desk).groups[0].image.clone();
        assert_eq!(&*image.alias, "community:distro");
        let hashes: Vec<(&str, u8)> = image.sha256.iter().map(|(arch, hash)| (&**arch, hash[0])).collect();
        assert_eq!(hashes, [("aarch64", 0x22), ("x86_64", 0x33)]);
        desk.write("wiki.slice", &file("'community:none'"));
        let (code, _, why) = desk.run(&["slice", "plan", "wiki.slice"]);
        assert!(code == 1 && why.contains("what image community:none is, nobody here knows"), "{why}");
        web.remove("/streams/v1/images.json");
        desk.write("wiki.slice", &file("'community:distro'"));
        let (code, _, why) = desk.run(&["slice", "plan", "wiki.slice"]);
        assert!(code == 1 && why.contains("images.json"), "{why}");
    }
}

#[test]
fn a_change_is_seen_within_a_second() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};
    let (Some(a), Some(mut b)) = (broker(OPEN), broker(OPEN)) else { return };
    let desk = Desk::new("watch", &[&a, &b]);
    let owner = desk.makes_known("bert");
    let one = FakeBox::new(1, &owner);
    one.offers(&a, desk.id(), |_| ());
    desk.write("wiki.slice", &desk::slice("\toption count '1'\n\toption spares '0'\n"));
    assert_eq!(desk.run(&["slice", "apply", "wiki.slice"]).0, 0);
    let first = manifest(&a, &desk);
    one.lives(&a);
    let mut watch =
        desk.command(&["slice", "status", "wiki", "--watch"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let output = BufReader::new(watch.stdout.take().unwrap());
    std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let wait_for = |word: &str| {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let line = lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            if line.unwrap_or_else(|_| panic!("no line with {word}")).contains(word) {
                return;
            }
        }
    };
    wait_for("has not said anything");
    for (state, word) in [(MemberState::Pulling, "pulling"), (MemberState::Ready, "ready ")] {
        let said = Instant::now();
        one.says(&a, &first, state, "");
        wait_for(word);
        // What is measured has the test's own publish in it, which looks whether it is kept.
        println!("{word}: seen after {} ms", said.elapsed().as_millis());
        assert!(said.elapsed() < Duration::from_millis(1500));
    }
    // A broker that goes and comes back does not end it.
    b.stop(Signal::SIGKILL);
    b.start_again();
    one.says(&a, &first, MemberState::Failed, "");
    wait_for("failed");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

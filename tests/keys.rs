//! Keys and signed texts between `cloudbox key` and the tool that such files come from, OpenBSD's signify. (usign, which has
//! the same files, is in no Debian: what it made lies in `tests/data/usign`.)

use cloudbox::commons::id::Id;
use cloudbox::commons::signed::{sign, Ed25519, Purpose, Verified};
use cloudbox::usign::{PublicKey, SecretKey};
use serde_json::{json, Map, Value};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A directory of its own, in which both programs run.
struct Place(PathBuf);

impl Place {
    /// None where there is no signify.
    fn new(name: &str) -> Option<Place> {
        if Command::new("signify-openbsd").output().is_err() {
            println!("skipped: {name}: signify-openbsd is not installed");
            return None;
        }
        let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Some(Place(dir))
    }

    fn run(&self, program: &str, line: &str) -> Output {
        Command::new(program).args(line.split(' ')).current_dir(&self.0).output().unwrap()
    }

    /// What `signify` says, which must end well.
    fn signify(&self, line: &str) {
        let output = self.run("signify-openbsd", line);
        assert!(output.status.success(), "signify {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// What `cloudbox` prints, and what it complains of.
    fn cloudbox(&self, line: &str) -> Result<String, String> {
        let Output { status, stdout, stderr } = self.run(env!("CARGO_BIN_EXE_cloudbox"), line);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if status.success() {
            Ok(text(stdout))
        } else {
            Err(text(stderr))
        }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn write(&self, name: &str, text: &[u8]) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn signify_signs_with_our_key_and_we_with_its() {
    let Some(place) = Place::new("keys") else { return };
    place.cloudbox("key new anna").unwrap();
    place.signify("-G -n -p bert.pub -s bert.sec");
    place.write("message", b"cloudbox-ask 1\n{\"memory\":1}\n");
    for who in ["anna", "bert"] {
        let public = PublicKey::parse(&place.read(&format!("{who}.pub"))).unwrap();
        let secret = SecretKey::parse(&place.read(&format!("{who}.sec"))).unwrap();
        // It signs, we verify.
        place.signify(&format!("-S -e -s {who}.sec -m message -x by-signify"));
        let text = place.read("by-signify");
        let verified = Verified::by(&Ed25519, &public, Purpose::Ask, text.as_bytes()).unwrap();
        assert_eq!(Value::Object(verified.members(&[]).unwrap()), json!({ "memory": 1 }));
        // We sign, it verifies.
        let body = Map::from_iter([("memory".to_string(), 2.into())]);
        let text = sign(&Ed25519, &secret, Purpose::Ask, body).unwrap();
        place.write("by-us", &text);
        place.signify(&format!("-V -e -p {who}.pub -m - -x by-us"));
        place.cloudbox("key split by-us").unwrap();
        assert_eq!(place.read("by-us.txt"), "cloudbox-ask 1\n{\"memory\":2}\n");
        place.signify(&format!("-V -p {who}.pub -m by-us.txt -x by-us.txt.sig"));
        for name in ["by-us.txt", "by-us.txt.sig"] {
            fs::remove_file(place.0.join(name)).unwrap();
        }
        // Both halves are shown alike.
        let id = Id::of(&public).to_string();
        let told = format!("id   {id}\nkey  {}\n", public.to_line());
        for half in ["pub", "sec"] {
            assert_eq!(place.cloudbox(&format!("key show {who}.{half}")), Ok(told.clone()));
            assert_eq!(place.cloudbox(&format!("key id {who}.{half}")), Ok(format!("{id}\n")));
        }
    }
}

#[test]
fn no_key_is_overwritten_and_none_is_for_everybodys_eyes() {
    use std::os::unix::fs::PermissionsExt;
    let Some(place) = Place::new("key-files") else { return };
    place.cloudbox("key new anna").unwrap();
    let mode = |name: &str| fs::metadata(place.0.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("anna.sec"), mode("anna.pub")), (0o600, 0o644));
    let before = place.read("anna.sec");
    let complaint = place.cloudbox("key new anna").unwrap_err();
    assert!(complaint.contains("anna.sec is there already, and is not overwritten"), "{complaint}");
    assert_eq!(place.read("anna.sec"), before);
    // Half a pair is left by nobody, and half of what was split.
    fs::create_dir(place.0.join("t.txt.sig")).unwrap();
    let text = sign(&Ed25519, &SecretKey::parse(&before).unwrap(), Purpose::Ask, Map::new()).unwrap();
    place.write("t", &text);
    assert!(place.cloudbox("key split t").unwrap_err().contains("t.txt.sig is there already"));
    assert!(!place.0.join("t.txt").exists());
    place.write("bert.pub", b"");
    let complaint = place.cloudbox("key new bert").unwrap_err();
    assert!(complaint.contains("bert.pub is there already"), "{complaint}");
    assert!(!place.0.join("bert.sec").exists());

    for (name, text, why) in [
        ("empty", &b""[..], "is no base64"),
        ("long", &[b'x'; 5000], "longer than 4096 bytes"),
        ("signature", include_bytes!("data/usign/hello.sig"), "it is a signature"),
    ] {
        place.write(name, text);
        let complaint = place.cloudbox(&format!("key show {name}")).unwrap_err();
        assert!(complaint.contains(name) && complaint.contains(why), "{complaint}");
    }
    let complaint = place.cloudbox("key split anna.pub").unwrap_err();
    assert!(
        complaint.contains("does not begin with a signature") || complaint.contains("is a public key"),
        "{complaint}"
    );
    let complaint = place.cloudbox("key show nowhere").unwrap_err();
    assert!(complaint.contains("cannot read nowhere: No such file or directory"), "{complaint}");
}

#[test]
fn what_is_no_file_no_name_or_two_keys_is_refused_with_a_cure() {
    let Some(place) = Place::new("key-oddities") else { return };
    place.cloudbox("key new anna").unwrap();
    let made = Command::new("mkfifo").arg(place.0.join("pipe")).status().unwrap();
    assert!(made.success());
    let both = place.read("anna.pub") + &place.read("anna.pub");
    place.write("both", both.as_bytes());
    place.write("alone", include_bytes!("data/usign/hello.sig"));
    for (line, why) in [
        // Nobody writes into the pipe: it must not be waited for.
        ("key show pipe", "pipe is no file"),
        ("key split pipe", "pipe is no file"),
        ("key show .", ". is no file"),
        ("key id both", "more than one key in it; give each a file of its own"),
        ("key split alone", "it is a signature alone"),
        ("key new .", ".: it is a directory; write the pair's name"),
        ("key new /", "/: it is a directory"),
        ("key new keys/", "keys/: it is a directory"),
        ("key new ..", "..: it is a directory"),
        ("key new a\x1b[2Jb", "a\\u{1b}[2Jb: it has a control character"),
        ("key new no/where/bert", "no directory no/where; make it first: mkdir -p no/where"),
    ] {
        let complaint = place.cloudbox(line).unwrap_err();
        assert!(complaint.contains(why), "{line}: {complaint}");
    }
    let mut names: Vec<_> = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["alone", "anna.pub", "anna.sec", "both", "pipe"]);
}

//! What the core wants done, as calls of the daemon.

use super::bus::Task;
use super::told::of_slice;
use crate::commons::formats::{Manifest, Published};
use crate::commons::id::Id;
use crate::commons::interface::{Birth, Call, Fault, Work};
use crate::commons::label::container_slice;
use crate::commons::seal::{ContentKey, SealKey, Whose};
use crate::error::{Code, Error, Result};
use crate::model::image::hex;
use crate::model::size::{Bytes, Cpus};
use base64::engine::general_purpose::STANDARD as BASE64;
use base64::Engine;
use serde_json::{json, Map, Value};

const CONTAINER: &str = "cloudbox.container";
const IMAGE: &str = "cloudbox.image";

/// The call for a piece of work. `peer` is on whose account a container counts, if that is not its member.
///
/// # Errors
/// The slice's own fault: its secrets are not for this box.
pub fn task(
    call: Call,
    work: &Work,
    me: Id,
    key: &SealKey,
    peer: Option<Id>,
) -> std::result::Result<Task, Fault> {
    let plain = |method: &'static str, arguments: Value, fine: &'static [Code]| Task {
        call,
        to: (CONTAINER, method),
        arguments,
        fine,
        pulls: false,
    };
    Ok(match work {
        Work::Pull { alias, sha256 } => {
            // An image without a server may have been brought by the owner: whether it is here, create says.
            let fine: &[Code] = if alias.contains(':') { &[] } else { &[Code::NotFound] };
            let arguments = json!({ "name": &**alias, "sha256": hex(sha256) });
            Task { call, to: (IMAGE, "pull"), arguments, fine, pulls: true }
        }
        Work::Create(birth) => {
            let arguments = create(birth, me, key, peer).map_err(|error| of_slice(&error))?;
            plain("create", arguments, &[])
        }
        Work::Limit { name, memory, disk, cpus } => {
            let arguments = json!({
                "name": &**name,
                "memory": Bytes(*memory).exact(),
                "disk": Bytes(*disk).exact(),
                "cpus": thousandths(*cpus),
            });
            plain("set", arguments, &[])
        }
        Work::Start(name) => plain("start", json!({ "name": &**name }), &[Code::Running]),
        Work::Stop(name) => plain("stop", json!({ "name": &**name }), &[Code::NotRunning, Code::NotFound]),
        Work::Delete(name) => plain("delete", json!({ "name": &**name, "force": true }), &[Code::NotFound]),
    })
}

fn create(birth: &Birth, me: Id, key: &SealKey, peer: Option<Id>) -> Result<Value> {
    let group = &birth.group;
    let texts = |texts: &[Box<str>]| texts.iter().map(|text| text.to_string()).collect::<Vec<String>>();
    let mut arguments = json!({
        "name": &*birth.name,
        "slice": container_slice(birth.member, birth.slice, group.name),
        "image": hex(&birth.image),
        "memory": Bytes(group.memory).exact(),
        "disk": Bytes(group.disk).exact(),
        "cpus": thousandths(group.cpus),
        // Whether it runs after a reboot is for the others to say as well: the core starts it.
        "autostart": false,
        "start": true,
        "services": texts(&group.services),
        "authorized_keys": texts(&group.authorized_keys),
    });
    if let Some(script) = &group.first_boot {
        arguments["first_boot"] = (&**script).into();
    }
    if let Some(peer) = peer.filter(|peer| *peer != birth.member) {
        arguments["peer"] = peer.to_string().into();
    }
    if birth.publish && !group.publish.is_empty() {
        let line = |publish: &Published| format!("{} {} {}", publish.kind, publish.port, publish.name);
        let lines = group.publish.iter().map(|publish| line(publish).trim_end().to_string());
        arguments["publish"] = lines.collect::<Vec<String>>().into();
    }
    if !group.secrets.is_empty() {
        arguments["secrets"] = secrets(birth, me, key)?;
    }
    Ok(arguments)
}

/// The secrets of a member, opened.
fn secrets(birth: &Birth, me: Id, key: &SealKey) -> Result<Value> {
    let none = || Error::new(Code::Checksum, "the slice has secrets, and none are sealed to this box");
    let damaged = |_| Error::new(Code::InvalidArgument, "a secret is no base64");
    let sealed = BASE64.decode(birth.seal.as_deref().ok_or_else(none)?).map_err(damaged)?;
    let whose = Whose { member: birth.member, slice: birth.slice, box_id: me };
    let content = ContentKey::open(key, &sealed, &whose)?;
    let mut opened = Map::new();
    for secret in &birth.group.secrets {
        let encrypted = BASE64.decode(&*secret.text).map_err(damaged)?;
        let text = content.decrypt(birth.group.name, &secret.name, &encrypted)?;
        opened.insert(secret.name.to_string(), json!({ "base64": BASE64.encode(text) }));
    }
    Ok(opened.into())
}

fn thousandths(cpus: u64) -> String {
    Cpus(u32::try_from(cpus).unwrap_or(u32::MAX)).to_string()
}

/// On whose account a slice counts, by its manifest: the peer who vouches for its member, or the member himself.
pub fn account(manifest: &Manifest) -> Id {
    manifest.via.unwrap_or(manifest.member)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commons::formats::{Group, Image, OnLoss, Secret};
    use crate::commons::label::{Kind, Label};

    fn birth() -> Birth {
        let label = |kind, text| Label::new(kind, text).unwrap();
        let group = Group {
            name: label(Kind::Group, "web"),
            count: 1,
            places: vec![0],
            not: vec![],
            image: Image { alias: "a".into(), sha256: vec![] },
            memory: 64 << 20,
            disk: 1 << 30,
            cpus: 500,
            pids: None,
            services: vec!["proxy".into()],
            publish: vec![],
            authorized_keys: vec![],
            first_boot: Some("#!/bin/sh\n".into()),
            secrets: vec![],
            reset: 0,
            on_loss: OnLoss::Replace,
            grace: 900,
        };
        Birth {
            name: "wiki-web-kzemmv".into(),
            member: "o6cgvbb4hsvzjf6g".parse().unwrap(),
            slice: label(Kind::Slice, "wiki"),
            group,
            image: [0xab; 32],
            publish: true,
            seal: None,
        }
    }

    fn arguments(work: &Work, peer: Option<&str>) -> std::result::Result<Value, Fault> {
        let me = "aaaaaaaaaaaaaaaa".parse().unwrap();
        task(Call(1), work, me, &SealKey::new([7; 32]), peer.map(|id| id.parse().unwrap()))
            .map(|task| task.arguments)
    }

    #[test]
    fn a_birth_is_a_create_with_nothing_but_what_may_be_said() {
        let made = arguments(&Work::Create(birth().into()), None).unwrap();
        assert_eq!(
            made,
            json!({
                "name": "wiki-web-kzemmv", "slice": "o6cgvbb4hsvzjf6g/wiki/web", "image": "ab".repeat(32),
                "memory": "64M", "disk": "1G", "cpus": "0.5", "autostart": false, "start": true,
                "services": ["proxy"], "authorized_keys": [], "first_boot": "#!/bin/sh\n",
            })
        );
        // What it announces, where its peer may have something announced.
        let mut born = birth();
        let published = |name: &str| Published { kind: "_http._tcp".into(), port: 80, name: name.into() };
        born.group.publish = vec![published("Our wiki"), published("")];
        let made = arguments(&Work::Create(born.clone().into()), None).unwrap();
        assert_eq!(made["publish"], json!(["_http._tcp 80 Our wiki", "_http._tcp 80"]));
        born.publish = false;
        assert_eq!(arguments(&Work::Create(born.into()), None).unwrap().get("publish"), None);
        // On the account of whoever vouches; his own he need not say.
        let of = |peer| arguments(&Work::Create(birth().into()), Some(peer)).unwrap();
        assert_eq!(of("7777777777777777")["peer"], "7777777777777777");
        assert_eq!(of("o6cgvbb4hsvzjf6g").get("peer"), None);
    }

    #[test]
    fn secrets_are_opened_for_this_box_and_slice_or_it_is_the_slices_fault() {
        let content = ContentKey::random();
        let mut born = birth();
        let text = content.encrypt(born.group.name, "db", b"\xff\0").unwrap();
        born.group.secrets = vec![Secret { name: "db".into(), text: BASE64.encode(text).into() }];
        let whose =
            Whose { member: born.member, slice: born.slice, box_id: "aaaaaaaaaaaaaaaa".parse().unwrap() };
        let public = SealKey::new([7; 32]).public();
        let seal = |whose: &Whose| Some(BASE64.encode(content.seal(&public, whose).unwrap()).into());
        born.seal = seal(&whose);
        let made = arguments(&Work::Create(born.clone().into()), None).unwrap();
        assert_eq!(made["secrets"], json!({ "db": { "base64": BASE64.encode(b"\xff\0") } }));
        // A copy of another member's seal, and none at all.
        for (copy, code) in [
            (seal(&Whose { member: "7777777777777777".parse().unwrap(), ..whose }), Code::InvalidArgument),
            (None, Code::Checksum),
            (Some("AAAA".into()), Code::Checksum),
        ] {
            born.seal = copy;
            let fault = arguments(&Work::Create(born.clone().into()), None).unwrap_err();
            assert_eq!((fault.code, fault.of_box), (code, false), "{}", fault.message);
        }
    }

    #[test]
    fn limits_and_ends_are_calls() {
        let name = || "wiki-web-kzemmv".into();
        let limit = Work::Limit { name: name(), memory: 100, disk: 1 << 30, cpus: 1500 };
        assert_eq!(
            arguments(&limit, None).unwrap(),
            json!({ "name": "wiki-web-kzemmv", "memory": "100", "disk": "1G", "cpus": "1.5" })
        );
        let pull = |alias: &str| Work::Pull { alias: alias.into(), sha256: [1; 32] };
        let fine = |work: &Work| {
            task(Call(1), work, "aaaaaaaaaaaaaaaa".parse().unwrap(), &SealKey::new([7; 32]), None)
                .unwrap()
                .fine
        };
        assert!(fine(&pull("community:debian")).is_empty());
        assert_eq!(fine(&pull("busybox")), [Code::NotFound]);
        assert_eq!(fine(&Work::Stop(name())), [Code::NotRunning, Code::NotFound]);
    }
}

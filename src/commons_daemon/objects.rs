//! `cloudbox.slice` and `cloudbox.commons`: what their methods take and answer, and what is told to whoever listens.

use super::links::Standing as Link;
use super::local::LocalBroker;
use crate::commons::core::{Core, MemberView, SliceView};
use crate::commons::formats::{open, Index, Manifest};
use crate::commons::id::Id;
use crate::commons::interface::Notice;
use crate::commons::label::{Kind, Label};
use crate::commons::signed::{key_in, Ed25519};
use crate::commons::topic::Topic;
use crate::error::{Code, Error, Result};
use openwrt_ubus::{from_fields, Fields, Object};
use serde::de::DeserializeOwned;
use serde::Deserialize;
use serde_json::{json, Value};

/// What is known when somebody looks.
pub struct Standing<'a> {
    /// The box.
    pub me: Id,
    /// The number of this run.
    pub session: u32,
    /// For how many seconds it runs.
    pub up: u64,
    /// Whether it takes nothing new for now.
    pub paused: bool,
    /// The box is its own broker.
    pub local: Option<&'a LocalBroker>,
    /// The others.
    pub brokers: Vec<Link>,
    /// All else.
    pub core: &'a Core,
}

/// Makes a reply of what is known.
pub type Look = Box<dyn FnOnce(&Standing<'_>) -> Result<Value>>;

/// What a call asks for.
pub enum Asked {
    /// To look.
    Look(Look),
    /// To say what a member has signed.
    Publish(Vec<String>),
    /// To tell a member who asked.
    Answer {
        /// Who.
        member: Id,
        /// Whether he is hosted.
        allowed: bool,
        /// A word to it.
        note: String,
    },
    /// To take nothing new, or to do so again.
    Pause(bool),
    /// To read the configuration anew.
    Reload,
}

#[derive(Debug, Deserialize)]
struct OneSlice {
    /// The slice.
    name: String,
    /// Whose it is; without, that of whoever has one of that name here.
    member: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Get {
    /// The slice.
    name: Option<String>,
    /// Whose it is.
    member: Option<String>,
    /// Where no broker is listed: filters of topics, of which all that stands there is wanted.
    filters: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Texts {
    /// Signed texts: a manifest or a tombstone, and the index that names it.
    texts: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct AnswerArgs {
    /// Who asked.
    member: String,
    /// Whether he is hosted.
    allow: bool,
    /// A word to it.
    note: Option<String>,
}

#[derive(Debug, Deserialize)]
struct PauseArgs {
    /// Off: go on.
    on: Option<bool>,
}

/// `cloudbox.slice`
pub fn slice() -> Object {
    let object = Object::new("cloudbox.slice").method::<()>("list").method::<OneSlice>("status");
    object.method::<Get>("get").method::<Texts>("apply").method::<Texts>("delete")
}

/// `cloudbox.commons`
pub fn commons() -> Object {
    let object = Object::new("cloudbox.commons");
    let looks = ["status", "offers", "peers", "trust", "asks", "brokers"];
    let object = looks.into_iter().fold(object, |object, look| object.method::<()>(look));
    object.method::<AnswerArgs>("answer").method::<PauseArgs>("pause").method::<()>("reload")
}

/// What a call asks for.
///
/// # Errors
/// Its arguments are wrong.
pub fn read(of_slice: bool, method: &str, arguments: &[u8]) -> Result<Asked> {
    let look = |look: fn(&Standing<'_>) -> Value| Asked::Look(Box::new(move |standing| Ok(look(standing))));
    Ok(match (of_slice, method) {
        (true, "list") => look(list),
        (true, "status") => {
            let OneSlice { name, member } = decode(arguments)?;
            let (name, member) = (Label::new(Kind::Slice, &name)?, id(member.as_deref())?);
            Asked::Look(Box::new(move |standing| status_of(standing, name, member)))
        }
        (true, "get") => get(decode(arguments)?)?,
        (true, _) => Asked::Publish(decode::<Texts>(arguments)?.texts),
        (false, "status") => look(status),
        (false, "offers") => look(offers),
        (false, "peers" | "trust") => look(trust),
        (false, "asks") => look(asks),
        (false, "brokers") => look(brokers),
        (false, "answer") => {
            let AnswerArgs { member, allow, note } = decode(arguments)?;
            Asked::Answer { member: member.parse()?, allowed: allow, note: note.unwrap_or_default() }
        }
        (false, "pause") => Asked::Pause(decode::<PauseArgs>(arguments)?.on.unwrap_or(true)),
        _ => Asked::Reload,
    })
}

fn decode<T: DeserializeOwned>(arguments: &[u8]) -> Result<T> {
    let damaged = |e| Error::new(Code::InvalidArgument, format_args!("the arguments cannot be read: {e}"));
    Fields::new(arguments).check().map_err(damaged)?;
    from_fields(arguments).map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))
}

fn id(text: Option<&str>) -> Result<Option<Id>> {
    text.filter(|text| !text.is_empty()).map(str::parse).transpose()
}

fn get(args: Get) -> Result<Asked> {
    if let Some(filters) = args.filters {
        return Ok(Asked::Look(Box::new(move |standing| {
            let Some(local) = standing.local else {
                let why = "there are brokers: ask them";
                return Err(Error::new(Code::NotSupported, why));
            };
            let text = |(topic, text): (&str, &[u8])| json!({ "topic": topic, "text": String::from_utf8_lossy(text) });
            let texts: Vec<Value> = filters.iter().flat_map(|filter| local.at(filter)).map(text).collect();
            Ok(json!({ "texts": texts }))
        })));
    }
    let name = Label::new(Kind::Slice, args.name.as_deref().unwrap_or_default())?;
    let member = id(args.member.as_deref())?;
    Ok(Asked::Look(Box::new(move |standing| {
        let slice = find(standing, name, member)?;
        let text = standing.core.text_at(&Topic::Slice(slice.member, slice.slice));
        let text = text.map(|text| String::from_utf8_lossy(text).into_owned());
        Ok(json!({ "text": text.unwrap_or_default() }))
    })))
}

fn find(standing: &Standing<'_>, name: Label, member: Option<Id>) -> Result<SliceView> {
    let is_it = |slice: &SliceView| slice.slice == name && member.is_none_or(|member| member == slice.member);
    let mut found = standing.core.slices().filter(is_it);
    match (found.next(), found.next()) {
        (Some(slice), None) => Ok(slice),
        (Some(_), Some(_)) => {
            let why = format!("several members have a slice {name} here; say whose: member");
            Err(Error::new(Code::InvalidArgument, why).about("member"))
        }
        (None, _) => Err(Error::new(Code::NotFound, format_args!("there is no slice {name} on this box"))),
    }
}

fn member(member: &MemberView) -> Value {
    json!({
        "group": member.group.as_str(), "container": &*member.container, "state": member.state.as_str(),
        "since": member.since, "code": member.code, "reason": &*member.reason,
    })
}

fn slice_json(slice: &SliceView) -> Value {
    json!({
        "name": slice.slice.as_str(), "member": slice.member.to_string(), "serial": slice.manifest.serial,
        "seen": slice.seen, "state": slice.manifest.wish.as_str(), "expires": slice.expires,
        "peer": slice.peer.map(|peer| peer.to_string()),
        "groups": slice.members.iter().map(member).collect::<Vec<Value>>(),
    })
}

fn list(standing: &Standing<'_>) -> Value {
    json!({ "slices": standing.core.slices().map(|slice| slice_json(&slice)).collect::<Vec<Value>>() })
}

fn status_of(standing: &Standing<'_>, name: Label, of: Option<Id>) -> Result<Value> {
    let slice = find(standing, name, of)?;
    let mut value = slice_json(&slice);
    let other = |other: &crate::commons::core::OtherView| {
        let groups: Vec<Value> = other
            .groups
            .iter()
            .map(|(group, state)| json!({ "group": group.as_str(), "state": state.map(|state| state.as_str()) }))
            .collect();
        json!({ "box": other.id.to_string(), "groups": groups, "applied": other.applied, "silent_for": other.silent_for })
    };
    value["others"] = slice.others.iter().map(other).collect::<Vec<Value>>().into();
    value["skipped"] = slice.skipped.into();
    value["twice"] = slice.twice.into();
    value["read"] = standing.core.is_read(slice.member, slice.slice).into();
    Ok(value)
}

fn status(standing: &Standing<'_>) -> Value {
    let core = standing.core;
    let slices: Vec<SliceView> = core.slices().collect();
    let members = slices.iter().flat_map(|slice| &slice.members);
    let ready = members.filter(|member| member.state.as_str() == "ready").count();
    let room = core.room();
    json!({
        "box": standing.me.to_string(),
        "session": standing.session,
        "up": standing.up,
        "paused": standing.paused,
        "alone": standing.local.is_some(),
        "slices": slices.len(),
        "ready": ready,
        "asks": core.asks().len(),
        "unheard": core.is_unheard(),
        "connected": standing.brokers.iter().filter(|broker| broker.connected).count(),
        "brokers": standing.brokers.len(),
        "memory": room.memory,
        "disk": room.disk,
        "cpus": room.cpus,
        "held": core.held_bytes(),
    })
}

fn offers(standing: &Standing<'_>) -> Value {
    // Its own alone: those of others are asked for at the brokers, by the command.
    let _ = standing;
    json!({ "offers": [] })
}

fn trust(standing: &Standing<'_>) -> Value {
    let amount = |amount: &crate::commons::trust::Amount| json!({ "memory": amount.memory, "disk": amount.disk, "cpus": amount.cpus, "containers": amount.containers });
    let peer = |peer: &crate::commons::core::PeerView| {
        json!({
            "id": peer.id.to_string(), "name": &*peer.name, "via": peer.via.map(|via| via.to_string()),
            "most": amount(&peer.most), "used": amount(&peer.used), "until": peer.until, "refused": peer.refused,
        })
    };
    json!({ "peers": standing.core.trust().iter().map(peer).collect::<Vec<Value>>() })
}

fn asks(standing: &Standing<'_>) -> Value {
    let ask = |view: &crate::commons::core::AskView| {
        let ask = &view.ask;
        json!({
            "member": ask.member.to_string(), "key": view.key.to_line(), "memory": ask.memory, "disk": ask.disk,
            "cpus": ask.cpus, "containers": ask.containers, "contact": &*ask.contact, "note": &*ask.note,
            "issued": ask.issued, "expires": ask.expires,
        })
    };
    json!({ "asks": standing.core.asks().iter().map(ask).collect::<Vec<Value>>() })
}

fn brokers(standing: &Standing<'_>) -> Value {
    let broker = |broker: &Link| {
        json!({
            "name": broker.name, "connected": broker.connected, "trouble": broker.trouble,
            "complete": broker.connected && standing.core.stands_in(broker.number),
        })
    };
    json!({ "brokers": standing.brokers.iter().map(broker).collect::<Vec<Value>>() })
}

/// Where a text belongs that a member has signed: a manifest, a tombstone or an index.
///
/// # Errors
/// It is none of these, or is not signed by whom it names.
pub fn topic_of(text: &[u8], network: Label) -> Result<Topic> {
    let none = || Error::new(Code::InvalidArgument, "it is no signed manifest and no index");
    let key = key_in(text).ok_or_else(none)?;
    if let Ok(index) = open::<Index>(&Ed25519, &key, network, text) {
        return Some(Topic::Index(index.member)).filter(|_| index.member == Id::of(&key)).ok_or_else(none);
    }
    let manifest: Manifest = open(&Ed25519, &key, network, text)?;
    let topic = Topic::Slice(manifest.member, manifest.slice);
    Some(topic).filter(|_| manifest.member == Id::of(&key)).ok_or_else(none)
}

/// What a notice is to programs and to people: an event's name, its fields, and a line for the log.
pub fn told(notice: &Notice) -> (&'static str, Value, String) {
    match notice {
        Notice::Member { member, slice, group, state, code, reason } => (
            "slice.member",
            json!({
                "member": member.to_string(), "slice": slice.as_str(), "group": group.as_str(), "state": state,
                "code": &**code, "reason": &**reason,
            }),
            format!("{member}/{slice}/{group}: {state} {reason}").trim_end().to_string(),
        ),
        Notice::Expires { member, slice, at } => (
            "slice.expires",
            json!({ "member": member.to_string(), "slice": slice.as_str(), "at": at }),
            format!("{member}/{slice} ends in four days or less, if nobody renews it"),
        ),
        Notice::Asked { member } => (
            "commons.asked",
            json!({ "member": member.to_string() }),
            format!("{member} asks to be hosted: `cloudbox commons asks`"),
        ),
        Notice::Wrong { topic, why } => (
            "commons.wrong",
            json!({ "topic": format!("{topic:?}"), "why": &**why }),
            format!("what was signed at {topic:?} is passed over: {why}"),
        ),
        Notice::Foreign => (
            "commons.foreign",
            json!({}),
            "another box has this box's key: nothing is begun or ended until it is silent".to_string(),
        ),
        Notice::Unheard(unheard) => (
            "commons.unheard",
            json!({ "unheard": unheard }),
            match unheard {
                true => "this box hears others, and nobody hears it".to_string(),
                false => "this box is heard again".to_string(),
            },
        ),
        Notice::NotHeld { broker, topic } => (
            "commons.not_held",
            json!({ "broker": broker, "topic": format!("{topic:?}") }),
            format!("broker {broker} does not keep {topic:?}: its list of who may write what refuses it"),
        ),
    }
}

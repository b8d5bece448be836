//! The topics of a network: what stands where in a broker. All are below `cloudbox/1/<network>/`.

use super::id::Id;
use super::label::{Kind, Label};
use std::fmt::Write;

/// What stands at a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// A manifest or tombstone, by its member.
    Slice(Id, Label),
    /// A renewal of that manifest, by a box that holds a certificate for it.
    Renewal(Id, Label),
    /// A member's list of slices.
    Index(Id),
    /// What a member has revoked.
    Revoked(Id),
    /// To a box, by a member: please host me.
    Ask(Id, Id),
    /// From a box, to a member who asked.
    Answer(Id, Id),
    /// In a zone, by a box: what it has for others.
    Offer(Label, Id),
    /// In a zone, by a box: what it announces.
    Services(Label, Id),
    /// That a box is there.
    Alive(Id),
    /// How a box has the slice of a member.
    State(Id, Id, Label),
    /// Where a box has a checkpoint of it.
    Checkpoint(Id, Id, Label),
    /// Never retained: by a box, for itself. When it comes back, all has come that was retained before.
    Mark(Id),
}

/// What all topics begin with.
const ROOT: &str = "cloudbox/1/";
/// The part of a filter that stands for one of whatever name.
const ANY: &str = "+";

impl Topic {
    /// The topic as text.
    pub fn text(&self, network: Label) -> String {
        let mut text = String::with_capacity(80);
        // Nothing is refused by a string.
        let _ = write!(text, "{ROOT}{network}/");
        let _ = match self {
            Topic::Slice(member, slice) => write!(text, "slice/{member}/{slice}"),
            Topic::Renewal(member, slice) => write!(text, "slice/{member}/{slice}/renewal"),
            Topic::Index(member) => write!(text, "index/{member}"),
            Topic::Revoked(member) => write!(text, "revoked/{member}"),
            Topic::Ask(to, member) => write!(text, "ask/{to}/{member}"),
            Topic::Answer(from, member) => write!(text, "box/{from}/answer/{member}"),
            Topic::Offer(zone, from) => write!(text, "offer/{zone}/{from}"),
            Topic::Services(zone, from) => write!(text, "services/{zone}/{from}"),
            Topic::Alive(from) => write!(text, "box/{from}/alive"),
            Topic::State(from, member, slice) => write!(text, "box/{from}/slice/{member}/{slice}"),
            Topic::Checkpoint(from, member, slice) => {
                write!(text, "box/{from}/checkpoint/{member}/{slice}")
            }
            Topic::Mark(from) => write!(text, "box/{from}/mark"),
        };
        text
    }

    /// What `text` is in this network; None if it is nothing of the kind.
    pub fn parse(network: Label, text: &str) -> Option<Topic> {
        let rest = text.strip_prefix(ROOT)?.strip_prefix(network.as_str())?.strip_prefix('/')?;
        let mut parts = [""; 6];
        let mut count = 0;
        for part in rest.split('/') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        let id = |text: &str| text.parse::<Id>().ok();
        let slice = |text| Label::new(Kind::Slice, text).ok();
        let zone = |text| Label::new(Kind::Zone, text).ok();
        Some(match parts[..count] {
            ["slice", member, name] => Topic::Slice(id(member)?, slice(name)?),
            ["slice", member, name, "renewal"] => Topic::Renewal(id(member)?, slice(name)?),
            ["index", member] => Topic::Index(id(member)?),
            ["revoked", member] => Topic::Revoked(id(member)?),
            ["ask", to, member] => Topic::Ask(id(to)?, id(member)?),
            ["box", from, "answer", member] => Topic::Answer(id(from)?, id(member)?),
            ["offer", place, from] => Topic::Offer(zone(place)?, id(from)?),
            ["services", place, from] => Topic::Services(zone(place)?, id(from)?),
            ["box", from, "alive"] => Topic::Alive(id(from)?),
            ["box", from, "slice", member, name] => Topic::State(id(from)?, id(member)?, slice(name)?),
            ["box", from, "checkpoint", member, name] => {
                Topic::Checkpoint(id(from)?, id(member)?, slice(name)?)
            }
            ["box", from, "mark"] => Topic::Mark(id(from)?),
            _ => return None,
        })
    }

    /// Whose key signs what stands there. A mark is signed by nobody.
    pub fn author(&self) -> Option<Id> {
        Some(match *self {
            Topic::Slice(member, _) | Topic::Index(member) | Topic::Revoked(member) => member,
            Topic::Ask(_, member) => member,
            Topic::Answer(from, _) | Topic::Offer(_, from) | Topic::Services(_, from) => from,
            Topic::Alive(from) | Topic::State(from, ..) | Topic::Checkpoint(from, ..) => from,
            Topic::Renewal(..) | Topic::Mark(_) => return None,
        })
    }
}

/// Filters for many topics at once. A box needs but one of them; the others are for commands of people, who read them once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// All slices of a member.
    SlicesOf(Id),
    /// All offers of a zone, or of all zones.
    Offers(Option<Label>),
    /// All that boxes of a zone, or of all zones, announce.
    Services(Option<Label>),
    /// All who ask a box.
    AsksTo(Id),
    /// What a member was told by boxes.
    AnswersTo(Id),
    /// How all boxes have a slice.
    StatesOf(Id, Label),
    /// How all boxes have the slices of a member.
    AllStatesOf(Id),
}

impl Filter {
    /// The filter as text.
    pub fn text(&self, network: Label) -> String {
        let zone = |zone: &Option<Label>| zone.map_or_else(|| ANY.to_string(), |zone| zone.to_string());
        let rest = match self {
            Filter::SlicesOf(member) => format!("slice/{member}/{ANY}"),
            Filter::Offers(of) => format!("offer/{}/{ANY}", zone(of)),
            Filter::Services(of) => format!("services/{}/{ANY}", zone(of)),
            Filter::AsksTo(to) => format!("ask/{to}/{ANY}"),
            Filter::AnswersTo(member) => format!("box/{ANY}/answer/{member}"),
            Filter::StatesOf(member, slice) => format!("box/{ANY}/slice/{member}/{slice}"),
            Filter::AllStatesOf(member) => format!("box/{ANY}/slice/{member}/{ANY}"),
        };
        format!("{ROOT}{network}/{rest}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        text.parse().unwrap()
    }

    #[test]
    fn every_topic_is_read_as_it_is_written() {
        let (a, b) = (id("o6cgvbb4hsvzjf6g"), id("7777777777777777"));
        let slice = Label::new(Kind::Slice, "wiki").unwrap();
        let zone = Label::new(Kind::Zone, "osona").unwrap();
        let network = Label::new(Kind::Network, "guifi").unwrap();
        for (topic, text, author) in [
            (Topic::Slice(a, slice), "slice/o6cgvbb4hsvzjf6g/wiki", Some(a)),
            (Topic::Renewal(a, slice), "slice/o6cgvbb4hsvzjf6g/wiki/renewal", None),
            (Topic::Index(a), "index/o6cgvbb4hsvzjf6g", Some(a)),
            (Topic::Revoked(a), "revoked/o6cgvbb4hsvzjf6g", Some(a)),
            (Topic::Ask(a, b), "ask/o6cgvbb4hsvzjf6g/7777777777777777", Some(b)),
            (Topic::Answer(a, b), "box/o6cgvbb4hsvzjf6g/answer/7777777777777777", Some(a)),
            (Topic::Offer(zone, a), "offer/osona/o6cgvbb4hsvzjf6g", Some(a)),
            (Topic::Services(zone, a), "services/osona/o6cgvbb4hsvzjf6g", Some(a)),
            (Topic::Alive(a), "box/o6cgvbb4hsvzjf6g/alive", Some(a)),
            (Topic::State(a, b, slice), "box/o6cgvbb4hsvzjf6g/slice/7777777777777777/wiki", Some(a)),
            (
                Topic::Checkpoint(a, b, slice),
                "box/o6cgvbb4hsvzjf6g/checkpoint/7777777777777777/wiki",
                Some(a),
            ),
            (Topic::Mark(a), "box/o6cgvbb4hsvzjf6g/mark", None),
        ] {
            let whole = format!("cloudbox/1/guifi/{text}");
            assert_eq!(topic.text(network), whole);
            assert_eq!(Topic::parse(network, &whole), Some(topic));
            assert_eq!(topic.author(), author);
            for wrong in [
                format!("cloudbox/1/guif/{text}"),
                format!("cloudbox/1/guifi2/{text}"),
                format!("cloudbox/2/guifi/{text}"),
                format!("cloudbox/1/guifi/{text}/"),
                format!("cloudbox/1/guifi//{text}"),
                format!("cloudbox/1/guifi/{}", text.to_uppercase()),
                format!("cloudbox/1/guifi/{text}/a/b/c/d/e/f"),
            ] {
                assert_eq!(Topic::parse(network, &wrong), None, "{wrong}");
            }
        }
        // The zone of two names is not a zone.
        assert_eq!(Topic::parse(network, "cloudbox/1/guifi/offer/+/o6cgvbb4hsvzjf6g"), None);
        let filter = Filter::Offers(None).text(network);
        assert_eq!(filter, "cloudbox/1/guifi/offer/+/+");
        assert!(mqtt_session::topic::matches(&filter, &Topic::Offer(zone, a).text(network)));
        let filter = Filter::StatesOf(b, slice).text(network);
        assert!(mqtt_session::topic::matches(&filter, &Topic::State(a, b, slice).text(network)));
        assert!(!mqtt_session::topic::matches(&filter, &Topic::State(a, a, slice).text(network)));
    }
}

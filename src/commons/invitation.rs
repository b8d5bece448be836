//! The one line by which a box or a member joins: `cloudbox:guifi/osona@10.0.0.1:1883`. It names the network, the zone and
//! the brokers, with commas between them. There is nothing secret in it, and nothing to be trusted.

use super::label::{Kind, Label};
use crate::error::{quoted, Code, Error, Result};
use crate::model::commons::{Broker, BROKERS_MAX};
use std::fmt;
use std::str::FromStr;

/// What the line begins with.
const SCHEME: &str = "cloudbox:";
/// Where MQTT is spoken, if no port is named.
const PORT: u16 = 1883;

/// What is needed to take part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// The network.
    pub network: Label,
    /// The zone.
    pub zone: Label,
    /// Hosts and ports of the brokers, one to four.
    pub brokers: Vec<(String, u16)>,
}

impl Invitation {
    /// That of a box or a member of this network and zone, who listens to these brokers.
    pub fn of(network: Label, zone: Label, brokers: &[Broker]) -> Invitation {
        let brokers = brokers.iter().map(|broker| (broker.host.clone(), broker.port)).collect();
        Invitation { network, zone, brokers }
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}@", self.network, self.zone)?;
        for (at, (host, port)) in self.brokers.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            match host.contains(':') {
                // Otherwise its end could not be told from the port.
                true => write!(f, "{comma}[{host}]:{port}")?,
                false => write!(f, "{comma}{host}:{port}")?,
            }
        }
        Ok(())
    }
}

impl FromStr for Invitation {
    type Err = Error;

    /// # Errors
    /// [`Code::InvalidArgument`] and [`Code::InvalidName`]: it is none.
    fn from_str(text: &str) -> Result<Invitation> {
        let wrong = |why: &str| {
            let shown: String = text.chars().take(80).collect();
            let why = format!(
                "{}: {why}; an invitation looks like cloudbox:guifi/osona@10.0.0.1:1883, and `cloudbox commons invite` prints one",
                quoted(&shown)
            );
            Error::new(Code::InvalidArgument, why)
        };
        let rest =
            text.trim().strip_prefix(SCHEME).ok_or_else(|| wrong("it does not begin with cloudbox:"))?;
        let (place, hosts) = rest.split_once('@').ok_or_else(|| wrong("it names no broker behind an @"))?;
        let (network, zone) = place.split_once('/').ok_or_else(|| wrong("it names no zone behind a /"))?;
        let mut brokers = Vec::new();
        for host in hosts.split(',') {
            let broker = address(host).ok_or_else(|| wrong("a broker's address is wrong"))?;
            if brokers.contains(&broker) {
                return Err(wrong("a broker stands twice"));
            }
            brokers.push(broker);
        }
        if brokers.len() > BROKERS_MAX {
            return Err(wrong("it has more than 4 brokers"));
        }
        Ok(Invitation {
            network: Label::new(Kind::Network, network)?,
            zone: Label::new(Kind::Zone, zone)?,
            brokers,
        })
    }
}

/// `10.0.0.1:1883`, `[fe80::1]:1883`, or either without a port.
pub fn address(text: &str) -> Option<(String, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
            (host, port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        None => PORT,
        Some(port) => port.parse().ok().filter(|number| *number > 0 && digits(port))?,
    };
    // The host as the configuration has it.
    let mut broker = Broker::new("x");
    broker.set("host", host).ok()?;
    Some((broker.host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_is_read_and_written() {
        for (text, written) in [
            ("cloudbox:guifi/osona@10.0.0.1:1883", "cloudbox:guifi/osona@10.0.0.1:1883"),
            (" cloudbox:guifi/osona@broker.example.org\n", "cloudbox:guifi/osona@broker.example.org:1883"),
            ("cloudbox:n-1/z@10.0.0.1,[fd00::1]:1884", "cloudbox:n-1/z@10.0.0.1:1883,[fd00::1]:1884"),
        ] {
            let invitation: Invitation = text.parse().unwrap();
            assert_eq!(invitation.to_string(), written);
            assert_eq!(written.parse(), Ok(invitation));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_an_example() {
        for (text, why) in [
            ("", "does not begin with cloudbox:"),
            ("guifi/osona@10.0.0.1", "does not begin with cloudbox:"),
            ("cloudbox:guifi/osona", "no broker behind an @"),
            ("cloudbox:guifi@10.0.0.1", "no zone behind a /"),
            ("cloudbox:guifi/osona@", "address is wrong"),
            ("cloudbox:guifi/osona@10.0.0.1:0", "address is wrong"),
            ("cloudbox:guifi/osona@10.0.0.1:+1", "address is wrong"),
            ("cloudbox:guifi/osona@10.0.0.1:65536", "address is wrong"),
            ("cloudbox:guifi/osona@fd00::1", "address is wrong"),
            ("cloudbox:guifi/osona@[fd00::1", "address is wrong"),
            ("cloudbox:guifi/osona@[fd00::1]1883", "address is wrong"),
            ("cloudbox:guifi/osona@a b", "address is wrong"),
            ("cloudbox:guifi/osona@a,a", "a broker stands twice"),
            ("cloudbox:guifi/osona@a,b,c,d,e", "more than 4 brokers"),
            ("cloudbox:Guifi/osona@a", "cannot be a network's name"),
            ("cloudbox:guifi/os/ona@a", "cannot be a zone's name"),
        ] {
            let refusal = text.parse::<Invitation>().unwrap_err();
            assert!(refusal.message.contains(why), "{text:?}: {}", refusal.message);
        }
        let long = "x".repeat(5000).parse::<Invitation>().unwrap_err();
        assert!(long.message.len() < 400, "{}", long.message);
    }
}

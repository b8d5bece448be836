//! What the commons needs, where it is switched on: its user, a bridge for other people's containers, and a broker that
//! answers, where that is this box itself.

use super::network::runs;
use super::{error, note, ok, told, unseen, warning, Finding, Subject, ERROR};
use crate::api::COMMONS_USER;
use crate::model::commons::Broker;
use crate::steps::tool::Tool;
use nix::unistd::User;
use std::net::{IpAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A broker on the box itself answers at once, or not at all.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Nothing where it is switched off.
pub(super) fn commons(subject: &Subject<'_>) -> Vec<Finding> {
    let commons = &subject.known.settings.commons;
    if !commons.enabled {
        return Vec::new();
    }
    let mut findings = vec![user(User::from_name(COMMONS_USER).is_ok_and(|user| user.is_some()))];
    findings.push(match subject.network.check_bridge(&commons.bridge) {
        Err(missing) => {
            told(ERROR, &format!("{}; `cloudbox-bridge commons` makes one", before(&missing.message)))
        }
        Ok(()) => shared(&commons.bridge, &subject.known.settings.defaults.bridge),
    });
    if subject.known.brokers.is_empty() {
        findings.push(note(format_args!("there is no broker: the commons works on this box alone")));
    }
    findings.extend(subject.known.brokers.iter().filter_map(|broker| own_broker(subject, broker)));
    findings
}

fn user(there: bool) -> Finding {
    if there {
        return ok(format_args!("the process of the commons has its user, {COMMONS_USER}"));
    }
    error(
        format_args!("there is no user {COMMONS_USER}: the process of the commons cannot be greeted on the bus"),
        format_args!(
            "install the package again; without one: `useradd --system --user-group --no-create-home {COMMONS_USER}`"
        ),
    )
}

/// What was found, without what it says of a remedy.
fn before(message: &str) -> &str {
    message.split_once("; ").map_or(message, |(what, _)| what)
}

fn shared(bridge: &str, own: &str) -> Finding {
    if bridge != own {
        return ok(format_args!("containers of other people join {bridge}"));
    }
    warning(
        format_args!("containers of other people join {bridge}, as your own do: they are neighbours"),
        format_args!("`cloudbox-bridge commons` makes a bridge for them alone"),
    )
}

/// A broker that is this box itself, and does not answer. Others are the process' to look at.
fn own_broker(subject: &Subject<'_>, broker: &Broker) -> Option<Finding> {
    let own = subject.network.own_addresses();
    let is_own = |address: &IpAddr| match address {
        IpAddr::V4(address) => address.is_loopback() || own.contains(address),
        IpAddr::V6(address) => address.is_loopback(),
    };
    // A name is looked up only where that asks nobody else.
    let here = match broker.host.parse::<IpAddr>() {
        Ok(address) => is_own(&address),
        Err(_) => broker.host == "localhost",
    };
    if !here {
        return None;
    }
    let addresses = (broker.host.as_str(), broker.port).to_socket_addrs();
    let answers =
        addresses.into_iter().flatten().any(|to| TcpStream::connect_timeout(&to, ANSWER_TIME).is_ok());
    match runs("mosquitto") {
        _ if answers => Some(judge_broker(broker, true, true)),
        Ok(running) => Some(judge_broker(broker, false, running)),
        Err(error) => Some(unseen(&error)),
    }
}

fn judge_broker(broker: &Broker, answers: bool, running: bool) -> Finding {
    let Broker { name, host, port, .. } = broker;
    if answers {
        return ok(format_args!("broker {name} answers on this box, port {port}"));
    }
    if running {
        return error(
            format_args!("broker {name} is this box, and mosquitto does not listen at {host} port {port}"),
            format_args!(
                "`cloudbox commons broker` prints its configuration; `logread -e mosquitto` says more"
            ),
        );
    }
    error(
        format_args!("broker {name} is this box ({host}), and no mosquitto runs"),
        format_args!(
            "{}; `cloudbox commons broker` prints its configuration",
            match Tool::find("apk") {
                Ok(_) => "`apk add mosquitto-nossl`",
                Err(_) => "`opkg update; opkg install mosquitto-nossl`; on Debian `apt install mosquitto`",
            }
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::super::{OK, WARNING};
    use super::*;

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!((user(true).state, user(false).state), (OK, ERROR));
        assert_eq!((shared("br-commons", "br-lan").state, shared("br-lan", "br-lan").state), (OK, WARNING));
        let broker = Broker { host: "127.0.0.1".into(), ..Broker::new("one") };
        for (answers, running, state, words) in [
            (true, true, OK, "answers on this box"),
            (false, true, ERROR, "does not listen at 127.0.0.1 port 1883"),
            (false, false, ERROR, "mosquitto-nossl"),
        ] {
            let found = judge_broker(&broker, answers, running);
            assert_eq!(found.state, state, "{found:?}");
            assert!(format!("{}; {}", found.message, found.remedy).contains(words), "{found:?}");
        }
    }
}

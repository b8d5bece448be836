//! Which services there are on the network: a look around by mDNS (RFC 6762, RFC 6763), without help of a daemon.
//!
//! It works beside avahi-daemon, with D-Bus and without, beside umdns, and where there is neither.

pub mod browser;
pub mod lookup;
pub mod message;
mod socket;

use crate::error::{quoted, Code, Error, Result};
use socket::Sockets;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long packets are waited for before the next questions are looked at.
const STEP: Duration = Duration::from_millis(25);

/// A service that somebody on the network announces. What its texts say is what a stranger says; they hold no control
/// characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceInstance {
    /// Its type, such as `_http._tcp`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The machine it runs on, such as `web-box.local`; empty when nobody said so in time.
    pub host: String,
    /// That machine's addresses, IPv4 first.
    pub addresses: Vec<IpAddr>,
    /// Its port; 0 when nobody said so in time.
    pub port: u16,
    /// Its strings, such as `path=/wiki`.
    pub txt: Vec<String>,
    /// Whose packet said where it is.
    pub from: Option<IpAddr>,
}

/// Looks for services of type `kind`, such as `_http._tcp`, or of all types, on all networks of the box. It ends after
/// `timeout`, and earlier when there seems to be no more: after 1.8 seconds where all goes well, after 3.6 where nobody
/// answers, after 5 where a thousand services drown each other.
///
/// # Errors
/// [`Code::InvalidArgument`] when `kind` is no type; otherwise when mDNS is not possible, with what is in the way.
pub fn browse(kind: Option<&str>, timeout: Duration) -> Result<Vec<ServiceInstance>> {
    browse_on(kind, timeout, &|_| true)
}

/// The same on the interfaces that are `wanted`, by name. What is known already is said in the questions: nobody hears of it
/// elsewhere.
///
/// # Errors
/// As [`browse`].
pub fn browse_on(
    kind: Option<&str>,
    timeout: Duration,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<Vec<ServiceInstance>> {
    let Some(mut browser) = browser::Browser::new(kind) else {
        return Err(Error::new(
            Code::InvalidArgument,
            format_args!(
                "{} is no type of service; write it like _http._tcp",
                quoted(kind.unwrap_or_default())
            ),
        ));
    };
    let mut sockets = Sockets::open_on(wanted)?;
    let began = Instant::now();
    loop {
        let now = milliseconds(began.elapsed());
        if browser.is_done(now) || now >= milliseconds(timeout) {
            return Ok(browser.found());
        }
        for again in [false, true] {
            for packet in browser.output(again, now) {
                // Nearly everybody hears IPv4. Who does not is asked the second time, when others have no more to say.
                sockets.send(&packet, again)?;
            }
        }
        let until = Instant::now() + STEP.min(timeout.saturating_sub(began.elapsed()));
        sockets.receive(until, &mut |packet, from| {
            browser.input(packet, from, milliseconds(began.elapsed()));
        })?;
    }
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

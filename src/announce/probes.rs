//! Whether the ports of checked services answer: a connection tried now and then, by the loop itself.
//!
//! A port that does not answer is tried often at first and ever more seldom, one that answers is looked at now and then.
//! Nothing is tried for a service that nobody asked to check, nor for a container that does not run.

use crate::model::name::Name;
use litemap::LiteMap;
use nix::errno::Errno;
use nix::sys::socket::sockopt::SocketError;
use nix::sys::socket::{connect, getsockopt, socket, AddressFamily, SockFlag, SockType, SockaddrStorage};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries of a port that does not answer: a sixty-fourth of the time it has been silent.
const SILENT: (Duration, u32, Duration) = (Duration::from_millis(100), 64, Duration::from_secs(30));
/// Between two looks at one that answers: a quarter of the time it has answered.
const ANSWERING: (Duration, u32, Duration) = (Duration::from_secs(2), 4, Duration::from_secs(30));

/// A port of a container.
pub type CheckedPort = (Name, u16);

/// What is known of a port.
#[derive(Debug)]
struct Probe {
    /// None until the first try has ended.
    answers: Option<bool>,
    /// Since when it has been so.
    since: Instant,
    /// When it is tried next, or the present try is over.
    next: Instant,
    /// The try under way.
    trying: Option<OwnedFd>,
    /// Which of the container's addresses is tried.
    turn: usize,
}

impl Probe {
    fn new(now: Instant) -> Probe {
        Probe { answers: None, since: now, next: now, trying: None, turn: 0 }
    }

    /// Takes over the result of a try. Returns whether it says something new.
    fn ended(&mut self, now: Instant, answers: bool) -> bool {
        self.trying = None;
        let new = self.answers != Some(answers);
        // Silence counts from the beginning, also from before the first try.
        if new && (answers || self.answers.is_some()) {
            self.since = now;
        }
        if !answers {
            self.turn = self.turn.wrapping_add(1);
        }
        self.answers = Some(answers);
        self.next = now + pause(now.saturating_duration_since(self.since), answers);
        new
    }
}

/// How long to wait before the next try.
fn pause(so_far: Duration, answers: bool) -> Duration {
    let (least, part, most) = if answers { ANSWERING } else { SILENT };
    (so_far / part).clamp(least, most)
}

/// All ports that are checked.
#[derive(Debug, Default)]
pub struct Probes(LiteMap<CheckedPort, Probe>);

impl Probes {
    /// Checks `ports` from now on, and no others.
    pub fn line_up(&mut self, ports: &[CheckedPort], now: Instant) {
        self.0.retain(|port, _| ports.contains(port));
        for port in ports {
            if !self.0.contains_key(port) {
                self.0.insert(port.clone(), Probe::new(now));
            }
        }
    }

    /// Whether a port answers.
    pub fn answers(&self, port: &CheckedPort) -> bool {
        self.0.get(port).is_some_and(|probe| probe.answers == Some(true))
    }

    /// Whether some port's first try has not ended yet.
    pub fn any_unknown(&self) -> bool {
        self.0.values().any(|probe| probe.answers.is_none())
    }

    /// When [`Probes::handle_time`] has something to do.
    pub fn next_time(&self) -> Option<Instant> {
        self.0.values().map(|probe| probe.next).min()
    }

    /// Begins the tries that are due, and ends those that take too long. `addresses` are a container's. Returns whether
    /// something new is known.
    pub fn handle_time(&mut self, now: Instant, addresses: &dyn Fn(&Name) -> Vec<IpAddr>) -> bool {
        let mut news = false;
        for (port, probe) in self.0.iter_mut().filter(|(_, probe)| probe.next <= now) {
            if probe.trying.is_some() {
                news |= probe.ended(now, false);
                continue;
            }
            let addresses = addresses(&port.0);
            let Some(address) = addresses.get(probe.turn % addresses.len().max(1)) else {
                news |= probe.ended(now, false);
                continue;
            };
            match begin(SocketAddr::new(*address, port.1)) {
                Ok((socket, true)) => {
                    probe.trying = Some(socket);
                    probe.next = now + PATIENCE;
                }
                Ok((_, false)) => news |= probe.ended(now, true),
                Err(_) => news |= probe.ended(now, false),
            }
        }
        news
    }

    /// The connections under way: writable when they have ended.
    pub fn trying(&self) -> impl Iterator<Item = (&CheckedPort, BorrowedFd<'_>)> {
        self.0.iter().filter_map(|(port, probe)| Some((port, probe.trying.as_ref()?.as_fd())))
    }

    /// A try has ended. Returns whether something new is known.
    pub fn handle_ended(&mut self, port: &CheckedPort, now: Instant) -> bool {
        let Some(probe) = self.0.get_mut(port) else { return false };
        let Some(trying) = probe.trying.take() else { return false };
        let answers = matches!(getsockopt(&trying, SocketError), Ok(0));
        probe.ended(now, answers)
    }
}

/// Begins to connect; true while that lasts.
fn begin(to: SocketAddr) -> nix::Result<(OwnedFd, bool)> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(family, SockType::Stream, flags, None)?;
    match connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) => Ok((fd, false)),
        Err(Errno::EINPROGRESS) => Ok((fd, true)),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use std::net::TcpListener;

    fn port_of(listener: &TcpListener) -> CheckedPort {
        (Name::new("web").unwrap(), listener.local_addr().unwrap().port())
    }

    fn local(_: &Name) -> Vec<IpAddr> {
        vec![[127, 0, 0, 1].into()]
    }

    /// Lets one try take place.
    fn try_once(probes: &mut Probes, port: &CheckedPort, now: Instant) -> bool {
        let mut news = probes.handle_time(now, &local);
        let trying: Vec<CheckedPort> = probes.trying().map(|(port, _)| port.clone()).collect();
        for trying in trying {
            let fd = probes.0[port].trying.as_ref().unwrap().as_fd();
            poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::from(5000u16)).unwrap();
            news |= probes.handle_ended(&trying, now);
        }
        news
    }

    #[test]
    fn a_port_is_seen_to_answer_and_to_fall_silent() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = port_of(&listener);
        let (mut probes, now) = (Probes::default(), Instant::now());
        assert_eq!(probes.next_time(), None);
        probes.line_up(std::slice::from_ref(&port), now);
        assert!(probes.any_unknown() && !probes.answers(&port));
        assert!(try_once(&mut probes, &port, now));
        assert!(probes.answers(&port) && !probes.any_unknown());
        let next = probes.next_time().unwrap();
        assert_eq!(next, now + Duration::from_secs(2));
        assert!(!try_once(&mut probes, &port, next), "nothing new");
        drop(listener);
        let next = probes.next_time().unwrap();
        assert!(try_once(&mut probes, &port, next));
        assert!(!probes.answers(&port));
        probes.line_up(&[], now);
        assert_eq!(probes.next_time(), None);
    }

    #[test]
    fn tries_become_seldom() {
        let seconds = Duration::from_secs;
        assert_eq!(pause(seconds(0), false), Duration::from_millis(100));
        assert_eq!(pause(seconds(64), false), seconds(1));
        assert_eq!(pause(seconds(86400), false), seconds(30));
        assert_eq!(pause(seconds(40), true), seconds(10));
        assert_eq!(pause(seconds(86400), true), seconds(30));
    }

    #[test]
    fn a_container_without_an_address_is_silent() {
        let (mut probes, now) = (Probes::default(), Instant::now());
        let port = (Name::new("web").unwrap(), 80);
        probes.line_up(std::slice::from_ref(&port), now);
        assert!(probes.handle_time(now, &|_| Vec::new()));
        assert!(!probes.answers(&port) && !probes.any_unknown());
    }
}

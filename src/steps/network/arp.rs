//! Whether a machine in a bridge's network has an address already: asked by ARP, as RFC 5227 has it.

use super::super::wait::{self, Woken};
use crate::sys;
use log::debug;
use nix::net::if_::if_nametoindex;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long an answer is waited for, since it was asked. A machine on a cable answers within a millisecond; a phone that
/// sleeps hears of it a third of a second later.
const PATIENCE: Duration = Duration::from_millis(500);
/// What was sent a second time is waited for at least so long.
const ONCE_MORE: Duration = Duration::from_millis(50);
/// Most messages that are looked at: others fill the network with them, too.
const MESSAGES_MAX: usize = 4096;

/// Ethernet and IPv4, with addresses of six and of four bytes.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// The length of a message.
const LENGTH: usize = 28;

/// A question that is under way: it goes on while others work.
#[derive(Debug)]
pub struct Question {
    socket: OwnedFd,
    interface: u32,
    address: Ipv4Addr,
    message: [u8; LENGTH],
    asked: Instant,
}

impl Question {
    /// Asks who has `address` in the network of `bridge`; None where that cannot be asked.
    pub fn ask(bridge: &str, address: Ipv4Addr) -> Option<Question> {
        let interface = if_nametoindex(bridge).ok()?;
        let text = fs::read_to_string(Path::new("/sys/class/net").join(bridge).join("address")).ok()?;
        let socket = sys::arp_socket(interface).inspect_err(|e| debug!("no ARP: {e}")).ok()?;
        let question = Question::on(socket, interface, parse_mac(text.trim())?, address);
        question.send();
        Some(question)
    }

    /// The same on a socket that is there, for interface `interface` with the hardware address `mac`.
    pub fn on(socket: OwnedFd, interface: u32, mac: [u8; 6], address: Ipv4Addr) -> Question {
        let mut message = [0; LENGTH];
        message[..6].copy_from_slice(&KIND);
        message[7] = 1;
        message[8..14].copy_from_slice(&mac);
        // Nobody's address as the sender's: it is written into no table.
        message[24..].copy_from_slice(&address.octets());
        Question { socket, interface, address, message, asked: Instant::now() }
    }

    fn send(&self) {
        // Nobody hears it: nobody answers.
        let _ = sys::send_arp(self.socket.as_fd(), self.interface, &self.message);
    }

    /// The hardware address of the machine that has it, if it is not `own`. Waits for the rest of the time that an answer
    /// may take, and asks once more.
    pub fn holder(self, own: &str) -> Option<String> {
        let own = parse_mac(own);
        let found = self.heard(own, Instant::now());
        if found.is_some() {
            return found;
        }
        self.send();
        self.heard(own, (self.asked + PATIENCE).max(Instant::now() + ONCE_MORE))
    }

    fn heard(&self, own: Option<[u8; 6]>, until: Instant) -> Option<String> {
        let mut buffer = [0; 64];
        for _ in 0..MESSAGES_MAX {
            match nix::unistd::read(&self.socket, &mut buffer) {
                Ok(length) => {
                    let holder = sender(buffer.get(..length)?, self.address).filter(|mac| Some(*mac) != own);
                    if let Some(mac) = holder {
                        return Some(mac.map(|byte| format!("{byte:02x}")).join(":"));
                    }
                }
                Err(_) if Instant::now() >= until => return None,
                Err(_) => match wait::readable(self.socket.as_fd(), None, until) {
                    Ok(Woken::Ready) => {}
                    Ok(Woken::Deadline) | Err(_) => return None,
                },
            }
        }
        None
    }
}

/// The hardware address of whoever says in `message` that it has `address`, as an answer or by asking something itself.
fn sender(message: &[u8], address: Ipv4Addr) -> Option<[u8; 6]> {
    let is_arp = message.len() >= LENGTH && message.starts_with(&KIND);
    let mac = message.get(8..14)?.try_into().ok()?;
    (is_arp && message.get(14..18)? == address.octets()).then_some(mac)
}

/// Reads `02:ab:…`.
fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut bytes = text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok());
    let mac = [(); 6].map(|()| bytes.next().flatten());
    let whole = mac.iter().all(Option::is_some) && bytes.next().is_none();
    whole.then(|| mac.map(Option::unwrap_or_default))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    const OWN: &str = "02:00:00:00:00:01";
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);

    fn answer(mac: u8, address: Ipv4Addr) -> Vec<u8> {
        let mut message = [&KIND[..], &[0, 2, 2, 0, 0, 0, 0, mac]].concat();
        message.extend(address.octets());
        message.resize(LENGTH, 0);
        message
    }

    /// Who has it, when the network says this.
    fn holder(said: &[Vec<u8>]) -> Option<String> {
        let (ours, network) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        for message in said {
            network.send(message).unwrap();
        }
        Question::on(ours.into(), 1, [2; 6], ADDRESS).holder(OWN)
    }

    #[test]
    fn who_has_an_address_is_heard_and_nobody_else() {
        let other = Ipv4Addr::new(10, 0, 0, 8);
        let began = Instant::now();
        let taken =
            [answer(7, other), vec![1], Vec::from([0xff; 40]), answer(1, ADDRESS), answer(9, ADDRESS)];
        assert_eq!(holder(&taken).as_deref(), Some("02:00:00:00:00:09"));
        assert!(began.elapsed() < PATIENCE, "an answer ends the wait");
        assert_eq!(holder(&[answer(7, other), answer(1, ADDRESS)]), None, "nobody but the container itself");
    }

    #[test]
    fn a_hardware_address_is_six_bytes() {
        assert_eq!(parse_mac(OWN), Some([2, 0, 0, 0, 0, 1]));
        for text in ["", "02:00", "02:00:00:00:00:01:02", "02:00:00:00:00:0g", "200:0:0:0:0:0"] {
            assert_eq!(parse_mac(text), None, "{text}");
        }
    }
}

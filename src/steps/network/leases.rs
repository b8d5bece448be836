//! What the box's DHCP server has given to whom: dnsmasq's file of leases, where it keeps one.

use super::super::filesystem::read_text;
use crate::error::quoted;
use std::net::Ipv4Addr;
use std::path::Path;

/// Some ten thousand leases.
const MAX: u64 = 1 << 20;

/// Who has a lease of `address` that is not `own`'s, by the file at `path`: a name in quotes, or a hardware address.
pub fn holder(path: &Path, address: Ipv4Addr, own: &str) -> Option<String> {
    holder_in(&read_text(path, MAX).ok()?, address, own)
}

/// A line has the time of its end, a hardware address, an address, the name that its client gave, and more.
fn holder_in(text: &str, address: Ipv4Addr, own: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (mac, leased, name) = (words.next()?, words.next()?, words.next().unwrap_or("*"));
        let is_it = leased.parse() == Ok(address) && !mac.eq_ignore_ascii_case(own);
        is_it.then(|| quoted(if name == "*" { mac } else { name }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_found_by_its_address() {
        let text = "1700000000 aa:bb:cc:dd:ee:01 10.0.0.7 phone 01:aa\n\
                    duid 00:01\n0 AA:BB:cc:dd:ee:02 10.0.0.8 * *\n1700000000 aa:bb:cc:dd:ee:03 10.0.0.9 a\u{1b}b *\n";
        let holder = |last| holder_in(text, Ipv4Addr::new(10, 0, 0, last), "aa:bb:cc:dd:ee:0f");
        assert_eq!(holder(7).as_deref(), Some("\"phone\""));
        assert_eq!(holder(8).as_deref(), Some("\"AA:BB:cc:dd:ee:02\""));
        assert!(!holder(9).unwrap().contains('\u{1b}'));
        assert_eq!(holder(10), None);
        assert_eq!(holder_in(text, Ipv4Addr::new(10, 0, 0, 8), "aa:bb:cc:dd:ee:02"), None, "its own");
    }
}

//! What the box's DHCP servers have given, or promised, to whom: dnsmasq's file of leases, the hosts of
//! `/etc/config/dhcp`, and odhcpd's file of leases, where these are.

use super::super::filesystem::read_text;
use crate::error::quoted;
use openwrt_uci::Package;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// Some ten thousand leases.
const MAX: u64 = 1 << 20;
/// Where odhcpd keeps its leases, unless its section says otherwise.
const ODHCPD: &str = "/tmp/odhcpd.leases";

/// Where it stands who has which address.
#[derive(Debug, Default)]
pub struct Leases {
    /// dnsmasq's file.
    pub dnsmasq: PathBuf,
    /// The configuration of the box's DHCP servers, in UCI.
    pub config: PathBuf,
}

impl Leases {
    /// Who has `address`, or was promised it, and has not the hardware address `own`: a name in quotes, or a hardware
    /// address.
    pub fn holder(&self, address: Ipv4Addr, own: &str) -> Option<String> {
        let leased =
            read_text(&self.dnsmasq, MAX).ok().and_then(|text| leased_by_dnsmasq(&text, address, own));
        leased.or_else(|| {
            let config = Package::parse(read_text(&self.config, MAX).ok()?.as_bytes()).ok()?;
            promised(&config, address, own).or_else(|| {
                let said = config.sections_of("odhcpd").find_map(|section| section.get_str("leasefile"));
                let text = read_text(Path::new(said.unwrap_or(ODHCPD)), MAX).ok()?;
                leased_by_odhcpd(&text, address, own)
            })
        })
    }
}

/// A line has the time of its end, a hardware address, an address, the name that its client gave, and more.
fn leased_by_dnsmasq(text: &str, address: Ipv4Addr, own: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (mac, leased, name) = (words.next()?, words.next()?, words.next().unwrap_or("*"));
        let is_it = leased.parse() == Ok(address) && !mac.eq_ignore_ascii_case(own);
        is_it.then(|| quoted(if name == "*" { mac } else { name }))
    })
}

/// A section `host` has an address, and the hardware addresses of whom it is for: one option, a list, or several in one
/// word.
fn promised(config: &Package, address: Ipv4Addr, own: &str) -> Option<String> {
    config.sections_of("host").find_map(|host| {
        let macs: Vec<&str> = host
            .list("mac")
            .filter_map(|value| value.as_str())
            .flat_map(|value| value.split([' ', ',']))
            .filter(|mac| !mac.is_empty())
            .collect();
        let is_own = macs.iter().any(|mac| mac.eq_ignore_ascii_case(own));
        let is_it = host.get_str("ip").is_some_and(|ip| ip.parse() == Ok(address)) && !is_own;
        is_it.then(|| {
            quoted(host.get_str("name").or(macs.first().copied()).unwrap_or("a host of the DHCP server"))
        })
    })
}

/// A line has a `#`, the interface, the client's identity (for IPv4 its hardware address without colons), a word, its name,
/// three numbers, and its addresses, each with the length of its prefix.
fn leased_by_odhcpd(text: &str, address: Ipv4Addr, own: &str) -> Option<String> {
    let own: String = own.chars().filter(|c| *c != ':').collect();
    text.lines().find_map(|line| {
        let words: Vec<&str> = line.strip_prefix('#')?.split_ascii_whitespace().collect();
        let (_, [client, _, name, _, _, _, addresses @ ..]) = words.split_first()? else { return None };
        let of = |word: &&str| word.split('/').next().and_then(|ip| ip.parse().ok()) == Some(address);
        let is_it = addresses.iter().any(of) && !client.eq_ignore_ascii_case(&own);
        is_it.then(|| quoted(if *name == "-" { client } else { name }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_found_by_its_address() {
        let text = "1700000000 aa:bb:cc:dd:ee:01 10.0.0.7 phone 01:aa\n\
                    duid 00:01\n0 AA:BB:cc:dd:ee:02 10.0.0.8 * *\n1700000000 aa:bb:cc:dd:ee:03 10.0.0.9 a\u{1b}b *\n";
        let holder = |last| leased_by_dnsmasq(text, Ipv4Addr::new(10, 0, 0, last), "aa:bb:cc:dd:ee:0f");
        assert_eq!(holder(7).as_deref(), Some("\"phone\""));
        assert_eq!(holder(8).as_deref(), Some("\"AA:BB:cc:dd:ee:02\""));
        assert!(!holder(9).unwrap().contains('\u{1b}'));
        assert_eq!(holder(10), None);
        assert_eq!(leased_by_dnsmasq(text, Ipv4Addr::new(10, 0, 0, 8), "aa:bb:cc:dd:ee:02"), None, "its own");
    }

    #[test]
    fn an_address_that_is_promised_to_another_is_found() {
        let text =
            "config host\n\toption name 'printer'\n\toption mac 'aa:bb:cc:dd:ee:01 aa:bb:cc:dd:ee:02'\n\
                    \toption ip '10.0.0.7'\n\
                    config host\n\tlist mac 'AA:BB:CC:DD:EE:03'\n\toption ip '10.0.0.8'\n\
                    config host\n\toption duid '01'\n\toption ip '10.0.0.9'\n\
                    config host\n\toption ip 'ignore'\n\
                    config domain\n\toption name 'x'\n\toption ip '10.0.0.10'\n";
        let config = Package::parse(text.as_bytes()).unwrap();
        let holder = |last, own: &str| promised(&config, Ipv4Addr::new(10, 0, 0, last), own);
        let other = "aa:bb:cc:dd:ee:0f";
        assert_eq!(holder(7, other).as_deref(), Some("\"printer\""));
        assert_eq!(holder(7, "aa:bb:cc:dd:ee:02"), None, "its own");
        assert_eq!(holder(8, other).as_deref(), Some("\"AA:BB:CC:DD:EE:03\""));
        assert_eq!(holder(8, "aa:bb:cc:dd:ee:03"), None, "its own");
        assert_eq!(holder(9, other).as_deref(), Some("\"a host of the DHCP server\""));
        assert_eq!(holder(10, other), None, "a name is no promise");
    }

    #[test]
    fn a_lease_of_odhcpd_is_found() {
        let text = "# br-lan aabbccddee01 ipv4 phone 1700000000 0 32 10.0.0.7/32\n\
                    # br-lan 00010001 2 laptop 1700000000 0 64 fd00::1/128 10.0.0.8/32\n\
                    10.0.0.9 comment\n# br-lan short\n#\n";
        let holder = |last, own| leased_by_odhcpd(text, Ipv4Addr::new(10, 0, 0, last), own);
        assert_eq!(holder(7, "aa:bb:cc:dd:ee:0f").as_deref(), Some("\"phone\""));
        assert_eq!(holder(7, "AA:bb:cc:dd:ee:01"), None, "its own");
        assert_eq!(holder(8, "aa:bb:cc:dd:ee:0f").as_deref(), Some("\"laptop\""));
        assert_eq!(holder(9, "aa:bb:cc:dd:ee:0f"), None);
    }

    #[test]
    fn all_three_are_asked() {
        let dir = crate::testing::TempDir::make();
        let file = |name: &str| dir.path().join(name);
        let odhcpd = file("odhcpd");
        std::fs::write(file("dnsmasq"), "1 aa:bb:cc:dd:ee:01 10.0.0.7 phone *\n").unwrap();
        let config = format!(
            "config host\n\toption name 'tv'\n\toption ip '10.0.0.8'\nconfig odhcpd\n\toption leasefile '{}'\n",
            odhcpd.display()
        );
        std::fs::write(file("dhcp"), config).unwrap();
        std::fs::write(odhcpd, "# br-lan aabbccddee01 ipv4 - 1 0 32 10.0.0.9/32\n").unwrap();
        let leases = Leases { dnsmasq: file("dnsmasq"), config: file("dhcp") };
        let holder = |last| leases.holder(Ipv4Addr::new(10, 0, 0, last), "aa:bb:cc:dd:ee:0f");
        assert_eq!([7, 8, 9].map(holder).map(Option::unwrap), ["\"phone\"", "\"tv\"", "\"aabbccddee01\""]);
        assert_eq!(holder(10), None);
        assert_eq!(Leases::default().holder(Ipv4Addr::LOCALHOST, ""), None);
    }
}

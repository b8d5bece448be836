//! A service of a container: what a `service` section, a `publish` call or an image's manifest says, checked.
//!
//! Limits are DNS-SD's (RFC 6763, RFC 6335) and avahi's: a service type is `_name._tcp` with 2 to 15 characters in the
//! name, of which avahi 0.8 refuses one alone; an instance's name has at most 63 bytes, a TXT record at most 255, and all
//! of them together must fit one packet.

use super::name::Name;
use super::spec::invalid;
use crate::error::Result;

/// The longest name of a service, in bytes.
pub const NAME_MAX: usize = 63;
/// The longest TXT record, in bytes.
const RECORD_MAX: usize = 255;
/// The most bytes of all TXT records: beyond that avahi says "established" and sends nothing.
const TXT_MAX: usize = 1300;
/// How many characters the name of a protocol in a type has.
const PROTOCOL: std::ops::RangeInclusive<usize> = 2..=15;

/// Over which family of addresses a service is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Any,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

impl Family {
    /// As UCI, the bus and avahi write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Any => "any",
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

/// A service, wherever it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The name people see; None: made from the container's and the box's.
    pub name: Option<String>,
    /// DNS-SD type, such as `_http._tcp`.
    pub kind: String,
    /// The TCP or UDP port it listens on.
    pub port: u16,
    /// TXT records, such as `path=/wiki`.
    pub txt: Vec<String>,
    /// Over which of IPv4 and IPv6 it is announced.
    pub family: Family,
    /// Announced only while its TCP port answers.
    pub check: bool,
}

/// A `service` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredService {
    /// Its section's name.
    pub id: String,
    /// The container it runs in.
    pub container: Name,
    /// Off: what the image offers of this type and port is not announced.
    pub enabled: bool,
    /// The service that the section describes.
    pub service: Service,
}

/// What is said of a service before it is checked: one value per UCI option; `publish` fills the same fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServiceOptions {
    /// `option container`
    pub container: Option<String>,
    /// `option name`
    pub name: Option<String>,
    /// `option type`
    pub kind: Option<String>,
    /// `option port`
    pub port: Option<String>,
    /// `list txt`
    pub txt: Vec<String>,
    /// `option protocol`
    pub protocol: Option<String>,
    /// `option check`
    pub check: Option<String>,
    /// `option enabled`
    pub enabled: Option<String>,
}

impl ServiceOptions {
    /// A service of a container as one line says it: type, port, and what people see, if it is said:
    /// `_http._tcp 80 Our wiki`. Nothing is checked yet.
    pub fn of_line(container: &Name, line: &str) -> ServiceOptions {
        let (kind, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        let (port, name) = rest.trim().split_once(char::is_whitespace).unwrap_or((rest.trim(), ""));
        ServiceOptions {
            container: Some(container.to_string()),
            kind: Some(kind.to_string()),
            port: Some(port.to_string()),
            name: Some(name.trim().to_string()).filter(|name| !name.is_empty()),
            ..ServiceOptions::default()
        }
    }

    /// The options that were said, with their values, as they are written to UCI.
    pub fn options(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("container", &self.container),
            ("name", &self.name),
            ("type", &self.kind),
            ("port", &self.port),
            ("protocol", &self.protocol),
            ("check", &self.check),
            ("enabled", &self.enabled),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect()
    }

    /// Checks every value. `id` is the section's name.
    ///
    /// # Errors
    /// The first wrong value, by its option's name.
    pub fn resolve(&self, id: &str) -> Result<DeclaredService> {
        let container = match self.container.as_deref() {
            Some(text) => Name::new(text).map_err(|error| error.about("container"))?,
            None => return Err(invalid("container", "", "say which container the service runs in")),
        };
        let kind = parse_kind(self.kind.as_deref().unwrap_or(""))?;
        let check = match self.check.as_deref() {
            None => kind.ends_with("_tcp"),
            Some("none") => false,
            Some("tcp") if kind.ends_with("_tcp") => true,
            Some(text @ "tcp") => {
                return Err(invalid("check", text, "a UDP service cannot be checked; write none"))
            }
            Some(text) => return Err(invalid("check", text, "write tcp or none")),
        };
        let service = Service {
            name: self.name.as_deref().map(parse_name).transpose()?,
            port: parse_port(self.port.as_deref().unwrap_or(""))?,
            txt: parse_txt(&self.txt)?,
            family: self.protocol.as_deref().map_or(Ok(Family::Any), parse_family)?,
            kind,
            check,
        };
        let enabled = self.enabled.as_deref().map_or(Ok(true), |t| super::spec::parse_bool("enabled", t))?;
        Ok(DeclaredService { id: id.to_string(), container, enabled, service })
    }
}

/// The section of a service that is published or offered by an image: `web_http_80`.
pub fn section_name(container: &Name, kind: &str, port: u16) -> String {
    let protocol: String = kind.split('.').next().unwrap_or_default().to_string();
    let (transport, name) = (if kind.ends_with("_udp") { "_udp" } else { "" }, protocol.replace('-', "_"));
    container.uci_section() + &name + transport + "_" + &port.to_string()
}

/// Checks a DNS-SD type.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`].
pub fn parse_kind(text: &str) -> Result<String> {
    let bad = |why: &str| Err(invalid("type", text, why));
    let Some((protocol, transport)) = text.strip_prefix('_').and_then(|rest| rest.split_once('.')) else {
        return bad("write it as _http._tcp");
    };
    if transport != "_tcp" && transport != "_udp" {
        return bad("it must end in ._tcp or ._udp");
    }
    if !PROTOCOL.contains(&protocol.len()) {
        return bad("2 to 15 characters stand between the first '_' and the '.'");
    }
    let plain = protocol.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let hyphens = protocol.starts_with('-') || protocol.ends_with('-') || protocol.contains("--");
    if !plain || hyphens || !protocol.bytes().any(|b| b.is_ascii_alphabetic()) {
        return bad("use letters, digits and single hyphens inside, one letter at least");
    }
    Ok(text.to_ascii_lowercase())
}

/// Checks a type that is looked for: that of [`parse_kind`], or a part of it, `_printer._sub._http._tcp`.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`].
pub fn parse_kind_or_part(text: &str) -> Result<String> {
    let Some((part, kind)) = text.split_once("._sub.") else { return parse_kind(text) };
    if !(1..=63).contains(&part.len()) || part.bytes().any(|b| b == b'.' || b.is_ascii_control()) {
        return Err(invalid("type", text, "write a part of a type as _printer._sub._http._tcp"));
    }
    Ok(part.to_string() + "._sub." + &parse_kind(kind)?)
}

/// Checks a name people see.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`].
pub fn parse_name(text: &str) -> Result<String> {
    if text.is_empty() || text.len() > NAME_MAX {
        return Err(invalid("name", text, "a service's name has 1 to 63 bytes"));
    }
    if text.chars().any(|c| !is_text(c)) {
        return Err(invalid("name", text, "write one line of text without control characters"));
    }
    Ok(text.to_string())
}

/// Checks a port.
///
/// # Errors
/// [`crate::error::Code::InvalidArgument`].
pub fn parse_port(text: &str) -> Result<u16> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(invalid("port", text, "write a number from 1 to 65535")),
    }
}

fn parse_txt(records: &[String]) -> Result<Vec<String>> {
    for record in records {
        if record.is_empty() || record.len() > RECORD_MAX {
            return Err(invalid("txt", record, "a record has 1 to 255 bytes"));
        }
        if record.starts_with('=') || !record.chars().all(is_text) {
            return Err(invalid("txt", record, "write key=value, without control characters"));
        }
    }
    // Each record has its length before it.
    let bytes: usize = records.iter().map(|record| record.len() + 1).sum();
    if bytes > TXT_MAX {
        let why = "all records of a service together may have 1300 bytes, each with one for its length";
        return Err(invalid("txt", &bytes.to_string(), why));
    }
    Ok(records.to_vec())
}

fn parse_family(text: &str) -> Result<Family> {
    let all = [Family::Any, Family::Ipv4, Family::Ipv6];
    let found = all.into_iter().find(|family| family.as_str() == text);
    found.ok_or_else(|| invalid("protocol", text, "write any, ipv4 or ipv6"))
}

/// Whether XML 1.0 and a line of text can hold it.
fn is_text(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn asked(kind: &str, port: &str) -> ServiceOptions {
        ServiceOptions {
            container: Some("web".into()),
            kind: Some(kind.into()),
            port: Some(port.into()),
            ..ServiceOptions::default()
        }
    }

    #[test]
    fn types() {
        for good in
            ["_http._tcp", "_tahoe-lafs._tcp", "_snpservice._tcp", "_proxy3._tcp", "_aa._udp", "_HTTP._tcp"]
        {
            assert_eq!(parse_kind(good).unwrap(), good.to_ascii_lowercase());
            assert_eq!(parse_kind_or_part(good).unwrap(), good.to_ascii_lowercase());
            let part = format!("_Printer._sub.{good}");
            assert_eq!(
                parse_kind_or_part(&part).unwrap(),
                format!("_Printer._sub.{}", good.to_ascii_lowercase())
            );
            assert!(parse_kind(&part).is_err(), "nothing is announced as that");
        }
        for bad in [
            "",
            "http",
            "_http",
            "_http._sctp",
            "_a._sctp",
            "_a._tcp",
            "_toolongservicename._tcp",
            "_._tcp",
            "_-a._tcp",
            "_a-._tcp",
            "_a--b._tcp",
            "_80._tcp",
            "_a b._tcp",
            "_a.b._tcp",
            "_ü._tcp",
            "_a._tcp.",
            "_a._tcp\n",
            "._sub._http._tcp",
            "_a.b._sub._http._tcp",
            "_a._sub._http",
        ] {
            assert_eq!(parse_kind(bad).unwrap_err().code, Code::InvalidArgument, "{bad:?}");
            assert_eq!(parse_kind_or_part(bad).unwrap_err().code, Code::InvalidArgument, "{bad:?}");
        }
    }

    #[test]
    fn ports() {
        for bad in ["", "0", "65536", "abc", "-1", "80 ", "+"] {
            assert!(parse_port(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_port("65535").unwrap(), 65535);
    }

    #[test]
    fn names() {
        for good in ["Neighbourhood wiki", "a < b & c > d", "Xarxa oberta – ñ", &"x".repeat(63)] {
            assert_eq!(parse_name(good).unwrap(), good);
        }
        for bad in ["", "a\nb", "a\0", "\u{7f}", "\u{fffe}", &"x".repeat(64), &"ü".repeat(32)] {
            assert!(parse_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn txt_records_fit_a_packet() {
        let with =
            |txt: &[String]| ServiceOptions { txt: txt.to_vec(), ..asked("_http._tcp", "80") }.resolve("x");
        assert!(with(&["x".repeat(255)]).is_ok());
        assert!(with(&["x".repeat(256)]).is_err());
        let full: Vec<String> = (0..5).map(|_| "x".repeat(255)).chain(["y".repeat(19)]).collect();
        assert!(with(&full).is_ok());
        let over: Vec<String> = (0..5).map(|_| "x".repeat(255)).chain(["y".repeat(20)]).collect();
        assert!(with(&over).unwrap_err().message.contains("1301"));
        for bad in ["", "=x", "a\nb"] {
            assert!(with(&[bad.into()]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_not_said_has_a_default_and_what_is_wrong_is_named() {
        let declared = asked("_http._tcp", "80").resolve("s").unwrap();
        assert!(declared.enabled && declared.service.check);
        assert_eq!((declared.service.name, declared.service.family), (None, Family::Any));
        assert!(!asked("_sip._udp", "5060").resolve("s").unwrap().service.check);
        let wrong = [
            ServiceOptions { container: None, ..asked("_http._tcp", "80") },
            ServiceOptions { container: Some("Web".into()), ..asked("_http._tcp", "80") },
            ServiceOptions { kind: None, ..asked("_http._tcp", "80") },
            ServiceOptions { port: None, ..asked("_http._tcp", "80") },
            ServiceOptions { protocol: Some("ipx".into()), ..asked("_http._tcp", "80") },
            ServiceOptions { check: Some("http".into()), ..asked("_http._tcp", "80") },
            ServiceOptions { check: Some("tcp".into()), ..asked("_sip._udp", "80") },
            ServiceOptions { enabled: Some("perhaps".into()), ..asked("_http._tcp", "80") },
        ];
        for asked in wrong {
            assert!(asked.resolve("s").is_err(), "{asked:?}");
        }
    }

    #[test]
    fn a_service_has_one_section_name() {
        let name = Name::new("my-web").unwrap();
        assert_eq!(section_name(&name, "_tahoe-lafs._tcp", 8097), "my_web_tahoe_lafs_8097");
        assert_eq!(section_name(&name, "_dns._udp", 53), "my_web_dns_udp_53");
    }
}

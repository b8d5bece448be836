//! DNS messages as mDNS has them (RFC 1035 section 4, RFC 6762 section 18): records are read, questions are written.
//!
//! What is read comes from anybody on the network. Whatever is wrong with a message, it is refused as a whole; a name
//! may only point backwards, so that reading it ends.

use std::cmp::Ordering;
use std::net::IpAddr;

/// Type of a record: an IPv4 address.
pub const A: u16 = 1;
/// Type of a record: a name, such as that of a service of this type.
pub const PTR: u16 = 12;
/// Type of a record: a service's strings.
pub const TXT: u16 = 16;
/// Type of a record: an IPv6 address.
pub const AAAA: u16 = 28;
/// Type of a record: a service's host and port.
pub const SRV: u16 = 33;

/// The internet's class. Its highest bit is mDNS's own, see [`FLUSH`].
const IN: u16 = 1;
/// In a record's class: whoever said this record before now says it anew.
const FLUSH: u16 = 0x8000;
/// In a header's flags: this is a response.
const RESPONSE: u16 = 0x8000;
/// In a header's flags: what must be zero in mDNS, the operation and the error.
const ZERO: u16 = 0x780f;
/// In the first byte of a header's flags: more known answers follow.
const TRUNCATED: u8 = 2;

const HEADER: usize = 12;
/// The longest name, with a length before each label and the zero behind the last.
const NAME_MAX: usize = 255;
const LABEL_MAX: usize = 63;
/// More labels than this do not fit a name, and a pointer without a label is nothing that anybody writes.
const POINTERS_MAX: usize = 127;
/// What is put into one packet: with its headers it fits an Ethernet frame, and one of PPPoE.
const PACKET_MAX: usize = 1400;

/// A domain name: its labels, each behind its length. A label may hold any bytes, dots too. `Web` is `web`.
#[derive(Debug, Clone)]
pub struct Name(Box<[u8]>);

impl Name {
    /// The name of these labels, if there is such a name.
    pub fn new<'a>(labels: impl Iterator<Item = &'a str>) -> Option<Name> {
        let mut wire = Vec::new();
        for label in labels {
            let length =
                u8::try_from(label.len()).ok().filter(|n| (1..=LABEL_MAX).contains(&usize::from(*n)))?;
            wire.push(length);
            wire.extend_from_slice(label.as_bytes());
        }
        (wire.len() < NAME_MAX).then(|| Name(wire.into()))
    }

    /// Its labels, each behind its length.
    pub fn wire(&self) -> &[u8] {
        &self.0
    }

    /// Its first label.
    pub fn label(&self) -> &[u8] {
        labels(&self.0).next().unwrap_or_default()
    }

    /// What is behind the first label, as [`Name::wire`].
    pub fn parent(&self) -> &[u8] {
        split(&self.0).1
    }

    /// Where this stands, in the order of names, against those with this parent.
    pub fn cmp_parent(&self, parent: &Name) -> Ordering {
        by_alphabet(self.parent(), &parent.0)
    }
}

/// The labels of `wire`.
pub fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (label, rest) = split(wire);
        wire = rest;
        label.get(1..)
    })
}

/// The first label of `wire` with its length, and the rest.
fn split(wire: &[u8]) -> (&[u8], &[u8]) {
    let length = wire.first().map_or(0, |n| usize::from(*n) + 1);
    wire.split_at_checked(length).unwrap_or((wire, &[]))
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        // No length is a letter.
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Name {}

impl Ord for Name {
    /// By parent, then by label: the services of one type stand together.
    fn cmp(&self, other: &Name) -> Ordering {
        let ((label, parent), (other_label, other_parent)) = (split(&self.0), split(&other.0));
        by_alphabet(parent, other_parent).then_with(|| by_alphabet(label, other_label))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Name) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The first length counts last: `_http` stands before `_ssh`.
fn by_alphabet(a: &[u8], b: &[u8]) -> Ordering {
    folded(a).cmp(folded(b))
}

fn folded(wire: &[u8]) -> impl Iterator<Item = u8> + '_ {
    wire.iter().skip(1).chain(wire.first()).map(u8::to_ascii_lowercase)
}

/// A resource record: something that is said of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The name it is about.
    pub name: Name,
    /// For how many seconds it holds; 0: it holds no more.
    pub ttl: u32,
    /// What its sender said of this kind before holds no more.
    pub flush: bool,
    /// What it says.
    pub data: Data<'a>,
}

/// What a record says. Records of other types are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data<'a> {
    /// [`PTR`]
    Pointer(Name),
    /// [`SRV`]; mDNS uses neither its priority nor its weight.
    Service {
        /// Where it listens.
        port: u16,
        /// The machine's name.
        host: Name,
    },
    /// [`TXT`]: strings, each behind its length.
    Text(&'a [u8]),
    /// [`A`] or [`AAAA`]
    Address(IpAddr),
}

/// Whether a packet is a response, not a question of somebody else.
pub fn is_response(packet: &[u8]) -> bool {
    Reader { packet, at: 2 }.u16().is_some_and(|flags| flags & (RESPONSE | ZERO) == RESPONSE)
}

/// The records of a packet, in its order.
pub fn records(packet: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut reader = Reader { packet, at: 4 };
    let questions = reader.u16()?;
    let mut counted = 0;
    for _ in 0..3 {
        counted += u32::from(reader.u16()?);
    }
    for _ in 0..questions {
        reader.question()?;
    }
    let mut records = Vec::new();
    for _ in 0..counted {
        records.extend(reader.record()?);
    }
    Some(records)
}

/// The questions of a packet: their names and types. For those who answer: tests.
pub fn questions(packet: &[u8]) -> Option<Vec<(Name, u16)>> {
    let mut reader = Reader { packet, at: 4 };
    let count = reader.u16()?;
    reader.at = HEADER;
    (0..count).map(|_| reader.question()).collect()
}

struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.packet.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn name(&mut self) -> Option<Name> {
        let mut wire = Vec::new();
        // Where the labels that are read began: a pointer leads in front of them.
        let mut began = self.at;
        let mut behind = None;
        let mut pointers = 0;
        loop {
            let length = usize::from(self.take(1)?[0]);
            match length {
                0 => break,
                1..=LABEL_MAX => {
                    self.at -= 1;
                    wire.extend_from_slice(self.take(1 + length)?);
                    if wire.len() >= NAME_MAX {
                        return None;
                    }
                }
                0xc0.. => {
                    let to = (length & 0x3f) << 8 | usize::from(self.take(1)?[0]);
                    pointers += 1;
                    if to < HEADER || to >= began || pointers > POINTERS_MAX {
                        return None;
                    }
                    behind = behind.or(Some(self.at));
                    (self.at, began) = (to, to);
                }
                _ => return None,
            }
        }
        self.at = behind.unwrap_or(self.at);
        Some(Name(wire.into()))
    }

    fn question(&mut self) -> Option<(Name, u16)> {
        let question = (self.name()?, self.u16()?);
        self.u16()?;
        Some(question)
    }

    /// The next record; none inside when it is of no interest.
    fn record(&mut self) -> Option<Option<Record<'a>>> {
        let name = self.name()?;
        let (kind, class, ttl, length) = (self.u16()?, self.u16()?, self.u32()?, self.u16()?);
        let start = self.at;
        let bytes = self.take(usize::from(length))?;
        let end = self.at;
        if class & !FLUSH != IN {
            return Some(None);
        }
        let data = match kind {
            A => Data::Address(<[u8; 4]>::try_from(bytes).ok()?.into()),
            AAAA => Data::Address(<[u8; 16]>::try_from(bytes).ok()?.into()),
            TXT => Data::Text(bytes),
            PTR => {
                self.at = start;
                Data::Pointer(self.name()?)
            }
            SRV => {
                self.at = start + 4;
                Data::Service { port: self.u16()?, host: self.name()? }
            }
            _ => return Some(None),
        };
        let flush = class & FLUSH != 0;
        (self.at == end).then_some(Some(Record { name, ttl, flush, data }))
    }
}

/// Questions with the answers that are known already, in as many packets as it takes.
#[derive(Default)]
pub struct Query {
    packets: Vec<Vec<u8>>,
    /// The last name of which at least one label was written out in the last packet, and where.
    last: Option<(Name, usize)>,
}

impl Query {
    /// Asks for `name`'s records of this type. All questions come before the known answers.
    pub fn question(&mut self, name: &Name, kind: u16) {
        self.open(name.0.len() + 5);
        self.put_name(name);
        self.put(&kind.to_be_bytes());
        self.put(&IN.to_be_bytes());
        self.count(5);
    }

    /// Says that `target` is known to be a pointer of `name`: nobody needs to repeat it.
    pub fn known(&mut self, name: &Name, ttl: u32, target: &Name) {
        let packets = self.packets.len();
        self.open(name.0.len() + target.0.len() + 12);
        if let (true, Some(before)) = (self.packets.len() > packets, self.packets.iter_mut().nth_back(1)) {
            before[2] |= TRUNCATED;
        }
        self.put_name(name);
        self.put(&PTR.to_be_bytes());
        self.put(&IN.to_be_bytes());
        self.put(&ttl.to_be_bytes());
        self.put(&[0, 0]);
        let start = self.length();
        self.put_name(target);
        let length = (self.length() - start) as u16;
        if let Some(packet) = self.packets.last_mut() {
            packet[start - 2..start].copy_from_slice(&length.to_be_bytes());
        }
        self.count(7);
    }

    /// The packets to send, in order.
    pub fn packets(self) -> Vec<Vec<u8>> {
        self.packets
    }

    /// Sees to it that the last packet has room for so many bytes.
    fn open(&mut self, length: usize) {
        if self.packets.is_empty() || self.length() + length > PACKET_MAX {
            self.packets.push(vec![0; HEADER]);
            self.last = None;
        }
    }

    fn length(&self) -> usize {
        self.packets.last().map_or(0, Vec::len)
    }

    fn put(&mut self, bytes: &[u8]) {
        if let Some(packet) = self.packets.last_mut() {
            packet.extend_from_slice(bytes);
        }
    }

    /// Writes `name`, and instead of an end that it has in common with the last one, where that stands.
    fn put_name(&mut self, name: &Name) {
        let here = self.length();
        let mut rest = name.wire();
        let mut pointer = None;
        while !rest.is_empty() {
            pointer = self.last.as_ref().and_then(|(last, at)| match last {
                last if last.wire() == rest => Some(*at),
                last if last.parent() == rest => Some(*at + 1 + last.label().len()),
                _ => None,
            });
            if pointer.is_some() {
                break;
            }
            let (label, behind) = split(rest);
            self.put(label);
            rest = behind;
        }
        match pointer {
            Some(at) => self.put(&(0xc000 | at as u16).to_be_bytes()),
            None => self.put(&[0]),
        }
        if self.length() > here + 2 {
            self.last = Some((name.clone(), here));
        }
    }

    /// Adds one to the number in the last packet's header whose lower byte stands there.
    fn count(&mut self, at: usize) {
        if let Some(packet) = self.packets.last_mut() {
            packet[at] += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What avahi-daemon 0.8 sent.
    const TYPES: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-types");
    const SERVICE: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-service");
    const GOODBYE: &[u8] = include_bytes!("../../fuzz/corpus/mdns_message/avahi-goodbye");

    fn name(text: &str) -> Name {
        Name::new(text.split('.')).unwrap()
    }

    /// A header with so many questions and records in front of `body`.
    fn packet(questions: u8, records: u8, body: &[u8]) -> Vec<u8> {
        let mut packet = vec![0, 0, 0x84, 0, 0, questions, 0, records, 0, 0, 0, 0];
        packet.extend_from_slice(body);
        packet
    }

    #[test]
    fn what_avahi_sends() {
        let types = records(TYPES).unwrap();
        let data = Data::Pointer(name("_http._tcp.local"));
        let name_of_types = name("_services._dns-sd._udp.local");
        assert_eq!(types, [Record { name: name_of_types, ttl: 4500, flush: false, data }]);

        let kind = name("_http._tcp.local");
        let wiki = Name::new(["Zoë's wiki. <1> & more", "_http", "_tcp", "local"].into_iter()).unwrap();
        let far = || name("far.local");
        let record = |name: &Name, ttl, flush, data| Record { name: name.clone(), ttl, flush, data };
        let expected = [
            record(&kind, 4500, false, Data::Pointer(wiki.clone())),
            record(&wiki, 4500, true, Data::Text(b"\x0apath=/wiki\x0dFederated=Yes")),
            record(&wiki, 120, true, Data::Service { port: 8080, host: far() }),
            record(&far(), 120, true, Data::Address("fe80::c839:22ff:fe7d:1d61".parse().unwrap())),
            record(&far(), 120, true, Data::Address("10.77.0.2".parse().unwrap())),
        ];
        assert_eq!(records(SERVICE).unwrap(), expected);
        assert!(is_response(SERVICE));

        let goodbye = records(GOODBYE).unwrap();
        assert_eq!(goodbye.len(), 6);
        assert!(goodbye.iter().all(|record| record.ttl == 0));
        assert_eq!(goodbye[2].data, Data::Pointer(wiki));
    }

    #[test]
    fn a_part_of_a_packet_is_refused() {
        for whole in [TYPES, SERVICE, GOODBYE] {
            for length in 0..whole.len() {
                assert_eq!(records(&whole[..length]), None, "{length} bytes");
            }
        }
    }

    #[test]
    fn what_is_no_response_of_mdns_is_told_apart() {
        let with = |flags: u16| {
            let mut packet = TYPES.to_vec();
            packet[2..4].copy_from_slice(&flags.to_be_bytes());
            is_response(&packet)
        };
        let cases = [
            (0x8400, true),
            (0x8000, true),
            (0x8600, true),
            (0x0000, false),
            (0x0400, false),
            (0x8c00, false),
            (0x8403, false),
        ];
        for (flags, expected) in cases {
            assert_eq!(with(flags), expected, "{flags:x}");
        }
        assert!(!is_response(&[0, 0, 0x84]));
    }

    /// What it is, a packet, where a name begins in it, and the name.
    type Case<'a> = (&'a str, Vec<u8>, usize, Option<&'a [u8]>);

    #[test]
    fn names_that_are_read() {
        let long_label = [&[63][..], &[b'x'; 63]].concat();
        let four_long = long_label.repeat(4);
        let mut pointers = vec![0; HEADER];
        pointers.extend_from_slice(&[1, b'a', 0]);
        for i in 0..200u16 {
            let to = if i == 0 { 12 } else { 13 + 2 * i };
            pointers.extend_from_slice(&(0xc000 | to).to_be_bytes());
        }
        let with_header = |bytes: &[u8]| [&[0; HEADER][..], bytes].concat();
        let cases: [Case; 21] = [
            ("the root", with_header(b"\0"), 12, Some(b"")),
            ("labels", with_header(b"\x01a\x02bc\0"), 12, Some(b"\x01a\x02bc")),
            ("a pointer", with_header(b"\x01a\0\x01b\xc0\x0c"), 15, Some(b"\x01b\x01a")),
            ("only a pointer", with_header(b"\x01a\0\xc0\x0c"), 15, Some(b"\x01a")),
            ("a pointer to a pointer", pointers.clone(), 15 + 2 * 5, Some(b"\x01a")),
            ("a dot in a label", with_header(b"\x03a.b\0"), 12, Some(b"\x03a.b")),
            ("255 bytes", with_header(&[&four_long[..64 * 3], &[61], &[b'y'; 61], &[0]].concat()), 12, None),
            ("no end", with_header(b"\x01a"), 12, None),
            ("nothing", with_header(b""), 12, None),
            ("a label of which half is there", with_header(b"\x05ab"), 12, None),
            ("a pointer to itself", with_header(b"\xc0\x0c"), 12, None),
            ("a pointer forwards", with_header(b"\xc0\x0e\x01a\0"), 12, None),
            ("a pointer to its own labels", with_header(b"\x01a\xc0\x0c"), 12, None),
            ("a pointer into its own label", with_header(b"\x02\x01a\xc0\x0d"), 12, None),
            ("two pointers round and round", with_header(b"\xc0\x0e\xc0\x0c"), 14, None),
            ("a pointer into the header", with_header(b"\xc0\x04"), 12, None),
            ("half a pointer", with_header(b"\x01a\0\xc0"), 15, None),
            ("200 pointers", pointers, 15 + 2 * 199, None),
            ("a label of 64", with_header(&[&[64], &[b'x'; 64][..], &[0]].concat()), 12, None),
            ("a label of another kind", with_header(&[0x80, 0]), 12, None),
            ("256 bytes", with_header(&[&four_long[..], &[0]].concat()), 12, None),
        ];
        for (what, packet, at, expected) in cases {
            let read = Reader { packet: &packet, at }.name();
            match what {
                "255 bytes" => assert_eq!(read.map(|n| n.wire().len()), Some(254)),
                _ => assert_eq!(read.as_ref().map(Name::wire), expected, "{what}"),
            }
        }
    }

    #[test]
    fn records_that_are_wrong_refuse_the_packet_and_others_are_passed_over() {
        let record = |kind: u8, class: &[u8; 2], length: u8, data: &[u8]| {
            let head = [1, b'a', 0, 0, kind, class[0], class[1], 0, 0, 0, 120, 0, length];
            packet(0, 1, &[&head, data].concat())
        };
        let count = |packet: &[u8]| records(packet).map(|records| records.len());
        let cases = [
            ("an address", record(1, b"\0\x01", 4, &[1, 2, 3, 4]), Some(1)),
            ("with the flush bit", record(1, b"\x80\x01", 4, &[1, 2, 3, 4]), Some(1)),
            ("of another class", record(1, b"\0\x03", 4, &[1, 2, 3, 4]), Some(0)),
            ("of another class, too short", record(1, b"\0\x03", 4, &[1, 2, 3]), None),
            ("NSEC", record(47, b"\x80\x01", 4, &[0xc0, 0x0c, 0, 0]), Some(0)),
            ("an address too short", record(1, b"\0\x01", 3, &[1, 2, 3]), None),
            ("an address too long", record(28, b"\0\x01", 17, &[0; 17]), None),
            ("a pointer", record(12, b"\0\x01", 2, &[0xc0, 0x0c]), Some(1)),
            ("a pointer with more behind", record(12, b"\0\x01", 3, &[0xc0, 0x0c, 0]), None),
            ("a pointer that goes on behind its end", record(12, b"\0\x01", 2, &[1, b'a', 0]), None),
            ("an empty pointer", record(12, b"\0\x01", 0, &[]), None),
            ("a service", record(33, b"\0\x01", 8, &[0, 0, 0, 0, 0, 80, 0xc0, 0x0c]), Some(1)),
            ("a service without a host", record(33, b"\0\x01", 6, &[0, 0, 0, 0, 0, 80]), None),
            ("a service without a port", record(33, b"\0\x01", 2, &[0, 0]), None),
            ("strings", record(16, b"\0\x01", 3, b"\x02ab"), Some(1)),
            ("no strings at all", record(16, b"\0\x01", 0, b""), Some(1)),
            ("more bytes behind", record(16, b"\0\x01", 3, b"\x02abc"), Some(1)),
        ];
        for (what, packet, expected) in cases {
            assert_eq!(count(&packet), expected, "{what}");
        }
        assert_eq!(count(&packet(1, 0, b"\x01a\0\0\x0c\0\x01")), Some(0));
        assert_eq!(count(&packet(1, 0, b"\x01a\0\0\x0c\0")), None);
        assert_eq!(count(&packet(255, 255, &[])), None);
    }

    #[test]
    fn names_are_compared_without_case_and_stand_by_parent() {
        let sorted = [
            "a._http._tcp.local",
            "b._http._tcp.local",
            "a._ssh._tcp.local",
            "_http._tcp.local",
            "_ssh._tcp.local",
            "a.local",
            "b.local",
        ];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                let (low, high) = (name(a), name(&b.to_uppercase()));
                assert_eq!(low.cmp(&high), i.cmp(&j), "{a} {b}");
                assert_eq!(low == high, i == j);
            }
        }
        let dotted = Name::new(["a.b", "c"].into_iter()).unwrap();
        assert_ne!(dotted, name("a.b.c"));
        assert_ne!(dotted.cmp(&name("a.b.c")), Ordering::Equal);
        assert_eq!(dotted.label(), b"a.b");
        assert_eq!(dotted.parent(), b"\x01c");
        assert_eq!(name("x._http._tcp.local").cmp_parent(&name("_HTTP._tcp.local")), Ordering::Equal);
    }

    #[test]
    fn no_name_is_made_of_labels_that_cannot_be() {
        let long = "x".repeat(64);
        for labels in [&["a", ""][..], &[&long], &["abcdefgh"; 29]] {
            assert!(Name::new(labels.iter().copied()).is_none(), "{labels:?}");
        }
        assert!(Name::new([&long[1..]].into_iter()).is_some());
        assert!(Name::new(["abcdefgh"; 28].into_iter()).is_some());
    }

    #[test]
    fn a_query_reads_back_as_it_was_written_in_packets_that_fit() {
        let instance = |i: usize| {
            Name::new([&format!("no. {i}"), "_http", "_tcp", "local"].map(|l| l as &str).into_iter())
        };
        let kinds = [name("_http._tcp.local"), name("_ssh._tcp.local"), name("far.local")];
        let instances: Vec<Name> = (0..300).map(|i| instance(i).unwrap()).collect();
        let mut query = Query::default();
        let mut asked = Vec::new();
        for name in kinds.iter().chain(&instances) {
            for kind in [PTR, SRV] {
                query.question(name, kind);
                asked.push((name.clone(), kind));
            }
        }
        for instance in &instances {
            query.known(&kinds[0], 4500, instance);
        }
        let packets = query.packets();
        assert!(packets.iter().all(|packet| packet.len() <= PACKET_MAX));
        let questions: Vec<_> = packets.iter().flat_map(|packet| questions(packet).unwrap()).collect();
        assert_eq!(questions, asked);
        let known: Vec<_> = packets.iter().flat_map(|packet| records(packet).unwrap()).collect();
        let data = |i: &Name| Data::Pointer(i.clone());
        let expected: Vec<_> = instances
            .iter()
            .map(|i| Record { name: kinds[0].clone(), ttl: 4500, flush: false, data: data(i) })
            .collect();
        assert_eq!(known, expected);
        // "More follows" is said where known answers do follow.
        for (i, packet) in packets.iter().enumerate() {
            let next_is_known = packets.get(i + 1).is_some_and(|next| next[5] == 0);
            assert_eq!(packet[2], if next_is_known { TRUNCATED } else { 0 }, "packet {i}");
        }
        // A service costs its name, and once the type's: compression works.
        assert!(packets.iter().map(Vec::len).sum::<usize>() < 300 * (2 * 6 + 10 + 12 + 2 * 10));
    }

    #[test]
    fn a_query_on_the_wire() {
        let mut query = Query::default();
        query.question(&name("_services._dns-sd._udp.local"), PTR);
        query.known(&name("_services._dns-sd._udp.local"), 4500, &name("_http._tcp.local"));
        assert_eq!(query.packets(), [include_bytes!("../../fuzz/corpus/mdns_message/known-answer")]);
    }
}

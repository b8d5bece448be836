use super::*;
use crate::options::{Credentials, Will};
use std::num::NonZeroU16;

fn all(mut input: &[u8]) -> Result<Vec<Incoming>, ProtocolError> {
    let mut inbox = Inbox::default();
    let mut found = Vec::new();
    while let Some(packet) = inbox.next(&mut input)? {
        found.push(packet);
    }
    assert!(input.is_empty());
    Ok(found)
}

/// The same cut everywhere.
fn check(input: &[u8], expected: Result<Vec<Incoming>, ProtocolError>) {
    assert_eq!(all(input), expected, "{input:02x?}");
    for cut in 0..input.len().min(300) {
        let mut inbox = Inbox::default();
        let mut found = Vec::new();
        let mut result = Ok(());
        for mut piece in [&input[..cut], &input[cut..]] {
            while result.is_ok() {
                match inbox.next(&mut piece) {
                    Ok(Some(packet)) => found.push(packet),
                    Ok(None) => break,
                    Err(error) => result = Err(error),
                }
            }
        }
        assert_eq!(result.map(|()| found), expected, "{input:02x?} cut at {cut}");
    }
}

fn message(topic: &str, payload: &[u8], qos: QoS) -> Message {
    let (topic, payload) = (topic.to_owned(), payload.to_owned());
    Message { topic, payload, qos, retained: false, duplicate: false }
}

/// A PUBLISH whose header says that so many bytes follow it.
fn publish_of(flags: u8, remaining: usize, rest: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x30 | flags];
    let mut left = remaining;
    loop {
        let more = if left > 0x7f { 0x80 } else { 0 };
        packet.push((left & 0x7f) as u8 | more);
        left >>= 7;
        if left == 0 {
            break;
        }
    }
    packet.extend_from_slice(rest);
    packet.resize(packet.len() + remaining - rest.len(), b'x');
    packet
}

#[test]
fn packets_are_read() {
    let acknowledged = message("a", b"hi", QoS::AtLeastOnce);
    let table: &[(&[u8], Incoming)] = &[
        (&[0x20, 2, 0, 0], Incoming::ConnAck(Ok(false))),
        (&[0x20, 2, 1, 0], Incoming::ConnAck(Ok(true))),
        (&[0x20, 2, 0, 1], Incoming::ConnAck(Err(Refusal::ProtocolVersion))),
        (&[0x20, 2, 0, 2], Incoming::ConnAck(Err(Refusal::ClientId))),
        (&[0x20, 2, 0, 3], Incoming::ConnAck(Err(Refusal::Unavailable))),
        (&[0x20, 2, 0, 4], Incoming::ConnAck(Err(Refusal::Credentials))),
        (&[0x20, 2, 0, 5], Incoming::ConnAck(Err(Refusal::NotAuthorized))),
        (&[0x20, 2, 0, 135], Incoming::ConnAck(Err(Refusal::Other(135)))),
        (&[0x30, 3, 0, 1, b'a'], Incoming::Publish(message("a", b"", QoS::AtMostOnce), None)),
        (&[0x30, 5, 0, 1, b'a', 0, 0], Incoming::Publish(message("a", &[0, 0], QoS::AtMostOnce), None)),
        (&[0x32, 7, 0, 1, b'a', 0, 9, b'h', b'i'], Incoming::Publish(acknowledged.clone(), Some(9))),
        (
            &[0x3b, 7, 0, 1, b'a', 255, 255, b'h', b'i'],
            Incoming::Publish(Message { retained: true, duplicate: true, ..acknowledged }, Some(65535)),
        ),
        // Other brokers let control characters pass, and anybody can publish them.
        (&[0x30, 3, 0, 1, 7], Incoming::Publish(message("\u{7}", b"", QoS::AtMostOnce), None)),
        // Four bytes for a length of three.
        (
            &[0x30, 0x83, 0x80, 0x80, 0, 0, 1, b'a'],
            Incoming::Publish(message("a", b"", QoS::AtMostOnce), None),
        ),
        (&[0x40, 2, 1, 2], Incoming::PubAck(0x102)),
        (&[0x40, 2, 0, 0], Incoming::PubAck(0)),
        (&[0x90, 3, 0, 1, 0], Incoming::SubAck(1, vec![Some(QoS::AtMostOnce)])),
        (&[0x90, 4, 0, 1, 1, 0x80], Incoming::SubAck(1, vec![Some(QoS::AtLeastOnce), None])),
        (&[0xb0, 2, 0, 3], Incoming::UnsubAck(3)),
        (&[0xd0, 0], Incoming::PingResp),
    ];
    for (bytes, expected) in table {
        check(bytes, Ok(vec![expected.clone()]));
        check(&[*bytes, *bytes].concat(), Ok(vec![expected.clone(), expected.clone()]));
    }
}

#[test]
fn what_is_no_mqtt_is_refused_as_soon_as_it_shows() {
    use mqttbytes::Error as Codec;
    use ProtocolError as E;
    // As many bytes as it takes to know it.
    let table: &[(&[u8], ProtocolError)] = &[
        (&[0x00], E::Kind(0)),
        (&[0x10], E::Kind(1)),
        (&[0x50], E::Kind(5)),
        (&[0x62], E::Kind(6)),
        (&[0x70], E::Kind(7)),
        (&[0x82], E::Kind(8)),
        (&[0xa2], E::Kind(10)),
        (&[0xc0], E::Kind(12)),
        (&[0xe0], E::Kind(14)),
        (&[0xf0], E::Kind(15)),
        (&[0x21], E::Flags("CONNACK", 1)),
        (&[0x42], E::Flags("PUBACK", 2)),
        (&[0x98], E::Flags("SUBACK", 8)),
        (&[0xb2], E::Flags("UNSUBACK", 2)),
        (&[0xd1], E::Flags("PINGRESP", 1)),
        (&[0x34], E::Flags("PUBLISH", 4)),
        (&[0x3d], E::Flags("PUBLISH", 13)),
        (&[0x36], E::Flags("PUBLISH", 6)),
        (&[0x30, 0x80, 0x80, 0x80, 0x80], E::Length),
        (&[0x20, 0], E::WrongLength("CONNACK", 0)),
        (&[0x20, 3], E::WrongLength("CONNACK", 3)),
        (&[0x40, 0xff, 0xff, 3], E::WrongLength("PUBACK", 65535)),
        (&[0x40, 4], E::WrongLength("PUBACK", 4)),
        (&[0xb0, 1], E::WrongLength("UNSUBACK", 1)),
        (&[0xd0, 1], E::WrongLength("PINGRESP", 1)),
        (&[0x90, 0xff, 0xff, 0xff, 0x7f], E::TooLong("SUBACK", 268_435_460)),
        (&[0x90, 0], E::Unreadable("SUBACK", Codec::MalformedPacket)),
        (&[0x90, 2, 0, 1], E::Unreadable("SUBACK", Codec::MalformedPacket)),
        (&[0x90, 3, 0, 1, 2], E::Granted),
        (&[0x90, 3, 0, 1, 3], E::Unreadable("SUBACK", Codec::InvalidSubscribeReasonCode(3))),
        (&[0x30, 0], E::Unreadable("PUBLISH", Codec::MalformedPacket)),
        (&[0x30, 1, 0], E::Unreadable("PUBLISH", Codec::MalformedPacket)),
        (&[0x30, 2, 0, 1], E::Unreadable("PUBLISH", Codec::BoundaryCrossed(1))),
        (&[0x30, 3, 0, 2, b'a'], E::Unreadable("PUBLISH", Codec::BoundaryCrossed(2))),
        (&[0x32, 3, 0, 1, b'a'], E::Unreadable("PUBLISH", Codec::MalformedPacket)),
        (&[0x32, 4, 0, 1, b'a', 0], E::Unreadable("PUBLISH", Codec::MalformedPacket)),
        (&[0x32, 5, 0, 1, b'a', 0, 0], E::Unreadable("PUBLISH", Codec::PacketIdZero)),
    ];
    for (bytes, expected) in table {
        check(bytes, Err(*expected));
        for shorter in 0..bytes.len() {
            assert_eq!(all(&bytes[..shorter]), Ok(vec![]), "{bytes:02x?} shows at {shorter} already");
        }
    }
}

#[test]
fn messages_of_no_use_are_let_go_by() {
    let skipped = |topic: &str, why, id| Incoming::Skipped(Skipped { topic: topic.into(), why, id });
    let table: &[(&[u8], Incoming)] = &[
        (&[0x30, 2, 0, 0], skipped("", Skip::Topic(TopicError::Empty), None)),
        (&[0x32, 4, 0, 0, 0, 7], skipped("", Skip::Topic(TopicError::Empty), Some(7))),
        (&[0x30, 3, 0, 1, b'#'], skipped("#", Skip::Topic(TopicError::Wildcard('#')), None)),
        (&[0x30, 4, 0, 1, b'+', 1], skipped("+", Skip::Topic(TopicError::Wildcard('+')), None)),
        (&[0x30, 5, 0, 3, b'a', b'/', b'#'], skipped("a/#", Skip::Topic(TopicError::Wildcard('#')), None)),
        (&[0x30, 3, 0, 1, 0], skipped("\0", Skip::Topic(TopicError::Character('\0')), None)),
        (&[0x30, 3, 0, 1, 0xff], skipped("\u{fffd}", Skip::Utf8, None)),
        (&[0x32, 6, 0, 1, 0xff, 0, 3, 1], skipped("\u{fffd}", Skip::Utf8, Some(3))),
    ];
    for (bytes, expected) in table {
        check(bytes, Ok(vec![expected.clone()]));
    }
}

#[test]
fn the_bound_is_64_kib() {
    // The longest: one byte of type, three of length.
    let just = publish_of(0, MAX_PACKET_LEN - 4, &[0, 1, b'a']);
    assert_eq!(just.len(), MAX_PACKET_LEN);
    let found = all(&just).unwrap();
    assert!(
        matches!(&found[..], [Incoming::Publish(message, None)] if message.payload.len() == MAX_PACKET_LEN - 7)
    );

    for (flags, head, id) in [(0, &[0, 1, b'a'][..], None), (2, &[0, 1, b'a', 0, 5], Some(5))] {
        let mut longer = publish_of(flags, MAX_PACKET_LEN - 3, head);
        longer.extend_from_slice(&[0xd0, 0]);
        let why = Skip::TooLong(MAX_PACKET_LEN + 1);
        let skipped = Incoming::Skipped(Skipped { topic: "a".into(), why, id });
        check(&longer, Ok(vec![skipped, Incoming::PingResp]));
    }

    // Its topic alone is too long, or leads out of it.
    let mut inbox = Inbox::default();
    let packet = publish_of(2, 70_000, &[255, 255]);
    assert_eq!(inbox.next(&mut &packet[..]), Err(ProtocolError::TooLong("PUBLISH", 70_004)));
    let crossing = publish_of(0, 65_535, &[255, 255]);
    assert!(matches!(all(&crossing), Err(ProtocolError::Unreadable("PUBLISH", _))));
    let zero = publish_of(2, 100_000, &[0, 1, b'a', 0, 0]);
    let error = mqttbytes::Error::PacketIdZero;
    assert_eq!(all(&zero), Err(ProtocolError::Unreadable("PUBLISH", error)));
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut inbox = Inbox::default();
    assert_eq!(inbox.next(&mut &[0x30, 0xf0, 0xff, 0x03, 0, 1, b'a'][..]), Ok(None));
    assert!(inbox.packet.capacity() < 64, "{}", inbox.packet.capacity());
    // 256 MB, of which nothing is kept.
    let mut inbox = Inbox::default();
    let mut head = &[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a'][..];
    assert_eq!(inbox.next(&mut head), Ok(None));
    let piece = [b'x'; 8192];
    for _ in 0..1000 {
        assert_eq!(inbox.next(&mut &piece[..]), Ok(None));
        assert_eq!(inbox.packet.capacity(), 0);
    }
}

#[test]
fn a_kept_message_holds_no_more_than_its_own() {
    let found = all(&publish_of(0, 60_000, &[0, 1, b'a'])).unwrap();
    let [Incoming::Publish(message, _)] = &found[..] else { panic!("{found:?}") };
    assert_eq!(message.payload.capacity(), message.payload.len());
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Behind something else, where mqttbytes would set the flags of a CONNECT in the wrong place.
    let mut out = vec![0xc0, 0];
    put(&mut out);
    out.split_off(2)
}

#[test]
fn packets_are_written() {
    let mut options = Options::new("me");
    let plain = written(|out| put_connect(out, &options));
    assert_eq!(plain, b"\x10\x0e\0\x04MQTT\x04\x02\0\x14\0\x02me");

    options.client_id.clear();
    options.keepalive = NonZeroU16::MAX;
    let nobody = written(|out| put_connect(out, &options));
    assert_eq!(nobody, b"\x10\x0c\0\x04MQTT\x04\x02\xff\xff\0\0");

    options = Options::new("me");
    options.credentials = Some(Credentials { user: "anna".into(), password: String::new() });
    let user = written(|out| put_connect(out, &options));
    assert_eq!(user, b"\x10\x14\0\x04MQTT\x04\x82\0\x14\0\x02me\0\x04anna");

    options.credentials = Some(Credentials { user: "anna".into(), password: "pw".into() });
    let topic = "w".to_owned();
    options.will = Some(Will { topic, payload: b"gone".to_vec(), qos: QoS::AtLeastOnce, retain: true });
    let full = written(|out| put_connect(out, &options));
    assert_eq!(full, b"\x10\x21\0\x04MQTT\x04\xee\0\x14\0\x02me\0\x01w\0\x04gone\0\x04anna\0\x02pw");

    options.will = Some(Will { topic: "w".into(), payload: vec![], qos: QoS::AtMostOnce, retain: false });
    options.credentials = None;
    let will = written(|out| put_connect(out, &options));
    assert_eq!(will, b"\x10\x13\0\x04MQTT\x04\x06\0\x14\0\x02me\0\x01w\0\0");

    assert_eq!(written(|out| put_publish(out, "a/b", b"hi", false, None)), b"\x30\x07\0\x03a/bhi");
    assert_eq!(written(|out| put_publish(out, "a", b"", true, None)), b"\x31\x03\0\x01a");
    assert_eq!(written(|out| put_publish(out, "a", b"hi", false, Some(1))), b"\x32\x07\0\x01a\0\x01hi");
    assert_eq!(written(|out| put_publish(out, "a", b"", true, Some(65535))), b"\x33\x05\0\x01a\xff\xff");
    let long = written(|out| put_publish(out, "a", &[0; 200], true, Some(1)));
    assert_eq!(&long[..8], b"\x33\xcd\x01\0\x01a\0\x01");

    let filters = [("a/+", QoS::AtLeastOnce), ("b/#", QoS::AtMostOnce)];
    assert_eq!(written(|out| put_subscribe(out, &filters, 2)), b"\x82\x0e\0\x02\0\x03a/+\x01\0\x03b/#\0");
    assert_eq!(written(|out| put_unsubscribe(out, &["a/+", "b"], 3)), b"\xa2\x0a\0\x03\0\x03a/+\0\x01b");
    assert_eq!(written(|out| put_puback(out, 0x102)), b"\x40\x02\x01\x02");
    assert_eq!(PINGREQ, b"\xc0\0");
    assert_eq!(DISCONNECT, b"\xe0\0");
}

#[test]
fn lengths_are_told_before_they_are_written() {
    for len in [0, 1, 100, 120, 130, 16_000, 17_000, MAX_PACKET_LEN - 10] {
        let payload = vec![7; len];
        let real = written(|out| put_publish(out, "a", &payload, false, Some(1))).len();
        let told = publish_len("a", &payload);
        // The length itself has one to four bytes.
        assert!((real..=real + 3).contains(&told), "{real} {told}");
    }
    let filters = [("a", QoS::AtLeastOnce), ("bc", QoS::AtMostOnce)];
    let real = written(|out| put_subscribe(out, &filters, 2)).len();
    assert!((real..=real + 3).contains(&filters_len(filters.iter().map(|(filter, _)| *filter))));
    let real = written(|out| put_connect(out, &Options::new("me"))).len();
    assert!((real..=real + 5).contains(&connect_len(&Options::new("me"))));
}

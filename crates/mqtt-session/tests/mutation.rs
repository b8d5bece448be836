//! Broken packets: valid ones are changed at random, cut, doubled and joined, and fed to a session in pieces. It must not panic,
//! keep what is too long, or make much of little.
//!
//! `MQTT_MUTATIONS=1000000000` tries that many (and wants `--release`), `MQTT_SEED=17` begins elsewhere.

use bytes::BytesMut;
use mqtt_session::{Event, Options, QoS, Session, MAX_PACKET_LEN, QUEUE_LIMIT};
use mqttbytes::v4;
use std::time::{Duration, Instant};

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as usize % end
    }

    fn byte(&mut self) -> u8 {
        const BORDERS: [u8; 12] = [0, 1, 2, 3, 0x1f, 0x20, 0x30, 0x32, 0x7f, 0x80, 0x90, 0xff];
        match self.below(2) {
            0 => BORDERS[self.below(BORDERS.len())],
            _ => self.below(256) as u8,
        }
    }
}

fn packet(write: impl FnOnce(&mut BytesMut) -> Result<usize, mqttbytes::Error>) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    write(&mut buffer).unwrap();
    buffer.to_vec()
}

/// What brokers send, and what only clients do.
fn valid() -> Vec<Vec<u8>> {
    let publish = |topic: &str, payload: usize, id: u16, retain: bool| {
        let qos = if id == 0 { mqttbytes::QoS::AtMostOnce } else { mqttbytes::QoS::AtLeastOnce };
        let mut publish = v4::Publish::new(topic, qos, vec![b'x'; payload]);
        (publish.pkid, publish.retain) = (id, retain);
        packet(|out| publish.write(out))
    };
    let codes = [1, 0, 0x80].map(|code: u8| v4::SubscribeReasonCode::try_from(code).unwrap());
    vec![
        packet(|out| v4::ConnAck::new(v4::ConnectReturnCode::Success, false).write(out)),
        packet(|out| v4::ConnAck::new(v4::ConnectReturnCode::NotAuthorized, false).write(out)),
        publish("a/b", 3, 0, false),
        publish("a/b", 3, 7, true),
        publish("é", 0, 65535, false),
        publish("long", 300, 1, false),
        publish("longer", MAX_PACKET_LEN + 1, 2, true),
        packet(|out| v4::PubAck::new(1).write(out)),
        packet(|out| v4::SubAck::new(2, codes.to_vec()).write(out)),
        packet(|out| v4::SubAck::new(3, codes[..2].to_vec()).write(out)),
        packet(|out| v4::UnsubAck::new(4).write(out)),
        packet(|out| v4::PingResp.write(out)),
        packet(|out| v4::PubRec::new(1).write(out)),
        packet(|out| v4::Subscribe::new("a/#", mqttbytes::QoS::AtLeastOnce).write(out)),
        packet(|out| v4::Connect::new("me").write(out)),
    ]
}

fn mutate(random: &mut Random, valid: &[Vec<u8>]) -> Vec<u8> {
    // Mostly behind a greeting: in front of it nothing else is read.
    let mut bytes = if random.below(8) > 0 { valid[0].clone() } else { Vec::new() };
    for _ in 0..1 + random.below(3) {
        let mut one = valid[random.below(valid.len())].clone();
        for _ in 0..random.below(4) {
            let at = random.below(one.len().clamp(1, 24));
            match random.below(6) {
                _ if one.is_empty() => {}
                0 => one[at] = random.byte(),
                1 => one[at] ^= 1 << random.below(8),
                2 => one.truncate(random.below(one.len())),
                3 => one.insert(at, random.byte()),
                4 => drop(one.remove(at)),
                _ => one.extend_from_within(..at),
            }
        }
        // With a length that is right again, so that what is inside is looked at.
        if random.below(3) == 0 && (2..128).contains(&one.len()) {
            one[1] = (one.len() - 2) as u8;
        }
        bytes.append(&mut one);
    }
    bytes
}

/// How much the events hold.
fn size(event: &Event) -> usize {
    match event {
        Event::Message(message) => message.topic.capacity() + message.payload.capacity(),
        // What is not text grows to three bytes.
        Event::Skipped { topic, .. } => topic.len() / 3,
        Event::Subscribed { granted, .. } => granted.len(),
        _ => 0,
    }
}

fn feed(random: &mut Random, bytes: &[u8], start: Instant) -> usize {
    let mut now = start;
    let mut session = Session::new(Options::new("me"), 1, now).unwrap();
    session.handle_timeout(now);
    session.socket_connected(now);
    let (mut taken, mut told, mut events) = (0, 0, 0);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(1 + random.below(rest.len()));
        rest = behind;
        taken += piece.len();
        session.handle_input(now, piece);
        while let Some(event) = session.poll_event() {
            events += 1;
            told += size(&event);
            if let Event::Connected { .. } = event {
                // It may be lost again already.
                let filters = [("a", QoS::AtLeastOnce), ("b", QoS::AtMostOnce), ("c", QoS::AtMostOnce)];
                let _ = session.publish("a", b"1", true);
                let _ = session.subscribe(&filters);
                let _ = session.subscribe(&filters[..2]);
                let _ = session.unsubscribe(&["a"]);
            }
        }
        assert!(told <= taken, "{told} bytes are told of {taken}");
        assert!(events <= 2 + taken / 2, "{events} events of {taken} bytes");
        assert!(session.transmit().len() <= 200 + 2 * taken && session.transmit().len() < 2 * QUEUE_LIMIT);
        if random.below(4) == 0 {
            session.consumed(random.below(50));
        }
        now += Duration::from_secs(random.below(8) as u64);
        if session.poll_timeout().is_some_and(|due| due <= now) {
            session.handle_timeout(now);
        }
    }
    events
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

#[test]
fn broken_packets_do_no_harm() {
    let valid = valid();
    let mut random = Random(number("MQTT_SEED", 1).max(1));
    let start = Instant::now();
    let wanted = number("MQTT_MUTATIONS", 100_000);
    let mut events = 0;
    for tried in 0..wanted {
        let before = random.0;
        let bytes = mutate(&mut random, &valid);
        let result =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| feed(&mut random, &bytes, start)));
        match result {
            Ok(heard) => events += heard as u64,
            Err(panic) => {
                println!(
                    "MQTT_SEED={before} MQTT_MUTATIONS=1, after {tried}: {:02x?}",
                    &bytes[..bytes.len().min(100)]
                );
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{wanted} broken inputs, {events} events, {} s", start.elapsed().as_secs());
    // Not all of it was refused at its first byte.
    assert!(events > wanted, "{events} events of {wanted} inputs");
}

use super::*;
use crate::error::Refusal;
use crate::event::{Message, Skip};
use crate::options::Credentials;
use std::io::ErrorKind;

const SECOND: Duration = Duration::from_secs(1);
const CONNACK: &[u8] = &[0x20, 2, 0, 0];

/// A session with a clock that the test moves.
struct Bench {
    session: Session,
    now: Instant,
}

impl Bench {
    fn new() -> Self {
        let now = Instant::now();
        let mut options = Options::new("me");
        options.connect_timeout = 7 * SECOND;
        options.connack_timeout = 8 * SECOND;
        options.ping_timeout = 9 * SECOND;
        Self { session: Session::new(options, 1, now).unwrap(), now }
    }

    fn connecting() -> Self {
        let mut this = Self::new();
        this.session.handle_timeout(this.now);
        assert_eq!(this.session.state(), State::Connecting { give_up: this.now + 7 * SECOND });
        this
    }

    fn greeting() -> Self {
        let mut this = Self::connecting();
        this.session.socket_connected(this.now);
        assert_eq!(this.session.state(), State::AwaitingConnack { give_up: this.now + 8 * SECOND });
        assert_eq!(this.sent(), b"\x10\x0e\0\x04MQTT\x04\x02\0\x14\0\x02me");
        this
    }

    fn connected() -> Self {
        let mut this = Self::greeting();
        this.hear(CONNACK);
        assert_eq!(this.events(), [Event::Connected { session_present: false }]);
        this
    }

    fn hear(&mut self, bytes: &[u8]) {
        self.session.handle_input(self.now, bytes);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn sent(&mut self) -> Vec<u8> {
        let bytes = self.session.transmit().to_vec();
        self.session.consumed(bytes.len());
        bytes
    }

    /// To the time asked for, which is in so many milliseconds.
    fn wait(&mut self, expected: u64) {
        let due = self.session.poll_timeout().expect("a time is asked for");
        assert_eq!(due.saturating_duration_since(self.now), Duration::from_millis(expected));
        // Nothing is due a moment earlier.
        let before = (self.session.state(), self.session.transmit().to_vec());
        self.session.handle_timeout(due - Duration::from_nanos(1));
        assert_eq!((self.session.state(), self.session.transmit().to_vec()), before);
        self.now = due;
        self.session.handle_timeout(due);
    }

    fn pause(&self) -> Duration {
        match self.session.state() {
            State::Disconnected { again } => again.saturating_duration_since(self.now),
            state => panic!("no pause: {state:?}"),
        }
    }

    fn lost(&mut self, reason: Reason, unacknowledged: &[Token]) {
        assert_eq!(self.events(), [Event::Lost { reason, unacknowledged: unacknowledged.to_vec() }]);
        assert!(!self.session.state().has_socket());
        assert_eq!(self.session.transmit(), b"");
    }
}

#[test]
fn each_step_that_fails_has_its_reason() {
    type Make = fn() -> Bench;
    type Fail = fn(&mut Bench);
    let refused: Fail = |b| b.session.socket_failed(b.now, &io::Error::from(ErrorKind::ConnectionRefused));
    let closed: Fail = |b| b.session.socket_closed(b.now);
    let rubbish: Fail = |b| b.hear(&[0]);
    let greeted_twice: Fail = |b| b.hear(&[0x20, 2, 0, 0, 0x20, 2, 0, 0]);
    let table: &[(Make, Fail, Reason)] = &[
        (Bench::connecting, refused, Reason::Unreachable("connection refused".into())),
        (Bench::connecting, |b| b.wait(7000), Reason::ConnectTimeout),
        (Bench::greeting, |b| b.wait(8000), Reason::NoConnack),
        (Bench::greeting, closed, Reason::ClosedUngreeted),
        (Bench::greeting, refused, Reason::Socket("connection refused".into())),
        (Bench::greeting, rubbish, Reason::Protocol(ProtocolError::Kind(0))),
        (Bench::greeting, |b| b.hear(&[0xd0, 0]), Reason::Protocol(ProtocolError::Unexpected("PINGRESP"))),
        (Bench::connected, closed, Reason::Closed),
        (Bench::connected, refused, Reason::Socket("connection refused".into())),
        (Bench::connected, rubbish, Reason::Protocol(ProtocolError::Kind(0))),
        (Bench::connected, greeted_twice, Reason::Protocol(ProtocolError::Unexpected("CONNACK"))),
    ];
    for (make, fail, reason) in table {
        let mut here = make();
        fail(&mut here);
        here.lost(reason.clone(), &[]);
        // Half to one and a half of a second.
        assert!(here.pause() >= SECOND / 2 && here.pause() <= SECOND * 3 / 2, "{:?}", here.pause());
        // Whatever comes yet from the old socket is nobody's.
        let state = here.session.state();
        here.hear(CONNACK);
        closed(&mut here);
        refused(&mut here);
        here.session.socket_connected(here.now);
        assert_eq!((here.session.state(), here.events()), (state, vec![]));
    }
}

#[test]
fn a_refusal_is_told_in_words_and_tried_again() {
    for (code, refusal, words) in [
        (1, Refusal::ProtocolVersion, "the broker does not speak MQTT 3.1.1"),
        (4, Refusal::Credentials, "the broker refuses the user name or the password"),
        (77, Refusal::Other(77), "the broker refuses us with code 77, which MQTT 3.1.1 does not have"),
    ] {
        let mut here = Bench::greeting();
        here.hear(&[0x20, 2, 0, code, 0x20]);
        assert_eq!(here.events(), [Event::Refused(refusal)]);
        assert_eq!(refusal.to_string(), words);
        assert!(here.pause() > Duration::ZERO);
        // Of what came behind it nothing is left.
        here.session.connect_now(here.now);
        here.session.handle_timeout(here.now);
        here.session.socket_connected(here.now);
        here.hear(CONNACK);
        assert_eq!(here.events(), [Event::Connected { session_present: false }]);
    }
}

#[test]
fn a_session_that_was_kept_is_told() {
    let mut here = Bench::greeting();
    here.hear(&[0x20, 2, 1, 0]);
    assert_eq!(here.events(), [Event::Connected { session_present: true }]);
}

#[test]
fn an_idle_connection_is_pinged_and_nothing_else() {
    let mut here = Bench::connected();
    for _ in 0..3 {
        here.wait(20_000);
        assert_eq!(here.sent(), [0xc0, 0]);
        // One moment is asked for: that of the missing answer.
        assert_eq!(here.session.poll_timeout(), Some(here.now + 9 * SECOND));
        here.hear(&[0xd0, 0]);
        assert_eq!(here.session.poll_timeout(), Some(here.now + 20 * SECOND));
        assert_eq!(here.events(), []);
    }
    here.wait(20_000);
    here.wait(9_000);
    here.lost(Reason::NoAnswer, &[]);
}

#[test]
fn whoever_sends_lives() {
    let mut here = Bench::connected();
    here.wait(20_000);
    assert_eq!(here.sent(), [0xc0, 0]);
    // Its answer stands behind something long: a byte is enough.
    for byte in [0x30, 0x7f, 0, 1, b'a', 0, 0] {
        here.now += 8 * SECOND;
        here.session.handle_timeout(here.now);
        here.hear(&[byte]);
        assert!(here.session.state().is_connected());
    }
    // Meanwhile the broker heard from us as well: 56 seconds, a ping every 20.
    assert_eq!(here.sent(), [0xc0, 0, 0xc0, 0]);
    here.wait(9_000);
    here.lost(Reason::NoAnswer, &[]);
}

#[test]
fn pauses_grow_until_a_connection_has_stood_for_a_minute() {
    let mut here = Bench::connected();
    let mut longest = Duration::ZERO;
    for round in 0..12 {
        // Whoever is thrown out at once waits longer and longer.
        here.session.socket_closed(here.now);
        let middle = SECOND * (1 << round).min(300);
        assert!(here.pause() >= middle / 2 && here.pause() <= middle * 3 / 2, "{:?}", here.pause());
        longest = longest.max(here.pause());
        let pause = here.pause();
        here.wait(pause.as_millis() as u64);
        here.session.socket_connected(here.now);
        here.hear(CONNACK);
        assert!(here.session.state().is_connected());
    }
    assert!(longest > 149 * SECOND);
    here.now += 60 * SECOND;
    here.session.socket_closed(here.now);
    assert!(here.pause() <= SECOND * 3 / 2, "{:?}", here.pause());
}

#[test]
fn what_was_not_acknowledged_is_told_and_not_sent_again() {
    let mut here = Bench::connected();
    let first = here.session.publish("a", b"1", true).unwrap();
    let second = here.session.publish("a", b"2", true).unwrap();
    let third = here.session.subscribe(&[("b", QoS::AtLeastOnce)]).unwrap();
    let fourth = here.session.unsubscribe(&["b"]).unwrap();
    let fifth = here.session.publish("a", b"5", false).unwrap();
    here.session.publish_unacknowledged("a", b"6", false).unwrap();
    let all = here.sent();
    assert_eq!(&all[..16], b"\x33\x06\0\x01a\0\x011\x33\x06\0\x01a\0\x022");
    here.hear(&[0x40, 2, 0, 2]);
    assert_eq!(here.events(), [Event::Published(second)]);
    // Numbers that are not out, and acknowledgements of the wrong kind, say nothing.
    for strange in
        [&[0x40, 2, 0, 2][..], &[0x40, 2, 0, 0], &[0x40, 2, 0, 3], &[0x90, 3, 0, 1, 1], &[0xb0, 2, 0, 3]]
    {
        here.hear(strange);
        assert_eq!(here.events(), []);
    }
    here.session.socket_closed(here.now);
    here.lost(Reason::Closed, &[first, third, fourth, fifth]);
    let refused = here.session.publish("a", b"", false);
    assert_eq!(refused, Err(SendError::Disconnected));

    here.session.connect_now(here.now);
    here.session.handle_timeout(here.now);
    here.session.socket_connected(here.now);
    here.sent();
    here.hear(CONNACK);
    assert_eq!((here.sent(), here.events()), (vec![], vec![Event::Connected { session_present: false }]));
    // The number goes on; the token is none of the old ones.
    let next = here.session.publish("a", b"", false).unwrap();
    assert!(![first, second, third, fourth, fifth].contains(&next));
    assert_eq!(here.sent(), b"\x32\x05\0\x01a\0\x06");
}

#[test]
fn subscriptions_are_granted_filter_by_filter() {
    let filters = [("a", QoS::AtLeastOnce), ("b", QoS::AtMostOnce), ("c/#", QoS::AtLeastOnce)];
    type Granted = &'static [Option<QoS>];
    let table: &[(&[u8], Option<Granted>)] = &[
        (&[1, 0, 1], Some(&[Some(QoS::AtLeastOnce), Some(QoS::AtMostOnce), Some(QoS::AtLeastOnce)])),
        (&[0, 0x80, 0x80], Some(&[Some(QoS::AtMostOnce), None, None])),
        (&[1, 1, 1], None),
        (&[1, 0], None),
        (&[1, 0, 1, 1], None),
    ];
    for (codes, expected) in table {
        let mut here = Bench::connected();
        let token = here.session.subscribe(&filters).unwrap();
        let mut suback = vec![0x90, 2 + codes.len() as u8, 0, 1];
        suback.extend_from_slice(codes);
        here.hear(&suback);
        match expected {
            Some(granted) => {
                assert_eq!(here.events(), [Event::Subscribed { token, granted: granted.to_vec() }]);
                let token = here.session.unsubscribe(&["a", "b"]).unwrap();
                here.hear(&[0xb0, 2, 0, 2]);
                assert_eq!(here.events(), [Event::Unsubscribed(token)]);
            }
            None => here.lost(Reason::Protocol(ProtocolError::Granted), &[]),
        }
    }
}

#[test]
fn messages_are_acknowledged_and_so_are_those_of_no_use() {
    let mut here = Bench::connected();
    here.hear(b"\x33\x06\0\x01a\0\x07x\x30\x03\0\x01b\x32\x06\0\x02\xff\xff\0\x08");
    let message = |topic: &str, payload: &[u8], qos, retained| {
        let (topic, payload) = (topic.to_owned(), payload.to_owned());
        Event::Message(Message { topic, payload, qos, retained, duplicate: false })
    };
    assert_eq!(
        here.events(),
        [
            message("a", b"x", QoS::AtLeastOnce, true),
            message("b", b"", QoS::AtMostOnce, false),
            Event::Skipped { topic: "\u{fffd}\u{fffd}".into(), why: Skip::Utf8 },
        ]
    );
    assert_eq!(here.sent(), b"\x40\x02\0\x07\x40\x02\0\x08");
}

#[test]
fn what_cannot_be_sent_is_refused() {
    use crate::topic::TopicError as T;
    let mut here = Bench::connected();
    let session = &mut here.session;
    assert_eq!(session.publish("", b"", false), Err(SendError::Topic(T::Empty)));
    assert_eq!(session.publish("a/#", b"", false), Err(SendError::Topic(T::Wildcard('#'))));
    assert_eq!(session.publish_unacknowledged("+", b"", false), Err(SendError::Topic(T::Wildcard('+'))));
    assert_eq!(session.subscribe(&[]), Err(SendError::NoFilter));
    assert_eq!(session.unsubscribe(&[]), Err(SendError::NoFilter));
    let filters = [("a", QoS::AtMostOnce), ("a#", QoS::AtMostOnce)];
    assert_eq!(session.subscribe(&filters), Err(SendError::Topic(T::PartOfLevel('#'))));
    assert_eq!(session.unsubscribe(&["#/"]), Err(SendError::Topic(T::HashInside)));
    let long = "x".repeat(40_000);
    assert_eq!(session.unsubscribe(&[&long, &long]), Err(SendError::TooLong(80_013)));
    let much = vec![0; MAX_PACKET_LEN - 10];
    assert_eq!(session.publish("ab", &much, false), Err(SendError::TooLong(MAX_PACKET_LEN + 1)));
    assert_eq!(session.transmit(), b"");
    session.publish("a", &much, false).unwrap();
    assert!(session.transmit().len() <= MAX_PACKET_LEN);
}

#[test]
fn a_slow_broker_is_given_only_so_much() {
    let mut here = Bench::connected();
    let payload = vec![0; 60_000];
    let mut taken = 0;
    while here.session.publish_unacknowledged("a", &payload, false).is_ok() {
        taken += 1;
    }
    assert_eq!(here.session.publish("a", &payload, false), Err(SendError::Full));
    assert_eq!(taken, 5);
    assert!(here.session.transmit().len() <= QUEUE_LIMIT + MAX_PACKET_LEN);
    // Room is told once, when there is some.
    let half = here.session.transmit().len() - QUEUE_LIMIT / 2;
    here.session.consumed(half - 1);
    assert_eq!(here.events(), []);
    // What is sent is soon no longer held.
    assert!(here.session.out.len() <= 2 * here.session.transmit().len(), "{}", here.session.out.len());
    here.session.consumed(1);
    assert_eq!(here.events(), [Event::Room]);
    let rest = here.session.transmit().len();
    here.session.consumed(rest - 10);
    assert!(here.session.out.len() <= 20);
    here.sent();
    assert_eq!(here.events(), []);
    assert!(here.session.out.capacity() <= QUEUE_KEPT);

    // And only so many packets.
    let tokens: Vec<_> =
        (0..IN_FLIGHT_LIMIT).map(|_| here.session.publish("a", b"", false).unwrap()).collect();
    here.sent();
    assert_eq!(here.session.subscribe(&[("a", QoS::AtMostOnce)]), Err(SendError::Full));
    here.hear(&[0x40, 2, 0, 9]);
    assert_eq!(here.events(), [Event::Room, Event::Published(tokens[8])]);
    here.session.subscribe(&[("a", QoS::AtMostOnce)]).unwrap();
}

#[test]
fn numbers_in_flight_are_not_given_twice() {
    let mut here = Bench::connected();
    let oldest = here.session.publish("a", b"", false).unwrap();
    // Round and round, past 65,535 and past the number that is still out.
    for _ in 0..70_000_u32 {
        here.session.publish("a", b"", false).unwrap();
        let sent = here.sent();
        let id = [sent[sent.len() - 2], sent[sent.len() - 1]];
        assert!(id != [0, 0]);
        here.hear(&[0x40, 2, id[0], id[1]]);
        assert!(matches!(here.events()[..], [Event::Published(token)] if token != oldest));
    }
    here.hear(&[0x40, 2, 0, 1]);
    assert_eq!(here.events(), [Event::Published(oldest)]);
}

#[test]
fn a_broker_that_sends_and_does_not_read_is_left() {
    let mut here = Bench::connected();
    let publish = b"\x32\x05\0\x01a\0\x07".repeat(1000);
    let mut heard = 0;
    while here.session.state().is_connected() {
        here.hear(&publish);
        here.session.consumed(1000);
        heard += here.events().len();
        assert!(here.session.transmit().len() <= QUEUE_LIMIT + MAX_PACKET_LEN + ANSWERS_LIMIT);
        assert!(heard < 1_000_000);
    }
    assert!(matches!(here.session.state(), State::Disconnected { .. }));
}

#[test]
fn leaving_waits_for_the_broker_to_close() {
    let mut here = Bench::connected();
    let token = here.session.publish("a", b"x", false).unwrap();
    here.session.close(here.now);
    assert_eq!(here.sent(), b"\x32\x06\0\x01a\0\x01x\xe0\0");
    assert_eq!(here.session.publish("a", b"", false), Err(SendError::Disconnected));
    here.hear(b"\x30\x03\0\x01b");
    assert!(here.session.state().has_socket());
    // Once is enough.
    here.session.close(here.now + SECOND);
    assert_eq!(here.session.state(), State::Closing { give_up: here.now + 5 * SECOND });
    assert_eq!((here.sent(), here.events()), (vec![], vec![]));
    here.session.socket_closed(here.now);
    assert_eq!(here.events(), [Event::Closed { unacknowledged: vec![token] }]);
    assert_eq!((here.session.state(), here.session.poll_timeout()), (State::Closed, None));
    here.session.close(here.now);
    assert_eq!(here.events(), []);
    here.session.connect_now(here.now);
    here.session.handle_timeout(here.now + 1000 * SECOND);
    assert_eq!(here.session.state(), State::Closed);

    // Not for ever.
    let mut here = Bench::connected();
    here.session.close(here.now);
    here.wait(5_000);
    assert_eq!(here.events(), [Event::Closed { unacknowledged: vec![] }]);

    // Where nobody has greeted, nobody waits for us.
    for make in [Bench::new, Bench::connecting, Bench::greeting] {
        let mut here = make();
        here.session.close(here.now);
        assert_eq!(
            (here.events(), here.session.state()),
            (vec![Event::Closed { unacknowledged: vec![] }], State::Closed)
        );
        assert_eq!(here.session.transmit(), b"");
    }
}

#[test]
fn another_will_holds_from_the_next_connection_on() {
    let mut here = Bench::connected();
    let will = |topic: &str| {
        Some(Will { topic: topic.into(), payload: b"1".to_vec(), qos: QoS::AtMostOnce, retain: false })
    };
    here.session.set_will(will("w")).unwrap();
    assert!(here.session.set_will(will("w/#")).is_err());
    assert_eq!(here.sent(), b"");
    here.session.socket_closed(here.now);
    here.session.connect_now(here.now);
    here.session.handle_timeout(here.now);
    here.session.socket_connected(here.now);
    assert_eq!(here.sent(), b"\x10\x14\0\x04MQTT\x04\x06\0\x14\0\x02me\0\x01w\0\x011");
}

#[test]
fn options_are_checked() {
    use crate::topic::TopicError as T;
    let check = |change: fn(&mut Options)| {
        let mut options = Options::new("me");
        change(&mut options);
        options.check()
    };
    let user = |user: &str| Some(Credentials { user: user.into(), password: "secret".into() });
    assert_eq!(check(|_| {}), Ok(()));
    assert_eq!(check(|o| o.client_id.clear()), Ok(()));
    assert_eq!(check(|o| o.client_id = "a+#".into()), Ok(()));
    assert_eq!(check(|o| o.client_id = "a\n".into()), Err(OptionsError::ClientId(T::Character('\n'))));
    let mut options = Options::new("me");
    options.credentials = user("");
    assert_eq!(options.check(), Err(OptionsError::User(T::Empty)));
    options.credentials = user("a#");
    assert_eq!(options.check(), Ok(()));
    assert!(!format!("{options:?}").contains("secret"));
    assert_eq!(check(|o| o.longest_pause = DAY * 2), Err(OptionsError::Time("longest_pause")));
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let long = |o: &mut Options| {
        let payload = vec![0; MAX_PACKET_LEN];
        o.will = Some(Will { topic: "w".into(), payload, qos: QoS::AtMostOnce, retain: false });
    };
    assert_eq!(check(long), Err(OptionsError::TooLong(MAX_PACKET_LEN + 24)));
    assert!(Session::new(options, 0, Instant::now()).is_ok());
}

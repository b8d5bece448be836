//! A connected MQTT session with everything in flight hears anything, in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mqtt_session::{topic, Event, Options, QoS, Session, State, MAX_PACKET_LEN, QUEUE_LIMIT};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fuzz_target!(|data: &[u8]| {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = *START.get_or_init(Instant::now);

    let mut session = Session::new(Options::new("me"), 1, now).expect("the options are good");
    session.handle_timeout(now);
    session.socket_connected(now);
    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    // Half of them are greeted already.
    if first % 2 == 0 {
        session.handle_input(now, &[0x20, 2, 0, 0]);
        let _ = session.publish("a", b"1", true);
        let _ = session.subscribe(&[("a/+", QoS::AtLeastOnce), ("b/#", QoS::AtMostOnce)]);
        let _ = session.unsubscribe(&["a"]);
    }
    let (one, two) = rest.split_at((first / 2).min(rest.len()));
    let mut told = 0;
    for piece in [one, two] {
        session.handle_input(now, piece);
        while let Some(event) = session.poll_event() {
            match event {
                Event::Message(message) => {
                    told += message.topic.capacity() + message.payload.capacity();
                    assert!(message.payload.len() < MAX_PACKET_LEN);
                    assert!(topic::matches("#", &message.topic) || message.topic.starts_with('$'));
                    let _ = session.publish(&message.topic, &message.payload, message.retained);
                    let _ = session.subscribe(&[(&message.topic, message.qos)]);
                }
                Event::Lost { reason, .. } => drop(reason.to_string()),
                _ => {}
            }
        }
        assert!(session.transmit().len() < 2 * QUEUE_LIMIT);
        let waiting = session.transmit().len();
        session.consumed(waiting / 2);
    }
    assert!(told <= data.len());
    let due = session.poll_timeout().expect("a time is asked for");
    session.handle_timeout(due + Duration::from_secs(100));
    session.close(due + Duration::from_secs(100));
    session.socket_closed(due + Duration::from_secs(100));
    assert_eq!((session.state(), session.transmit()), (State::Closed, &[][..]));
});

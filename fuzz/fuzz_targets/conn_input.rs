//! A connection with everything declared and in flight hears anything, in two pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::{Connection, Event, Object, Status};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

fuzz_target!(|data: &[u8]| {
    static START: OnceLock<Instant> = OnceLock::new();
    let now = *START.get_or_init(Instant::now);
    let late = now + Duration::from_secs(10);

    let mut connection = Connection::new();
    let object = connection.add_object(Object::new("obj").method::<()>("m"));
    let subscription = connection.subscribe("other");
    connection.register_event("e*");
    connection.call("other", "x", &[], late);
    connection.lookup("*", late);

    let (first, rest) = data.split_first().map_or((0, data), |(first, rest)| (usize::from(*first), rest));
    let (one, two) = rest.split_at(first.min(rest.len()));
    let mut kept = Vec::new();
    for piece in [one, two] {
        if connection.handle_input(piece).is_err() {
            connection.disconnected();
        }
        while let Some(event) = connection.poll_event() {
            match event {
                Event::Call { request, arguments, .. } => match kept.len() % 3 {
                    0 => kept.push(request),
                    1 => {
                        let _ = connection.reply(&request, &arguments);
                        connection.complete(request, Status::OK);
                        kept.clear();
                    }
                    _ => drop(request),
                },
                Event::LookupEnded { objects, .. } => {
                    let _: Vec<_> = objects.iter().map(|object| object.methods().count()).collect();
                }
                Event::CallEnded { .. } => {
                    connection.call("other", "again", &[], late);
                }
                _ => {}
            }
        }
        let _ = connection.notify(object, "n", piece);
        let waiting = connection.transmit().len();
        connection.consumed(waiting / 2);
    }
    connection.handle_timeout(late);
    assert_eq!(connection.poll_timeout(), None);
    connection.unsubscribe(subscription);
    connection.remove_object(object);
    connection.disconnected();
    assert!(connection.transmit().is_empty());
});

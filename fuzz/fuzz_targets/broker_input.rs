//! Two clients say anything to a broker. Ids are replaced by those of this run, so that most of it means something.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::broker::{Broker, ClientId, Credentials};
use openwrt_ubus::{Connection, Object};

fuzz_target!(|data: &[u8]| {
    let mut broker = Broker::new(7);
    let nobody = Credentials { uid: 1, gid: 1, user: "nobody".into(), group: "nogroup".into() };
    let clients =
        [broker.connect(Credentials::root()), broker.connect(Credentials::root()), broker.connect(nobody)];

    // The second client is a well-behaved one, and must stay able to follow.
    let mut connection = Connection::new();
    connection.add_object(Object::new("obj").method::<()>("m"));
    connection.subscribe("other");
    connection.register_event("*");
    talk(&mut broker, clients[1], &mut connection);

    let mut rest = data;
    while let [who, len, tail @ ..] = rest {
        let (piece, later) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = later;
        let client = clients[if who & 1 == 0 { 0 } else { 2 }];
        if broker.handle_input(client, piece).is_err() {
            broker.disconnect(client);
        }
        talk(&mut broker, clients[1], &mut connection);
        let n = broker.transmit(client).len();
        broker.consumed(client, n.saturating_sub(usize::from(*who)));
    }
    for client in clients {
        broker.disconnect(client);
    }
    assert_eq!(broker.talkative().count(), 0);
});

fn talk(broker: &mut Broker, client: ClientId, connection: &mut Connection) {
    loop {
        let bytes = broker.transmit(client).to_vec();
        broker.consumed(client, bytes.len());
        connection.handle_input(&bytes).expect("a broker's messages make sense");
        while connection.poll_event().is_some() {}
        let bytes = connection.transmit().to_vec();
        connection.consumed(bytes.len());
        if bytes.is_empty() {
            return;
        }
        broker.handle_input(client, &bytes).expect("a connection's messages make sense");
    }
}

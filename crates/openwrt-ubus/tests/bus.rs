//! Connections and a broker in memory, with a clock of our own: every order of events can be had, and had again.

use openwrt_ubus::broker::{Access, Broker, ClientId, Credentials};
use openwrt_ubus::conn::{Reply, SendError, QUEUE_LIMIT};
use openwrt_ubus::{from_fields, to_fields, Connection, Event, Fields, Object, ObjectId, Request, Status};
use serde_json::{json, Value as Json};
use std::time::{Duration, Instant};

/// xorshift: small, and the same everywhere.
struct Random(u32);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % limit
    }
}

struct Net {
    broker: Broker,
    random: Random,
    /// The largest piece that bytes travel in.
    piece: usize,
    now: Instant,
    nodes: Vec<Node>,
}

struct Node {
    client: ClientId,
    connection: Connection,
    events: Vec<Event>,
    /// Does not read what the broker has for it.
    stalled: bool,
    /// All bytes the broker sent it.
    heard: Vec<u8>,
}

impl Net {
    fn new(nodes: usize) -> Self {
        Self::of_pieces(nodes, 1 << 20)
    }

    fn of_pieces(nodes: usize, piece: usize) -> Self {
        let mut net =
            Self { broker: Broker::new(1), random: Random(1), piece, now: Instant::now(), nodes: Vec::new() };
        for _ in 0..nodes {
            let client = net.broker.connect(Credentials::root());
            net.nodes.push(Node {
                client,
                connection: Connection::new(),
                events: Vec::new(),
                stalled: false,
                heard: Vec::new(),
            });
        }
        net.run();
        net
    }

    /// Moves bytes until nobody has any left.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for node in &mut self.nodes {
                while !node.connection.transmit().is_empty() {
                    let bytes = node.connection.transmit();
                    let n = 1 + self.random.below(self.piece.min(bytes.len()));
                    self.broker.handle_input(node.client, &bytes[..n]).unwrap();
                    node.connection.consumed(n);
                    moved = true;
                }
                while !node.stalled && !self.broker.transmit(node.client).is_empty() {
                    let bytes = self.broker.transmit(node.client);
                    let n = 1 + self.random.below(self.piece.min(bytes.len()));
                    node.heard.extend_from_slice(&bytes[..n]);
                    node.connection.handle_input(&bytes[..n]).unwrap();
                    self.broker.consumed(node.client, n);
                    moved = true;
                }
                while let Some(event) = node.connection.poll_event() {
                    node.events.push(event);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn at(&mut self, node: usize) -> &mut Connection {
        &mut self.nodes[node].connection
    }

    fn events(&mut self, node: usize) -> Vec<Event> {
        self.run();
        std::mem::take(&mut self.nodes[node].events)
    }

    /// The only event of a node.
    fn event(&mut self, node: usize) -> Event {
        let mut events = self.events(node);
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn serve(&mut self, node: usize) -> ObjectId {
        let object = self.at(node).add_object(service());
        let events = self.events(node);
        let published = |event: &Event| matches!(event, Event::Published { object: o } if *o == object);
        assert!(events.iter().any(published), "{events:?}");
        self.nodes[node].events =
            events.into_iter().filter(|event| matches!(event, Event::SubscribersChanged { .. })).collect();
        object
    }

    fn call(&mut self, node: usize, method: &str, arguments: Json) {
        let deadline = self.now + Duration::from_secs(30);
        self.at(node).call("service", method, &to_fields(&arguments).unwrap(), deadline);
    }

    fn called(&mut self, node: usize) -> (String, Json, Request) {
        match self.event(node) {
            Event::Call { method, arguments, request, .. } => {
                (method, from_fields(&arguments).unwrap(), request)
            }
            other => panic!("{other:?}"),
        }
    }

    fn reply(&mut self, node: usize) -> Reply {
        match self.event(node) {
            Event::CallEnded { reply, .. } => reply,
            other => panic!("{other:?}"),
        }
    }

    fn pass(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        for node in &mut self.nodes {
            node.connection.handle_timeout(self.now);
        }
    }

    /// `ubusd` restarts: all sockets end, and there is a new bus of new ids.
    fn restart(&mut self) {
        self.broker = Broker::new(u64::from(self.random.0));
        for node in &mut self.nodes {
            node.connection.disconnected();
            node.client = self.broker.connect(Credentials::root());
        }
    }
}

fn service() -> Object {
    Object::new("service").method::<()>("a").method::<()>("b")
}

fn json(fields: &[u8]) -> Json {
    serde_json::to_value(Fields::new(fields)).unwrap()
}

fn fields(json: Json) -> Vec<u8> {
    to_fields(&json).unwrap()
}

#[test]
fn a_call_and_its_answer() {
    for piece in [1, 3, 1000] {
        let mut net = Net::of_pieces(2, piece);
        assert!(matches!(net.event(1), Event::Connected { .. }));
        let object = net.serve(0);
        net.call(1, "a", json!({"x": [1, {"y": "z"}]}));
        let event = net.event(0);
        let Event::Call { object: called, method, arguments, caller, request, .. } = event else {
            panic!("{event:?}")
        };
        assert_eq!((called, method.as_str()), (object, "a"));
        assert_eq!(json(&arguments), json!({"x": [1, {"y": "z"}]}));
        assert_eq!((caller.user.as_deref(), caller.group.as_deref()), (Some("root"), Some("root")));
        assert_eq!(ClientId(caller.client), net.nodes[1].client);
        net.at(0).answer(request, &json!({"ok": true})).unwrap();
        let reply = net.reply(1);
        assert_eq!((reply.status, reply.from_callee), (Status::OK, true));
        assert_eq!(json(&reply.data), json!({"ok": true}));
        assert_eq!(net.at(1).poll_timeout(), None);
    }
}

#[test]
fn deferred_answers_in_any_order() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    let mut requests = Vec::new();
    for n in 0..100 {
        net.call(1, "a", json!({ "n": n }));
    }
    for event in net.events(0) {
        let Event::Call { arguments, request, .. } = event else { panic!("{event:?}") };
        requests.push((json(&arguments), request));
    }
    assert_eq!(requests.len(), 100);
    while !requests.is_empty() {
        let (arguments, request) = requests.swap_remove(net.random.below(requests.len()));
        net.at(0).answer(request, &arguments).unwrap();
        assert_eq!(json(&net.reply(1).data), arguments);
    }
}

#[test]
fn data_reaches_the_caller_even_with_an_error() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "a", json!({}));
    let (_, _, request) = net.called(0);
    net.at(0).reply(&request, &fields(json!({"error": {"code": "exists"}}))).unwrap();
    net.at(0).complete(request, Status::UNKNOWN_ERROR);
    let reply = net.reply(1);
    assert_eq!((reply.status, reply.from_callee), (Status::UNKNOWN_ERROR, true));
    assert_eq!(json(&reply.data), json!({"error": {"code": "exists"}}));
}

#[test]
fn several_data_messages_are_joined() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "a", json!({}));
    let (_, _, request) = net.called(0);
    net.at(0).reply(&request, &fields(json!({"a": "x"}))).unwrap();
    net.at(0).reply(&request, &fields(json!({"b": "y"}))).unwrap();
    net.at(0).complete(request, Status::OK);
    assert_eq!(json(&net.reply(1).data), json!({"a": "x", "b": "y"}));
}

#[test]
fn a_dropped_request_is_answered_all_the_same() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "a", json!({}));
    let (_, _, request) = net.called(0);
    std::thread::spawn(move || drop(request)).join().unwrap();
    assert_eq!(net.reply(1).status, Status::UNKNOWN_ERROR);
}

#[test]
fn what_is_not_there() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "nope", json!({}));
    let reply = net.reply(1);
    assert_eq!((reply.status, reply.from_callee), (Status::METHOD_NOT_FOUND, true));
    let deadline = net.now + Duration::from_secs(1);
    for path in ["nothing", "serv*", "", "ser\0vice", "*"] {
        net.at(1).call(path, "a", &[], deadline);
        let reply = net.reply(1);
        assert_eq!((reply.status, reply.from_callee), (Status::NOT_FOUND, false), "{path:?}");
    }
    assert!(net.events(0).is_empty());
}

#[test]
fn deadlines() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "a", json!({}));
    let (_, _, request) = net.called(0);
    net.pass(29);
    assert!(net.events(1).is_empty());
    let due = net.now + Duration::from_secs(1);
    assert_eq!(net.at(1).poll_timeout(), Some(due));
    net.pass(1);
    assert_eq!(net.reply(1).status, Status::TIMEOUT);
    // The late answer is nobody's, and does not end a later call.
    net.call(1, "a", json!({}));
    let (_, _, second) = net.called(0);
    net.at(0).answer(request, &json!({"late": true})).unwrap();
    assert!(net.events(1).is_empty());
    net.at(0).answer(second, &json!({"late": false})).unwrap();
    assert_eq!(json(&net.reply(1).data), json!({"late": false}));
}

#[test]
fn a_stalled_callee_harms_nobody_else() {
    let mut net = Net::new(3);
    net.serve(0);
    net.at(2).add_object(Object::new("other").method::<()>("m"));
    net.run();
    net.events(1);
    net.events(2);
    net.nodes[0].stalled = true;
    let argument = "x".repeat(1000);
    for _ in 0..4000 {
        net.call(1, "a", json!({ "s": argument }));
    }
    assert!(net.events(1).is_empty());
    let deadline = net.now + Duration::from_secs(1);
    net.at(1).call("other", "m", &[], deadline);
    let event = net.event(2);
    let Event::Call { request, .. } = event else { panic!("{event:?}") };
    net.at(2).complete(request, Status::OK);
    assert_eq!(net.reply(1).status, Status::OK);
    net.pass(30);
    let ended = net.events(1);
    assert_eq!(ended.len(), 4000);
    assert!(ended
        .iter()
        .all(|e| matches!(e, Event::CallEnded { reply, .. } if reply.status == Status::TIMEOUT)));
    net.nodes[0].stalled = false;
    let heard = net.events(0).len();
    assert!((1000..1300).contains(&heard), "{heard}"); // what the queue holds; the rest was dropped
}

#[test]
fn a_restart_of_ubusd() {
    let mut net = Net::new(2);
    net.events(1);
    let object = net.serve(0);
    let subscription = net.at(1).subscribe("service");
    net.at(1).register_event("hello.*");
    net.events(0);
    assert!(matches!(net.event(1), Event::Subscribed { subscription: s } if s == subscription));
    net.call(1, "a", json!({}));
    let (_, _, stale) = net.called(0);
    net.at(0).reply(&stale, &[]).unwrap();

    net.restart();
    assert!(!net.at(0).has_subscribers(object));
    let deadline = net.now + Duration::from_secs(5);
    let waiting = net.at(1).call("service", "b", &[], deadline); // made while there is no bus
    let events = net.events(1);
    let [Event::CallEnded { reply, .. }, Event::Connected { .. }, .., Event::Subscribed { subscription: again }] =
        &events[..]
    else {
        panic!("{events:?}");
    };
    assert_eq!((reply.status, *again), (Status::CONNECTION_FAILED, subscription));
    net.at(0).reply(&stale, &fields(json!({"late": 1}))).unwrap();
    net.at(0).complete(stale, Status::OK);

    let events = net.events(0);
    let mut names = Vec::new();
    let mut request = None;
    for event in events {
        match event {
            Event::Connected { .. } => names.push("connected"),
            Event::Published { object: o } if o == object => names.push("published"),
            Event::SubscribersChanged { object: o, active: true } if o == object => names.push("subscribed"),
            Event::Call { method, request: r, .. } if method == "b" => request = Some(r),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names, ["connected", "published", "subscribed"]);
    net.at(0).answer(request.unwrap(), &json!({"again": 1})).unwrap();
    match net.event(1) {
        Event::CallEnded { call, reply } => {
            assert_eq!((call, json(&reply.data)), (waiting, json!({"again": 1})));
        }
        other => panic!("{other:?}"),
    }
    net.at(0).notify(object, "back", &[]).unwrap();
    net.at(0).send_event("hello.world", &fields(json!({"n": 1}))).unwrap();
    let events = net.events(1);
    let [Event::Notification { name, .. }, Event::BusEvent { id, data }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((name.as_str(), id.as_str(), json(data)), ("back", "hello.world", json!({"n": 1})));
}

#[test]
fn notifications() {
    let mut net = Net::new(3);
    net.events(1);
    net.events(2);
    let object = net.serve(0);
    assert!(!net.at(0).has_subscribers(object));
    net.at(0).notify(object, "nobody", &[]).unwrap();
    assert!(net.at(0).transmit().is_empty());

    let one = net.at(1).subscribe("service");
    let two = net.at(2).subscribe("service");
    assert!(matches!(net.event(1), Event::Subscribed { subscription } if subscription == one));
    assert!(matches!(net.event(2), Event::Subscribed { subscription } if subscription == two));
    assert!(matches!(net.event(0), Event::SubscribersChanged { active: true, .. }));
    net.at(0).notify(object, "created", &fields(json!({"name": "web"}))).unwrap();
    for (node, expected) in [(1, one), (2, two)] {
        match net.event(node) {
            Event::Notification { subscription, name, data } => {
                assert_eq!((subscription, name.as_str()), (expected, "created"));
                assert_eq!(json(&data), json!({"name": "web"}));
            }
            other => panic!("{other:?}"),
        }
    }
    net.at(1).unsubscribe(one);
    assert!(net.events(0).is_empty());
    net.at(2).unsubscribe(two);
    assert!(matches!(net.event(0), Event::SubscribersChanged { active: false, .. }));
    assert!(!net.at(0).has_subscribers(object));
}

#[test]
fn subscriptions_follow_their_object() {
    let mut net = Net::new(2);
    net.events(1);
    let subscription = net.at(1).subscribe("service");
    assert!(matches!(net.event(1), Event::SubscribeFailed { status: Status::NOT_FOUND, .. }));
    for _ in 0..3 {
        let object = net.serve(0);
        assert!(matches!(net.event(1), Event::Subscribed { subscription: s } if s == subscription));
        assert!(matches!(net.event(0), Event::SubscribersChanged { active: true, .. }));
        net.at(0).notify(object, "n", &[]).unwrap();
        assert!(matches!(net.event(1), Event::Notification { .. }));
        net.at(0).remove_object(object);
        assert!(matches!(net.event(1), Event::SubscriptionLost { subscription: s } if s == subscription));
        net.events(0);
    }
    net.at(1).unsubscribe(subscription);
    net.serve(0);
    assert!(net.events(1).is_empty());
}

#[test]
fn subscribing_to_oneself_is_refused() {
    let mut net = Net::new(1);
    net.serve(0);
    net.at(0).subscribe("service");
    assert!(matches!(net.event(0), Event::SubscribeFailed { status: Status::INVALID_ARGUMENT, .. }));
}

#[test]
fn events_go_to_whoever_listens() {
    let mut net = Net::new(3);
    for node in 0..3 {
        net.events(node);
    }
    net.at(1).register_event("net.*");
    net.at(1).register_event("net.up");
    net.at(2).register_event("net.up");
    net.at(2).register_event("other");
    net.run();
    assert_eq!(net.at(0).send_event("net.up", &fields(json!({"n": 1}))), Ok(()));
    assert_eq!(net.at(0).send_event("net.down", &[]), Ok(()));
    assert_eq!(net.at(2).send_event("other", &[]), Ok(())); // not back to the sender
    let ids = |events: Vec<Event>| -> Vec<String> {
        let id = |event| match event {
            Event::BusEvent { id, .. } => id,
            other => panic!("{other:?}"),
        };
        events.into_iter().map(id).collect()
    };
    assert_eq!(ids(net.events(1)), ["net.up", "net.down"]);
    assert_eq!(ids(net.events(2)), ["net.up"]);
    assert!(net.events(0).is_empty());
    assert_eq!(Connection::new().send_event("x", &[]), Err(SendError::Disconnected));
}

#[test]
fn objects_come_and_go() {
    let mut net = Net::new(3);
    net.events(1);
    net.events(2);
    net.at(2).register_event("ubus.object.*");
    net.run();
    let first = net.serve(0);
    let second = net.at(1).add_object(service());
    let taken = net.event(1);
    assert!(
        matches!(taken, Event::PublishFailed { object, status: Status::INVALID_ARGUMENT } if object == second)
    );
    net.at(0).remove_object(first);
    net.run();
    assert!(!net.at(1).is_published(second));
    net.at(1).publish_again(second);
    net.at(1).publish_again(second);
    assert!(matches!(net.event(1), Event::Published { object } if object == second));
    let added = net.events(2).iter().filter(|e| matches!(e, Event::BusEvent { .. })).count();
    assert_eq!(added, 3);
    // Taken back before ubusd has answered.
    let brief = net.at(0).add_object(Object::new("brief"));
    net.at(0).remove_object(brief);
    net.run();
    let deadline = net.now + Duration::from_secs(1);
    net.at(0).lookup("brief", deadline);
    assert!(matches!(net.events(0).pop(), Some(Event::LookupEnded { status: Status::NOT_FOUND, .. })));
}

#[test]
fn an_object_that_came_back_under_another_id_is_found() {
    let mut net = Net::new(2);
    net.events(1);
    for _ in 0..2 {
        let object = net.serve(0);
        net.call(1, "a", json!({"n": 1}));
        let (_, arguments, request) = net.called(0);
        net.at(0).answer(request, &arguments).unwrap();
        assert_eq!(json(&net.reply(1).data), json!({"n": 1}));
        net.at(0).remove_object(object);
        net.events(0);
    }
    net.call(1, "a", json!({}));
    let reply = net.reply(1);
    assert_eq!((reply.status, reply.from_callee), (Status::NOT_FOUND, false));
}

#[test]
fn lookups() {
    let mut net = Net::new(2);
    net.events(1);
    // More than a pause's worth.
    for n in 0..2000 {
        net.at(0)
            .add_object(Object::new(&format!("obj.{n:04}")).method::<()>("method").method::<()>("another"));
    }
    net.at(0).add_object(Object::new("zzz"));
    net.run();
    let deadline = net.now + Duration::from_secs(1);
    for (pattern, expected) in
        [("", 2001), ("*", 2001), ("obj.*", 2000), ("obj.000*", 10), ("obj.0007", 1), ("zzz", 1)]
    {
        net.at(1).lookup(pattern, deadline);
        match net.event(1) {
            Event::LookupEnded { status: Status::OK, objects, .. } => {
                assert_eq!(objects.len(), expected, "{pattern}");
                assert!(objects.windows(2).all(|pair| pair[0].path < pair[1].path));
            }
            other => panic!("{other:?}"),
        }
    }
    for pattern in ["nothing", "nothing*"] {
        net.at(1).lookup(pattern, deadline);
        assert!(matches!(net.event(1), Event::LookupEnded { status: Status::NOT_FOUND, .. }));
    }
    // Many at once, by a client that reads slowly: none is lost.
    for _ in 0..20 {
        net.at(1).lookup("", deadline);
    }
    let all = net.events(1);
    assert_eq!(all.len(), 20);
    assert!(all.iter().all(|e| matches!(e, Event::LookupEnded { objects, .. } if objects.len() == 2001)));
}

#[test]
fn one_mebibyte_and_no_more() {
    let mut net = Net::new(2);
    net.events(1);
    let object = net.serve(0);
    net.at(1).subscribe("service");
    net.events(0);
    net.events(1);
    let of = |len: usize| fields(json!({"s": "x".repeat(len)}));
    let deadline = net.now + Duration::from_secs(1);

    net.at(1).call("service", "a", &of((1 << 20) - 200), deadline);
    let (_, arguments, request) = net.called(0);
    assert_eq!(arguments["s"].as_str().unwrap().len(), (1 << 20) - 200);

    let largest = of((1 << 20) - 32);
    assert_eq!(net.at(0).reply(&request, &of((1 << 20) - 16)), Err(SendError::TooLong));
    assert_eq!(net.at(0).reply(&request, &largest), Ok(()));
    net.at(0).complete(request, Status::OK);
    let reply = net.reply(1);
    assert_eq!((reply.status, reply.data.len()), (Status::OK, largest.len()));

    net.at(1).call("service", "a", &of((1 << 20) - 16), deadline);
    assert_eq!(net.reply(1).status, Status::INVALID_ARGUMENT);
    // Fits as the caller sends it, but no more as the broker passes it on.
    net.at(1).call("service", "a", &of((1 << 20) - 44), deadline);
    assert_eq!(net.reply(1).status, Status::INVALID_ARGUMENT);
    assert_eq!(net.at(0).notify(object, "n", &of((1 << 20) - 16)), Err(SendError::TooLong));
    assert!(net.events(0).is_empty());
}

#[test]
fn notifications_are_dropped_rather_than_piled_up() {
    let mut net = Net::new(2);
    net.events(1);
    let object = net.serve(0);
    net.at(1).subscribe("service");
    net.events(0);
    net.events(1);
    let data = fields(json!({"s": "x".repeat(1000)}));
    let sent = (0..1000).take_while(|_| net.at(0).notify(object, "n", &data).is_ok()).count();
    assert_eq!(net.at(0).notify(object, "n", &data), Err(SendError::Full));
    assert_eq!(net.at(0).send_event("e", &data), Err(SendError::Full));
    assert!(net.at(0).transmit().len() <= QUEUE_LIMIT + 2000);
    assert_eq!(net.events(1).len(), sent);
    assert_eq!(net.at(0).notify(object, "n", &data), Ok(()));
}

#[test]
fn sequence_numbers_wrap_and_skip_what_is_in_flight() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    net.call(1, "b", json!({"first": true}));
    let (_, _, first) = net.called(0);
    for _ in 0..70_000 {
        net.call(1, "a", json!({}));
        let (_, _, request) = net.called(0);
        net.at(0).complete(request, Status::OK);
        assert_eq!(net.reply(1).status, Status::OK);
    }
    net.at(0).answer(first, &json!({"first": true})).unwrap();
    assert_eq!(json(&net.reply(1).data), json!({"first": true}));
}

#[test]
fn more_calls_than_numbers() {
    let mut net = Net::new(1);
    net.events(0);
    for _ in 0..65_540 {
        net.call(0, "a", json!({}));
    }
    let ended = std::iter::from_fn(|| net.at(0).poll_event()).count();
    assert_eq!(ended, 4); // NO_MEMORY; the others are under way
}

#[test]
fn hostile_nesting_is_refused_and_nothing_else_happens() {
    let mut net = Net::new(2);
    net.events(1);
    net.serve(0);
    let mut nested: Vec<u8> = Vec::new();
    for _ in 0..200 {
        let len = nested.len() as u32 + 8;
        let mut outer = (0x8200_0000 | len).to_be_bytes().to_vec();
        outer.extend_from_slice(&[0, 1, b't', 0]);
        outer.append(&mut nested);
        nested = outer;
    }
    let deadline = net.now + Duration::from_secs(1);
    net.at(1).call("service", "a", &nested, deadline);
    let event = net.event(0);
    let Event::Call { arguments, request, .. } = event else { panic!("{event:?}") };
    assert!(from_fields::<Json>(&arguments).is_err());
    assert!(serde_json::to_string(&Fields::new(&arguments)).is_err());
    assert_eq!(from_fields::<()>(&arguments), Ok(()));
    net.at(0).complete(request, Status::INVALID_ARGUMENT);
    assert_eq!(net.reply(1).status, Status::INVALID_ARGUMENT);
}

#[test]
fn the_same_bytes_in_other_pieces_are_the_same_events() {
    // A run with a bit of everything, heard by node 1.
    let mut net = Net::new(2);
    let object = net.serve(0);
    net.at(1).add_object(Object::new("mine").method::<()>("m"));
    net.at(1).subscribe("service");
    net.at(1).register_event("*");
    net.run();
    net.at(0).notify(object, "n", &fields(json!({"x": "y".repeat(5000)}))).unwrap();
    net.at(0).send_event("e", &[]).unwrap();
    let deadline = net.now + Duration::from_secs(1);
    net.at(0).call("mine", "m", &fields(json!({"x": 1})), deadline);
    net.at(0).call("mine", "nope", &[], deadline);
    net.at(1).lookup("", deadline);
    net.run();
    let heard = net.nodes[1].heard.clone();

    let replay = |pieces: &mut dyn FnMut(usize) -> usize| {
        let mut connection = Connection::new();
        connection.add_object(Object::new("mine").method::<()>("m"));
        connection.subscribe("service");
        connection.register_event("*");
        let mut rest = &heard[..];
        let mut events = String::new();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(pieces(rest.len()).clamp(1, rest.len()));
            connection.handle_input(piece).unwrap();
            while let Some(event) = connection.poll_event() {
                events.push_str(&format!("{event:?}\n"));
            }
            rest = later;
        }
        (events, connection.transmit().to_vec())
    };
    let whole = replay(&mut |len| len);
    assert!(whole.0.contains("Notification") && whole.0.contains("Call {"), "{}", whole.0);
    assert!(replay(&mut |_| 1) == whole);
    for seed in 1..200 {
        let mut random = Random(seed);
        assert!(replay(&mut |_| 1 + random.below(40)) == whole, "seed {seed}");
        let mut random = Random(seed);
        assert!(replay(&mut |_| 1 + random.below(6000)) == whole, "seed {seed}");
    }
}

#[test]
fn a_client_that_makes_no_sense_is_cut_off() {
    let mut broker = Broker::new(3);
    let client = broker.connect(Credentials::root());
    assert!(broker.handle_input(client, &[0, 3, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 4]).is_err());
    let client = broker.connect(Credentials::root());
    assert!(broker.handle_input(client, &[0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]).is_err());
    let mut connection = Connection::new();
    assert!(connection.handle_input(&[0; 12]).is_err());
    connection.disconnected();
    assert!(connection.handle_input(&[0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 4]).is_ok());
    assert!(matches!(connection.poll_event(), Some(Event::Connected { client: 1024 })));
}

#[test]
fn a_client_without_rights() {
    let mut net = Net::new(1);
    net.serve(0);
    let nobody = Credentials { uid: 65_534, gid: 65_534, user: "nobody".into(), group: "nogroup".into() };
    let client = net.broker.connect(nobody);
    net.nodes.push(Node {
        client,
        connection: Connection::new(),
        events: Vec::new(),
        stalled: false,
        heard: Vec::new(),
    });
    net.events(1);
    net.call(1, "a", json!({}));
    assert_eq!(net.reply(1).status, Status::NOT_FOUND); // a lookup shows it nothing
    net.at(1).add_object(Object::new("mine"));
    assert!(matches!(net.event(1), Event::PublishFailed { status: Status::INVALID_ARGUMENT, .. }));
    net.at(1).register_event("*");
    assert!(matches!(net.event(1), Event::ListenFailed { status: Status::PERMISSION_DENIED, .. }));
    net.at(1).subscribe("service");
    assert!(matches!(net.event(1), Event::SubscribeFailed { status: Status::NOT_FOUND, .. }));
    assert!(net.events(0).is_empty());
}

#[test]
fn a_client_may_do_what_a_list_says_and_no_more() {
    let mut net = Net::new(1);
    net.serve(0);
    let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
    let list = |user: &str, methods: &[&str]| Access {
        user: Some(user.into()),
        methods: vec![("serv*".into(), texts(methods))],
        publish: texts(&["mine"]),
        subscribe: texts(&["service"]),
        listen: texts(&["a.*"]),
        send: texts(&["b"]),
        ..Access::default()
    };
    net.broker.allow(list("anna", &["a"]));
    // Of somebody else, and of a group that she is not of.
    net.broker.allow(list("bob", &["*"]));
    net.broker.allow(Access { user: None, group: Some("bob".into()), ..list("", &["*"]) });
    let anna = Credentials { uid: 1000, gid: 1000, user: "anna".into(), group: "anna".into() };
    let client = net.broker.connect(anna);
    net.nodes.push(Node {
        client,
        connection: Connection::new(),
        events: Vec::new(),
        stalled: false,
        heard: Vec::new(),
    });
    net.events(1);
    let deadline = net.now + Duration::from_secs(1);
    net.at(1).lookup("*", deadline);
    let Event::LookupEnded { objects, .. } = net.event(1) else { panic!("no lookup") };
    let seen: Vec<(String, Vec<String>)> = objects
        .iter()
        .map(|object| (object.path.clone(), object.methods().map(|(name, _)| name.to_string()).collect()))
        .collect();
    assert_eq!(seen, [("service".to_string(), texts(&["a"]))]);
    net.call(1, "a", json!({}));
    let Event::Call { caller, request, .. } = net.event(0) else { panic!("no call") };
    assert_eq!((caller.user.as_deref(), caller.group.as_deref()), (Some("anna"), Some("anna")));
    net.at(0).complete(request, Status::OK);
    assert_eq!(net.reply(1).status, Status::OK);
    net.call(1, "b", json!({}));
    assert_eq!(net.reply(1).status, Status::PERMISSION_DENIED);
    assert!(net.events(0).is_empty());
    net.at(1).add_object(Object::new("mine"));
    assert!(matches!(net.event(1), Event::Published { .. }));
    net.at(1).add_object(Object::new("mine.too"));
    assert!(matches!(net.event(1), Event::PublishFailed { status: Status::INVALID_ARGUMENT, .. }));
    net.at(1).subscribe("service");
    assert!(matches!(net.event(1), Event::Subscribed { .. }));
    net.at(1).register_event("*");
    assert!(matches!(net.event(1), Event::ListenFailed { status: Status::PERMISSION_DENIED, .. }));
    net.at(1).register_event("a.*");
    assert!(net.events(1).is_empty());
    net.events(0);
    net.at(0).send_event("a.x", &[]).unwrap();
    net.at(0).send_event("c.x", &[]).unwrap();
    assert!(matches!(net.event(1), Event::BusEvent { id, .. } if id == "a.x"));
    net.at(0).register_event("*");
    net.events(0);
    net.at(1).send_event("b", &[]).unwrap();
    net.at(1).send_event("c", &[]).unwrap();
    assert!(matches!(net.event(0), Event::BusEvent { id, .. } if id == "b"));
    assert!(net.events(0).is_empty());
}

#[test]
fn names_that_c_readers_would_cut() {
    let mut net = Net::new(2);
    net.events(1);
    let object = net.serve(0);
    net.at(1).subscribe("service");
    net.events(0);
    net.events(1);
    assert_eq!(net.at(0).notify(object, "n\0", &[]), Err(SendError::Nul));
    assert_eq!(net.at(0).send_event("e\0", &[]), Err(SendError::Nul));
    net.at(0).add_object(Object::new("a\0b"));
    assert!(matches!(net.event(0), Event::PublishFailed { status: Status::INVALID_ARGUMENT, .. }));
    net.at(1).register_event("e\0*");
    assert!(matches!(net.event(1), Event::ListenFailed { status: Status::INVALID_ARGUMENT, .. }));
    let deadline = net.now + Duration::from_secs(1);
    net.at(1).call("service", "a\0", &[], deadline);
    assert_eq!(net.reply(1).status, Status::METHOD_NOT_FOUND);
    // And nothing half-written is left behind.
    net.call(1, "a", json!({}));
    let (_, _, request) = net.called(0);
    net.at(0).complete(request, Status::OK);
    assert_eq!(net.reply(1).status, Status::OK);
}

#[test]
fn a_target_replaced_while_it_is_subscribed_to() {
    let mut net = Net::new(2);
    net.events(1);
    let first = net.serve(0);
    net.at(1).subscribe("service");
    // Up to the SUBSCRIBE, which stays in the sender's hands ...
    let (client, other) = (net.nodes[1].client, net.nodes[0].client);
    while net.at(1).transmit()[1] != 8 {
        let bytes = net.at(1).transmit().to_vec();
        net.broker.handle_input(client, &bytes).unwrap();
        net.at(1).consumed(bytes.len());
        let bytes = net.broker.transmit(client).to_vec();
        net.broker.consumed(client, bytes.len());
        net.at(1).handle_input(&bytes).unwrap();
    }
    // ... while the object is replaced by another of the same path.
    net.at(0).remove_object(first);
    let second = net.at(0).add_object(service());
    let bytes = net.at(0).transmit().to_vec();
    net.broker.handle_input(other, &bytes).unwrap();
    net.at(0).consumed(bytes.len());
    let events = net.events(1);
    assert!(matches!(&events[..], [Event::Subscribed { .. }]), "{events:?}");
    net.run();
    assert!(net.at(0).has_subscribers(second));
}

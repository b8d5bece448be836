//! Against real brokers: mosquitto, and the MQTT listener of nats-server. Each is looked for on the PATH and in the environment's
//! `MOSQUITTO` and `NATS_SERVER`; a test of one that is not there says so.

mod server;

use mqtt_session::{
    topic, Client, ClientError, Credentials, Driver, Event, Message, Options, QoS, Reason, Refusal,
    SendError, Session, Skip, State, Will, MAX_PACKET_LEN,
};
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use nix::sys::socket::{bind, listen, socket, AddressFamily, Backlog, SockFlag, SockType, SockaddrIn};
use server::{program, Kind, Server, PATIENCE};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long nothing has to come before it is believed that nothing comes.
const QUIET: Duration = Duration::from_millis(300);

// ---- Brokers and clients ---------------------------------------------------------------------------------------------

/// The test runs on each broker there is.
fn on_every_broker(test: impl Fn(&mut Server)) {
    let mut missing = Vec::new();
    for kind in [Kind::Mosquitto, Kind::Nats] {
        match program(kind) {
            Ok(program) => {
                println!("on {kind:?}");
                let more = if kind == Kind::Mosquitto { "allow_anonymous true\n" } else { "" };
                test(&mut Server::start(kind, &program, more));
            }
            Err(reason) => missing.push(reason),
        }
    }
    match &missing[..] {
        [] => {}
        [one] => println!("skipped in part: {one}"),
        all => println!("skipped: {}", all.join("; ")),
    }
}

/// The test runs on mosquitto, with these lines of configuration.
fn on_mosquitto(more: &str, test: impl Fn(&mut Server)) {
    match program(Kind::Mosquitto) {
        Ok(program) => test(&mut Server::start(Kind::Mosquitto, &program, more)),
        Err(reason) => println!("skipped: {reason}"),
    }
}

fn try_client(address: SocketAddr, options: Options) -> Result<Client, ClientError> {
    Client::connect(&address.ip().to_string(), address.port(), options, PATIENCE)
}

fn client(server: &Server, id: &str) -> Client {
    try_client(server.address, Options::new(id)).unwrap()
}

fn listener(server: &Server, id: &str, filter: &str) -> Client {
    let mut client = client(server, id);
    let granted = client.subscribe(&[(filter, QoS::AtLeastOnce)], PATIENCE).unwrap();
    assert_eq!(granted, [Some(QoS::AtLeastOnce)]);
    client
}

/// The next message.
fn hear(client: &mut Client) -> Message {
    match client.next_event(PATIENCE).unwrap().expect("a message comes") {
        Event::Message(message) => message,
        event => panic!("{event:?} instead of a message"),
    }
}

fn hear_nothing(client: &mut Client) {
    let event = client.next_event(QUIET).unwrap();
    assert_eq!(event, None);
}

/// A session and its driver, as a daemon has them.
struct Loop {
    session: Session,
    driver: Driver,
    events: VecDeque<Event>,
}

impl Loop {
    fn new(address: SocketAddr, options: Options) -> Self {
        let session = Session::new(options, 1, Instant::now()).unwrap();
        Self { session, driver: Driver::new(address), events: VecDeque::new() }
    }

    /// What happens next, until then.
    fn event(&mut self, until: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front().or_else(|| self.session.poll_event()) {
                return Some(event);
            }
            if Instant::now() >= until {
                return None;
            }
            self.turn(until);
        }
    }

    /// One turn, and sleep where nothing happened in it.
    fn turn(&mut self, until: Instant) {
        let now = Instant::now();
        self.driver.turn(&mut self.session, now);
        assert_eq!(self.driver.interest().is_some(), self.session.state().has_socket());
        if let Some(event) = self.session.poll_event() {
            return self.events.push_back(event);
        }
        let due = self.session.poll_timeout().map_or(until, |due| due.min(until));
        let time = due.saturating_duration_since(now).as_millis() as u32 + 1;
        let time = PollTimeout::try_from(time).unwrap();
        match self.driver.interest() {
            Some((fd, writing)) => {
                let flags = if writing { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
                poll(&mut [PollFd::new(fd, flags)], time).unwrap();
            }
            None => drop(poll(&mut [], time).unwrap()),
        }
    }

    fn next(&mut self) -> Event {
        self.event(Instant::now() + PATIENCE).expect("something happens")
    }

    fn connect(&mut self) {
        assert_eq!(self.next(), Event::Connected { session_present: false });
    }
}

fn impatient(id: &str) -> Options {
    let mut options = Options::new(id);
    options.first_pause = Duration::from_millis(20);
    options.longest_pause = Duration::from_millis(100);
    options
}

// ---- The tests ---------------------------------------------------------------------------------------------------------

#[test]
fn messages_are_published_kept_and_removed() {
    on_every_broker(|server| {
        let mut early = listener(server, "early", "door/#");
        let mut writer = client(server, "writer");
        writer.publish("door/state", b"open", true, PATIENCE).unwrap();
        writer.publish("door/bell", b"ring", false, PATIENCE).unwrap();
        writer.publish("window", b"shut", true, PATIENCE).unwrap();
        let heard = [hear(&mut early), hear(&mut early)];
        let (topics, qos) = (heard.each_ref().map(|m| m.topic.as_str()), heard.each_ref().map(|m| m.qos));
        assert_eq!((topics, qos), (["door/state", "door/bell"], [QoS::AtLeastOnce; 2]));
        assert_eq!((&heard[0].payload[..], heard[0].retained), (&b"open"[..], false));

        let mut late = listener(server, "late", "door/#");
        let kept = hear(&mut late);
        assert_eq!(
            (kept.topic.as_str(), &kept.payload[..], kept.retained),
            ("door/state", &b"open"[..], true)
        );
        hear_nothing(&mut late);

        writer.publish("door/state", b"", true, PATIENCE).unwrap();
        for who in [&mut early, &mut late] {
            let removed = hear(who);
            assert_eq!((removed.topic.as_str(), removed.payload.len()), ("door/state", 0));
        }
        hear_nothing(&mut listener(server, "later", "door/#"));

        writer.session().publish_unacknowledged("door/light", b"on", false).unwrap();
        writer.next_event(Duration::ZERO).unwrap();
        assert_eq!((hear(&mut early).qos, hear(&mut late).topic), (QoS::AtMostOnce, "door/light".into()));

        // Taken back.
        let wanted = early.session().unsubscribe(&["door/#"]).unwrap();
        assert_eq!(early.next_event(PATIENCE).unwrap(), Some(Event::Unsubscribed(wanted)));
        writer.publish("door/bell", b"ring", false, PATIENCE).unwrap();
        hear_nothing(&mut early);
        for client in [early, late, writer] {
            client.close().unwrap();
        }
    });
}

#[test]
fn sixty_four_kilobytes_pass_and_more_is_let_go_by() {
    on_every_broker(|server| {
        let mut reader = listener(server, "reader", "big/#");
        let mut writer = client(server, "writer");
        // What fits whatever the number's length is.
        let most = vec![b'm'; MAX_PACKET_LEN - 9 - "big/x".len()];
        writer.publish("big/x", &most, true, PATIENCE).unwrap();
        assert_eq!(hear(&mut reader).payload, most);
        let longer = [&most[..], b"m"].concat();
        let refused = writer.publish("big/x", &longer, true, PATIENCE);
        assert!(matches!(refused, Err(ClientError::Send(SendError::TooLong(_)))), "{refused:?}");

        // Who else publishes has no such bound. More of them than a broker has in flight, so that each must be acknowledged.
        let mut vandal = TcpStream::connect(server.address).unwrap();
        vandal.write_all(b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02va").unwrap();
        vandal.read_exact(&mut [0; 4]).unwrap();
        for number in 1..=30 {
            let mut packet = b"\x33\xc9\x9a\x0c\0\x05big/v\0".to_vec();
            packet.push(number);
            packet.resize(4 + 200_009, b'v');
            vandal.write_all(&packet).unwrap();
            vandal.read_exact(&mut [0; 4]).unwrap();
        }
        writer.publish("big/after", b"here", false, PATIENCE).unwrap();
        for _ in 0..30 {
            let skipped = reader.next_event(PATIENCE).unwrap();
            let why = Skip::TooLong(4 + 200_009);
            assert_eq!(skipped, Some(Event::Skipped { topic: "big/v".into(), why }));
        }
        assert_eq!(hear(&mut reader).topic, "big/after");
        // It is retained, and cuts off nobody who subscribes.
        let mut late = listener(server, "late", "big/#");
        let mut heard = [late.next_event(PATIENCE).unwrap(), late.next_event(PATIENCE).unwrap()];
        heard.sort_by_key(|event| matches!(event, Some(Event::Skipped { .. })));
        assert!(matches!(&heard[0], Some(Event::Message(message)) if message.payload == most), "{heard:?}");
        assert!(matches!(&heard[1], Some(Event::Skipped { topic, .. }) if topic == "big/v"), "{heard:?}");
        late.publish("big/after", b"there", false, PATIENCE).unwrap();
        assert_eq!(hear(&mut late).topic, "big/after");
    });
}

/// Mosquitto throws out who publishes such a topic; nats-server passes some on.
#[test]
fn a_topic_that_is_none_cuts_off_nobody() {
    on_every_broker(|server| {
        let mut reader = listener(server, "reader", "v/#");
        for (number, topic) in
            [&b"v/\xff"[..], b"v/\xed\xa0\x80", b"v/\0", b"v/+", b"v/#", b"v/\x07", b"v/\n"]
                .into_iter()
                .enumerate()
        {
            let mut vandal = TcpStream::connect(server.address).unwrap();
            vandal.set_read_timeout(Some(PATIENCE)).unwrap();
            // nats-server keeps a name that comes too often waiting.
            let mut connect = b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02v".to_vec();
            connect.push(b'0' + number as u8);
            vandal.write_all(&connect).unwrap();
            vandal.read_exact(&mut [0; 4]).unwrap();
            let mut packet = vec![0x33, 5 + topic.len() as u8, 0, topic.len() as u8];
            packet.extend_from_slice(topic);
            packet.extend_from_slice(&[0, 1, b'x']);
            vandal.write_all(&packet).unwrap();
            let taken = vandal.read_exact(&mut [0; 4]).is_ok();
            reader.publish("v/mark", b"", false, PATIENCE).unwrap();
            let mut heard = Vec::new();
            loop {
                match reader.next_event(PATIENCE).unwrap().expect("our mark comes") {
                    Event::Message(message) if message.topic == "v/mark" => break,
                    event => heard.push(event),
                }
            }
            assert!(taken || heard.is_empty());
            let topic = String::from_utf8_lossy(topic);
            println!("{topic:?}: {}, {heard:?}", if taken { "taken" } else { "refused" });
            // Whoever comes later gets on as well.
            let mut late = client(server, &format!("late{number}"));
            late.subscribe(&[("v/#", QoS::AtLeastOnce)], PATIENCE).unwrap();
            late.publish("v/mark", b"", false, PATIENCE).unwrap();
            while !matches!(late.next_event(PATIENCE).unwrap(), Some(Event::Message(m)) if m.topic == "v/mark")
            {
            }
            while !matches!(reader.next_event(PATIENCE).unwrap(), Some(Event::Message(m)) if m.topic == "v/mark")
            {
            }
        }
    });
}

#[test]
fn a_will_is_published_for_who_is_lost_and_not_for_who_leaves() {
    on_every_broker(|server| {
        let mut watcher = listener(server, "watcher", "alive/#");
        let will = |payload: &[u8]| {
            Some(Will {
                topic: "alive/me".into(),
                payload: payload.into(),
                qos: QoS::AtLeastOnce,
                retain: true,
            })
        };
        for leaves in [true, false] {
            let mut options = Options::new("me");
            options.will = will(b"0");
            let mut me = try_client(server.address, options).unwrap();
            // Something lies there unread when it closes: the DISCONNECT must arrive all the same.
            me.subscribe(&[("alive/#", QoS::AtMostOnce)], PATIENCE).unwrap();
            for _ in 0..50 {
                watcher.session().publish_unacknowledged("alive/noise", &[7; 4000], false).unwrap();
            }
            watcher.publish("alive/end", b"", false, PATIENCE).unwrap();
            while hear(&mut watcher).topic != "alive/end" {}
            match leaves {
                true => me.close().unwrap(),
                false => drop(me),
            }
            if leaves {
                hear_nothing(&mut watcher);
            } else {
                let lost = hear(&mut watcher);
                assert_eq!((lost.topic.as_str(), &lost.payload[..]), ("alive/me", &b"0"[..]));
                let kept = hear(&mut listener(server, "late", "alive/me"));
                assert_eq!((&kept.payload[..], kept.retained), (&b"0"[..], true));
            }
        }
        // Another will from the next connection on.
        let mut options = impatient("me");
        options.will = will(b"1");
        let mut me = Loop::new(server.address, options);
        me.connect();
        me.session.set_will(will(b"2")).unwrap();
        for expected in [&b"1"[..], b"2"] {
            me.driver = Driver::new(server.address);
            me.session.socket_closed(Instant::now());
            assert_eq!(me.next(), Event::Lost { reason: Reason::Closed, unacknowledged: vec![] });
            assert_eq!(&hear(&mut watcher).payload[..], expected);
            me.connect();
        }
    });
}

#[test]
fn what_a_broker_refuses_is_told_in_words() {
    let program = match program(Kind::Mosquitto) {
        Ok(program) => program,
        Err(reason) => return println!("skipped: {reason}"),
    };
    let more = "allow_anonymous false\npassword_file DIR/users\nacl_file DIR/acl\n";
    let server = Server::start_with(Kind::Mosquitto, &program, more, |directory| {
        let users = directory.join("users");
        fs::write(&users, "anna:secret\nbert:secret\n").unwrap();
        // It hashes them in place.
        let hashed =
            Command::new("mosquitto_passwd").arg("-U").arg(&users).output().expect("mosquitto_passwd");
        assert!(hashed.status.success(), "{hashed:?}");
        fs::write(directory.join("acl"), "pattern write box/%u/#\npattern read box/#\n").unwrap();
    });

    let login = |id: &str, user: &str, password: &str| {
        let mut options = Options::new(id);
        options.credentials = Some(Credentials { user: user.into(), password: password.into() });
        try_client(server.address, options)
    };
    let nobody = try_client(server.address, Options::new("nobody"));
    for refused in [nobody, login("wrong", "anna", "wrong"), login("empty", "anna", "")] {
        let Err(ClientError::Refused(refusal)) = refused else { panic!("{refused:?}") };
        assert!(matches!(refusal, Refusal::NotAuthorized | Refusal::Credentials), "{refusal:?}");
        assert!(refusal.to_string().contains("user name"), "{refusal}");
    }

    // What the access list refuses is acknowledged, or ends the connection; it never arrives.
    let mut anna = login("anna", "anna", "secret").unwrap();
    anna.subscribe(&[("box/#", QoS::AtLeastOnce)], PATIENCE).unwrap();
    let mut bert = login("bert", "bert", "secret").unwrap();
    match bert.publish("box/anna/alive", b"forged", true, PATIENCE) {
        Ok(()) => println!("a refused publish was acknowledged"),
        Err(ClientError::Lost(Reason::Closed)) => println!("a refused publish ended the connection"),
        Err(error) => panic!("{error}"),
    }
    anna.publish("box/anna/alive", b"true", true, PATIENCE).unwrap();
    let heard = hear(&mut anna);
    assert_eq!(&heard.payload[..], b"true");
    let mut bert = login("bert", "bert", "secret").unwrap();
    bert.publish("box/bert/alive", b"me", true, PATIENCE).unwrap();
    assert_eq!(hear(&mut anna).topic, "box/bert/alive");
}

#[test]
fn a_session_survives_its_broker() {
    on_every_broker(|server| {
        let mut me = Loop::new(server.address, impatient("me"));
        me.connect();
        let token = me.session.publish("kept/x", b"1", true).unwrap();
        assert_eq!(me.next(), Event::Published(token));

        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            // Held still, it acknowledges nothing.
            server.hold();
            let token = me.session.publish("kept/y", b"1", true).unwrap();
            me.driver.flush(&mut me.session, Instant::now());
            if signal == Signal::SIGTERM {
                server.signal(Signal::SIGCONT);
                assert_eq!(me.next(), Event::Published(token));
            }
            server.stop(signal);
            let unacknowledged = if signal == Signal::SIGKILL { vec![token] } else { vec![] };
            assert_eq!(me.next(), Event::Lost { reason: Reason::Closed, unacknowledged });
            // It is tried again, and nobody is there.
            let event = me.next();
            assert!(matches!(event, Event::Lost { reason: Reason::Unreachable(_), .. }), "{event:?}");
            server.start_again();
            loop {
                match me.next() {
                    Event::Connected { session_present } => break assert!(!session_present),
                    Event::Lost { .. } => {}
                    event => panic!("{event:?}"),
                }
            }
        }
        // What it saved when it was asked to end is there.
        let mut late = listener(server, "late", "kept/x");
        assert_eq!(&hear(&mut late).payload[..], b"1");
    });
}

#[test]
fn a_broker_that_hangs_is_noticed() {
    on_mosquitto("allow_anonymous true\n", |server| {
        let mut options = impatient("me");
        options.keepalive = NonZeroU16::MIN;
        options.ping_timeout = Duration::from_secs(1);
        options.connack_timeout = Duration::from_secs(1);
        let mut me = Loop::new(server.address, options);
        me.connect();
        // Past one and a half of the keepalive: the pings keep it alive, and it is woken for nothing else.
        let mut wakes = 0;
        let end = Instant::now() + Duration::from_millis(3300);
        while Instant::now() < end {
            me.turn(end);
            assert_eq!(me.events, []);
            wakes += 1;
        }
        assert!((3..=10).contains(&wakes), "woken {wakes} times for three pings");

        let stopped = Instant::now();
        server.hold();
        assert_eq!(me.next(), Event::Lost { reason: Reason::NoAnswer, unacknowledged: vec![] });
        assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
        // The kernel still takes connections for it.
        assert_eq!(me.next(), Event::Lost { reason: Reason::NoConnack, unacknowledged: vec![] });
        server.signal(Signal::SIGCONT);
        while me.next() != (Event::Connected { session_present: false }) {}
    });
}

#[test]
fn two_clients_of_one_name_throw_each_other_out_ever_more_seldom() {
    on_mosquitto("allow_anonymous true\n", |server| {
        let mut first = Loop::new(server.address, Options::new("twin"));
        first.connect();
        let second = client(server, "twin");
        assert_eq!(first.next(), Event::Lost { reason: Reason::Closed, unacknowledged: vec![] });
        let State::Disconnected { again } = first.session.state() else { panic!() };
        let pause = again.saturating_duration_since(Instant::now());
        assert!(pause > Duration::from_millis(400), "{pause:?}");
        drop(second);
    });
}

#[test]
fn many_retained_messages_all_arrive() {
    // By default it would drop what is beyond a thousand, without a word.
    on_mosquitto("allow_anonymous true\nmax_queued_messages 0\n", |server| {
        const COUNT: usize = 3000;
        let mut writer = Loop::new(server.address, impatient("writer"));
        writer.connect();
        let (mut sent, mut acknowledged, mut full) = (0, 0, 0);
        while acknowledged < COUNT {
            while sent < COUNT {
                match writer.session.publish(&format!("many/{sent}"), &[b'x'; 1000], true) {
                    Ok(_) => sent += 1,
                    Err(SendError::Full) => {
                        full += 1;
                        break;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            match writer.next() {
                Event::Published(_) => acknowledged += 1,
                Event::Room => {}
                event => panic!("{event:?}"),
            }
        }
        assert!(full > 0, "the bound was never met");
        let mut reader = listener(server, "reader", "many/#");
        let mut heard = BTreeMap::new();
        while heard.len() < COUNT {
            let message = hear(&mut reader);
            assert!(message.retained && message.payload.len() == 1000);
            assert!(heard.insert(message.topic, ()).is_none());
        }
    });
}

#[test]
fn topics_and_filters_match_as_at_the_broker() {
    on_mosquitto("allow_anonymous true\n", |server| {
        let topics = ["a", "a/b", "a/b/c", "/a", "a/", "a//b", "/", "é/日", "$x/a", "a/$x", "b c", "A"];
        let filters = [
            "#", "+", "a", "a/#", "a/+", "+/b", "+/+", "/+", "+/", "/#", "a/+/c", "a//+", "+/+/+", "é/+",
            "$x/#", "$x/+", "+/a", "a/b/#", "b c", "/",
        ];
        let mut writer = client(server, "writer");
        for topic in topics {
            writer.publish(topic, b"x", true, PATIENCE).unwrap();
        }
        for filter in filters {
            topic::check_filter(filter).unwrap();
            let mut reader = listener(server, "reader", filter);
            let mut expected: Vec<_> =
                topics.into_iter().filter(|topic| topic::matches(filter, topic)).collect();
            // A mark of our own comes behind what is retained.
            reader.subscribe(&[("mark", QoS::AtLeastOnce)], PATIENCE).unwrap();
            reader.publish("mark", b"", false, PATIENCE).unwrap();
            let mut heard = Vec::new();
            loop {
                let message = hear(&mut reader);
                match message.topic.as_str() {
                    "mark" => break,
                    _ => heard.push(message.topic),
                }
            }
            heard.sort();
            expected.sort();
            assert_eq!(heard, expected, "{filter}");
        }
    });
}

/// What [`topic::check_topic`] refuses ends the connection at mosquitto, and what it lets pass does not.
#[test]
fn topics_that_we_refuse_mosquitto_does_not_take() {
    on_mosquitto("allow_anonymous true\n", |server| {
        for topic in
            ["a", "é", "\u{fffd}", " ", "a\0", "a\n", "\u{7f}", "\u{85}", "\u{fdd0}", "\u{ffff}", "a/+", "#"]
        {
            let mut stream = TcpStream::connect(server.address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02me").unwrap();
            stream.read_exact(&mut [0; 4]).unwrap();
            let mut packet = vec![0x32, 4 + topic.len() as u8, 0, topic.len() as u8];
            packet.extend_from_slice(topic.as_bytes());
            packet.extend_from_slice(&[0, 1]);
            stream.write_all(&packet).unwrap();
            let taken = stream.read_exact(&mut [0; 4]).is_ok();
            assert_eq!(taken, topic::check_topic(topic).is_ok(), "{topic:?}");
        }
    });
}

// ---- Servers that are none ----------------------------------------------------------------------------------------------

/// What is said on the first connection; the client's bytes are read and thrown away until it closes.
fn says(words: &'static [u8]) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).unwrap();
        stream.write_all(words).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    });
    (address, thread)
}

#[test]
fn what_is_no_broker_is_told() {
    let table: &[(&'static [u8], &str)] = &[
        (b"", "the broker has closed the connection instead of greeting: does it speak MQTT 3.1.1?"),
        (
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            "the broker sent what is not MQTT 3.1.1: a PUBACK with flags 0x8",
        ),
        (
            b"\x20\x02\0\0\xe0\0",
            "the broker sent what is not MQTT 3.1.1: a packet of type 14, which no broker sends to a client with QoS 1",
        ),
        (b"\x20\x02\0\x03", "the broker is there, but serves nobody now"),
        (b"\x20\x02\0\0", "the broker has closed the connection"),
    ];
    for (words, expected) in table {
        let (address, thread) = says(words);
        let client = try_client(address, Options::new("me"));
        let error = match client {
            Ok(mut client) => {
                let error = client.next_event(PATIENCE).unwrap_err();
                // It does not come back by itself.
                let after = client.publish("a", b"", false, PATIENCE);
                assert!(matches!(after, Err(ClientError::Send(SendError::Disconnected))), "{after:?}");
                client.close().unwrap();
                error
            }
            Err(error) => error,
        };
        assert_eq!(error.to_string(), *expected);
        drop(error);
        thread.join().unwrap();
    }
}

#[test]
fn nobody_listens_and_nobody_answers() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = try_client(free, Options::new("me")).unwrap_err();
    let ClientError::Lost(Reason::Unreachable(words)) = &error else { panic!("{error:?}") };
    // For the words the number must be this processor's: qemu-user hands on the machine's.
    assert!(words.contains("refused") || cfg!(target_arch = "mips"), "{words}");

    // The kernel answers for one that does not.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = Options::new("me");
    options.connack_timeout = Duration::from_millis(100);
    let error = try_client(silent.local_addr().unwrap(), options).unwrap_err();
    assert!(matches!(error, ClientError::Lost(Reason::NoConnack)), "{error:?}");
    let address = silent.local_addr().unwrap();
    let error = Client::connect("127.0.0.1", address.port(), Options::new("me"), Duration::from_millis(100));
    assert!(matches!(error, Err(ClientError::Timeout)), "{error:?}");

    let error = Client::connect("no such name", 1883, Options::new("me"), PATIENCE).unwrap_err();
    assert!(matches!(error, ClientError::Name(..)), "{error:?}");
    assert!(error.to_string().starts_with("the broker's name no such name has no address"), "{error}");
}

#[test]
fn a_connect_that_hangs_blocks_nobody() {
    // What waits to be accepted fills the listener's place; the kernel does not answer the next one.
    let listener = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(listener.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let listener = TcpListener::from(listener);
    let address = listener.local_addr().unwrap();
    let filler = TcpStream::connect(address).unwrap();

    let mut options = impatient("me");
    options.connect_timeout = Duration::from_millis(200);
    let mut me = Loop::new(address, options);
    let begun = Instant::now();
    me.driver.turn(&mut me.session, begun);
    assert!(begun.elapsed() < Duration::from_millis(150), "{:?}", begun.elapsed());
    let State::Connecting { give_up } = me.session.state() else { panic!("{:?}", me.session.state()) };
    assert!(me.driver.interest().is_some_and(|(_, writing)| writing), "its end is not waited for");
    me.driver.turn(&mut me.session, begun);
    assert_eq!(me.session.poll_event(), None);
    assert_eq!(me.session.state(), State::Connecting { give_up });
    assert_eq!(me.next(), Event::Lost { reason: Reason::ConnectTimeout, unacknowledged: vec![] });
    assert!(Instant::now() >= give_up);

    // There is a place: the kernel, which tries again after a second, is let in.
    let mut options = impatient("me");
    options.connect_timeout = PATIENCE;
    let mut me = Loop::new(address, options);
    me.driver.turn(&mut me.session, Instant::now());
    assert!(matches!(me.session.state(), State::Connecting { .. }));
    drop(filler);
    let thread = thread::spawn(move || loop {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 100];
        if stream.read(&mut buffer).is_ok_and(|n| n > 0) {
            stream.write_all(&[0x20, 2, 0, 0]).unwrap();
            return stream;
        }
    });
    me.connect();
    drop(thread.join().unwrap());
    assert_eq!(me.next(), Event::Lost { reason: Reason::Closed, unacknowledged: vec![] });
}

#[test]
fn a_broker_that_reads_slowly_gets_all_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut me = Loop::new(listener.local_addr().unwrap(), Options::new("me"));
    me.driver.turn(&mut me.session, Instant::now());
    let (mut broker, _) = listener.accept().unwrap();
    broker.write_all(&[0x20, 2, 0, 0]).unwrap();
    me.connect();

    // Until neither the kernel nor the session takes more.
    let mut sent = 0;
    loop {
        match me.session.publish_unacknowledged("a", &[7; 60_000], false) {
            Ok(()) => sent += 60_000 + 7,
            Err(SendError::Full) => break,
            Err(error) => panic!("{error}"),
        }
        me.driver.flush(&mut me.session, Instant::now());
    }
    assert!(me.driver.interest().is_some_and(|(_, writing)| writing), "nobody waits until it can be written");

    let greeting = b"\x10\x0e\0\x04MQTT\x04\x02\0\x14\0\x02me".len();
    let reader = thread::spawn(move || {
        let (mut got, mut buffer) = (0, vec![0; 1 << 20]);
        loop {
            match broker.read(&mut buffer).unwrap() {
                0 => return got,
                n => got += n,
            }
        }
    });
    assert_eq!(me.next(), Event::Room);
    me.session.publish_unacknowledged("a", b"more", false).unwrap();
    sent += 4 + 5;
    me.session.close(Instant::now());
    while me.session.state() != State::Closed && !me.session.transmit().is_empty() {
        // This broker never closes by itself: there is nothing to sleep for when all is written.
        me.turn(Instant::now() + Duration::from_millis(20));
    }
    drop(me);
    assert_eq!(reader.join().unwrap(), greeting + sent + b"\xe0\0".len());
}

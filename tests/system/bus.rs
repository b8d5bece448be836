//! Calling the daemon as a script would, and hearing what it tells.

use openwrt_ubus::client::{CallError, Client};
use openwrt_ubus::conn::{Event, Reply};
use openwrt_ubus::{to_fields, Fields};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest any reply may take: it is never held back longer than 15 s.
const REPLY_TIME: Duration = Duration::from_secs(40);

/// A call that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub status: u32,
    /// Empty when there was no data with the status: the bus itself refused.
    pub code: String,
    pub message: String,
}

/// What a call came to.
pub type Answer = Result<Value, Refusal>;

pub fn json(fields: &[u8]) -> Value {
    serde_json::to_value(Fields::new(fields)).unwrap()
}

/// What the bus answered.
pub fn answer(reply: &Reply) -> Answer {
    let data = json(&reply.data);
    if reply.status.is_ok() {
        return Ok(data);
    }
    let text = |field: &str| data["error"][field].as_str().unwrap_or_default().to_string();
    Err(Refusal { status: reply.status.0, code: text("code"), message: text("message") })
}

/// One call with fields as they are.
pub fn call_raw(socket: &Path, object: &str, method: &str, fields: &[u8]) -> Answer {
    let mut client = Client::connect(socket).unwrap_or_else(|e| panic!("{}: {e}", socket.display()));
    match client.call(object, method, fields, REPLY_TIME) {
        Ok(reply) | Err(CallError::Failed(reply)) => answer(&reply),
        Err(CallError::Io(e)) => Err(Refusal { status: 10, code: String::new(), message: e.to_string() }),
        Err(other) => panic!("{other}"),
    }
}

/// One call.
pub fn call(socket: &Path, object: &str, method: &str, arguments: &Value) -> Answer {
    call_raw(socket, object, method, &to_fields(arguments).unwrap())
}

/// Many calls of a method, all sent before the first is answered. The answers are in the order of the arguments.
pub fn call_all(socket: &Path, object: &str, method: &str, arguments: &[Value]) -> Vec<Answer> {
    let mut client = Client::connect(socket).unwrap();
    let deadline = Instant::now() + REPLY_TIME;
    let calls: BTreeMap<_, _> = arguments
        .iter()
        .enumerate()
        .map(|(at, args)| (client.connection().call(object, method, &to_fields(args).unwrap(), deadline), at))
        .collect();
    let mut answers: Vec<Option<Answer>> = arguments.iter().map(|_| None).collect();
    while answers.iter().any(Option::is_none) {
        let event = client.next_event(Some(deadline)).unwrap().expect("some calls were never answered");
        if let Event::CallEnded { call, reply, .. } = event {
            answers[calls[&call]] = Some(answer(&reply));
        }
    }
    answers.into_iter().flatten().collect()
}

/// Something the daemon told.
#[derive(Debug, Clone)]
pub struct Notice {
    pub at: Instant,
    /// It came by subscription, not as an event of the bus.
    pub subscribed: bool,
    pub name: String,
    pub data: Value,
}

/// A subscriber of the daemon's objects that listens to the bus as well.
pub struct Listener {
    client: Client,
    pub heard: Vec<Notice>,
}

impl Listener {
    /// Returns once everything is subscribed.
    pub fn new(socket: &Path) -> Listener {
        let mut client = Client::connect(socket).unwrap();
        for object in ["cloudbox.container", "cloudbox.image", "cloudbox.service", "cloudbox.job"] {
            client.connection().subscribe(object);
        }
        for pattern in ["container.*", "image.*", "service.*", "job.*"] {
            client.connection().register_event(pattern);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut subscribed = 0;
        while subscribed < 4 {
            match client.next_event(Some(deadline)).unwrap().expect("no subscription in time") {
                Event::Subscribed { .. } => subscribed += 1,
                Event::SubscribeFailed { status, .. } => panic!("cannot subscribe: {status}"),
                _ => {}
            }
        }
        // The bus answers in order: what was registered before this lookup is registered after it.
        client.lookup("cloudbox", Duration::from_secs(5)).unwrap();
        Listener { client, heard: Vec::new() }
    }

    /// Listens until `enough`, or panics with what was heard.
    pub fn until(&mut self, what: &str, enough: impl Fn(&[Notice]) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !enough(&self.heard) {
            let event = self.client.next_event(Some(deadline)).unwrap();
            let event = event.unwrap_or_else(|| panic!("{what} was not heard of: {:#?}", self.heard));
            let (subscribed, name, data) = match event {
                Event::Notification { name, data, .. } => (true, name, data),
                Event::BusEvent { id, data } => (false, id, data),
                _ => continue,
            };
            self.heard.push(Notice { at: Instant::now(), subscribed, name, data: json(&data) });
        }
    }

    /// Listens until `name` about `subject` came both ways.
    pub fn hears(&mut self, name: &str, subject: &str) {
        let about = |n: &Notice| {
            let data = &n.data;
            n.name == name && ["name", "target", "id"].iter().any(|field| data[*field] == subject)
        };
        let both = |heard: &[Notice]| {
            [true, false].iter().all(|way| heard.iter().any(|n| n.subscribed == *way && about(n)))
        };
        self.until(&format!("{name} of {subject}"), both);
    }
}

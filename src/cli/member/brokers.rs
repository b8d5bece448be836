//! The brokers, as a command asks them: all of them at once, each for what it has, and none of them believed. Where no broker is
//! listed, the process of the commons on this box stands in for one.

use super::place::{read_if_there, Place};
use crate::cli::bus::socket;
use crate::cli::request::{COMMONS, SLICE};
use crate::cli::view::View;
use crate::commons::heard::Heard;
use crate::commons::label::Label;
use crate::commons::topic::Topic;
use crate::error::{Code, Error, Result};
use crate::model::commons::Broker;
use mqtt_session::{Client, ClientError, Credentials, Event, Options, QoS};
use openwrt_ubus::client::CallError;
use serde::de::DeserializeOwned;
use serde_json::{json, Value};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// How long a broker may take to let us in, and for each answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a broker may be silent, of which a mark does not come back, before it is taken to have said all.
const SILENCE: Duration = Duration::from_millis(700);
/// More messages than that are not read at once: nobody needs so many, and a broker that lies could send for ever.
const MESSAGES_MAX: usize = 20_000;
/// Pause before a broker that was lost is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Brokers that are connected, or are not.
pub struct Brokers {
    network: Label,
    all: Vec<One>,
}

struct One {
    broker: Broker,
    client: std::result::Result<Way, String>,
}

/// How something is said and heard.
enum Way {
    Broker(Box<Client>),
    /// Over the bus, to the process of the commons on this box.
    Bus(Box<openwrt_ubus::client::Client>),
}

/// What the box that is its own broker is called.
const THIS_BOX: &str = "this box";
/// Between two looks at what stands on this box, which tells nobody when it changes.
const LOOK: Duration = Duration::from_millis(500);

/// Whether there is a process of the commons on this box, and it has no broker.
pub fn is_alone() -> bool {
    #[derive(serde::Deserialize)]
    struct Status {
        alone: bool,
    }
    let status = on_bus().and_then(|mut bus| call::<Status>(&mut bus, COMMONS, "status", &json!({})));
    status.is_ok_and(|status| status.alone)
}

fn on_bus() -> std::result::Result<openwrt_ubus::client::Client, String> {
    openwrt_ubus::client::Client::connect(socket(None)).map_err(|error| error.to_string())
}

fn call<T: DeserializeOwned>(
    bus: &mut openwrt_ubus::client::Client,
    object: &str,
    method: &str,
    arguments: &Value,
) -> std::result::Result<T, String> {
    let fields = openwrt_ubus::to_fields(arguments).map_err(|error| error.to_string())?;
    let told = bus.call(object, method, &fields, PATIENCE);
    let reply = told.map_err(|error| match error {
        CallError::Failed(reply) => View::new(&reply.data)
            .table("error")
            .map_or_else(|| reply.status.text().to_string(), |error| error.text("message")),
        other => other.to_string(),
    })?;
    reply.read().map_err(|error| error.to_string())
}

/// What became of a publish at one broker.
pub struct Kept {
    /// The broker.
    pub host: String,
    /// Why it does not have it; None: it was read back.
    pub why_not: Option<String>,
}

impl Brokers {
    /// Connects to all brokers of `place`.
    ///
    /// # Errors
    /// None can be reached.
    pub fn connect(place: &Place) -> Result<Brokers> {
        let all: Vec<One> = thread::scope(|scope| {
            let connecting: Vec<_> =
                place.brokers.iter().map(|broker| (broker, scope.spawn(|| connect(broker)))).collect();
            let one = |(broker, thread): (&Broker, thread::ScopedJoinHandle<'_, _>)| {
                let client = thread.join().unwrap_or_else(|_| Err("it cannot be spoken to".to_string()));
                One { broker: broker.clone(), client }
            };
            connecting.into_iter().map(one).collect()
        });
        let mut brokers = Brokers { network: place.network, all };
        if place.brokers.is_empty() {
            let broker = Broker::new(THIS_BOX);
            brokers.all.push(One { broker, client: on_bus().map(|bus| Way::Bus(Box::new(bus))) });
        }
        if brokers.all.iter().all(|one| one.client.is_err()) {
            let why = format!("no broker can be reached: {}", brokers.troubles().join("; "));
            return Err(Error::new(Code::Timeout, why));
        }
        Ok(brokers)
    }

    /// Their hosts, in the order in which [`Heard::broker`] counts them.
    pub fn hosts(&self) -> Vec<String> {
        self.all.iter().map(|one| one.broker.host.clone()).collect()
    }

    /// What is wrong with those that cannot be asked.
    pub fn troubles(&self) -> Vec<String> {
        let trouble =
            |one: &One| one.client.as_ref().err().map(|why| format!("{}: {why}", name(&one.broker)));
        self.all.iter().filter_map(trouble).collect()
    }

    /// What stands at these filters, on each broker. One that fails meanwhile is told among the troubles.
    pub fn read(&mut self, filters: &[String]) -> Vec<Heard> {
        let network = self.network;
        thread::scope(|scope| {
            let reading: Vec<_> = self
                .all
                .iter_mut()
                .enumerate()
                .map(|(at, one)| scope.spawn(move || one.read(at, network, filters)))
                .collect();
            reading.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    }

    /// Publishes a text on all brokers, and reads back what stands there: a broker may acknowledge what it does not keep.
    pub fn publish(&mut self, topic: &Topic, text: &[u8]) -> Vec<Kept> {
        let topic_text = topic.text(self.network);
        let mut sent = Vec::new();
        for one in &mut self.all {
            let result = match &mut one.client {
                Err(why) => Err(why.clone()),
                Ok(Way::Broker(client)) => {
                    client.publish(&topic_text, text, true, PATIENCE).map_err(|error| refused(&error))
                }
                Ok(Way::Bus(bus)) => {
                    let texts = json!({ "texts": [String::from_utf8_lossy(text)] });
                    call::<Value>(bus, SLICE, "apply", &texts).map(drop)
                }
            };
            // The connection is gone; what else is asked of it has a new one.
            if result.is_err() && matches!(one.client, Ok(Way::Broker(_))) {
                one.client = connect(&one.broker);
            }
            sent.push(result);
        }
        let there = self.read(&[topic_text]);
        let kept = |(at, (one, sent)): (usize, (&mut One, std::result::Result<(), String>))| {
            let stands = there.iter().any(|heard| heard.broker == at && heard.text == text);
            let other = there.iter().any(|heard| heard.broker == at && !heard.text.is_empty());
            let why_not = match (stands, sent) {
                (true, _) => None,
                (false, Err(why)) => Some(why),
                (false, Ok(())) if other => Some("it goes on showing another text there".to_string()),
                (false, Ok(())) => Some(
                    "it acknowledged it and does not have it: its list of who may write what refuses it"
                        .to_string(),
                ),
            };
            Kept { host: name(&one.broker), why_not }
        };
        self.all.iter_mut().zip(sent).enumerate().map(kept).collect()
    }

    /// Clears what a broker has at a topic.
    ///
    /// # Errors
    /// It does not let it be cleared, or does not answer.
    pub fn clear(&mut self, broker: usize, topic: &Topic) -> std::result::Result<(), String> {
        let text = topic.text(self.network);
        let Some(one) = self.all.get_mut(broker) else { return Err("there is no such broker".to_string()) };
        let Ok(Way::Broker(client)) = &mut one.client else {
            return Err(format!("{}: it cannot be swept", name(&one.broker)));
        };
        let cleared = client.publish(&text, b"", true, PATIENCE).map_err(|error| refused(&error));
        let there = if cleared.is_ok() { one.read(broker, self.network, &[text]) } else { Vec::new() };
        match cleared {
            Ok(()) if there.is_empty() => Ok(()),
            Ok(()) => Err(format!(
                "{}: it keeps {topic:?}: its list of who may write what refuses it",
                name(&one.broker)
            )),
            Err(why) => {
                one.client = connect(&one.broker);
                Err(format!("{}: {why}", name(&one.broker)))
            }
        }
    }

    /// Goes on listening to these filters, until whoever asked has heard enough. Brokers that are lost are tried again.
    pub fn listen(self, filters: Vec<String>) -> Listening {
        let (sender, receiver) = channel();
        for (at, one) in self.all.into_iter().enumerate() {
            let (filters, sender, network) = (filters.clone(), sender.clone(), self.network);
            thread::spawn(move || one.listen(at, network, &filters, &sender));
        }
        Listening(receiver)
    }
}

/// What comes from the brokers from now on.
pub struct Listening(Receiver<Heard>);

impl Listening {
    /// The next thing that comes within `patience`.
    pub fn next(&self, patience: Duration) -> Option<Heard> {
        match self.0.recv_timeout(patience) {
            Ok(heard) => Some(heard),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(patience);
                None
            }
        }
    }
}

impl One {
    fn read(&mut self, at: usize, network: Label, filters: &[String]) -> Vec<Heard> {
        let mut heard = Vec::new();
        for marked in [true, false] {
            let client = match &mut self.client {
                Ok(Way::Broker(client)) => client,
                Ok(Way::Bus(bus)) => match standing(bus, at, network, filters) {
                    Ok(heard) => return heard,
                    Err(why) => {
                        self.client = Err(why);
                        return heard;
                    }
                },
                Err(_) => return heard,
            };
            heard.clear();
            match read(client, at, network, filters, marked, &mut heard) {
                Ok(()) => return heard,
                // Some brokers end the connection of who writes where he may not: the mark was not welcome.
                Err(_) if marked => self.client = connect(&self.broker),
                Err(error) => self.client = Err(error.to_string()),
            }
        }
        heard
    }

    fn listen(mut self, at: usize, network: Label, filters: &[String], sender: &Sender<Heard>) {
        let mut known: Vec<(Topic, Vec<u8>)> = Vec::new();
        loop {
            if let Ok(Way::Bus(_)) = &self.client {
                for one in self.read(at, network, filters) {
                    let told = (one.topic, one.text.clone());
                    if !known.contains(&told) {
                        known.retain(|(topic, _)| *topic != one.topic);
                        known.push(told);
                        let _ = sender.send(one);
                    }
                }
                thread::sleep(LOOK);
                continue;
            }
            if let Ok(Way::Broker(client)) = &mut self.client {
                let wanted: Vec<(&str, QoS)> =
                    filters.iter().map(|filter| (filter.as_str(), QoS::AtLeastOnce)).collect();
                let mut listened = client.subscribe(&wanted, PATIENCE).map(drop);
                while listened.is_ok() {
                    listened = client.next_event(PATIENCE).map(|event| {
                        if let Some(heard) = event.and_then(|event| of(event, at, network)) {
                            // Nobody listens any more: the program is about to end.
                            let _ = sender.send(heard);
                        }
                    });
                }
            }
            thread::sleep(AGAIN);
            self.client = connect(&self.broker);
        }
    }
}

fn read(
    client: &mut Client,
    at: usize,
    network: Label,
    filters: &[String],
    marked: bool,
    heard: &mut Vec<Heard>,
) -> std::result::Result<(), ClientError> {
    let mark = random_id().ok().filter(|_| marked).map(|id| Topic::Mark(id).text(network));
    let all = filters.iter().chain(&mark);
    let wanted: Vec<(&str, QoS)> = all.map(|filter| (filter.as_str(), QoS::AtLeastOnce)).collect();
    client.subscribe(&wanted, PATIENCE)?;
    if let Some(mark) = &mark {
        client.publish(mark, b"", false, PATIENCE)?;
    }
    let end = Instant::now() + PATIENCE;
    while heard.len() < MESSAGES_MAX && Instant::now() < end {
        match client.next_event(SILENCE)? {
            Some(Event::Message(message)) if Some(&message.topic) == mark.as_ref() => break,
            // What is said just now may be no more than said, and is not asked for here.
            Some(Event::Message(message)) if !message.retained => {}
            Some(event) => heard.extend(of(event, at, network)),
            None => break,
        }
    }
    Ok(())
}

/// What stands on this box at these filters.
fn standing(
    bus: &mut openwrt_ubus::client::Client,
    at: usize,
    network: Label,
    filters: &[String],
) -> std::result::Result<Vec<Heard>, String> {
    #[derive(serde::Deserialize)]
    struct Text {
        topic: String,
        text: String,
    }
    #[derive(serde::Deserialize)]
    struct Texts {
        #[serde(default)]
        texts: Vec<Text>,
    }
    let told: Texts = call(bus, SLICE, "get", &json!({ "filters": filters }))?;
    let heard = |one: Text| {
        let topic = Topic::parse(network, &one.topic)?;
        Some(Heard { broker: at, topic, text: one.text.into_bytes() })
    };
    Ok(told.texts.into_iter().filter_map(heard).collect())
}

fn of(event: Event, broker: usize, network: Label) -> Option<Heard> {
    match event {
        Event::Message(message) => {
            let topic = Topic::parse(network, &message.topic)?;
            Some(Heard { broker, topic, text: message.payload })
        }
        _ => None,
    }
}

/// What a failed publish means to a person.
fn refused(error: &ClientError) -> String {
    match error {
        ClientError::Lost(reason) => {
            format!("it ended the connection ({reason}), as some do to who writes where he may not")
        }
        other => other.to_string(),
    }
}

fn name(broker: &Broker) -> String {
    if broker.host.is_empty() {
        return THIS_BOX.to_string();
    }
    format!("{}:{}", broker.host, broker.port)
}

fn connect(broker: &Broker) -> std::result::Result<Way, String> {
    let id = random_id().map_err(Error::into_message)?;
    let mut options = Options::new(format!("cloudbox-{id}"));
    if !broker.user.is_empty() {
        let password = broker.password_file.as_deref().map_or(Ok(String::new()), password);
        let password = password.map_err(Error::into_message)?;
        options.credentials = Some(Credentials { user: broker.user.clone(), password });
    }
    let client = Client::connect(&broker.host, broker.port, options, PATIENCE);
    client.map(|client| Way::Broker(Box::new(client))).map_err(|error| error.to_string())
}

/// The password in a file, without the end of its line.
fn password(path: &Path) -> Result<String> {
    let text = read_if_there(path)?;
    let text =
        text.ok_or_else(|| Error::new(Code::NotFound, format_args!("there is no {}", path.display())))?;
    Ok(String::from_utf8_lossy(&text).trim_end_matches(['\r', '\n']).to_string())
}

/// An id that nobody else has, and that is nobody's.
fn random_id() -> Result<crate::commons::id::Id> {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    let read = File::open(path).and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|e| Error::io("cannot read", path, e))?;
    bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect::<String>().parse()
}

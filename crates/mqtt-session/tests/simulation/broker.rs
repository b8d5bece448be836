//! A broker of its own making, without I/O: what a session talks to in the simulation.

use bytes::BytesMut;
use mqtt_session::topic;
use mqttbytes::{v4, QoS};
use std::collections::{BTreeMap, BTreeSet};

/// What outlives connections.
#[derive(Default)]
pub struct Broker {
    pub retained: BTreeMap<String, Vec<u8>>,
    /// All that was ever published with QoS 1, as topic and payload.
    pub published: BTreeSet<(String, Vec<u8>)>,
    pub wills: usize,
}

/// One client's connection.
#[derive(Default)]
pub struct Peer {
    input: BytesMut,
    pub out: Vec<u8>,
    pub greeted: bool,
    will: Option<v4::LastWill>,
    filters: Vec<String>,
    last_id: u16,
    /// It has said DISCONNECT.
    pub left: bool,
}

/// What the other clients get to hear.
pub type Published = Vec<v4::Publish>;

impl Broker {
    /// What came from a client; our answers are in its `out`.
    pub fn hear(&mut self, peer: &mut Peer, bytes: &[u8]) -> Published {
        peer.input.extend_from_slice(bytes);
        let mut published = Vec::new();
        loop {
            match v4::read(&mut peer.input, 1 << 20) {
                Ok(packet) => self.handle(peer, packet, &mut published),
                Err(mqttbytes::Error::InsufficientBytes(_)) => return published,
                Err(error) => panic!("the session sent what is not MQTT: {error:?}"),
            }
        }
    }

    fn handle(&mut self, peer: &mut Peer, packet: v4::Packet, published: &mut Published) {
        assert!(!peer.left, "something came behind the DISCONNECT: {packet:?}");
        let mut out = BytesMut::new();
        match packet {
            v4::Packet::Connect(connect) => {
                assert!(!peer.greeted && connect.clean_session);
                peer.greeted = true;
                peer.will = connect.last_will;
                v4::ConnAck::new(v4::ConnectReturnCode::Success, false).write(&mut out).unwrap();
            }
            packet if !peer.greeted => panic!("{packet:?} came before the CONNECT"),
            v4::Packet::Publish(publish) => {
                if publish.qos != QoS::AtMostOnce {
                    v4::PubAck::new(publish.pkid).write(&mut out).unwrap();
                    self.published.insert((publish.topic.clone(), publish.payload.to_vec()));
                }
                self.publish(publish, published);
            }
            v4::Packet::Subscribe(subscribe) => {
                let codes =
                    subscribe.filters.iter().map(|f| v4::SubscribeReasonCode::Success(f.qos)).collect();
                v4::SubAck::new(subscribe.pkid, codes).write(&mut out).unwrap();
                for filter in subscribe.filters {
                    for (topic, payload) in &self.retained {
                        if topic::matches(&filter.path, topic) {
                            let publish =
                                v4::Publish::new(topic.as_str(), QoS::AtLeastOnce, payload.as_slice());
                            peer.send(publish, true, &mut out);
                        }
                    }
                    peer.filters.push(filter.path);
                }
            }
            v4::Packet::Unsubscribe(unsubscribe) => {
                peer.filters.retain(|filter| !unsubscribe.topics.contains(filter));
                v4::UnsubAck::new(unsubscribe.pkid).write(&mut out).unwrap();
            }
            v4::Packet::PubAck(ack) => assert!(ack.pkid != 0 && ack.pkid <= peer.last_id),
            v4::Packet::PingReq => {
                v4::PingResp.write(&mut out).unwrap();
            }
            v4::Packet::Disconnect => {
                peer.will = None;
                peer.left = true;
            }
            packet => panic!("no client sends {packet:?}"),
        }
        peer.out.extend_from_slice(&out);
    }

    fn publish(&mut self, publish: v4::Publish, published: &mut Published) {
        if publish.retain {
            match publish.payload.is_empty() {
                true => self.retained.remove(&publish.topic),
                false => self.retained.insert(publish.topic.clone(), publish.payload.to_vec()),
            };
        }
        published.push(publish);
    }

    /// The connection has ended.
    pub fn lose(&mut self, peer: Peer) -> Published {
        let mut published = Vec::new();
        if let Some(will) = peer.will {
            self.wills += 1;
            let mut publish = v4::Publish::new(will.topic, will.qos, will.message.to_vec());
            publish.retain = will.retain;
            self.publish(publish, &mut published);
        }
        published
    }
}

impl Peer {
    /// Passes on what somebody has published, if it is subscribed to.
    pub fn pass_on(&mut self, publish: &v4::Publish) {
        if self.greeted && self.filters.iter().any(|filter| topic::matches(filter, &publish.topic)) {
            let mut out = BytesMut::new();
            self.send(publish.clone(), false, &mut out);
            self.out.extend_from_slice(&out);
        }
    }

    fn send(&mut self, mut publish: v4::Publish, retained: bool, out: &mut BytesMut) {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        publish.qos = QoS::AtLeastOnce;
        publish.pkid = self.last_id;
        publish.retain = retained;
        publish.dup = false;
        publish.write(out).unwrap();
    }
}

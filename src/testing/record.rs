//! A container's record, for tests that need any.

use crate::model::address::Address;
use crate::model::idrange::IdRange;
use crate::model::image::Init;
use crate::model::name::{ImageName, Name};
use crate::model::size::{Bytes, Cpus};
use crate::model::spec::{Restart, Spec};
use crate::steps::storage::Record;

/// The record of a container called `name`, with a value in nearly every field.
pub fn record(name: &str) -> Record {
    Record {
        name: Name::new(name).unwrap(),
        was: Vec::new(),
        spec: Spec {
            image: ImageName::new("distro").unwrap(),
            memory: Bytes(64 << 20),
            swap: None,
            cpus: Cpus(500),
            disk: None,
            pids: 100,
            bridge: "br-lan".into(),
            address: Address::parse("10.139.40.10/27").unwrap(),
            gateway: Some("10.139.40.1".parse().unwrap()),
            autostart: false,
            priority: 50,
            restart: Restart::Always,
            description: "a \"quoted\" \\ wiki — é".into(),
            authorized_keys: vec!["ssh-ed25519 AAAA me".into(), "ssh-rsa BBBB you".into()],
            slice: "guifi".into(),
            peer: String::new(),
            advertise: true,
            protected: true,
            isolate: true,
            reach: None,
            rate: None,
            connections: None,
            nesting: false,
            io_uring: false,
            hostname: String::new(),
            timezone: String::new(),
            first_boot: String::new(),
            services: Vec::new(),
        },
        said: None,
        image_sha256: "ab".repeat(32),
        init: Init::Systemd,
        ids: IdRange { base: 0x7000_0000 },
        mac: "02:00:00:00:00:01".into(),
        veth: "cb0000000001".into(),
        created: 1_700_000_000,
    }
}

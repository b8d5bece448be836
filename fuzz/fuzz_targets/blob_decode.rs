//! Bytes as attributes, as fields, and as values of several types.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::blob::Attrs;
use openwrt_ubus::{from_fields, signature, to_fields, Fields};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize, PartialEq)]
struct Net<'a> {
    name: Option<&'a str>,
    mtu: u16,
}

#[derive(Debug, Deserialize, PartialEq)]
enum Mode {
    Fast,
    Slow,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Size {
    Bytes(u64),
    Text(String),
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(default)]
#[derive(Default)]
struct Args<'a> {
    s: Option<String>,
    n: i8,
    b: bool,
    d: f64,
    mode: Option<Mode>,
    size: Option<Size>,
    c: Option<char>,
    #[serde(borrow)]
    nets: Vec<Net<'a>>,
    t: BTreeMap<String, i64>,
    again: Option<Box<Args<'a>>>,
    pair: (u8, String),
}

fuzz_target!(|data: &[u8]| {
    for attr in Attrs::new(data).flatten() {
        let _ = (attr.u32(), attr.u8(), attr.c_str());
    }
    let fields = Fields::new(data);
    let checked = fields.check();
    let json = serde_json::to_string(&fields);
    let _ = from_fields::<Args>(data);
    let _ = from_fields::<()>(data);
    let _ = from_fields::<BTreeMap<String, Size>>(data);
    let _ = signature::Methods::new(data).count();
    if checked.is_ok() {
        assert!(json.is_ok());
        // What can be read can be written, and reads the same.
        if let Ok(value) = from_fields::<serde_json::Value>(data) {
            let again = to_fields(&value).expect("fields of a checked table");
            assert_eq!(from_fields::<serde_json::Value>(&again).expect("our own fields"), value);
        }
    }
});

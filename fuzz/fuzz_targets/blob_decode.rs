//! Bytes as attributes, as fields, and as values of several types.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::blob::Attrs;
use openwrt_ubus::{from_fields, from_table, signature, tables, to_fields, words, Fields};
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

words! {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Word {
        Fast = "Fast",
        Slow = "Slow",
    }
}

tables! {
    #[derive(Debug, PartialEq)]
    struct Small {
        s: Option<String>,
        n: i8 = 0,
        b: bool = false,
        mode: Option<Word>,
        nets: Vec<SmallNet> = Vec::new(),
    }

    #[derive(Debug, PartialEq)]
    struct SmallNet {
        name: Option<String>,
        mtu: u16,
    }

    /// Of the other reader's type what both know.
    #[derive(Debug, PartialEq)]
    struct Number {
        n: u32,
    }
}

#[derive(Debug, Deserialize, PartialEq)]
struct SerdeNumber {
    n: u32,
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
    let _ = from_table::<Small>(data);
    // Both readers say the same.
    let (ours, serdes) = (from_table::<Number>(data), from_fields::<SerdeNumber>(data));
    assert_eq!(ours.as_ref().ok().map(|number| number.n), serdes.as_ref().ok().map(|number| number.n));
    assert_eq!(ours.err().map(|e| e.to_string()), serdes.err().map(|e| e.to_string()));
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

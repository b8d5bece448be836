//! Reads any text as JSON: what is taken is no worse than serde_json takes it, and comes back the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::{json, Fields};

fuzz_target!(|text: &str| {
    let Ok(fields) = json::to_fields(text) else { return };
    assert!(serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok());
    let fields = Fields::new(&fields);
    for written in [serde_json::to_string(&fields), serde_json::to_string_pretty(&fields)] {
        assert_eq!(json::to_fields(&written.unwrap()).unwrap(), fields.as_bytes());
    }
});

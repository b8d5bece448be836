//! Reads any text as JSON: what is taken is read by serde_json as well, and comes back the same when written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_ubus::blobmsg::Value;
use openwrt_ubus::json::{self, Layout};
use openwrt_ubus::Fields;

fuzz_target!(|text: &str| {
    let Ok(fields) = json::to_fields(text) else { return };
    let theirs: Result<serde_json::Map<String, serde_json::Value>, _> = serde_json::from_str(text);
    assert!(theirs.is_ok() || text.contains(['e', 'E']), "only the range of doubles may differ");
    for layout in [Layout::Line, Layout::Indented] {
        let written = json::from_fields(&fields, layout).unwrap();
        same(Fields::new(&fields), Fields::new(&json::to_fields(&written).unwrap()));
    }
});

fn same(before: Fields<'_>, after: Fields<'_>) {
    assert_eq!(before.iter().count(), after.iter().count());
    for (before, after) in before.iter().zip(after) {
        let (before, after) = (before.unwrap(), after.unwrap());
        assert_eq!(before.name, after.name);
        match (before.value, after.value) {
            (Value::Table(before), Value::Table(after)) | (Value::Array(before), Value::Array(after)) => {
                same(before, after);
            }
            // What is written says it exactly; reading may miss by a few units of the last place.
            (Value::Double(before), Value::Double(after)) => {
                assert!(before == after || (before / after - 1.0).abs() < 1e-14 || before.abs() < 1e-300);
            }
            (before, after) => assert_eq!(format!("{before:?}"), format!("{after:?}")),
        }
    }
}

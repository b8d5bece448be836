//! Arguments are read and replies written: what is too long for a message is made shorter.

use crate::error::{Code, Error, Result};
use openwrt_ubus::{from_fields, to_chosen_fields, to_fields, Fields};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::Value as Json;

/// The most that a reply may take, in bytes. A message may have a megabyte, with its head.
const REPLY_MAX: usize = (1 << 20) - (4 << 10);

/// The field that says that the ends of a reply's lists are missing.
const TRUNCATED: &str = "truncated";

/// The arguments of a call. Unknown fields are ignored, but not damaged ones, nor nesting that nothing could read.
///
/// # Errors
/// [`Code::InvalidArgument`], with what is wrong.
pub fn decode<T: DeserializeOwned>(arguments: &[u8]) -> Result<T> {
    let damaged = |e| Error::new(Code::InvalidArgument, format_args!("the arguments cannot be read: {e}"));
    Fields::new(arguments).check().map_err(damaged)?;
    from_fields(arguments).map_err(|error| Error::new(Code::InvalidArgument, error.to_string()))
}

/// A reply's fields.
///
/// # Errors
/// It is too long, however short it is made.
pub fn encode(reply: &impl Serialize) -> Result<Vec<u8>> {
    fit(to_fields(reply), reply, to_fields)
}

/// A reply made of lists, whose entries have their name and those of their other fields that are asked for. None means
/// all.
///
/// # Errors
/// As [`encode`].
pub fn encode_entries(reply: &impl Serialize, mut fields: Vec<String>) -> Result<Vec<u8>> {
    if fields.is_empty() {
        return encode(reply);
    }
    fields.extend(["name".into(), TRUNCATED.into()]);
    let chosen = to_chosen_fields(reply, 2, fields.clone());
    fit(chosen, reply, |shorter| to_chosen_fields(shorter, 2, fields.clone()))
}

/// A reply's fields, or why they cannot be encoded.
type Encoded = std::result::Result<Vec<u8>, openwrt_ubus::Error>;

/// A reply as it was encoded, when it fits into a message. Others can make lists long: one that does not fit loses the
/// ends of its lists, and says so with `truncated`.
fn fit(encoded: Encoded, reply: &impl Serialize, encode_again: impl Fn(&Json) -> Encoded) -> Result<Vec<u8>> {
    let is_good = |encoded: &Encoded| encoded.as_ref().is_ok_and(|fields| fields.len() <= REPLY_MAX);
    if is_good(&encoded) {
        return encoded.map_err(cannot_encode);
    }
    let mut reply = serde_json::to_value(reply).map_err(cannot_encode)?;
    while let Some(lists) = reply.as_object_mut() {
        let lists = lists.values_mut().filter_map(Json::as_array_mut);
        let Some(longest) = lists.max_by_key(|list| list.len()).filter(|list| !list.is_empty()) else {
            break;
        };
        longest.truncate(longest.len() * 3 / 4);
        reply[TRUNCATED] = Json::Bool(true);
        let encoded = encode_again(&reply);
        if is_good(&encoded) {
            return encoded.map_err(cannot_encode);
        }
    }
    Err(Error::new(Code::Failed, "the reply is too long for a message"))
}

fn cannot_encode(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Failed, format_args!("cannot encode the reply: {error}"))
}

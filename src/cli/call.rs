//! `cloudbox call`: any method of any object on the bus.

use super::bus::Context;
use super::failure::{Failure, OK};
use super::page::print_json;
use super::request::{Request, PATIENCE};
use super::value::seconds;
use crate::error::quoted;
use clap::Args;
use openwrt_ubus::json;
use std::time::Duration;

#[derive(Args)]
pub struct Call {
    object: String,
    method: String,
    #[arg(value_name = "JSON")]
    arguments: Option<String>,
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(help = "how long to wait for the reply; 30 unless said otherwise")]
    timeout: Option<u32>,
}

impl Call {
    /// Prints the reply as JSON. Data that came with an error is printed, too.
    pub fn run(self, context: &mut Context) -> Result<u8, Failure> {
        match context.call(&self.request()?) {
            Ok(reply) => {
                print_json(&reply)?;
                Ok(OK)
            }
            Err(mut failure) => {
                let reply = std::mem::take(&mut failure.reply);
                if !reply.is_empty() {
                    print_json(&reply)?;
                }
                Err(failure)
            }
        }
    }

    /// The call with its JSON as fields.
    ///
    /// # Errors
    /// It is no JSON, or no object.
    pub fn request(self) -> Result<Request, Failure> {
        let fields = match self.arguments.as_deref() {
            None | Some("") => Vec::new(),
            Some(text) => json::to_fields(text).map_err(|error| {
                let shown = quoted(text);
                Failure::usage(format_args!(
                    "{shown}: {error}; write names and values, such as '{{\"name\":\"web\"}}'"
                ))
            })?,
        };
        let patience = self.timeout.map_or(PATIENCE, |seconds| Duration::from_secs(seconds.into()));
        Ok(Request { object: self.object, method: self.method, fields, patience, file: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::Fields;

    fn request(json: Option<&str>) -> Result<Request, Failure> {
        let call = Call {
            object: "o".into(),
            method: "m".into(),
            arguments: json.map(str::to_string),
            timeout: Some(3),
        };
        call.request()
    }

    #[test]
    fn json_is_sent_as_it_is() {
        let json = r#"{"a":9007199254740993,"b":-1,"c":true,"d":[1,"x"],"e":{"f":0.5},"g":null}"#;
        for json in ["{}", json] {
            let request = request(Some(json)).unwrap();
            assert_eq!(serde_json::to_string(&Fields::new(&request.fields)).unwrap(), json);
        }
        let empty = request(None).unwrap();
        assert!(empty.fields.is_empty() && empty.patience == Duration::from_secs(3));
        for wrong in ["{", "[1]", "1", "\"x\"", "null", r#"{"a":18446744073709551615}"#] {
            assert_eq!(request(Some(wrong)).unwrap_err().exit, 2, "{wrong}");
        }
    }
}

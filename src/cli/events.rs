//! `cloudbox events`: what happens on the bus, line by line.

use super::bus::Context;
use super::failure::{complain, Failure};
use super::page::{push_json, write_stdout};
use super::text::visible;
use super::view::View;
use openwrt_ubus::{Event, Fields};
use std::time::Duration;

const PATTERNS: [&str; 5] = ["container.*", "image.*", "service.*", "job.*", "disk.*"];

/// Prints events until it is interrupted. ubusd may be restarted in the meantime.
pub fn run(context: &mut Context) -> Result<u8, Failure> {
    context.client()?;
    loop {
        let lost = follow(context)?;
        complain(&format!("{lost}; waiting for it to come back"));
        loop {
            context.disconnect();
            std::thread::sleep(Duration::from_secs(1));
            if context.client().is_ok() {
                break;
            }
        }
    }
}

/// Prints events for as long as there is a bus; then says why there is none.
fn follow(context: &mut Context) -> Result<Failure, Failure> {
    let connection = context.client()?.connection();
    PATTERNS.iter().for_each(|pattern| connection.register_event(pattern));
    loop {
        match context.client()?.next_event(None) {
            Ok(Some(Event::BusEvent { id, data })) => {
                let line = if context.json { json_line(&id, &data) } else { line(&id, &data) };
                write_stdout(line.as_bytes())?;
            }
            Ok(Some(Event::ListenFailed { pattern, status })) => {
                let status = status.text();
                return Err(Failure::refusal(format!("cannot listen to {pattern}: {status}; try as root")));
            }
            Ok(_) => {}
            Err(error) => return Ok(context.unreachable(&error)),
        }
    }
}

/// `container.started name=web`
fn line(id: &str, data: &[u8]) -> String {
    let view = View::new(data);
    let mut line = visible(id).into_owned();
    for (name, value) in view.scalars() {
        let quote = if value.is_empty() || value.contains(' ') { "\"" } else { "" };
        line.push_str(&format!(" {name}={quote}{value}{quote}"));
    }
    // Why a job failed stands one level deeper.
    if let Some(error) = view.table("error") {
        line.push_str(&format!(" error=\"{}\"", error.text("message")));
    }
    line.push('\n');
    line
}

/// `{"container.started":{"name":"web"}}`
fn json_line(id: &str, data: &[u8]) -> String {
    let id = serde_json::Value::from(id);
    let content = serde_json::to_string(&Fields::new(data)).unwrap_or_else(|_| "{}".to_string());
    let mut line = String::new();
    push_json(&mut line, &format!("{{{id}:{content}}}\n"));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::blobmsg::Builder;

    #[test]
    fn one_line_each() {
        let mut fields = Builder::new();
        fields.str("id", "17").str("target", "web").int("percent", 45).str("step", "").bool("ok", true);
        fields.table("error", |error| {
            error.str("code", "failed").str("message", "it\nis \u{9b}1m over");
        });
        let data = fields.finish().unwrap();
        assert_eq!(
            line("job.finished", &data),
            "job.finished id=17 target=web percent=45 step=\"\" ok=true error=\"it\\nis \\u{9b}1m over\"\n"
        );
        assert_eq!(
            json_line("job.finished", &data),
            "{\"job.finished\":{\"id\":\"17\",\"target\":\"web\",\"percent\":45,\"step\":\"\",\"ok\":true,\
             \"error\":{\"code\":\"failed\",\"message\":\"it\\nis \\u009b1m over\"}}}\n"
        );
    }
}

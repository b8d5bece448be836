//! `cloudbox top`: who uses what, again and again.

use super::bus::Context;
use super::failure::{Failure, OK};
use super::page::Page;
use super::request::container_list;
use super::text::{or_dash, percent, share, size, Table};
use super::value::seconds;
use super::view::View;
use clap::Args;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// What is counted: microseconds, and bytes of the network.
const COUNTED: [&str; 3] = ["cpu_time", "received", "sent"];

/// What is shown of a container, besides its name.
const FIELDS: &[&str] =
    &["state", "pid", "memory", "memory_limit", "pids", COUNTED[0], COUNTED[1], COUNTED[2]];

/// What a container had used at a look.
struct Sample {
    name: String,
    counted: [u64; 3],
}

#[derive(Args)]
pub struct Top {
    #[arg(long, value_name = "SECONDS", value_parser = seconds, allow_negative_numbers = true)]
    #[arg(default_value = "2", hide_default_value = true, help = "how often; 2 unless said otherwise")]
    interval: u32,
}

impl Top {
    /// Shows a table until it is interrupted; once, where nobody looks at a terminal.
    pub fn run(self, context: &mut Context) -> Result<u8, Failure> {
        let interval = Duration::from_secs(self.interval.max(1).into());
        let terminal = io::stdout().is_terminal();
        let request = container_list(Some(FIELDS))?;
        let mut before = samples(&View::new(&context.call(&request)?));
        loop {
            let looked = Instant::now();
            std::thread::sleep(interval);
            let reply = context.call(&request)?;
            let mut page = Page::stdout();
            let milliseconds = u64::try_from(looked.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            show(&View::new(&reply), &before, milliseconds, &mut page);
            if !terminal {
                page.print()?;
                return Ok(OK);
            }
            // To the upper left corner; what is left of the lines and of the screen is cleared as it is written over.
            page.text = format!("\x1b[H{}\x1b[J", page.text.replace('\n', "\x1b[K\n"));
            page.print()?;
            before = samples(&View::new(&reply));
        }
    }
}

fn samples(view: &View<'_>) -> Vec<Sample> {
    let sample = |container: &View<'_>| Sample {
        name: container.raw("name").into_owned(),
        counted: COUNTED.map(|field| container.number(field).unwrap_or(0)),
    };
    view.tables("containers").iter().map(sample).collect()
}

/// Writes what runs, the busiest first.
fn show(view: &View<'_>, before: &[Sample], milliseconds: u64, page: &mut Page) {
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    let (mut all, mut memory) = ([0; 3], 0);
    for (container, now) in view.tables("containers").iter().zip(samples(view)) {
        if container.number("pid").is_none() {
            continue;
        }
        // One that was started again begins anew.
        let then = before.iter().find(|b| b.name == now.name && b.counted[0] <= now.counted[0]);
        let mut rates = [0; 3];
        for (at, rate) in rates.iter_mut().enumerate() {
            let used = now.counted[at].saturating_sub(then.map_or(0, |then| then.counted[at]));
            // Microseconds in milliseconds are thousandths.
            let each = if at == 0 { 1 } else { 1000 };
            *rate = used.saturating_mul(each) / milliseconds;
            all[at] += *rate;
        }
        memory += container.number("memory").unwrap_or(0);
        let used = share(container.number("memory"), container.number("memory_limit"));
        let mut row = line(container.text("name"), used, or_dash(container.text("pids")), rates);
        row.push(container.text("state"));
        // The busiest comes first.
        let at = rows.iter().position(|(other, _)| *other < rates[0]).unwrap_or(rows.len());
        rows.insert(at, (rates[0], row));
    }
    let mut table = Table::titled("NAME|>CPU|MEMORY|>PIDS|>IN/S|>OUT/S|STATE");
    let running = format!("{} running", rows.len());
    rows.into_iter().for_each(|(_, row)| table.row(row));
    table.row(line(running, size(Some(memory)), String::new(), all));
    table.write(&mut page.text, "", page.color);
}

fn line(name: String, memory: String, pids: String, rates: [u64; 3]) -> Vec<String> {
    let [cpu, received, sent] = rates;
    vec![name, percent(cpu), memory, pids, size(Some(received)), size(Some(sent))]
}

#[cfg(test)]
mod tests {
    use super::*;
    use openwrt_ubus::to_fields;

    fn view(json: &str) -> Vec<u8> {
        to_fields(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap()
    }

    #[test]
    fn the_busiest_comes_first_and_rates_are_of_the_time_between() {
        let before = view(
            r#"{"containers":[{"name":"web","cpu_time":1000000,"received":1000,"sent":0},
            {"name":"new","cpu_time":9000000,"received":9,"sent":9}]}"#,
        );
        let now = view(
            r#"{"containers":[{"name":"rested","state":"stopped"},
            {"name":"new","state":"running","pid":7,"cpu_time":50000,"memory":1048576,"pids":1,"received":0,"sent":2048},
            {"name":"web","state":"frozen","pid":8,"cpu_time":2500000,"memory":2097152,"memory_limit":4194304,
             "pids":12,"received":5096,"sent":100}]}"#,
        );
        let mut page = Page::plain();
        show(&View::new(&now), &samples(&View::new(&before)), 2000, &mut page);
        let expected = "\
NAME         CPU  MEMORY  PIDS  IN/S  OUT/S  STATE
web        75.0%  2M/4M     12    2K     50  frozen
new         2.5%  1M         1     0     1K  running
2 running  77.5%  3M              2K     1K
";
        assert_eq!(page.text, expected);
    }
}

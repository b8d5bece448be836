//! `cloudbox top`: who uses what, again and again.

use super::args::Args;
use super::bus::Context;
use super::page::Page;
use super::text::{or_dash, percent, share, size, Table};
use super::view::View;
use super::{request, Failure, OK};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Seconds between two looks.
const INTERVAL: u32 = 2;

/// What a container had used at a look.
#[derive(Default)]
struct Sample {
    name: String,
    cpu_time: u64,
    received: u64,
    sent: u64,
}

impl Sample {
    fn of(container: &View<'_>) -> Sample {
        let number = |field| container.number(field).unwrap_or(0);
        let name = container.raw("name").into_owned();
        Sample { name, cpu_time: number("cpu_time"), received: number("received"), sent: number("sent") }
    }
}

/// Shows a table until it is interrupted; once, where nobody looks at a terminal.
pub fn run(context: &mut Context, args: &Args) -> Result<u8, Failure> {
    let interval = Duration::from_secs(args.seconds("interval")?.unwrap_or(INTERVAL).max(1).into());
    let terminal = io::stdout().is_terminal();
    let mut before = look(context)?;
    loop {
        let looked = Instant::now();
        std::thread::sleep(interval);
        let reply = context.call(&request::container_list()?)?;
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

fn look(context: &mut Context) -> Result<Vec<Sample>, Failure> {
    let reply = context.call(&request::container_list()?)?;
    Ok(samples(&View::new(&reply)))
}

fn samples(view: &View<'_>) -> Vec<Sample> {
    view.tables("containers").iter().map(Sample::of).collect()
}

/// Writes what runs, the busiest first.
fn show(view: &View<'_>, before: &[Sample], milliseconds: u64, page: &mut Page) {
    let mut rows: Vec<(u64, Vec<String>)> = Vec::new();
    let (mut all, mut memory) = (Sample::default(), 0);
    for container in view.tables("containers").iter().filter(|c| c.number("pid").is_some()) {
        let now = Sample::of(container);
        let none = Sample::default();
        // One that was started again begins anew.
        let then = before.iter().find(|b| b.name == now.name && b.cpu_time <= now.cpu_time).unwrap_or(&none);
        let cpu = now.cpu_time.saturating_sub(then.cpu_time) / milliseconds;
        let rate = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(1000) / milliseconds;
        let (received, sent) = (rate(now.received, then.received), rate(now.sent, then.sent));
        let row = vec![
            container.text("name"),
            percent(cpu),
            share(container.number("memory"), container.number("memory_limit")),
            or_dash(container.number("pids").map_or_else(String::new, |pids| pids.to_string())),
            size(Some(received)),
            size(Some(sent)),
            container.text("state"),
        ];
        // The busiest comes first.
        let at = rows.iter().position(|(other, _)| *other < cpu).unwrap_or(rows.len());
        rows.insert(at, (cpu, row));
        memory += container.number("memory").unwrap_or(0);
        all.cpu_time += cpu;
        all.received += received;
        all.sent += sent;
    }
    let mut table = Table::titled("NAME|>CPU|MEMORY|>PIDS|>IN/S|>OUT/S|STATE");
    let running = format!("{} running", rows.len());
    rows.into_iter().for_each(|(_, row)| table.row(row));
    let bytes = |number| size(Some(number));
    table.row(vec![
        running,
        percent(all.cpu_time),
        bytes(memory),
        String::new(),
        bytes(all.received),
        bytes(all.sent),
    ]);
    table.write(&mut page.text, "", page.color);
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
        let mut page = Page { text: String::new(), color: false, now: 0 };
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

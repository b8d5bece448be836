//! The table.

use crate::measure::{ratio, Samples};
use crate::options::Options;

/// What a figure has to be.
#[derive(Clone, Copy)]
pub enum Bar {
    /// Ours takes at most so many times as long.
    TimesAtMost(f64),
    /// Ours is at least so many times as fast.
    FasterAtLeast(f64),
    /// Ours does at least so many times as many.
    AsManyAtLeast(f64),
}

/// A line of the table.
pub struct Row {
    work: String,
    ours: String,
    other: String,
    figure: String,
    ratio: String,
    bar: String,
    met: Option<bool>,
}

impl Row {
    /// A row of two times; with a bar or only to be seen.
    pub fn times(work: &str, ours: &Samples, other: &str, theirs: &Samples, bar: Option<Bar>) -> Row {
        let times = ratio(ours, theirs);
        let (shown, bar, met) = match bar {
            Some(Bar::FasterAtLeast(least)) => (
                format!("{:.1} × faster", 1.0 / times),
                format!("≥ {least} × faster"),
                Some(1.0 / times >= least),
            ),
            Some(Bar::TimesAtMost(most)) => {
                (format!("{times:.2} ×"), format!("≤ {most} ×"), Some(times <= most))
            }
            _ => (format!("{times:.2} ×"), "–".into(), None),
        };
        Row { ratio: shown, bar, met, figure: theirs.show(), ..Row::alone(work, ours.show(), other) }
    }

    /// A row of two rates per second.
    pub fn rates(work: &str, ours: f64, other: &str, theirs: f64, bar: Bar) -> Row {
        let times = ours / theirs;
        let (bar, met) = match bar {
            Bar::AsManyAtLeast(least) => (format!("≥ {least} ×"), Some(times >= least)),
            _ => ("–".into(), None),
        };
        let show = |rate: f64| format!("{rate:.0}/s");
        Row {
            ratio: format!("{times:.2} ×"),
            bar,
            met,
            figure: show(theirs),
            ..Row::alone(work, show(ours), other)
        }
    }

    /// A row of one figure with a bar.
    pub fn limit(work: &str, ours: String, bar: &str, met: bool) -> Row {
        Row { bar: bar.into(), met: Some(met), ..Row::alone(work, ours, "–") }
    }

    /// A row that lacks what it is compared with, or cannot be measured at all.
    pub fn missing(work: &str, ours: Option<String>, other: &str, why: &str) -> Row {
        Row { figure: why.into(), ..Row::alone(work, ours.unwrap_or("–".into()), other) }
    }

    fn alone(work: &str, ours: String, other: &str) -> Row {
        Row {
            work: work.into(),
            ours,
            other: other.into(),
            figure: "–".into(),
            ratio: "–".into(),
            bar: "–".into(),
            met: None,
        }
    }

    fn cells(&self) -> [String; 7] {
        let met = match self.met {
            Some(true) => "met",
            Some(false) => "NOT MET",
            None => "–",
        };
        let text = [&self.work, &self.ours, &self.other, &self.figure, &self.ratio, &self.bar];
        let [work, ours, other, figure, ratio, bar] = text.map(String::clone);
        [work, ours, other, figure, ratio, bar, met.to_string()]
    }
}

/// The circumstances, `load` being `/proc/loadavg` before the first row.
pub fn heading(options: &Options, load: &str) -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(0, |n| n.get());
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let bus = options.bus.file_name().unwrap_or_default().to_string_lossy();
    let binary =
        if options.is_static { "the static binary" } else { "the RELEASE binary, for want of a static one" };
    format!(
        "Linux {}, {cpus} processors, load before {}; {binary}; bus: {bus}; median (least–most) of {} rounds\n",
        kernel.trim(),
        load.join(" "),
        options.rounds()
    )
}

/// The table of `rows`.
pub fn render(rows: &[Row]) -> String {
    let head = ["work", "cloudbox", "compared with", "figure", "ratio", "bar", "met?"].map(String::from);
    let lines: Vec<[String; 7]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let cells = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text += &format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "));
        if number == 0 {
            text += &format!("|{}|\n", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
    text
}

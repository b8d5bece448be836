//! Types what the pages tell a reader to type, on a box of its own, and compares what comes with what the page shows.
//!
//! `cargo test --test docs` runs all pages, `cargo test --test docs -- docs/uci.md` one. `UPDATE=1` writes what came into
//! the pages instead of complaining. CONTRIBUTING.md tells how a page is written.

// Not every part of the box that the system tests have is needed here.
#[allow(dead_code)]
#[path = "../system/whole_box.rs"]
mod whole_box;

mod compare;
mod demo_box;
mod page;

#[allow(unused_imports)]
use whole_box::{avahi, bus, processes, test_box};

use demo_box::DemoBox;
use page::{Kind, Page};
use std::path::Path;
use std::process::ExitCode;

/// Every page, in the order in which a newcomer reads them.
fn pages() -> Vec<String> {
    let docs = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap().flatten();
    let names = docs.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".md")).collect();
    names.sort();
    let others = ["distro/README.md", "openwrt/README.md", "CONTRIBUTING.md"].map(String::from);
    ["README.md".to_string()].into_iter().chain(names).chain(others).collect()
}

/// What became of the commands of all pages.
#[derive(Default)]
struct Totals {
    /// Commands that were run.
    ran: usize,
    /// Those of them whose output was compared.
    compared: usize,
    not_run: Vec<NotRun>,
}

/// Commands in a row that were not run.
struct NotRun {
    /// Where the first of them stands.
    place: String,
    reason: String,
    commands: usize,
    /// The line behind the last of them.
    next_line: usize,
}

impl Totals {
    fn leave_out(&mut self, path: &str, step: &page::Step, reason: &str) {
        let next_line = step.output_lines.end + 1;
        if let Some(last) = self.not_run.last_mut() {
            if last.place.starts_with(&format!("{path}:"))
                && last.next_line == step.line
                && last.reason == reason
            {
                last.commands += 1;
                last.next_line = next_line;
                return;
            }
        }
        let place = format!("{path}:{}", step.line);
        self.not_run.push(NotRun { place, reason: reason.to_string(), commands: 1, next_line });
    }
}

fn main() -> ExitCode {
    // The words of libtest's that `cargo test` may hand to every test: the first bare one chooses pages.
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-')).unwrap_or_default();
    let pages: Vec<String> = pages().into_iter().filter(|page| page.contains(&wanted)).collect();
    if pages.is_empty() || std::env::args().any(|word| word == "--list") {
        return ExitCode::SUCCESS;
    }
    compare::check_yourself();
    let Some(mut demo_box) = DemoBox::new() else {
        for page in &pages {
            println!("test {page} ... ignored, CLOUDBOX_TEST_IMAGE is not set; scripts/test.sh sets it");
        }
        println!("test result: ok. 0 passed; 0 failed; {} ignored; 0 measured; 0 filtered out", pages.len());
        return ExitCode::SUCCESS;
    };
    let mut totals = Totals::default();
    let mut failed = 0;
    for path in &pages {
        let problems = try_page(&mut demo_box, path, &mut totals);
        println!("test {path} ... {}", if problems.is_empty() { "ok" } else { "FAILED" });
        for problem in &problems {
            println!("  {problem}");
        }
        failed += usize::from(!problems.is_empty());
    }
    // What `cargo test` says of its own tests, so that scripts/test-totals.py understands it.
    let mut not_run = 0;
    for block in &totals.not_run {
        let commands = if block.commands == 1 { "command" } else { "commands" };
        println!("test {} ({} {commands}) ... ignored, {}", block.place, block.commands, block.reason);
        not_run += block.commands;
    }
    println!("docs: {} commands ran, {} of them compared; {not_run} not run", totals.ran, totals.compared);
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {verdict}. {} passed; {failed} failed; {} ignored; 0 measured; 0 filtered out",
        pages.len() - failed,
        totals.not_run.len()
    );
    ExitCode::from(u8::from(failed != 0))
}

/// Runs one page from its first line to its last; returns what was not as the page says.
fn try_page(demo_box: &mut DemoBox, path: &str, totals: &mut Totals) -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{path}: {e}"));
    let page = match Page::read(&text) {
        Ok(page) => page,
        Err(problem) => return vec![format!("{path}:{problem}")],
    };
    let mut steps = page.steps;
    for step in &mut steps {
        let missing = step.needs.iter().find(|program| !demo_box.has_program(program));
        if let (None, Some(program)) = (&step.not_run, missing) {
            step.not_run = Some(format!("{program} is not installed"));
        }
        if let (Kind::Typed, Some(reason)) = (step.kind, &step.not_run) {
            totals.leave_out(path, step, reason);
        }
    }
    let to_run: Vec<&page::Step> = steps.iter().filter(|step| step.not_run.is_none()).collect();
    if to_run.is_empty() {
        return Vec::new();
    }
    let results = demo_box.run(&to_run);
    let mut problems = Vec::new();
    let mut updates = Vec::new();
    for (step, result) in to_run.iter().zip(&results) {
        let place = format!("{path}:{}: `{}`", step.line, step.command);
        let Some(result) = result else {
            problems.push(format!("{place}: was not reached"));
            break;
        };
        totals.ran += usize::from(step.kind == Kind::Typed);
        if (result.code != 0) != step.fails {
            problems.push(format!("{place}: exit code {}: {}", result.code, result.output));
        }
        if let (Kind::Typed, Some(expected)) = (step.kind, &step.expected) {
            totals.compared += 1;
            if !compare::same(expected, &result.output, step.numbers_vary) {
                updates.push((step.output_lines.clone(), result.output.clone()));
                problems
                    .push(format!("{place}: the page says\n{expected}\n  and this came\n{}", result.output));
            }
        }
    }
    if std::env::var_os("UPDATE").is_some() && !updates.is_empty() {
        std::fs::write(&file, page::with_outputs(&text, &updates)).unwrap();
    }
    problems
}

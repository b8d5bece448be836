//! A page: the commands of its blocks, in order, with what the page says comes of them.
//!
//! A block marked `console` has commands behind `$ `, and below each what it prints. A block marked `sh` has commands only:
//! they are run, and must succeed. Comments that no reader sees say the rest, each on a line before the block:
//!
//! * `<!-- not run: REASON -->` for what cannot be run here,
//! * `<!-- needs: PROGRAM -->` for what is run only where that program is,
//! * `<!-- numbers vary -->` when numbers, addresses and the like differ from run to run,
//! * `<!-- fails -->` when the last command of the block is to fail,
//! * `<!-- first: COMMAND -->` for what the test alone does before, such as to wait.

use std::ops::Range;

/// Whether a reader sees a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It stands in a block.
    Typed,
    /// It stands in a comment: the test's own.
    Hidden,
}

/// One command.
#[derive(Debug)]
pub struct Step {
    pub kind: Kind,
    /// Where it stands, counted from 1.
    pub line: usize,
    pub command: String,
    /// What it prints, where the page says so.
    pub expected: Option<String>,
    /// The lines of the page that say so, counted from 0.
    pub output_lines: Range<usize>,
    /// Why it is not run, if it is not.
    pub not_run: Option<String>,
    /// Programs without which it is not run.
    pub needs: Vec<String>,
    pub numbers_vary: bool,
    pub fails: bool,
}

/// What a page has to type.
pub struct Page {
    pub steps: Vec<Step>,
}

/// What comments before a block say of it.
#[derive(Default)]
struct Marks {
    not_run: Option<String>,
    needs: Vec<String>,
    numbers_vary: bool,
    fails: bool,
}

impl Page {
    /// Reads a page's text. An error begins with the line it is on.
    pub fn read(text: &str) -> Result<Page, String> {
        let lines: Vec<&str> = text.lines().collect();
        let mut steps = Vec::new();
        let mut marks = Marks::default();
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].trim();
            if let Some(language) = line.strip_prefix("```") {
                let end = (at + 1..lines.len()).find(|i| lines[*i].trim() == "```");
                let end = end.ok_or(format!("{}: this block has no end", at + 1))?;
                let marks = std::mem::take(&mut marks);
                let block = at + 1..end;
                match language {
                    "console" => steps.extend(console(&lines, block, &marks)?),
                    "sh" => steps.extend(script(&lines, block, &marks)),
                    "" => return Err(format!("{}: this block does not say of what kind it is", at + 1)),
                    _ => {}
                }
                at = end + 1;
                continue;
            }
            if let Some(comment) = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->")) {
                if let Some(command) = comment.strip_prefix("first: ") {
                    steps.push(step(Kind::Hidden, at, command.to_string(), &Marks::default()));
                } else {
                    marks.take(comment);
                }
            }
            at += 1;
        }
        Ok(Page { steps })
    }
}

impl Marks {
    fn take(&mut self, comment: &str) {
        if let Some(reason) = comment.strip_prefix("not run: ") {
            self.not_run = Some(reason.to_string());
        } else if let Some(program) = comment.strip_prefix("needs: ") {
            self.needs.push(program.to_string());
        } else if comment == "numbers vary" {
            self.numbers_vary = true;
        } else if comment == "fails" {
            self.fails = true;
        }
        // Other comments, such as the bounds of a table that is made, say nothing of a block.
    }
}

fn step(kind: Kind, line: usize, command: String, marks: &Marks) -> Step {
    Step {
        kind,
        line: line + 1,
        command,
        expected: None,
        output_lines: line + 1..line + 1,
        not_run: marks.not_run.clone(),
        needs: marks.needs.clone(),
        numbers_vary: marks.numbers_vary,
        fails: false,
    }
}

fn console(lines: &[&str], block: Range<usize>, marks: &Marks) -> Result<Vec<Step>, String> {
    let mut steps: Vec<Step> = Vec::new();
    let mut at = block.start;
    while at < block.end {
        let Some(command) = lines[at].strip_prefix("$ ") else {
            return Err(format!("{}: a console block begins with a command, behind `$ `", at + 1));
        };
        let begun = at;
        let mut command = command.to_string();
        // A command goes on where its line ends with a backslash.
        while command.ends_with('\\') && at + 1 < block.end {
            at += 1;
            command = [&command, "\n", lines[at]].concat();
        }
        let output = at + 1..(at + 1..block.end).find(|i| lines[*i].starts_with("$ ")).unwrap_or(block.end);
        let mut step = step(Kind::Typed, begun, command, marks);
        step.expected = Some(lines[output.clone()].join("\n"));
        step.output_lines = output.clone();
        steps.push(step);
        at = output.end;
    }
    if let Some(last) = steps.last_mut() {
        last.fails = marks.fails;
    }
    Ok(steps)
}

fn script(lines: &[&str], block: Range<usize>, marks: &Marks) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut at = block.start;
    while at < block.end {
        let begun = at;
        let mut command = lines[at].to_string();
        while command.ends_with('\\') && at + 1 < block.end {
            at += 1;
            command = [&command, "\n", lines[at]].concat();
        }
        at += 1;
        if !command.trim().is_empty() && !command.trim_start().starts_with('#') {
            steps.push(step(Kind::Typed, begun, command, marks));
        }
    }
    if let Some(last) = steps.last_mut() {
        last.fails = marks.fails;
    }
    steps
}

/// The page with other outputs in the place of some lines.
pub fn with_outputs(text: &str, updates: &[(Range<usize>, String)]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut new = String::new();
    let mut at = 0;
    for (range, output) in updates {
        for line in lines[at..range.start].iter().copied().chain(output.lines()) {
            new += line;
            new += "\n";
        }
        at = range.end;
    }
    for line in &lines[at..] {
        new += line;
        new += "\n";
    }
    new
}

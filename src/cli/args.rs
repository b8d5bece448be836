//! From words to a command with its operands and options, by the table in [`commands`](super::commands).

use super::commands::{self, Command, Opt, Times, Values, COMMANDS, GLOBAL};
use super::help::Topic;
use super::Failure;
use cloudbox::error::quoted;
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

/// What the words ask for.
pub enum Parsed {
    /// To run a command.
    Run(Args),
    /// To explain something.
    Help(Topic),
    /// The program's version.
    Version,
    /// There were no words.
    Nothing,
}

/// A command with all it was given.
pub struct Args {
    /// The command.
    pub command: &'static Command,
    /// What stood there without an option's name.
    pub operands: Vec<String>,
    /// `--json`
    pub json: bool,
    /// `--socket`
    pub socket: Option<PathBuf>,
    options: Vec<(&'static str, String)>,
}

impl Args {
    /// The operand at `index`; empty when it was left out.
    pub fn operand(&self, index: usize) -> &str {
        self.operands.get(index).map_or("", String::as_str)
    }

    /// Whether option `--long` was given.
    pub fn flag(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// The value of option `--long`; the last one counts.
    pub fn value(&self, long: &str) -> Option<&str> {
        self.options.iter().rfind(|(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// All values of option `--long`.
    pub fn values<'a>(&'a self, long: &'a str) -> impl Iterator<Item = &'a str> {
        self.options.iter().filter(move |(name, _)| *name == long).map(|(_, value)| value.as_str())
    }

    /// The value of option `--long` as a number of seconds.
    ///
    /// # Errors
    /// It is none.
    pub fn seconds(&self, long: &str) -> Result<Option<u32>, Failure> {
        self.number(long, "seconds")
    }

    /// The value of option `--long` as a number of `what`.
    ///
    /// # Errors
    /// It is none.
    pub fn number(&self, long: &str, what: &str) -> Result<Option<u32>, Failure> {
        let Some(value) = self.value(long) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| {
            Failure::usage(format!(
                "--{long} {value} is no number of {what}; write a whole one, such as 60",
                value = quoted(value)
            ))
        })
    }
}

/// Reads the words behind the program's name.
///
/// # Errors
/// They make no command; the message tells what would.
pub fn parse(words: impl Iterator<Item = OsString>) -> Result<Parsed, Failure> {
    let mut parser = Parser::from_args(words);
    let mut name = String::new();
    let mut args: Option<Args> = None;
    let (mut json, mut socket) = (false, None);
    let mut help = false;
    loop {
        // `exec web ls -l`: the program's options are its own.
        if args.as_ref().is_some_and(takes_rest) {
            let raw = parser.raw_args().map_err(unreadable)?;
            for word in raw {
                let word = text(word)?;
                args.iter_mut().for_each(|args| args.operands.push(word.clone()));
            }
        }
        let Some(arg) = parser.next().map_err(unreadable)? else { break };
        match arg {
            Arg::Value(word) => {
                let word = text(word)?;
                match &mut args {
                    Some(args) => args.operands.push(word),
                    None => args = select(&mut name, &word)?,
                }
            }
            Arg::Short('V') | Arg::Long("version") => return Ok(Parsed::Version),
            Arg::Short(_) | Arg::Long(_) => {
                let option = find_option(args.as_ref(), &arg)?;
                let value = match option.value {
                    Some(_) => parser.value().map_err(unreadable)?,
                    None => OsString::new(),
                };
                match option.long {
                    "help" => help = true,
                    "json" => json = true,
                    "socket" => socket = Some(PathBuf::from(value)),
                    long => {
                        let value = text(value)?;
                        args.iter_mut().for_each(|args| args.options.push((long, value.clone())));
                    }
                }
            }
        }
    }
    match args {
        Some(args) if help => Ok(Parsed::Help(Topic::Command(args.command))),
        Some(args) => {
            check_operands(&args)?;
            Ok(Parsed::Run(Args { json, socket, ..args }))
        }
        None if help && name.is_empty() => Ok(Parsed::Help(Topic::Overview)),
        None if help => Ok(Parsed::Help(Topic::Group(name))),
        None if name.is_empty() && !json && socket.is_none() => Ok(Parsed::Nothing),
        None if name.is_empty() => {
            Err(Failure::usage("a command is missing; `cloudbox help` lists them all"))
        }
        None => Err(incomplete(&name)),
    }
}

/// Whether all that follows belongs to the last operand.
fn takes_rest(args: &Args) -> bool {
    let operands = args.command.operands;
    operands.last().is_some_and(|last| last.times == Times::Rest && last.values != Values::Command)
        && args.operands.len() >= operands.len()
}

/// Adds `word` to the `name` of a command, which may consist of two.
fn select(name: &mut String, word: &str) -> Result<Option<Args>, Failure> {
    if !name.is_empty() {
        name.push(' ');
    }
    name.push_str(word);
    if let Some(command) = commands::find(name) {
        return Ok(Some(Args {
            command,
            operands: Vec::new(),
            options: Vec::new(),
            json: false,
            socket: None,
        }));
    }
    if commands::group(name).is_empty() {
        return Err(unknown_command(name));
    }
    Ok(None)
}

fn find_option(args: Option<&Args>, arg: &Arg<'_>) -> Result<&'static Opt, Failure> {
    let own = args.map_or(&[][..], |args| args.command.options);
    let matches = |option: &&Opt| match *arg {
        Arg::Long(long) => option.long == long,
        Arg::Short(short) => option.short == Some(short),
        Arg::Value(_) => false,
    };
    own.iter().chain(GLOBAL).find(matches).ok_or_else(|| {
        let (written, long) = match *arg {
            Arg::Long(long) => (format!("--{long}"), long),
            Arg::Short(short) => (format!("-{short}"), ""),
            Arg::Value(_) => (String::new(), ""),
        };
        let command = args.map(|args| args.command.name);
        let known: Vec<_> = own.iter().chain(GLOBAL).map(|option| (option.long, option.long)).collect();
        let near = nearest(long, &known);
        let of = command.map_or_else(String::new, |name| format!("`{name}` has "));
        let help = command.unwrap_or_default();
        Failure::usage(match near {
            Some(near) => format!("{of}no option {written}; did you mean --{near}?"),
            None if command.is_none() => {
                format!("no option {written} before the command; `cloudbox help` lists what there is")
            }
            None => format!("{of}no option {written}; `cloudbox help {help}` lists those it has"),
        })
    })
}

fn check_operands(args: &Args) -> Result<(), Failure> {
    let command = args.command;
    let given = args.operands.len();
    let needs = |times| matches!(times, Times::One | Times::Many | Times::Rest);
    let missing = command.operands.get(given).filter(|operand| needs(operand.times));
    if let Some(missing) = missing.filter(|missing| missing.values != Values::Command) {
        let (name, what) = (command.name, missing.name);
        return Err(Failure::usage(format!(
            "`{name}` needs {what}: cloudbox {}; `cloudbox help {name}` shows examples",
            command.synopsis()
        )));
    }
    let bounded =
        command.operands.last().is_none_or(|last| matches!(last.times, Times::One | Times::Optional));
    match args.operands.get(command.operands.len()) {
        Some(extra) if bounded => Err(Failure::usage(format!(
            "{extra} is too much for `{}`: cloudbox {}",
            command.name,
            command.synopsis(),
            extra = quoted(extra)
        ))),
        _ => Ok(()),
    }
}

/// A failure for a command that does not exist.
pub fn unknown_command(name: &str) -> Failure {
    let shown = name.escape_debug();
    // In a group it is the second word that is wrong.
    let members = name.split_once(' ').map(|(group, _)| commands::group(group)).unwrap_or_default();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for command in COMMANDS {
        if command.also.contains(&name) {
            return no_command(&shown, Some(command.name));
        }
        if members.is_empty() || members.iter().any(|member| member.name == command.name) {
            known.push((command.name, command.name));
            known.extend(command.also.iter().map(|word| (*word, command.name)));
        }
    }
    if members.is_empty() {
        known.extend([("image", "image"), ("job", "job")]);
    }
    no_command(&shown, nearest(name, &known))
}

fn no_command(shown: &dyn fmt::Display, near: Option<&str>) -> Failure {
    Failure::usage(match near {
        Some(near) => format!("there is no command `{shown}`; did you mean `cloudbox {near}`?"),
        None => format!("there is no command `{shown}`; `cloudbox help` lists them all"),
    })
}

/// A failure for the first half of a command.
fn incomplete(group: &str) -> Failure {
    let members: Vec<_> = commands::group(group).iter().map(|command| command.name).collect();
    Failure::usage(format!("`{group}` is not all: cloudbox {}", members.join(", cloudbox ")))
}

/// The second of the pair whose first is nearest to `word`, if one is near enough to be a slip of the fingers.
fn nearest<'a>(word: &str, known: &[(&'a str, &'a str)]) -> Option<&'a str> {
    if word.is_empty() || word.len() > 64 {
        return None;
    }
    let (mut best, mut found) = (usize::MAX, None);
    for (name, meant) in known {
        // The beginning of a longer word is meant to be that word.
        let far = if word.len() > 1 && name.starts_with(word) { 1 } else { distance(word, name) };
        if far < best {
            (best, found) = (far, Some(*meant));
        }
    }
    found.filter(|_| best <= 1 + word.len() / 4 && best < word.len())
}

/// How many letters to add, take away, change or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(from != to)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

fn text(word: OsString) -> Result<String, Failure> {
    word.into_string().map_err(|word| {
        Failure::usage(format!("{word} is not UTF-8", word = quoted(&word.to_string_lossy())))
    })
}

fn unreadable(error: lexopt::Error) -> Failure {
    Failure::usage(match error {
        // lexopt writes the value by Debug, which the static build does not have.
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("unexpected argument for option '{option}': {}", quoted(&value.to_string_lossy()))
        }
        error => error.to_string(),
    })
}

/// The arguments of a command line, for tests.
#[cfg(test)]
pub fn parse_line(words: &[&str]) -> Result<Parsed, Failure> {
    parse(words.iter().map(OsString::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Args {
        match parse_line(words) {
            Ok(Parsed::Run(args)) => args,
            Ok(_) => panic!("{words:?} runs nothing"),
            Err(failure) => panic!("{words:?}: {failure}"),
        }
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        for words in [
            &["--json", "-s", "/x", "info", "web"][..],
            &["info", "--socket=/x", "web", "--json"],
            &["info", "web", "--json", "-s/x"],
        ] {
            let args = args(words);
            assert_eq!((args.command.name, args.operand(0), args.json), ("info", "web", true));
            assert_eq!(args.socket.as_deref(), Some("/x".as_ref()));
        }
    }

    #[test]
    fn a_programs_options_are_its_own() {
        for (words, operands) in [
            (&["exec", "web", "--", "ls", "-l"][..], &["web", "ls", "-l"][..]),
            (&["exec", "web", "ls", "--json", "-V", "--", "x"], &["web", "ls", "--json", "-V", "--", "x"]),
            (&["exec", "--timeout", "5", "web", "--", "--odd"], &["web", "--odd"]),
            (&["exec", "web", "--timeout=5", "ls"], &["web", "ls"]),
        ] {
            let args = args(words);
            assert_eq!(args.operands, operands);
            assert!(!args.json);
        }
        assert_eq!(args(&["exec", "--timeout", "5", "web", "ls"]).seconds("timeout"), Ok(Some(5)));
    }

    #[test]
    fn wrong_usage_is_explained() {
        for (words, message) in [
            (&["lsit"][..], "there is no command `lsit`; did you mean `cloudbox list`?"),
            (&["rm", "web"], "there is no command `rm`; did you mean `cloudbox delete`?"),
            (&["ls"], "there is no command `ls`; did you mean `cloudbox list`?"),
            (&["stat"], "there is no command `stat`; did you mean `cloudbox status`?"),
            (&["imgae", "list"], "there is no command `imgae`; did you mean `cloudbox image`?"),
            (&["image", "lst"], "there is no command `image lst`; did you mean `cloudbox image list`?"),
            (&["image", "rm", "x"], "there is no command `image rm`; did you mean `cloudbox image delete`?"),
            (&["frobnicate"], "there is no command `frobnicate`; `cloudbox help` lists them all"),
            (&["\x1b[1m"], "there is no command `\\u{1b}[1m`; `cloudbox help` lists them all"),
            (&["job"], "`job` is not all: cloudbox job list, cloudbox job status, cloudbox job wait, cloudbox job cancel"),
            (&["--json"], "a command is missing; `cloudbox help` lists them all"),
            (&["--memory", "1", "create"], "no option --memory before the command; `cloudbox help` lists what there is"),
            (&["create", "web", "--memroy", "1"], "`create` has no option --memroy; did you mean --memory?"),
            (&["create", "web", "--mem", "1"], "`create` has no option --mem; did you mean --memory?"),
            (&["list", "--frobnicate"], "`list` has no option --frobnicate; `cloudbox help list` lists those it has"),
            (&["list", "-x"], "`list` has no option -x; `cloudbox help list` lists those it has"),
            (&["list", "web"], "\"web\" is too much for `list`: cloudbox list [OPTION]..."),
            (&["info"], "`info` needs NAME: cloudbox info NAME; `cloudbox help info` shows examples"),
            (
                &["exec", "web"],
                "`exec` needs PROGRAM [ARGUMENT]: cloudbox exec [OPTION]... NAME -- PROGRAM [ARGUMENT]...; \
                 `cloudbox help exec` shows examples",
            ),
            (&["create", "web", "--memory"], "missing argument for option '--memory'"),
            (&["list", "--json=yes"], "unexpected argument for option '--json': \"yes\""),
        ] {
            match parse_line(words) {
                Err(failure) => assert_eq!((failure.exit, failure.message.as_str()), (2, message)),
                Ok(_) => panic!("{words:?} is right"),
            }
        }
        let failure = args(&["stop", "web", "--timeout", "soon"]).seconds("timeout").unwrap_err();
        assert_eq!(failure.exit, 2);
    }

    #[test]
    fn help_and_version_need_nothing_else() {
        assert!(matches!(parse_line(&[]), Ok(Parsed::Nothing)));
        assert!(matches!(parse_line(&["-h"]), Ok(Parsed::Help(Topic::Overview))));
        assert!(
            matches!(parse_line(&["image", "--help"]), Ok(Parsed::Help(Topic::Group(name))) if name == "image")
        );
        assert!(
            matches!(parse_line(&["create", "-h"]), Ok(Parsed::Help(Topic::Command(command))) if command.name == "create")
        );
        for words in [&["-V"][..], &["--version"], &["list", "--version"]] {
            assert!(matches!(parse_line(words), Ok(Parsed::Version)));
        }
    }

    #[test]
    fn values_come_in_any_order_and_the_last_counts() {
        let args = args(&["create", "--key", "a b", "web", "--memory=1M", "--key=c d", "--memory", "2M"]);
        assert_eq!(args.value("memory"), Some("2M"));
        assert_eq!(args.values("key").collect::<Vec<_>>(), ["a b", "c d"]);
        assert!(!args.flag("no-start"));
    }

    #[test]
    fn distances() {
        for (a, b, far) in [("list", "list", 0), ("lsit", "list", 1), ("ls", "list", 2), ("", "ab", 2)] {
            assert_eq!(distance(a, b), far);
        }
    }
}

//! From words to a command with its operands and options, by the table in [`commands`](super::commands).

use super::commands::{self, Command, Opt, COMMANDS, GLOBAL};
use super::help::Topic;
use super::Failure;
use cloudbox::error::quoted;
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
    pub fn values(&self, long: &str) -> Vec<String> {
        let given = self.options.iter().filter(|(name, _)| *name == long);
        given.map(|(_, value)| value.clone()).collect()
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
    let mut texts = Vec::new();
    for word in words {
        texts.push(
            word.into_string().map_err(|word| {
                Failure::usage(format!("{} is not UTF-8", quoted(&word.to_string_lossy())))
            })?,
        );
    }
    parse_texts(texts)
}

fn parse_texts(words: Vec<String>) -> Result<Parsed, Failure> {
    let mut words = words.into_iter();
    let mut name = String::new();
    let mut args: Option<Args> = None;
    let (mut json, mut socket, mut help) = (false, None, false);
    let mut only_operands = false;
    while let Some(word) = words.next() {
        // `exec web ls -l`: the program's options are its own.
        only_operands |= args.as_ref().is_some_and(has_program);
        if only_operands || word == "-" || !word.starts_with('-') {
            match &mut args {
                Some(args) => args.operands.push(word),
                None => args = select(&mut name, &word)?,
            }
            continue;
        }
        only_operands = word == "--";
        let mut rest = (!only_operands).then_some(word);
        while let Some(word) = rest.take() {
            let (written, behind) = split_option(&word);
            if written == "-V" || written == "--version" {
                return Ok(Parsed::Version);
            }
            let option = find_option(args.as_ref(), written)?;
            let mut value = String::new();
            match behind {
                _ if !option.value.is_empty() => {
                    // `-s/x` and `-s=/x` mean the same.
                    let behind = behind.map(|text| text.strip_prefix('=').unwrap_or(text).to_string());
                    value = behind
                        .or_else(|| words.next())
                        .ok_or_else(|| Failure::usage(format!("missing argument for option '{written}'")))?;
                }
                None => {}
                Some(text) => match text.strip_prefix('=') {
                    Some(text) => {
                        let text = quoted(text);
                        return Err(Failure::usage(format!(
                            "unexpected argument for option '{written}': {text}"
                        )));
                    }
                    // `-fv`: another one.
                    None => rest = Some(["-", text].concat()),
                },
            }
            match option.long {
                "help" => help = true,
                "json" => json = true,
                "socket" => socket = Some(PathBuf::from(value)),
                long => {
                    if let Some(args) = &mut args {
                        args.options.push((long, value));
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

/// `--long` and the `=value` behind it, or `-s` and whatever is behind it.
fn split_option(word: &str) -> (&str, Option<&str>) {
    let end =
        if word.starts_with("--") { word.find('=') } else { word.char_indices().nth(2).map(|(at, _)| at) };
    match end {
        Some(end) => (&word[..end], Some(&word[end..])),
        None => (word, None),
    }
}

/// Whether the program that is run has been named.
fn has_program(args: &Args) -> bool {
    args.command.takes_rest() && args.operands.len() >= args.command.operands.len()
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

/// The option that is written `-s` or `--long`.
fn find_option(args: Option<&Args>, written: &str) -> Result<Opt, Failure> {
    let own = args.map_or(&[][..], |args| args.command.options);
    let long = written.strip_prefix("--").unwrap_or_default();
    let mut known = Vec::new();
    for line in own.iter().chain(GLOBAL) {
        let option = Opt::of(line);
        if option.long == long || option.short == written {
            return Ok(option);
        }
        known.push((option.long, option.long));
    }
    let near = nearest(long, &known);
    let command = args.map_or("", |args| args.command.name);
    let mut message = format!("no option {written}");
    if !command.is_empty() {
        message.insert_str(0, &format!("`{command}` has "));
    }
    Err(Failure::usage(match near {
        Some(near) => format!("{message}; did you mean --{near}?"),
        None if command.is_empty() => {
            format!("{message} before the command; `cloudbox help` lists what there is")
        }
        None => format!("{message}; `cloudbox help {command}` lists those it has"),
    }))
}

fn check_operands(args: &Args) -> Result<(), Failure> {
    let command = args.command;
    let (name, operands) = (command.name, command.operands);
    let message = match (operands.get(args.operands.len()), args.operands.get(operands.len())) {
        (Some(missing), _) if !missing.starts_with('[') => {
            let what = missing.trim_start_matches("-- ").trim_end_matches("...");
            let synopsis = command.synopsis();
            format!("`{name}` needs {what}: cloudbox {synopsis}; `cloudbox help {name}` shows examples")
        }
        // The name of a command may have two words.
        (_, Some(extra)) if name != "help" && !operands.last().is_some_and(|last| last.ends_with("...")) => {
            format!("{} is too much for `{name}`: cloudbox {}", quoted(extra), command.synopsis())
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(message))
}

/// A failure for a command that does not exist.
pub fn unknown_command(name: &str) -> Failure {
    let shown = name.escape_debug();
    // In a group it is the second word that is wrong.
    let members = name.split_once(' ').map(|(group, _)| commands::group(group)).unwrap_or_default();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for command in COMMANDS {
        if command.also.split(", ").any(|word| word == name) {
            return no_command(&shown, Some(command.name));
        }
        if members.is_empty() || members.iter().any(|member| member.name == command.name) {
            known.push((command.name, command.name));
            known.extend(command.also.split(", ").map(|word| (word, command.name)));
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
            &["info", "--json", "-s=/x", "--", "web"],
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
            (&["list", "-s"], "missing argument for option '-s'"),
            (&["list", "--json=yes"], "unexpected argument for option '--json': \"yes\""),
            (&["daemon", "-fv=x"], "unexpected argument for option '-v': \"x\""),
            (&["daemon", "-fä"], "`daemon` has no option -ä; `cloudbox help daemon` lists those it has"),
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
        assert_eq!(args.values("key"), ["a b", "c d"]);
        assert!(!args.flag("no-start"));
    }

    #[test]
    fn distances() {
        for (a, b, far) in [("list", "list", 0), ("lsit", "list", 1), ("ls", "list", 2), ("", "ab", 2)] {
            assert_eq!(distance(a, b), far);
        }
    }
}

//! From words to a command with its operands and options, by the table in [`commands`](super::commands).

use super::commands::{self, Command, Opt, COMMANDS, GLOBAL};
use super::help::Topic;
use super::Failure;
use cloudbox::error::{escaped, quoted};
use std::ffi::OsString;

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

/// A command with all it was given. The words of a command line last as long as the program.
pub struct Args {
    /// The command.
    pub command: &'static Command,
    /// What stood there without an option's name.
    pub operands: Vec<&'static str>,
    /// `--json`
    pub json: bool,
    /// `--socket`
    pub socket: Option<&'static str>,
    options: Vec<(&'static str, &'static str)>,
}

impl Args {
    /// The operand at `index`; empty when it was left out.
    pub fn operand(&self, index: usize) -> &'static str {
        self.operands.get(index).copied().unwrap_or_default()
    }

    /// Whether option `--long` was given.
    pub fn flag(&self, long: &str) -> bool {
        self.value(long).is_some()
    }

    /// The value of option `--long`; the last one counts.
    pub fn value(&self, long: &str) -> Option<&'static str> {
        self.values(long).pop()
    }

    /// All values of option `--long`.
    pub fn values(&self, long: &str) -> Vec<&'static str> {
        let mut values = Vec::new();
        for (name, value) in &self.options {
            if *name == long {
                values.push(*value);
            }
        }
        values
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
            Failure::usage(format_args!(
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
pub fn parse(words: &mut dyn Iterator<Item = OsString>) -> Result<Parsed, Failure> {
    let mut texts: Vec<&'static str> = Vec::new();
    for word in words {
        match word.into_string() {
            Ok(text) => texts.push(text.leak()),
            Err(word) => {
                let word = quoted(&word.to_string_lossy());
                return Err(Failure::usage(format_args!("{word} is not UTF-8")));
            }
        }
    }
    parse_texts(&texts)
}

fn parse_texts(words: &[&'static str]) -> Result<Parsed, Failure> {
    let mut words = words.iter().copied();
    let (mut group, mut command): (&str, Option<&'static Command>) = ("", None);
    let (mut operands, mut options) = (Vec::new(), Vec::new());
    let (mut json, mut socket, mut help) = (false, None, false);
    let mut only_operands = false;
    while let Some(word) = words.next() {
        // `exec web ls -l`: the program's options are its own.
        only_operands |= command.is_some_and(|it| it.takes_rest() && operands.len() >= it.operands().len());
        if only_operands || word == "-" || !word.starts_with('-') {
            match command {
                Some(_) => operands.push(word),
                None if group.is_empty() && !commands::group(word).is_empty() => group = word,
                None => command = Some(find_command(group, word)?),
            }
            continue;
        }
        only_operands = word == "--";
        let mut rest = if only_operands { "" } else { word };
        while !rest.is_empty() {
            let (written, behind) = split_option(rest);
            rest = "";
            if written == "-V" || written == "--version" {
                return Ok(Parsed::Version);
            }
            let option = find_option(command, written)?;
            // `-s/x` and `-s=/x` mean the same.
            let bare = behind.strip_prefix('=');
            let mut value = "";
            if !option.value.is_empty() {
                let next = if behind.is_empty() { words.next() } else { bare.or(Some(behind)) };
                let Some(next) = next else {
                    return Err(Failure::usage(format_args!("missing argument for option '{written}'")));
                };
                value = next;
            } else if let Some(text) = bare {
                let text = quoted(text);
                return Err(Failure::usage(format_args!(
                    "unexpected argument for option '{written}': {text}"
                )));
            } else if !behind.is_empty() {
                // `-fv`: another one.
                rest = ["-", behind].concat().leak();
            }
            match option.long {
                "help" => help = true,
                "json" => json = true,
                "socket" => socket = Some(value),
                long => options.push((long, value)),
            }
        }
    }
    let Some(command) = command else {
        return match group {
            "" if help => Ok(Parsed::Help(Topic::Overview)),
            "" if !json && socket.is_none() => Ok(Parsed::Nothing),
            "" => Err(Failure::usage(format_args!("a command is missing; `cloudbox help` lists them all"))),
            group if help => Ok(Parsed::Help(Topic::Group(group.to_string()))),
            group => Err(incomplete(group)),
        };
    };
    if help {
        return Ok(Parsed::Help(Topic::Command(command)));
    }
    check_operands(command, &operands)?;
    Ok(Parsed::Run(Args { command, operands, json, socket, options }))
}

/// `--long` and the `=value` behind it, or `-s` and whatever is behind it.
fn split_option(word: &str) -> (&str, &str) {
    let end =
        if word.starts_with("--") { word.find('=') } else { word.char_indices().nth(2).map(|(at, _)| at) };
    word.split_at(end.unwrap_or(word.len()))
}

/// The command called `word`, in `group` where there is one.
fn find_command(group: &str, word: &str) -> Result<&'static Command, Failure> {
    let name = if group.is_empty() { word.to_string() } else { [group, " ", word].concat() };
    commands::find(&name).ok_or_else(|| unknown_command(&name))
}

/// The option that is written `-s` or `--long`.
fn find_option(command: Option<&Command>, written: &str) -> Result<Opt, Failure> {
    let own = command.map(Command::options).unwrap_or_default();
    let command = command.map_or("", Command::name);
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
    let mut message = format!("no option {written}");
    if !command.is_empty() {
        message.insert_str(0, &format!("`{command}` has "));
    }
    Err(match near {
        Some(near) => Failure::usage(format_args!("{message}; did you mean --{near}?")),
        None if command.is_empty() => {
            Failure::usage(format_args!("{message} before the command; `cloudbox help` lists what there is"))
        }
        None => Failure::usage(format_args!("{message}; `cloudbox help {command}` lists those it has")),
    })
}

fn check_operands(command: &Command, given: &[&str]) -> Result<(), Failure> {
    let (name, operands) = (command.name(), command.operands());
    let message = match (operands.get(given.len()), given.get(operands.len())) {
        (Some(missing), _) if !missing.starts_with('[') => {
            let what = commands::bare(missing);
            let synopsis = command.synopsis();
            format!("`{name}` needs {what}: cloudbox {synopsis}; `cloudbox help {name}` shows examples")
        }
        // The name of a command may have two words.
        (_, Some(extra)) if name != "help" && !operands.last().is_some_and(|last| last.ends_with("...")) => {
            format!("{} is too much for `{name}`: cloudbox {}", quoted(extra), command.synopsis())
        }
        _ => return Ok(()),
    };
    Err(Failure::usage(format_args!("{message}")))
}

/// A failure for a command that does not exist.
pub fn unknown_command(name: &str) -> Failure {
    let shown = escaped(name);
    // In a group it is the second word that is wrong.
    let members = name.split_once(' ').map(|(group, _)| commands::group(group)).unwrap_or_default();
    let mut known: Vec<(&str, &str)> = Vec::new();
    for command in COMMANDS {
        if command.also().contains(&name) {
            return no_command(&shown, Some(command.name()));
        }
        if members.is_empty() || members.iter().any(|member| member.name() == command.name()) {
            known.push((command.name(), command.name()));
            known.extend(command.also().into_iter().map(|word| (word, command.name())));
        }
    }
    if members.is_empty() {
        known.extend([("image", "image"), ("job", "job")]);
    }
    no_command(&shown, nearest(name, &known))
}

fn no_command(shown: &str, near: Option<&str>) -> Failure {
    match near {
        Some(near) => {
            Failure::usage(format_args!("there is no command `{shown}`; did you mean `cloudbox {near}`?"))
        }
        None => Failure::usage(format_args!("there is no command `{shown}`; `cloudbox help` lists them all")),
    }
}

/// A failure for the first half of a command.
fn incomplete(group: &str) -> Failure {
    let members: Vec<_> = commands::group(group).iter().map(|command| command.name()).collect();
    Failure::usage(format_args!("`{group}` is not all: cloudbox {}", members.join(", cloudbox ")))
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
    let width = b.len() + 1;
    // That of the first `i` letters of `a` and the first `j` of `b` stands at `i * width + j`.
    let mut far: Vec<usize> = Vec::new();
    for i in 0..=a.len() {
        for j in 0..width {
            let at = far.len();
            let mut best = i + j;
            if i > 0 && j > 0 {
                let (from, to) = (a[i - 1], b[j - 1]);
                let changed = far[at - width - 1] + usize::from(from != to);
                best = changed.min(far[at - width] + 1).min(far[at - 1] + 1);
                if i > 1 && j > 1 && from == b[j - 2] && to == a[i - 2] {
                    best = best.min(far[at - 2 * width - 2] + 1);
                }
            }
            far.push(best);
        }
    }
    far.pop().unwrap_or_default()
}

/// The arguments of a command line, for tests.
#[cfg(test)]
pub fn parse_line(words: &[&str]) -> Result<Parsed, Failure> {
    parse(&mut words.iter().map(OsString::from))
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
            assert_eq!((args.command.name(), args.operand(0), args.json), ("info", "web", true));
            assert_eq!(args.socket, Some("/x"));
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
            matches!(parse_line(&["create", "-h"]), Ok(Parsed::Help(Topic::Command(command))) if command.name() == "create")
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

//! Completions: clap's own, which know commands and options, and in them the names that only the daemon knows.

use clap::{Arg, Command};
use clap_complete::Shell;

/// For each shell the name of its file and the script.
pub fn scripts(root: &Command) -> [(&'static str, String); 3] {
    let generated = |shell| {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut root.clone(), "cloudbox", &mut script);
        String::from_utf8(script).expect("a script is UTF-8")
    };
    let named = named(root, &mut Vec::new());
    [
        ("cloudbox", bash(&generated(Shell::Bash), &named)),
        ("_cloudbox", zsh(&generated(Shell::Zsh), &named)),
        ("cloudbox.fish", fish(generated(Shell::Fish), &named)),
    ]
}

/// A command whose operand is a name, and the command that prints those there are.
struct Named {
    /// `["image", "info"]`
    path: Vec<String>,
    source: &'static str,
}

/// The commands in and below `command`, which is at `path`, that take a name.
fn named(command: &Command, path: &mut Vec<String>) -> Vec<Named> {
    let mut found = Vec::new();
    for below in command.get_subcommands() {
        path.push(below.get_name().to_string());
        found.extend(named(below, path));
        path.pop();
    }
    let source = command.get_positionals().find_map(|operand| source(path, operand));
    found.extend(source.map(|source| Named { path: path.clone(), source }));
    found
}

fn source(path: &[String], operand: &Arg) -> Option<&'static str> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    Some(match (&words[..], operand.get_id().as_str()) {
        // A new name.
        (["create" | "import"] | ["image", "import"], _) => return None,
        (["image", "pull" | "info" | "delete"], "name" | "names") => "cloudbox image list --names",
        (["service", "withdraw"], "id") => "cloudbox service list --names",
        (["job", ..], "id" | "ids") => "cloudbox job list --names",
        ([_] | ["service", _], "name" | "names" | "container") => "cloudbox list --names",
        _ => return None,
    })
}

/// The words that a command may have are in a variable, each command's behind its label.
fn bash(script: &str, named: &[Named]) -> String {
    let mut source = None;
    let mut out = String::new();
    for line in script.lines() {
        if let Some(label) =
            line.trim().strip_prefix("cloudbox__subcmd__").and_then(|line| line.strip_suffix(')'))
        {
            let is_meant = |named: &&Named| named.path.join("__subcmd__").replace('-', "__") == label;
            source = named.iter().find(is_meant).map(|named| named.source);
        }
        match (source, line.split_once("opts=\"")) {
            (Some(command), Some((indent, words))) => {
                out += &format!("{indent}opts=\"$({command} 2>/dev/null) {words}\n");
            }
            _ => out.extend([line, "\n"]),
        }
    }
    out
}

/// Each command's arguments stand behind its name in parentheses; those of a group behind the group's list of commands.
fn zsh(script: &str, named: &[Named]) -> String {
    let (mut group, mut source) = (None, None);
    let mut out = String::new();
    for line in script.lines() {
        if let Some(name) = line.trim().strip_prefix("\":: :_cloudbox__subcmd__") {
            group = name.split_once("_commands\"").map(|(name, _)| name);
        } else if line.trim() == "esac" {
            group = None;
        } else if let Some(name) = line.strip_prefix('(').and_then(|line| line.strip_suffix(')')) {
            let is_meant =
                |named: &&Named| named.path.iter().map(String::as_str).eq(group.into_iter().chain([name]));
            source = named.iter().find(is_meant).map(|named| named.source);
        }
        let operand = line
            .strip_suffix(":_default' \\")
            .filter(|line| line.starts_with("':") || line.starts_with("'*"));
        match (source, operand) {
            (Some(command), Some(operand)) => {
                out += &format!("{operand}:{{compadd -- ${{(f)\"$({command} 2>/dev/null)\"}}}}' \\\n");
            }
            _ => out.extend([line, "\n"]),
        }
    }
    out
}

fn fish(mut script: String, named: &[Named]) -> String {
    for Named { path, source } in named {
        let condition = match &path[..] {
            [group, name] => format!("{group}; and __fish_seen_subcommand_from {name}"),
            _ => path.join(" "),
        };
        script += &format!(
            "complete -c cloudbox -n \"__fish_cloudbox_using_subcommand {condition}\" -f -a \"({source} 2>/dev/null)\"\n"
        );
    }
    script
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process;

    fn script(name: &str) -> String {
        let mut root = cloudbox::cli::command();
        root.build();
        scripts(&root).into_iter().find(|(known, _)| *known == name).unwrap().1
    }

    /// What bash offers for `words`, the last of which is being typed.
    fn offered(words: &[&str]) -> Vec<String> {
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let last = words.len() - 1;
        let script = format!(
            "cloudbox() {{ case \"$*\" in 'list --names') echo web db;; 'image list --names') echo distro;; esac; }}\n\
             {}\nCOMP_WORDS=({}); COMP_CWORD={last}\n\
             _cloudbox cloudbox \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            script("cloudbox"),
            quoted.join(" "),
        );
        let output = process::Command::new("bash").args(["--norc", "-c", &script]).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().split_whitespace().map(str::to_string).collect()
    }

    #[test]
    fn bash_offers_what_fits() {
        if process::Command::new("bash").arg("--version").output().is_err() {
            eprintln!("skipped: there is no bash here");
            return;
        }
        for (words, expected) in [
            (&["cloudbox", "cre"][..], &["create"][..]),
            (&["cloudbox", "start", "w"], &["web"]),
            (&["cloudbox", "stop", "web", "d"], &["db"]),
            (&["cloudbox", "image", "info", "d"], &["distro"]),
            (&["cloudbox", "create", "web", "--no-s"], &["--no-start"]),
            (&["cloudbox", "create", "w"], &[]),
            (&["cloudbox", "set", "web", "--autostart", ""], &["yes", "no"]),
        ] {
            assert_eq!(offered(words), expected, "{words:?}");
        }
    }

    #[test]
    fn the_other_shells_ask_for_names_too() {
        let zsh = script("_cloudbox");
        let asks = |source| format!("compadd -- ${{(f)\"$({source} 2>/dev/null)\"}}");
        for (command, source) in [("\n(stop)\n", "cloudbox list"), ("\n(cancel)\n", "cloudbox job list")] {
            let (_, behind) = zsh.split_once(command).unwrap();
            let (arguments, _) = behind.split_once("&& ret=0").unwrap();
            assert!(arguments.contains(&asks([source, " --names"].concat())), "{arguments}");
        }
        let images = "using_subcommand image; and __fish_seen_subcommand_from info\" -f -a \"(cloudbox image list --names";
        assert!(script("cloudbox.fish").contains(images));
    }
}

//! Imports point down: this reads those of every file in `src` and fails on one that points up, and on circles.
//!
//! Code for tests (`#[cfg(test)]`, files called tests) may import what it likes. The sources are read as rustfmt leaves
//! them, which makes the end of an item easy to find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The folders and files of `src`, the top first. What stands together may import each other, but not in a circle.
const LAYERS: &[&[&str]] = &[
    &["lib", "main", "cli"],
    &["daemon", "commons_daemon"],
    &["look"],
    &["announce", "operations"],
    &["state"],
    &["doctor"],
    &["machine"],
    &["testing"],
    &["steps"],
    &["mdns", "simplestreams", "api", "commons"],
    &["model"],
    &["usign", "netlink", "fault"],
    &["sys"],
    &["error"],
];

/// Of these folders each file, or folder in it, counts by itself when circles are looked for.
const BY_FILE: &[&str] = &["steps", "model"];

/// In these no circle may have more than two files.
const SHORT_CIRCLES: &[&str] = &["cli", "daemon"];

/// What still points up. Nothing may come to it.
const UPWARD: &[(&str, &str)] = &[];

/// A module's path, such as `["steps", "lxc", "cgroup"]`.
type Module = Vec<String>;

/// Which files import which: of every pair one path that does so.
struct Imports(BTreeMap<(Module, Module), String>);

impl Imports {
    fn read() -> Imports {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        rust_files(&src, &mut files);
        let modules: BTreeMap<Module, PathBuf> =
            files.into_iter().map(|file| (module_of(file.strip_prefix(&src).unwrap()), file)).collect();
        let mut imports = BTreeMap::new();
        for (module, file) in &modules {
            let text = without_tests(&fs::read_to_string(file).unwrap());
            for path in paths(&text) {
                let Some(full) = resolve(module, &path, &modules) else { continue };
                if full != *module {
                    imports.entry((module.clone(), full)).or_insert_with(|| path.join("::"));
                }
            }
        }
        Imports(imports)
    }

    /// The imports between `unit`s of modules, with an example of each.
    fn between(&self, unit: impl Fn(&Module) -> Option<String>) -> BTreeMap<(String, String), String> {
        let mut found = BTreeMap::new();
        for ((from, to), path) in &self.0 {
            let (Some(a), Some(b)) = (unit(from), unit(to)) else { continue };
            if a != b {
                found.entry((a, b)).or_insert_with(|| format!("{} imports {path}", from.join("/")));
            }
        }
        found
    }
}

fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name == "tests" || name == "tests.rs" {
            continue;
        }
        if path.is_dir() {
            rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn module_of(file: &Path) -> Module {
    let mut module: Module =
        file.with_extension("").iter().map(|part| part.to_str().unwrap().to_string()).collect();
    if module.last().is_some_and(|last| last == "mod") {
        module.pop();
    }
    module
}

/// The text without comments, and without the items that are for tests only.
fn without_tests(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut kept = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            let ends = |next: &str| indent(next) == indent(line) && next.ends_with([';', '}']);
            let _ = lines.find(|next| ends(next));
        } else if !line.trim_start().starts_with("//") {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// All paths in the text: `a::{b, c::d}` are two.
fn paths(text: &str) -> Vec<Module> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match tokens.get(at + 1) {
            Some(next) if next == "::" => at = path(&tokens, at, &mut Vec::new(), &mut found),
            _ => at += 1,
        }
    }
    found
}

fn tokens(text: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        if !first.is_whitespace() {
            tokens.push(rest[..length].to_string());
        }
        rest = &rest[length..];
    }
    tokens
}

/// Adds the paths that begin at token `at`, behind `before`, and returns where they end.
fn path(tokens: &[String], mut at: usize, before: &mut Module, found: &mut Vec<Module>) -> usize {
    let depth = before.len();
    while let Some(token) = tokens.get(at) {
        if token == "{" {
            at += 1;
            while tokens.get(at).is_some_and(|token| token != "}") {
                at = path(tokens, at, before, found);
                // `as` another name, and the comma.
                while tokens.get(at).is_some_and(|token| token != "," && token != "}") {
                    at += 1;
                }
                at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
            }
            before.truncate(depth);
            return at + 1;
        }
        before.push(token.clone());
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    found.push(before.clone());
    before.truncate(depth);
    at
}

/// The module that `path`, which stands in `module`, leads into.
fn resolve(module: &Module, path: &Module, modules: &BTreeMap<Module, PathBuf>) -> Option<Module> {
    let mut full = match path[0].as_str() {
        "crate" | "cloudbox" => path[1..].to_vec(),
        "super" => {
            let ups = path.iter().take_while(|part| *part == "super").count();
            [&module[..module.len().checked_sub(ups)?], &path[ups..]].concat()
        }
        "self" => [&module[..], &path[1..]].concat(),
        // A module's own child; anything else is another crate, or a type.
        _ => {
            let child = [&module[..], &path[..1]].concat();
            modules.contains_key(&child).then_some(child)?
        }
    };
    while !modules.contains_key(&full) {
        if full.pop().is_none() {
            return Some(vec!["lib".to_string()]);
        }
    }
    Some(full)
}

/// Where `to` can be reached from `from`, the way there.
fn way(imports: &BTreeMap<(String, String), String>, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_string()]];
    let mut seen = BTreeSet::from([from.to_string()]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last().unwrap();
            for (_, next) in imports.keys().filter(|(from, _)| from == last) {
                let way = [&way[..], std::slice::from_ref(next)].concat();
                if next == to {
                    return Some(way);
                }
                if seen.insert(next.clone()) {
                    longer.push(way);
                }
            }
        }
        ways = longer;
    }
    None
}

fn layer_of(name: &str) -> usize {
    let found = LAYERS.iter().position(|layer| layer.contains(&name));
    found.unwrap_or_else(|| panic!("src/{name} has no layer: give it one in tests/layers.rs"))
}

#[test]
fn imports_point_down() {
    let between = Imports::read().between(|module| Some(module[0].clone()));
    let upward: Vec<String> = between
        .iter()
        .filter(|((from, to), _)| layer_of(from) > layer_of(to))
        .filter(|((from, to), _)| !UPWARD.contains(&(from, to)))
        .map(|((from, to), example)| format!("{from} → {to}: {example}"))
        .collect();
    assert!(upward.is_empty(), "these point up:\n{}", upward.join("\n"));
    for (from, to) in UPWARD {
        let known = between.contains_key(&(from.to_string(), to.to_string()));
        assert!(known, "{from} does not import {to} any more: remove it from UPWARD");
    }
    // `cargo test --test layers -- --nocapture` shows the whole picture.
    for layer in LAYERS.iter().flat_map(|layer| layer.iter()) {
        let uses: Vec<&str> =
            between.keys().filter(|(from, _)| from == layer).map(|(_, to)| to.as_str()).collect();
        println!("{layer} → {}", uses.join(", "));
    }
}

#[test]
fn no_folder_imports_itself_by_way_of_others() {
    let between = Imports::read().between(|module| {
        let by_file = BY_FILE.contains(&module[0].as_str());
        Some(module[..if by_file { module.len().min(2) } else { 1 }].join("/"))
    });
    let circles: BTreeSet<String> = between
        .iter()
        .filter(|((from, to), _)| {
            !UPWARD.contains(&(from, to)) && !is_parent(from, to) && !is_parent(to, from)
        })
        .filter_map(|((from, to), example)| {
            let back = way(&between, to, from)?;
            // The way back by something that is known is no news.
            let known = back.windows(2).any(|pair| UPWARD.contains(&(&pair[0], &pair[1])));
            (!known).then(|| format!("{from} → {}: {example}", back.join(" → ")))
        })
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.into_iter().collect::<Vec<_>>().join("\n"));
}

/// A folder's own file names its files.
fn is_parent(folder: &str, file: &str) -> bool {
    file.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}

#[test]
fn circles_of_files_are_short() {
    let imports = Imports::read();
    for folder in SHORT_CIRCLES {
        let between = imports.between(|module| (module[0] == *folder).then(|| module.join("/")));
        for (from, to) in between.keys() {
            // Two files may need each other: only a longer way back counts.
            let mut others = between.clone();
            others.remove(&(to.clone(), from.clone()));
            let back = way(&others, to, from);
            assert!(back.is_none(), "a circle: {from} → {}", back.unwrap().join(" → "));
        }
    }
}

#[test]
fn paths_are_found() {
    let text = "use crate::a::{self, b::C, d as e};\n// crate::no\nfn f() {\n    super::g::h();\n}\n\
                #[cfg(test)]\nmod tests {\n    use crate::t;\n}\n#[cfg(test)]\nuse crate::u;\nuse crate::v;\n";
    let found: Vec<String> = paths(&without_tests(text)).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["crate::a::self", "crate::a::b::C", "crate::a::d", "super::g::h", "crate::v"]);
}

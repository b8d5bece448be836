//! The pages say what the code says: each method's arguments in `docs/ubus.md` are made from the published signatures and
//! from the comments of the structs that hold them, and the table of options in `docs/uci.md` from the code's. `UPDATE=1 cargo test --test reference` writes them anew.
//!
//! Also what every page must be: its links lead somewhere, and the landing page is short.

use cloudbox::model::options::{ContainerOption, Shape, OPTIONS};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// README.md is read at one go.
const LANDING_LINES: usize = 150;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// One argument of a method, as its struct has it.
#[derive(Debug, Clone)]
struct Argument {
    name: String,
    optional: bool,
    doc: String,
}

/// A struct of arguments.
struct Arguments {
    doc: String,
    fields: Vec<Argument>,
}

/// Every file of Rust below `dir`.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every struct with named fields below `src/`, with its comments.
fn structs() -> Vec<Arguments> {
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    files.sort();
    let mut found = Vec::new();
    for file in files {
        read_structs(&fs::read_to_string(file).unwrap(), &mut found);
    }
    found
}

fn read_structs(text: &str, found: &mut Vec<Arguments>) {
    let (mut doc, mut renamed) = (Vec::new(), None);
    let mut open: Option<Arguments> = None;
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            doc.push(words.trim().to_string());
            continue;
        }
        if line.starts_with("#[") {
            renamed =
                line.split("rename = \"").nth(1).and_then(|rest| rest.split('"').next()).map(String::from);
            continue;
        }
        let words = std::mem::take(&mut doc).join(" ");
        let renamed = renamed.take();
        if let Some(arguments) = &mut open {
            if line.starts_with('}') {
                found.extend(open.take());
            } else if let Some((name, kind)) =
                line.strip_prefix("pub ").unwrap_or(line).trim_end_matches(',').split_once(": ")
            {
                // `kind as "type"`: what Rust calls otherwise than the bus.
                let (own, other) = name.split_once(" as ").unwrap_or((name, ""));
                let other = renamed.unwrap_or(other.trim_matches('"').to_string());
                arguments.fields.push(Argument {
                    name: if other.is_empty() { own.to_string() } else { other },
                    optional: kind.starts_with("Option<") || kind.contains(" = "),
                    doc: words,
                });
            }
        } else if line.contains("struct ") && line.ends_with('{') && !line.starts_with("//") {
            open = Some(Arguments { doc: words, fields: Vec::new() });
        }
    }
}

/// A method as it is published: object, name, and each argument with its type.
type Signature = (String, String, Vec<(String, String)>);

/// All that are published, by the file that a test of the daemon compares with the bus.
fn signatures() -> Vec<Signature> {
    let mut found = Vec::new();
    let mut object = String::new();
    for line in text_of("tests/golden/ubus-list.txt").lines() {
        let Some(rest) = line.strip_prefix("\t\"") else {
            object = line.trim_matches('\'').to_string();
            continue;
        };
        let (method, arguments) = rest.split_once("\":{").unwrap();
        let arguments = arguments.trim_end_matches('}').split(',').filter(|a| !a.is_empty());
        let arguments = arguments.map(|a| a.split_once(':').unwrap());
        let bare = |text: &str| text.trim_matches('"').to_string();
        let arguments = arguments.map(|(name, kind)| (bare(name), bare(kind))).collect();
        found.push((object.clone(), method.to_string(), arguments));
    }
    found
}

/// What the page says of one method's arguments.
fn table(structs: &[Arguments], object: &str, method: &str, signature: &[(String, String)]) -> String {
    if signature.is_empty() {
        return "It takes nothing.\n".to_string();
    }
    // The options of a container have one table in the code, beside the struct of the other arguments.
    let is_taken = |option: &&ContainerOption| match (object, method) {
        ("cloudbox.container", "create") => option.place.is_in_create(),
        ("cloudbox.container", "set") => option.place.is_in_set(),
        _ => false,
    };
    let option = |name: &str| OPTIONS.iter().filter(is_taken).find(|option| option.on_bus == name);
    let names: Vec<&str> =
        signature.iter().map(|(name, _)| name.as_str()).filter(|name| option(name).is_none()).collect();
    let same: Vec<&Arguments> = structs
        .iter()
        .filter(|s| s.fields.iter().map(|f| f.name.as_str()).collect::<Vec<_>>() == names)
        .collect();
    // Several methods may take the same names: the struct's own comment says whose it is.
    let whole = format!("`{object} {method}`");
    let says = |words: &str| same.iter().find(|s| s.doc.contains(words)).copied();
    let arguments = says(&whole).or_else(|| says(&format!("`{method}`"))).or(same.first().copied());
    let arguments =
        arguments.unwrap_or_else(|| panic!("no struct below src/ has the fields of {whole}: {names:?}"));
    let described = |name: &str| match option(name) {
        Some(option) => Argument { name: name.to_string(), optional: true, doc: option.doc.to_string() },
        None => arguments.fields.iter().find(|field| field.name == name).unwrap().clone(),
    };
    let mut text = String::from("| argument | type | |\n|---|---|---|\n");
    for (name, kind) in signature {
        let field = described(name);
        let kind = match kind.as_str() {
            "String" => "text",
            "Integer" => "number",
            "Boolean" => "true or false",
            "Array" => "list",
            "Table" => "table",
            other => other,
        };
        let shown = if field.optional { format!("*`{name}`*") } else { format!("`{name}`") };
        let doc = field.doc.replace('|', "\\|");
        assert!(!doc.is_empty(), "{whole}: the field `{name}` has no comment");
        text += &format!("| {shown} | {kind} | {doc} |\n");
    }
    text
}

#[test]
fn the_page_of_the_bus_says_what_is_published() {
    let page = text_of("docs/ubus.md");
    let structs = structs();
    let mut new = page.clone();
    let signatures = signatures();
    for (object, method, signature) in &signatures {
        let begin = format!("<!-- arguments of {object} {method} -->\n");
        let Some((before, after)) = new.split_once(&begin) else {
            panic!("docs/ubus.md lacks `{}`", begin.trim_end());
        };
        let (_, after) = after.split_once("<!-- end -->").expect("each table has its end");
        let table = table(&structs, object, method, signature);
        new = [before, &begin, "\n", &table, "\n<!-- end -->", after].concat();
    }
    let tables = page.matches("<!-- arguments of").count();
    assert_eq!(tables, signatures.len(), "docs/ubus.md has a method that the bus has not, or one twice");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join("docs/ubus.md"), new).unwrap();
    } else {
        assert!(new == page, "docs/ubus.md is not what the code says: UPDATE=1 cargo test --test reference");
    }
}

/// The table of a container's options, as it stands in the code.
fn option_table() -> String {
    let mut text = String::from("| option | default | a change holds | |\n|---|---|---|---|\n");
    for option in OPTIONS {
        let list = if option.shape == Shape::List { " (list)" } else { "" };
        let mut doc = option.doc.replace('|', "\\|");
        if option.on_bus != option.name {
            doc += &format!(" On the bus it is called `{}`.", option.on_bus);
        }
        let (name, default, applies) = (option.name, option.default, option.applies.as_str());
        text += &format!("| `{name}`{list} | {default} | {applies} | {doc} |\n");
    }
    text
}

#[test]
fn the_page_of_uci_has_every_option_of_a_container() {
    const BEGIN: &str = "<!-- options:begin -->\n";
    const END: &str = "<!-- options:end -->";
    let page = text_of("docs/uci.md");
    let (before, rest) = page.split_once(BEGIN).expect("docs/uci.md has a place for the options");
    let (_, after) = rest.split_once(END).expect("the options' place has its end");
    let new = [before, BEGIN, "\n", &option_table(), "\n", END, after].concat();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(root().join("docs/uci.md"), new).unwrap();
    } else {
        assert!(new == page, "docs/uci.md is not what the code says: UPDATE=1 cargo test --test reference");
    }
}

#[test]
fn the_page_of_the_bus_names_every_code() {
    let page = text_of("docs/ubus.md");
    for code in cloudbox::error::Code::ALL {
        let begin = format!("| `{}` |", code.as_str());
        let end = format!("| {} |", code.ubus_status());
        let row = page.lines().any(|line| line.starts_with(&begin) && line.ends_with(&end));
        assert!(row, "docs/ubus.md has no row `{begin} … {end}`");
    }
}

/// Every page for people.
fn pages() -> Vec<String> {
    let mut pages: Vec<String> = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "distro/README.md",
        "openwrt/README.md",
    ]
    .map(String::from)
    .to_vec();
    let docs = fs::read_dir(root().join("docs")).unwrap().flatten();
    let names = docs.map(|e| format!("docs/{}", e.file_name().to_string_lossy()));
    pages.extend(names.filter(|name| name.ends_with(".md")));
    pages
}

/// The targets of a page's links: `](target)`.
fn links(text: &str) -> Vec<&str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

#[test]
fn every_link_leads_somewhere_and_every_page_is_found_from_the_first() {
    let mut linked = BTreeSet::from(["README.md".to_string()]);
    let mut broken = Vec::new();
    for page in pages() {
        let text = text_of(&page);
        let dir = Path::new(&page).parent().unwrap();
        for link in links(&text) {
            if link.starts_with("http://") || link.starts_with("https://") || link.starts_with('#') {
                continue;
            }
            let target = dir.join(link.split('#').next().unwrap());
            let Ok(whole) = root().join(&target).canonicalize() else {
                broken.push(format!("{page}: {link}"));
                continue;
            };
            linked.insert(whole.strip_prefix(root().canonicalize().unwrap()).unwrap().display().to_string());
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
    let alone: Vec<String> = pages().into_iter().filter(|page| !linked.contains(page)).collect();
    assert!(alone.is_empty(), "pages that no page links to: {alone:?}");
}

/// Names of all tests, and of all files with tests.
fn tests() -> (BTreeSet<String>, BTreeSet<String>) {
    let mut files = Vec::new();
    for dir in ["src", "tests", "crates"] {
        sources(&root().join(dir), &mut files);
    }
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            match line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
                Some(name) if is_test => drop(names.insert(name.to_string())),
                _ => {}
            }
            // Between the two stand other attributes and comments.
            is_test = line == "#[test]" || (is_test && (line.starts_with("#[") || line.starts_with("//")));
        }
        if text.contains("#[test]") {
            places.insert(file.strip_prefix(root()).unwrap().display().to_string());
        }
    }
    (names, places)
}

#[test]
fn each_promise_about_security_names_tests_that_are_there() {
    let page = text_of("docs/security.md");
    let promises = page.split_once("\n## What is promised\n").unwrap().1.split_once("\n## ").unwrap().0;
    let promises: Vec<&str> = promises.split("\n- ").skip(1).collect();
    assert!(promises.len() > 30, "{} promises", promises.len());
    for promise in promises {
        assert!(promise.contains("(Test:") || promise.contains("(Tests:"), "no test holds: {promise}");
    }
    let (names, places) = tests();
    let mut named = 0;
    for list in page.split("(Test").skip(1).filter_map(|rest| rest.split(')').next()) {
        for name in list.split('`').skip(1).step_by(2).filter(|name| !name.starts_with("make ")) {
            assert!(names.contains(name) || places.contains(name), "there is no test {name}");
            named += 1;
        }
    }
    assert!(named > 50, "{named} tests are named");
}

#[test]
fn the_first_page_is_read_at_one_go() {
    let lines = text_of("README.md").lines().count();
    assert!(lines <= LANDING_LINES, "README.md has {lines} lines; {LANDING_LINES} are its limit");
}

/// A block is either commands that a test types, or says what else it is.
#[test]
fn every_block_says_of_what_kind_it_is() {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for page in pages() {
        let text = text_of(&page);
        let fences = text.lines().filter_map(|line| line.trim().strip_prefix("```"));
        // Every other one ends a block.
        for kind in fences.step_by(2) {
            assert!(
                !kind.is_empty() || page == "ARCHITECTURE.md",
                "{page}: a block does not say of what kind it is"
            );
            *kinds.entry(kind.to_string()).or_default() += 1;
        }
    }
    println!("blocks: {kinds:?}");
}

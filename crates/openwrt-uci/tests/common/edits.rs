//! Edits as data, and the check that each does what it says and nothing else.

use super::Random;
use openwrt_uci::{Document, EditError, Package, Section};

/// An edit. Sections are given by their number, modulo how many there are.
#[derive(Clone, Debug)]
pub enum Edit {
    Add { kind: String, name: String },
    AddAnonymous { kind: String },
    Set { section: usize, option: String, value: Vec<u8> },
    SetList { section: usize, option: String, values: Vec<Vec<u8>> },
    Unset { section: usize, option: String },
    Remove { section: usize },
    Rename { section: usize, name: String },
}

/// A section without what an edit elsewhere may change: line numbers, and the name when it is made up.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    kind: String,
    name: Option<String>,
    options: Vec<(String, bool, Vec<Vec<u8>>)>,
}

/// Makes an edit and compares the tree that the new bytes give with the one that the edit means.
pub fn apply_and_check(document: &mut Document, edit: &Edit) {
    let before = document.to_bytes();
    let mut expected = plain(document.package());
    let result = apply(document, edit, &mut expected);
    let context = || {
        format!(
            "{edit:?}: {result:?}\nbefore: {}\nafter:  {}",
            before.escape_ascii(),
            document.as_bytes().escape_ascii()
        )
    };
    if result == Err(EditError::NameClash) {
        let new =
            matches!(edit, Edit::Add { name, .. } | Edit::Rename { name, .. } if name.starts_with("cfg"));
        let old = expected.iter().flat_map(|section| &section.name).any(|name| name.starts_with("cfg"));
        assert!(new || old, "{}", context());
    }
    if result.is_err() {
        assert_eq!(document.as_bytes(), before, "{}", context());
        return;
    }
    let reread = Package::parse(document.as_bytes()).unwrap_or_else(|error| panic!("{error}: {}", context()));
    assert_eq!(&reread, document.package(), "{}", context());
    let found = plain(&reread);
    if let Edit::Set { option, .. } | Edit::SetList { option, .. } = edit {
        // A new option may stand at the place of an empty one that had no effect, so its place is left open.
        let sort = |mut sections: Vec<Plain>| {
            sections.iter_mut().for_each(|section| section.options.sort_by_key(|(name, ..)| name == option));
            sections
        };
        assert_eq!(sort(found), sort(expected), "{}", context());
    } else {
        assert_eq!(found, expected, "{}", context());
    }
}

fn apply(document: &mut Document, edit: &Edit, expected: &mut Vec<Plain>) -> Result<(), EditError> {
    let target = |section: usize| {
        let sections = document.package().sections();
        let name = sections.get(section % sections.len().max(1)).map_or("none", Section::name).to_owned();
        // Names of anonymous sections can be those of others. The first one counts.
        let index = sections.iter().position(|section| section.name() == name);
        index.map(|index| (index, name.clone())).ok_or(EditError::NoSection(name))
    };
    match edit {
        Edit::Add { kind, name } => {
            document.add_section(kind, name)?;
            expected.push(Plain { kind: kind.clone(), name: Some(name.clone()), options: Vec::new() });
        }
        Edit::AddAnonymous { kind } => {
            let name = document.add_anonymous(kind)?;
            assert_eq!(document.package().sections().last().map(Section::name), Some(&name[..]));
            expected.push(Plain { kind: kind.clone(), name: None, options: Vec::new() });
        }
        Edit::Set { section, option, value } => {
            let (index, name) = target(*section)?;
            document.set(&name, option, value)?;
            put(
                &mut expected[index],
                option,
                false,
                if value.is_empty() { &[] } else { std::slice::from_ref(value) },
            );
        }
        Edit::SetList { section, option, values } => {
            let (index, name) = target(*section)?;
            document.set_list(&name, option, values)?;
            put(&mut expected[index], option, true, values);
        }
        Edit::Unset { section, option } => {
            let (index, name) = target(*section)?;
            document.unset(&name, option)?;
            put(&mut expected[index], option, false, &[]);
        }
        Edit::Remove { section } => {
            let (index, name) = target(*section)?;
            document.remove_section(&name)?;
            expected.remove(index);
        }
        Edit::Rename { section, name } => {
            let (index, old) = target(*section)?;
            document.rename_section(&old, name)?;
            expected[index].name = Some(name.clone());
        }
    }
    Ok(())
}

fn put(section: &mut Plain, option: &str, list: bool, values: &[Vec<u8>]) {
    let position = section.options.iter().position(|(name, ..)| name == option);
    match (position, values.is_empty()) {
        (Some(position), true) => drop(section.options.remove(position)),
        (Some(position), false) => section.options[position] = (option.to_owned(), list, values.to_vec()),
        (None, true) => {}
        (None, false) => section.options.push((option.to_owned(), list, values.to_vec())),
    }
}

fn plain(package: &Package) -> Vec<Plain> {
    let sections = package.sections().iter().map(|section| Plain {
        kind: section.kind().to_owned(),
        name: (!section.is_anonymous()).then(|| section.name().to_owned()),
        options: section
            .options()
            .iter()
            .map(|option| {
                let values = option.values().iter().map(|value| value.as_bytes().to_vec()).collect();
                (option.name().to_owned(), option.is_list(), values)
            })
            .collect(),
    });
    sections.collect()
}

/// Names and types are few, so that they meet again, and not all are valid.
pub fn random_edit(random: &mut Random) -> Edit {
    let name = |random: &mut Random| {
        random.pick(&["a", "b", "web", "new", "cd", "a-b", "cfg01b606", "cfg02b61d"]).to_owned()
    };
    let kind = |random: &mut Random| random.pick(&["x", "y", "a.b", "x;y", "\\x", "a b"]).to_owned();
    let section = random.below(12);
    match random.below(8) {
        0 => Edit::Add { kind: kind(random), name: name(random) },
        1 => Edit::AddAnonymous { kind: kind(random) },
        2 | 3 => Edit::Set { section, option: name(random), value: random.value() },
        4 => {
            let values = (0..random.below(4)).map(|_| random.value()).collect();
            Edit::SetList { section, option: name(random), values }
        }
        5 => Edit::Unset { section, option: name(random) },
        6 => Edit::Remove { section },
        _ => Edit::Rename { section, name: name(random) },
    }
}

//! Reads any bytes, and writes what it read into a new file that must read the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openwrt_uci::{Document, Package};

fuzz_target!(|file: &[u8]| {
    let package = match (Package::parse(file), Document::parse(file)) {
        (Ok(package), Ok(document)) => {
            assert_eq!(&package, document.package());
            assert_eq!(document.as_bytes(), file);
            package
        }
        (Err(error), Err(same)) => {
            assert_eq!(error, same);
            let lines: Vec<&[u8]> = file.split(|&byte| byte == b'\n').collect();
            assert!(
                (1..=lines.len()).contains(&error.line)
                    && (1..=lines[error.line - 1].len() + 1).contains(&error.column)
            );
            return;
        }
        _ => panic!("reader and editor differ"),
    };
    let mut copy = Document::parse(b"").unwrap();
    for section in package.sections() {
        let name = if section.is_anonymous() {
            copy.add_anonymous(section.kind()).unwrap()
        } else if copy.add_section(section.kind(), section.name()).is_ok() {
            section.name().to_owned()
        } else {
            // Named as an anonymous section is by chance.
            return;
        };
        if copy.package().section(&name).map(|found| found.line())
            != copy.package().sections().last().map(|last| last.line())
        {
            return;
        }
        for option in section.options() {
            let values: Vec<&[u8]> = option.values().iter().map(|value| value.as_bytes()).collect();
            match option.is_list() {
                true => copy.set_list(&name, option.name(), &values).unwrap(),
                false => copy.set(&name, option.name(), values[0]).unwrap(),
            }
        }
    }
    assert_eq!(without_lines(copy.package()), without_lines(&package));
});

type Plain<'a> = (&'a str, &'a str, bool, Vec<(&'a str, bool, Vec<&'a [u8]>)>);

fn without_lines(package: &Package) -> Vec<Plain<'_>> {
    let sections = package.sections().iter().map(|section| {
        let options = section.options().iter().map(|option| {
            (option.name(), option.is_list(), option.values().iter().map(|value| value.as_bytes()).collect())
        });
        (section.kind(), section.name(), section.is_anonymous(), options.collect())
    });
    sections.collect()
}

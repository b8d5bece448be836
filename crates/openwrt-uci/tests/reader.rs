//! The reader agrees with libuci.

mod common;

use common::{dump, TABLE};
use openwrt_uci::Package;

#[test]
fn reads_what_libuci_reads() {
    for &(name, file, expected) in TABLE {
        let read = Package::parse(file).map(|package| dump(&package));
        assert_eq!(read.as_deref().ok(), expected, "{name}: {read:?}");
    }
}

#[track_caller]
fn check(file: &str, expected: &str) {
    let read = match Package::parse(file.as_bytes()) {
        Ok(package) => dump(&package),
        Err(error) => error.to_string(),
    };
    assert_eq!(read, expected);
}

#[test]
fn commands_and_semicolons() {
    check("config a 'b'; option v 'x'; o w 'y' # c\n", "b=a v=x w=y");
    // A quoted name without a space before the `;` ends with it; the `;` then counts as the missing name.
    check("config 'a';\n", "@cfg01b606=a");
    check("config 'a';option v 'x'\n", "line 1, byte 19: too many arguments");
    check("config 'a' 'b';option v 'x'\n", "b=a v=x");
    // Behind a `;` libuci wants a command, and finds the newline.
    check("config a 'b'\noption v 'x';\n", "line 2, byte 14: invalid command");
    check("config a 'b'\noption v 'x' ; # c\n", "b=a v=x");
    // An empty word too many goes unnoticed, and what follows it is the next command.
    check("config a 'b' '' option v 'x'\n", "b=a v=x");
    check("config a 'b'\noption v x;option w y\n", "b=a v=x");
}

#[test]
fn a_backslash_joins_lines_of_both_kinds() {
    check("config a 'b'\noption v x\\\ny\n", "b=a v=xy");
    check("config a 'b'\r\noption v x\\\r\ny\r\n", "b=a v=xy");
    check("config a 'b'\noption v x\\\ry\n", "b=a v=x\ry");
}

#[test]
fn errors_say_where() {
    check("config a 'b'\n\n\toption v 'x\ny", "line 4, byte 2: EOF with unterminated '");
    check("config a 'b'\n\toption v \"x\n", "line 2, byte 13: EOF with unterminated \"");
    check("config a 'b'\n\toption v-w 'x'\n", "line 2, byte 13: invalid character in name field");
    check("config a 'b'\nfoo\n", "line 2, byte 1: invalid command");
    check("config", "line 1, byte 1: config without name");
    check("config \n", "line 1, byte 8: insufficient arguments");
    check("config 'a b' 'c'\n", "line 1, byte 14: invalid character in type field");
    check("config a b\noption v\0 x\n", "line 2, byte 9: NUL byte");
    check("\0", "line 1, byte 1: NUL byte");
    check("config a b\n\0", "line 2, byte 1: NUL byte");
}

#[test]
fn everything_has_a_line() {
    let file = b"# c\nconfig a 'b'\n\toption v 'one\ntwo'; option w 'x'\n\
        \toption v 'y'\n\tlist l '1'\n\n\tlist l '2'\nconfig a\nconfig a 'b'\n";
    let package = Package::parse(file).unwrap();
    let [named, anonymous] = package.sections() else { panic!("{}", dump(&package)) };
    let lines: Vec<_> = named.options().iter().map(|option| (option.name(), option.line())).collect();
    assert_eq!(lines, [("v", 5), ("w", 4), ("l", 6)]);
    assert_eq!(named.list("l").map(|value| value.line()).collect::<Vec<_>>(), [6, 8]);
    assert_eq!((named.line(), anonymous.line()), (2, 9));
    let [repeat] = package.repeats() else { panic!("{:?}", package.repeats()) };
    assert_eq!((repeat.section.as_str(), repeat.first_line, repeat.line), ("b", 2, 10));
}

#[test]
fn values_are_reached_in_several_ways() {
    let package =
        Package::parse(b"config a b\noption o x\nlist l 1\nlist l 2\noption e \xff\nconfig a\n").unwrap();
    let section = package.section("b").unwrap();
    assert_eq!((section.kind(), section.name(), section.is_anonymous()), ("a", "b", false));
    assert_eq!((section.get("o"), section.get_str("o")), (Some(&b"x"[..]), Some("x")));
    assert_eq!((section.get("l"), section.get("none")), (None, None));
    assert_eq!((section.get("e"), section.get_str("e")), (Some(&b"\xff"[..]), None));
    assert_eq!(section.get_lossy("e").as_deref(), Some("\u{fffd}"));
    let list = |name| section.list(name).map(|value| value.as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!((list("l"), list("o"), list("none")), (vec!["1", "2"], vec!["x"], vec![]));
    assert_eq!(package.sections_of("a").count(), 2);
    assert!(package.sections()[1].is_anonymous());
}

#[test]
fn a_package_has_a_name_of_letters_digits_dashes_and_underscores() {
    for good in ["network", "my-net_2"] {
        assert!(Package::parse(format!("package '{good}'\n").as_bytes()).is_ok(), "{good}");
    }
    for bad in ["a/b", "a b", "a.b", "ä"] {
        let error = Package::parse(format!("package '{bad}'\n").as_bytes()).unwrap_err();
        assert!(error.to_string().contains("invalid character"), "{bad}: {error}");
    }
}

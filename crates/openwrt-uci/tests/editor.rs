//! The editor changes what it is asked to change, in the tree and in the bytes.

mod common;

use common::edits::{apply_and_check, random_edit, Edit};
use common::{Random, TABLE};
use openwrt_uci::{Document, EditError, Package};

/// Makes an edit and compares the file after it.
#[track_caller]
fn check(before: &str, edit: impl FnOnce(&mut Document) -> Result<(), EditError>, after: &str) {
    let mut document = Document::parse(before.as_bytes()).unwrap();
    edit(&mut document).unwrap();
    assert_eq!(String::from_utf8_lossy(document.as_bytes()), after);
    assert_eq!(&Package::parse(document.as_bytes()).unwrap(), document.package());
}

const FILE: &str = "\
# Containers of this box.

config cloudbox 'main'
\toption  enabled  '1'      # aligned
\toption image distro
\t# option memory '1G'

# Alice's.
config container 'web'
\toption memory '256M'      # small
\tlist dns '1.1.1.1'        # first
\tlist dns '9.9.9.9'        # second
\t# end of web

# Bob's.
config container bob
\toption memory 128M
";

#[test]
fn set_keeps_comments_and_alignment() {
    check(FILE, |d| d.set("web", "memory", "1G"), &FILE.replace("'256M'", "'1G'"));
    check(FILE, |d| d.set("main", "enabled", "0"), &FILE.replace("'1'      #", "'0'      #"));
    check(FILE, |d| d.set("bob", "memory", "1G"), &FILE.replace("128M", "'1G'"));
    check(FILE, |d| d.set("web", "memory", "256M"), FILE);
    check(FILE, |d| d.set("bob", "memory", "128M"), FILE);
    check(
        FILE,
        |d| d.set("main", "bridge", "br-lan"),
        &FILE.replace("distro\n", "distro\n\toption bridge 'br-lan'\n"),
    );
    check(FILE, |d| d.set("bob", "disk", "4G"), &format!("{FILE}\toption disk '4G'\n"));
    // A new line stands as far from the margin as the one before it.
    let spaces = "config a 'b'\n    option v 'x'\n";
    check(spaces, |d| d.set("b", "w", "y"), &format!("{spaces}    option w 'y'\n"));
    check(spaces, |d| d.set_list("b", "w", &["y"]), &format!("{spaces}    list w 'y'\n"));
}

#[test]
fn set_list_keeps_lines_of_items_that_stay() {
    let second = "\tlist dns '9.9.9.9'        # second\n";
    check(FILE, |d| d.set_list("web", "dns", &["1.1.1.1", "9.9.9.9"]), FILE);
    check(FILE, |d| d.set_list("web", "dns", &["1.1.1.1"]), &FILE.replace(second, ""));
    check(
        FILE,
        |d| d.set_list("web", "dns", &["1.1.1.1", "9.9.9.9", "8.8.8.8"]),
        &FILE.replace(second, &format!("{second}\tlist dns '8.8.8.8'\n")),
    );
    check(
        FILE,
        |d| d.set_list("web", "dns", &["1.1.1.1", "8.8.8.8", "9.9.9.9"]),
        &FILE.replace(second, &format!("\tlist dns '8.8.8.8'\n{second}")),
    );
    check(
        FILE,
        |d| d.set_list("bob", "memory", &["a", ""]),
        &FILE.replace("\toption memory 128M\n", "\tlist memory 'a'\n\tlist memory ''\n"),
    );
    let none: [&str; 0] = [];
    check("c a b\nl x y\nl x z\n", |d| d.set_list("b", "x", &none), "c a b\n");
}

#[test]
fn options_that_are_lists_and_lists_that_are_options() {
    check(
        "config a b\n list x y # c\n list x z\n",
        |d| d.set("b", "x", "1"),
        "config a b\n option x '1' # c\n",
    );
    check("config a b\n option x y\n list x z\n", |d| d.set("b", "x", "1"), "config a b\n option x '1'\n");
    check(
        "config a b\n option x y\n option x z\n",
        |d| d.set("b", "x", "z"),
        "config a b\n option x y\n option x z\n",
    );
    check("config a b\n option x y\n option x z\n", |d| d.set("b", "x", "1"), "config a b\n option x '1'\n");
    check(
        "config a b\n option x '' # none yet\n",
        |d| d.set("b", "x", "1"),
        "config a b\n option x '1' # none yet\n",
    );
    check(
        "config a b\n option x # none yet\n",
        |d| d.set("b", "x", "1"),
        "config a b\n option x '1' # none yet\n",
    );
    check("config a b\n option x y\n", |d| d.set("b", "x", ""), "config a b\n");
}

#[test]
fn sections_are_added_at_the_end() {
    let container = |d: &mut Document| {
        d.add_section("container", "web")?;
        d.set("web", "memory", "256M")
    };
    check("", container, "config container 'web'\n\toption memory '256M'\n");
    check("# c", container, "# c\n\nconfig container 'web'\n\toption memory '256M'\n");
    check("config a\n", container, "config a\n\nconfig container 'web'\n\toption memory '256M'\n");
    check("config a\n \n", container, "config a\n \nconfig container 'web'\n\toption memory '256M'\n");
    check("config a\r\n", container, "config a\r\n\r\nconfig container 'web'\r\n\toption memory '256M'\r\n");
    // The backslash would join what follows.
    check("config a b\\", container, "config a 'b'\n\nconfig container 'web'\n\toption memory '256M'\n");
    check("config a b\\\n", container, "config a 'b'\n\nconfig container 'web'\n\toption memory '256M'\n");
    // So would a CR after it, once a newline follows; and behind a `;` libuci wants a command.
    let section = |d: &mut Document| d.add_section("a", "c");
    check("config a b\noption v x\\\r", section, "config a b\n\toption v 'x\r'\n\nconfig a 'c'\n");
    check("config a 'b'; option v 'x';", section, "config a 'b'\n\toption v 'x'\n\nconfig a 'c'\n");
    check("config a b", |d| d.set("b", "x", "y"), "config a b\n\toption x 'y'\n");
    check("", |d| d.add_section("x;'y", "b"), "config 'x;'\\''y' 'b'\n");
    let mut document = Document::parse(b"config a b\n").unwrap();
    assert_eq!(document.add_anonymous("x").as_deref(), Ok("cfg02b61d"));
    assert_eq!(document.as_bytes(), b"config a b\n\nconfig x\n");
}

#[test]
fn sections_are_removed_with_what_is_theirs() {
    let (web, bob) = (FILE.find("config container 'web'").unwrap(), FILE.find("# Bob").unwrap());
    check(FILE, |d| d.remove_section("web"), &format!("{}\n{}", &FILE[..web], &FILE[bob..]));
    check(
        "config a b\nconfig a c\n\noption x y\n# of d\nconfig a d\n",
        |d| d.remove_section("c"),
        "config a b\n# of d\nconfig a d\n",
    );
    check("config a b\nconfig a c\nconfig a b\noption x y\n", |d| d.remove_section("b"), "config a c\n");
    check("config a 'b'; config a 'c'; option x y # c\n", |d| d.remove_section("c"), "config a 'b'\n");
    check("c a 'b'\n\nc a \"c\"", |d| d.remove_section("c"), "c a 'b'\n");
    check("package 'x'; config a b\n", |d| d.remove_section("b"), "package 'x'\n");
}

#[test]
fn adding_and_removing_leaves_the_file_as_it_was() {
    for before in ["", "# c\n", FILE, "config a\r\n"] {
        let add_and_remove = |d: &mut Document| {
            d.add_section("container", "new")?;
            d.set("new", "memory", "1")?;
            d.remove_section("new")
        };
        check(before, add_and_remove, before);
    }
}

#[test]
fn sections_are_renamed_wherever_they_stand() {
    check(
        "config a 'b' # c\nconfig a c\nc a 'b';\tconfig x\n",
        |d| d.rename_section("b", "n"),
        "config a 'n' # c\nconfig a c\nconfig a 'n'\nconfig x\n",
    );
    check("config a\n", |d| d.rename_section("cfg01b606", "n"), "config a 'n'\n");
}

#[test]
fn lines_with_several_commands_are_taken_apart() {
    check(
        "config a 'b'; option v 'x'; option w 'y' # c\n",
        |d| d.set("b", "v", "z"),
        "config a 'b'\n\toption v 'z'\n\toption w 'y' # c\n",
    );
    check(
        "config a 'b' '' option v 'x'\n",
        |d| d.set("b", "w", "z"),
        "config a 'b'\n\toption v 'x'\n\toption w 'z'\n",
    );
    // With the value quoted, the `;` would begin to count.
    check("config a b\n\toption v x;option w y\n", |d| d.set("b", "v", "z"), "config a b\n\toption v 'z'\n");
    check(
        "config a 'b'; config a c\n",
        |d| d.set("b", "v", "z"),
        "config a 'b'\n\toption v 'z'\nconfig a 'c'\n",
    );
}

#[test]
fn values_are_escaped() {
    check("config a b\n", |d| d.set("b", "v", "it's\n\"\\#;"), "config a b\n\toption v 'it'\\''s\n\"\\#;'\n");
    let mut document = Document::parse(b"config a b\n").unwrap();
    document.set("b", "v", b"\xff'\r\n").unwrap();
    assert_eq!(document.package().section("b").unwrap().get("v"), Some(&b"\xff'\r\n"[..]));
}

#[test]
fn impossible_edits_are_refused() {
    let mut document = Document::parse(b"config a b\n").unwrap();
    let text = |result: Result<(), EditError>| result.unwrap_err().to_string();
    assert_eq!(text(document.set("c", "v", "x")), "there is no section 'c'");
    assert_eq!(text(document.set("b", "v", "\0")), "the value of option 'v' holds a NUL byte");
    assert_eq!(
        text(document.set("b", "v-w", "x")),
        "'v-w' cannot name an option: only letters, digits and '_' can stand in a name"
    );
    assert_eq!(text(document.add_section("a", "b")), "a section 'b' exists already");
    assert_eq!(
        text(document.add_section("a", "c-d")),
        "'c-d' cannot name a section: only letters, digits and '_' can stand in a name"
    );
    assert_eq!(
        text(document.add_section("a b", "c")),
        "'a b' cannot be a section type: only printable ASCII without spaces can"
    );
    assert_eq!(
        text(document.rename_section("b", "")),
        "'' cannot name a section: only letters, digits and '_' can stand in a name"
    );
    assert_eq!(document.as_bytes(), b"config a b\n");
}

/// Removing 'n' would make the anonymous section the first, whose name is that of the last section.
#[test]
fn names_of_anonymous_sections_do_not_swallow_others() {
    let mut document = Document::parse(b"config x n\nconfig a\nconfig a cfg01b606\n").unwrap();
    assert_eq!(document.remove_section("n"), Err(EditError::NameClash));
    assert_eq!(document.package().sections().len(), 3);
}

#[test]
fn every_edit_gives_the_tree_it_means() {
    let mut parsed = 0;
    for seed in 0..if cfg!(miri) { 20 } else { 20_000 } {
        let mut random = Random::new(seed);
        let file = if seed < TABLE.len() as u64 { TABLE[seed as usize].1.to_vec() } else { random.file() };
        let Ok(mut document) = Document::parse(&file) else { continue };
        parsed += 1;
        assert_eq!(document.as_bytes(), file);
        let comments =
            |bytes: &[u8]| bytes.split(|&byte| byte == b'\n').filter(|&line| line == b"# own line").count();
        for _ in 0..1 + random.below(6) {
            let edit = random_edit(&mut random);
            let before = comments(document.as_bytes());
            apply_and_check(&mut document, &edit);
            assert!(
                matches!(edit, Edit::Remove { .. }) || comments(document.as_bytes()) == before,
                "{edit:?} loses a comment of {}",
                file.escape_ascii()
            );
        }
    }
    println!("{parsed} files edited");
    assert!(cfg!(miri) || parsed > 5_000, "{parsed}");
}

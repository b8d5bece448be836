//! The files of `tests/golden`: contracts to the letter. `UPDATE_GOLDEN=1 cargo test --lib` writes them anew.

use std::path::{Path, PathBuf};

fn path(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file)
}

/// What a file says.
#[track_caller]
pub fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).unwrap_or_else(|e| panic!("tests/golden/{file}: {e}"))
}

/// Compares `text` with a file, or writes the file.
#[track_caller]
pub fn compare(file: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path(file), text).unwrap();
    }
    let expected = read(file);
    for (number, (is, should)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "tests/golden/{file}:{}; UPDATE_GOLDEN=1 writes it anew", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count(), "tests/golden/{file}");
}

/// Compares what `answer` says to each command line of a file with what stands below that line.
///
/// A command line is `$ cloudbox WORDS`. `answer` is told the words, and the reply of the daemon: the lines behind it that
/// begin with `< `. Where there are none, it is the reply of the command line before.
#[track_caller]
pub fn compare_answers(file: &str, answer: impl Fn(&str, &str) -> String) {
    const PROMPT: &str = "\n$ cloudbox";
    let questions = read(file);
    let mut questions = questions.split(PROMPT);
    let mut text = questions.next().unwrap_or_default().to_string();
    let mut reply = String::new();
    for question in questions {
        let mut lines = question.lines();
        let words = lines.next().unwrap_or_default();
        text.extend([PROMPT, words, "\n"]);
        let told: Vec<&str> = lines.filter_map(|line| line.strip_prefix("< ")).collect();
        told.iter().for_each(|line| text.extend(["< ", line, "\n"]));
        if !told.is_empty() {
            reply = told.join("\n");
        }
        text.push_str(&answer(words, &reply));
    }
    compare(file, &text);
}

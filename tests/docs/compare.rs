//! Whether what came is what a page says.

/// `…` stands for anything: in a line for a part of it, alone on a line for any number of lines. How wide the gaps
/// between words are does not matter: columns are as wide as what stands in them.
pub fn same(expected: &str, came: &str, numbers_vary: bool) -> bool {
    let plain = |text: &str| -> Vec<String> {
        text.lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|words| !words.is_empty())
            .map(|words| if numbers_vary { shape(&words) } else { words.join(" ") })
            .collect()
    };
    lines_match(&plain(expected), &plain(came))
}

fn lines_match(expected: &[String], came: &[String]) -> bool {
    match expected.split_first() {
        None => came.is_empty(),
        Some((first, rest)) if first == "…" => (0..=came.len()).any(|n| lines_match(rest, &came[n..])),
        Some((first, rest)) => {
            came.split_first().is_some_and(|(line, others)| matches(first, line) && lines_match(rest, others))
        }
    }
}

/// A line with `…` in it, compared with one.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut last = None;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(part) => line.ends_with(part),
    }
}

/// A line with `#` for each number, amount, address, time and checksum.
fn shape(words: &[&str]) -> String {
    let mut shaped: Vec<String> = Vec::new();
    for word in words {
        // `10.0.0.7 +1`: how many more addresses there are changes within the first seconds.
        if word.strip_prefix('+').is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit())) {
            continue;
        }
        let word = word_shape(word);
        // `2m 5s` is one time, as `7s` is.
        if !(word == "#" && shaped.last().is_some_and(|last| last == "#")) {
            shaped.push(word);
        }
    }
    shaped.join(" ")
}

fn word_shape(word: &str) -> String {
    let hexadecimal = |part: &str| part.chars().all(|c| c.is_ascii_hexdigit() || c == ':' || c == '…');
    let mut shape = String::new();
    // What a number may be a part of: an address, a checksum, a path's end, a field of JSON.
    for part in word.split_inclusive(['/', '"', ',', '=', '@', '(', ')', ';', '%']) {
        let (part, end) = match part.char_indices().last() {
            Some((at, c)) if "/\",=@();%".contains(c) => (&part[..at], &part[at..]),
            _ => (part, ""),
        };
        let is_checksum = part.len() >= 8 && hexadecimal(part);
        let is_address = part.matches(':').count() >= 2 && hexadecimal(part);
        if is_checksum || is_address {
            shape.push('#');
        } else {
            numbers(part, &mut shape);
        }
        shape += end;
    }
    shape.replace("#%", "#")
}

/// Puts a word into `shape` with `#` for `12`, `1.5`, `10.0.0.1`, `4G`, `2m` and `-1`.
fn numbers(word: &str, shape: &mut String) {
    let mut rest = word;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        shape.push_str(rest[..at].strip_suffix('-').unwrap_or(&rest[..at]));
        let end = rest[at..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |n| at + n);
        rest = &rest[end..];
        shape.push('#');
        let unit = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if matches!(&rest[..unit], "B" | "K" | "M" | "G" | "T" | "s" | "ms" | "m" | "h" | "d") {
            rest = &rest[unit..];
        }
    }
    shape.push_str(rest);
}

/// What is the same, and what is not. Run with the pages, before them: a comparison that lets all pass tests nothing.
pub fn check_yourself() {
    for (expected, came) in [
        ("up 2m 5s", "up   7s"),
        ("web 10.200.0.7 +1 64.4M/256M", "web 10.200.0.104 1G/2G"),
        ("sha 36aa2467a477", "sha 0123456789ab"),
        ("eth0@if6 fe80::b5:3cff:fe06:78fd/64", "eth0@if142 fe80::1/64"),
        ("a\n…\nz", "a\nb\nc\nz"),
        ("\"job\": \"5\"", "\"job\": \"17\""),
    ] {
        assert!(same(expected, came, true), "{expected:?} and {came:?}");
    }
    for (expected, came, vary) in [
        ("up 7s", "up 8s", false),
        ("web running", "web stopped", true),
        ("web running", "web running\nmore", true),
        ("a\n…\nz", "a\nb", true),
        ("warn: … is off", "warn: it is on", true),
        ("", "something", true),
    ] {
        assert!(!same(expected, came, vary), "{expected:?} and {came:?}");
    }
}

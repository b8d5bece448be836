//! Our block in `/etc/avahi/hosts`. Format: avahi.hosts(5). Lines of others stay as they are, byte for byte.

use std::net::IpAddr;

/// avahi reads a longer line as two.
const LINE_MAX: usize = 255;
const BEGIN: &[u8] = b"# cloudbox: begin (written by cloudbox: changes in this block are lost)\n";
const END: &[u8] = b"# cloudbox: end\n";

/// `text` with our block saying `hosts`, names without their domain. A new block goes to the beginning, since avahi reads
/// nothing behind a line that it does not understand; without hosts there is none.
pub fn with_block(text: &[u8], hosts: &[(String, IpAddr)]) -> Vec<u8> {
    let (before, after) = around_block(text);
    let mut result = before.to_vec();
    if !hosts.is_empty() {
        result.extend_from_slice(BEGIN);
        for (name, address) in hosts {
            let line = address.to_string() + " " + name + ".local\n";
            result.extend_from_slice(line.as_bytes());
        }
        result.extend_from_slice(END);
    }
    result.extend_from_slice(after);
    result
}

/// What stands before our block and behind it. A block without an end was cut short: it ends where a line begins that we
/// would not write.
fn around_block(text: &[u8]) -> (&[u8], &[u8]) {
    let Some(begin) = find(text, BEGIN) else { return (&[], text) };
    let (before, block) = text.split_at(begin);
    let inside = block.get(BEGIN.len()..).unwrap_or_default();
    let after = match find(inside, END) {
        Some(end) => inside.get(end + END.len()..),
        None => {
            let ours: usize = inside
                .split_inclusive(|b| *b == b'\n')
                .take_while(|line| is_ours(line))
                .map(<[u8]>::len)
                .sum();
            inside.get(ours..)
        }
    };
    (before, after.unwrap_or_default())
}

fn is_ours(line: &[u8]) -> bool {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let (address, name) = text.split_once(' ').unwrap_or_default();
    address.parse::<IpAddr>().is_ok() && !name.contains(' ') && name.ends_with(".local\n")
}

/// The number of the first line that avahi 0.8 does not understand, from 1.
pub fn bad_line(text: &[u8]) -> Option<usize> {
    let bad = |line: &&[u8]| {
        let text = String::from_utf8_lossy(line);
        let text = text.split('#').next().unwrap_or_default().trim();
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let address =
            words.next().is_none_or(|word| word.parse::<IpAddr>().is_ok() && words.next().is_some());
        line.len() >= LINE_MAX || !address || words.next().is_some()
    };
    text.split(|b| *b == b'\n').collect::<Vec<_>>().iter().position(bad).map(|at| at + 1)
}

/// Where `line` begins in `text`, at the start of a line.
fn find(text: &[u8], line: &[u8]) -> Option<usize> {
    let starts = (0..text.len()).filter(|at| *at == 0 || text.get(at - 1) == Some(&b'\n'));
    starts.into_iter().find(|at| text.get(*at..).is_some_and(|rest| rest.starts_with(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(before: &str, hosts: &[(&str, &str)]) -> String {
        let hosts: Vec<(String, IpAddr)> =
            hosts.iter().map(|(name, ip)| (name.to_string(), ip.parse().unwrap())).collect();
        String::from_utf8(with_block(before.as_bytes(), &hosts)).unwrap()
    }

    const BLOCK: &str = "# cloudbox: begin (written by cloudbox: changes in this block are lost)\n\
                         10.0.0.7 web-a.local\n# cloudbox: end\n";

    #[test]
    fn the_block_comes_and_changes_and_goes() {
        let web = [("web-a", "10.0.0.7")];
        assert_eq!(text("", &web), BLOCK);
        assert_eq!(text(BLOCK, &web), BLOCK);
        assert_eq!(text(BLOCK, &[]), "");
        let both = text(BLOCK, &[("web-a", "10.0.0.7"), ("web-a", "fd00::7")]);
        assert!(both.contains("10.0.0.7 web-a.local\nfd00::7 web-a.local\n"));
        assert_eq!(text(&both, &web), BLOCK);
    }

    #[test]
    fn lines_of_others_stay() {
        let others = "# mine\r\n\t192.0.2.1  printer.local # the \u{fc} one\n\n";
        let behind = "192.0.2.2 scanner.local";
        let whole = [others, BLOCK, behind].concat();
        assert_eq!(text(&whole, &[]), [others, behind].concat());
        assert_eq!(text(&whole, &[("web-a", "10.0.0.7")]), whole);
        assert_eq!(text(others, &[("web-a", "10.0.0.7")]), [BLOCK, others].concat());
        assert_eq!(text("192.0.2.1 x", &[("web-a", "10.0.0.7")]), [BLOCK, "192.0.2.1 x"].concat());
        let bytes = [b"\xff\xfe\n".as_slice(), BLOCK.as_bytes()].concat();
        assert_eq!(with_block(&bytes, &[]), b"\xff\xfe\n");
    }

    #[test]
    fn a_line_that_avahi_does_not_understand_is_found() {
        for (text, line) in [
            ("", None),
            (BLOCK, None),
            ("# x\n\n \t\r\n192.0.2.1\ta.local # the one\nfd00::1 b.local\n", None),
            ("192.0.2.1 a.local\n192.0.2.2\n", Some(2)),
            ("192.0.2.1 a.local b.local\n", Some(1)),
            ("\nnowhere a.local\n", Some(2)),
        ] {
            assert_eq!(bad_line(text.as_bytes()), line, "{text:?}");
        }
        assert_eq!(bad_line(&[b'#'; 300]), Some(1));
    }

    #[test]
    fn a_block_cut_short_takes_nothing_of_others_along() {
        let others = "192.0.2.2 scanner.local # mine\n# more\n";
        assert_eq!(text(&BLOCK.replace("# cloudbox: end\n", others), &[]), others);
    }
}

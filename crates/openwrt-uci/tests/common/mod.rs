//! What several tests share: configurations with what libuci reads in them, and a generator of more.
#![allow(dead_code)]

pub mod edits;

use openwrt_uci::Package;

/// A row: its name, the file, and what libuci reads in it (`None`: an error), as [`dump`] writes it.
pub type Row = (&'static str, &'static [u8], Option<&'static str>);

/// Configurations and what the `uci` command of libuci shows for them. Its authors' intent is not asked: where libuci
/// is odd, so are its users' expectations by now.
pub const TABLE: &[Row] = &[
    (
        "basic",
        b"config interface 'lan'\n\toption proto 'static'\n\tlist dns '1.1.1.1'\n\tlist dns '8.8.8.8'\n",
        Some("lan=interface proto=static dns=[1.1.1.1, 8.8.8.8]"),
    ),
    ("unquoted", b"config interface lan\n\toption proto static\n", Some("lan=interface proto=static")),
    (
        "double quotes",
        b"config interface \"lan\"\n\toption proto \"static\"\n",
        Some("lan=interface proto=static"),
    ),
    (
        "anonymous",
        b"config x\n\toption a '1'\nconfig x\n\toption a '2'\n",
        Some("@cfg01b61d=x a=1\n@cfg02b61d=x a=2"),
    ),
    (
        "quoted type",
        b"config 'interface' 'lan'\n\toption 'proto' 'static'\n",
        Some("lan=interface proto=static"),
    ),
    (
        "quoted option name",
        b"config interface 'lan'\n\toption 'proto' 'static'\n",
        Some("lan=interface proto=static"),
    ),
    (
        "comment behind",
        b"config interface 'lan' # c\n\toption proto 'static' # c2\n",
        Some("lan=interface proto=static"),
    ),
    ("comment in a word", b"config interface lan\n\toption a foo#bar\n", Some("lan=interface a=foo")),
    ("escaped single quote", b"config a 'b'\n\toption v 'it'\\''s'\n", Some("b=a v=it's")),
    ("concatenation", b"config a 'b'\n\toption v 'it'\"x y\"z\n", Some("b=a v=itx yz")),
    ("escapes in double quotes", b"config a 'b'\n\toption v \"a\\\"b\\\\c\"\n", Some("b=a v=a\"b\\c")),
    ("backslash in single quotes", b"config a 'b'\n\toption v 'a\\b'\n", Some("b=a v=a\\b")),
    ("newline in quotes", b"config a 'b'\n\toption v 'line1\nline2'\n", Some("b=a v=line1\nline2")),
    ("continuation", b"config a 'b'\n\toption v one\\\ntwo\n", Some("b=a v=onetwo")),
    ("empty value", b"config a 'b'\n\toption v ''\n\toption w 'x'\n", Some("b=a w=x")),
    ("semicolon", b"config a 'b'; option v 'x'; option w 'y'\n", Some("b=a v=x w=y")),
    ("semicolon behind an unquoted word", b"config a b\n\toption v x;y\n", Some("b=a v=x")),
    ("list items repeat", b"config a 'b'\n\tlist v 'x'\n\tlist v 'x'\n", Some("b=a v=[x, x]")),
    ("option, then list", b"config a 'b'\n\toption v 'x'\n\tlist v 'y'\n", Some("b=a v=[x, y]")),
    ("option twice", b"config a 'b'\n\toption v 'x'\n\toption v 'y'\n", Some("b=a v=y")),
    ("section twice", b"config a 'b'\n\toption v 'x'\nconfig a 'b'\n\toption w 'y'\n", Some("b=a v=x w=y")),
    ("section twice, other type", b"config a 'b'\n\toption v 'x'\nconfig c 'b'\n\toption w 'y'\n", None),
    ("package", b"package 'zzz'\nconfig a 'b'\n\toption v 'x'\n", Some("b=a v=x")),
    ("unquoted package", b"package zzz\nconfig a 'b'\n\toption v 'x'\n", Some("b=a v=x")),
    ("no newline behind a word", b"config a 'b'\n\toption v x", Some("b=a v=x")),
    ("no newline behind a type", b"config a", Some("@cfg01b606=a")),
    ("no newline behind a quote", b"config a 'b'", Some("b=a")),
    ("option first", b"option v 'x'\n", None),
    ("list first", b"list v 'x'\n", None),
    ("CRLF", b"config a 'b'\r\n\toption v 'x'\r\n", Some("b=a v=x")),
    ("keyword as prefix", b"configuration 'b'\n", None),
    ("config alone", b"config\n", None),
    ("comment without newline", b"# only comment", Some("")),
    ("comments between", b"# top comment\n\nconfig a 'b'\n\t# mid\n\toption v 'x'\n", Some("b=a v=x")),
    ("UTF-8", "config a 'b'\n\toption v 'café ☃'\n".as_bytes(), Some("b=a v=café ☃")),
    ("Latin-1", b"config a 'b'\n\toption v 'caf\xe9'\n", Some("b=a v=caf\u{fffd}")),
    ("dot in a type", b"config a.b 'c'\n\toption v 'x'\n", Some("c=a.b v=x")),
    ("colon in a type", b"config rule6:x 'c'\n\toption v 'x'\n", Some("c=rule6:x v=x")),
    ("dot in an option name", b"config a 'c'\n\toption v.w 'x'\n", None),
    ("dash in a name", b"config a 'c-d'\n\toption v 'x'\n", None),
    ("missing value", b"config a 'b'\n\toption v\n\toption w 'y'\n", Some("b=a w=y")),
    ("tabs", b"\tconfig\ta\t'b'\n\t\toption\tv\t'x'\n", Some("b=a v=x")),
    ("space in a name", b"config a 'b c'\n\toption v 'x'\n", None),
    ("abbreviations", b"c a 'b'\n\to v 'x'\n\tl w 'y'\n", Some("b=a v=x w=[y]")),
    ("empty", b"", Some("")),
    ("trailing words", b"config a 'b' extra\n\toption v 'x' more\n", None),
];

/// A tree as text: a line for each section, anonymous ones marked with `@`.
pub fn dump(package: &Package) -> String {
    let sections = package.sections().iter().map(|section| {
        let anonymous = if section.is_anonymous() { "@" } else { "" };
        let options = section.options().iter().map(|option| {
            let values: Vec<_> = option.values().iter().map(|value| value.to_str_lossy()).collect();
            let values = if option.is_list() { format!("[{}]", values.join(", ")) } else { values.concat() };
            format!(" {}={values}", option.name())
        });
        format!("{anonymous}{}={}{}", section.name(), section.kind(), options.collect::<String>())
    });
    sections.collect::<Vec<_>>().join("\n")
}

/// A small generator of numbers (xorshift64*), so that a failing case comes back.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    fn mostly<'a>(&mut self, usual: &[&'a [u8]], odd: &[&'a [u8]]) -> &'a [u8] {
        let from = if self.below(12) == 0 { odd } else { usual };
        self.pick(from)
    }

    /// A value made of what is special somewhere.
    pub fn value(&mut self) -> Vec<u8> {
        const PIECES: &[&[u8]] = &[
            b"a",
            b"x y",
            b"'",
            b"\"",
            b"\\",
            b"#",
            b";",
            b"\n",
            b"\r\n",
            b"\t",
            b" ",
            b"\xe9",
            b"\xc3\xa9",
            b"1",
            b"=",
            b"\\\n",
        ];
        (0..self.below(6)).flat_map(|_| self.pick(PIECES).to_vec()).collect()
    }

    /// A file that follows the grammar for the most part. Few names, so that they meet again.
    pub fn file(&mut self) -> Vec<u8> {
        let mut file = Vec::new();
        if self.below(8) > 0 {
            file.extend_from_slice(b"config x 'b'\n");
        }
        for _ in 0..self.below(10) {
            self.line(&mut file);
        }
        for _ in 0..self.below(8).saturating_sub(5) {
            self.mutate(&mut file);
        }
        file
    }

    fn line(&mut self, file: &mut Vec<u8>) {
        const NAMES: &[&[u8]] = &[b"a", b"b", b"web", b"'b'", b"\"web\"", b"a'b'", b"c\\\nd"];
        const ODD_NAMES: &[&[u8]] = &[b"''", b"", b"a-b", b"cfg01b606", b"cfg02b61d", b"b;"];
        const KINDS: &[&[u8]] = &[b"x", b"'x'", b"\"x\"", b"\\x"];
        const ODD_KINDS: &[&[u8]] = &[b"y", b"a.b", b"'x;y'", b"''", b"x;"];
        const SPACES: &[&[u8]] = &[b" ", b"\t", b"  "];
        const ODD_SPACES: &[&[u8]] = &[b" \\\n ", b"\x0b", b"\r", b"; "];
        const COMMANDS: &[&[u8]] = &[b"config", b"c", b"option", b"option", b"o", b"list", b"list", b"l"];
        const ODD_COMMANDS: &[&[u8]] = &[b"package", b"p", b"configuration", b"#", b";"];
        const ENDS: &[&[u8]] =
            &[b"\n", b"\r\n", b" # comment\n", b"#glued\n", b"\n\n", b"\n# own line\n", b"\n\t# in\n"];
        const ODD_ENDS: &[&[u8]] =
            &[b"; ", b" ; ", b";", b";", b"", b" ''\n", b" '' ", b"\\\n", b"\\\r", b" \\\n", b"\\"];
        if self.below(4) == 0 {
            file.extend_from_slice(self.pick(&[&b"\t"[..], b" ", b"\x0b", b"\t\t"]));
        }
        let command = self.mostly(COMMANDS, ODD_COMMANDS);
        file.extend_from_slice(command);
        file.extend_from_slice(self.mostly(SPACES, ODD_SPACES));
        match command[0] {
            b'c' => {
                file.extend_from_slice(self.mostly(KINDS, ODD_KINDS));
                file.extend_from_slice(self.mostly(SPACES, ODD_SPACES));
                file.extend_from_slice(self.mostly(NAMES, ODD_NAMES));
            }
            b'p' => file.extend_from_slice(self.mostly(NAMES, ODD_NAMES)),
            _ => {
                file.extend_from_slice(self.mostly(NAMES, ODD_NAMES));
                file.extend_from_slice(self.mostly(SPACES, ODD_SPACES));
                for _ in 0..1 + self.below(8) / 6 {
                    self.quoted(file);
                }
            }
        }
        file.extend_from_slice(self.mostly(ENDS, ODD_ENDS));
    }

    fn quoted(&mut self, file: &mut Vec<u8>) {
        let value = self.value();
        match self.below(4) {
            0 => file.extend(value.iter().filter(|byte| byte.is_ascii_alphanumeric())),
            1 => {
                for byte in value {
                    if !byte.is_ascii_alphanumeric() && byte != b'\n' {
                        file.push(b'\\');
                    }
                    file.push(byte);
                }
            }
            2 => {
                file.push(b'"');
                for byte in value {
                    if matches!(byte, b'"' | b'\\') {
                        file.push(b'\\');
                    }
                    file.push(byte);
                }
                file.push(b'"');
            }
            _ => {
                file.push(b'\'');
                for byte in value {
                    file.extend_from_slice(if byte == b'\'' {
                        b"'\\''"
                    } else {
                        std::slice::from_ref(&byte)
                    });
                }
                file.push(b'\'');
            }
        }
    }

    fn mutate(&mut self, file: &mut Vec<u8>) {
        const BYTES: &[u8] = b"'\"\\;# \t\n\rac1\x80\xff\x0b\x0c-.";
        let at = self.below(file.len() + 1);
        let byte = BYTES[self.below(BYTES.len())];
        match self.below(3) {
            0 => file.insert(at, byte),
            _ if at == file.len() => {}
            1 => file[at] = byte,
            _ => drop(file.remove(at)),
        }
    }
}

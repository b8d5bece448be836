//! The box's own key, and the number of this run. Others know the box by the key, and tell by the number what it said
//! before from what it says now.
//!
//! The key's file says for which board it was made: a storage that is copied to another router must not make two boxes of one
//! name. The first start there makes a new key, and keeps the old one under its id.

use crate::commons::formats::RUN;
use crate::commons::id::Id;
use crate::commons::seal::SealKey;
use crate::error::{Code, Error, Result};
use crate::usign::{Number, SecretKey};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The key's file, and that of the number.
const KEY: &str = "box.sec";
const SESSION: &str = "box.session";
/// The longest of them, in bytes.
const FILE_MAX: u64 = 4 << 10;
/// What the comment says of the board.
const BOARD: &str = "board ";
/// What a box is on whose board has no network interface of its own.
const NO_BOARD: &str = "none";
/// Where the random letters of a session's name come from: 32 of them, so that none is likelier than another.
const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Who this box is, in this run.
pub struct Identity {
    /// Its key.
    pub key: SecretKey,
    /// Its id.
    pub id: Id,
    /// The key by which it opens what is sealed to it. It is made of the other one, and so changes with it only.
    pub seal: SealKey,
    /// The number of this run, greater than all before.
    pub session: u32,
    /// Random letters: two boxes with one key have other ones.
    pub run: [u8; RUN],
    /// What its owner should know: that it is a new box to others, and why.
    pub news: Option<String>,
}

impl Identity {
    /// The one whose files lie in `directory`; a new one where there is none. `boards` are the hardware addresses of this
    /// board.
    ///
    /// # Errors
    /// The key's file is damaged, or readable by others; nothing can be written. The number of the run is on the disk when
    /// this returns.
    pub fn open(directory: &Path, boards: &[String]) -> Result<Identity> {
        let path = directory.join(KEY);
        let (key, is_new, news) = match read_key(&path)? {
            None => (make_key(&path, boards)?, true, None),
            Some((key, board)) if is_same(&board, boards) => (key, false, None),
            Some((key, board)) => {
                let kept = directory.join(format!("{KEY}.{}", Id::of(&key.public())));
                fs::rename(&path, &kept).map_err(|e| Error::io("cannot rename", &path, e))?;
                let news = format!(
                    "{} was made on another board ({board}): this box has a new key, and what ran under the old one stays as \
                     it is; the old key is kept as {}",
                    path.display(),
                    kept.display()
                );
                (make_key(&path, boards)?, true, Some(news))
            }
        };
        let (session, run) = next_session(&directory.join(SESSION), is_new)?;
        let id = Id::of(&key.public());
        let seal = SealKey::new(key.derive("cloudbox-seal 1"));
        Ok(Identity { key, id, seal, session, run, news })
    }
}

/// Hardware addresses of this board's network interfaces: of those that have a device, which bridges and tunnels have not.
pub fn boards(sys: &Path) -> Vec<String> {
    let Ok(interfaces) = fs::read_dir(sys.join("class/net")) else { return Vec::new() };
    let mut found = Vec::new();
    for interface in interfaces.flatten() {
        let path = interface.path();
        let address = fs::read_to_string(path.join("address")).unwrap_or_default();
        let address = address.trim();
        if path.join("device").exists() && !address.is_empty() && address != "00:00:00:00:00:00" {
            found.push(address.to_string());
        }
    }
    found.sort_unstable();
    found
}

/// Whether a key that was made on `board` is this one's. A board of which nothing is known is not said to be another.
fn is_same(board: &str, boards: &[String]) -> bool {
    board == NO_BOARD || boards.is_empty() || boards.iter().any(|own| own == board)
}

/// The key, and the board for which it was made.
fn read_key(path: &Path) -> Result<Option<(SecretKey, String)>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io("cannot read", path, e)),
    };
    let mode = file.metadata().map_err(|e| Error::io("cannot read", path, e))?.mode();
    if mode & 0o077 != 0 {
        let why = format!(
            "{} can be read by others, who could be this box; make a new one: rm {0}, or if nobody else was on the box: chmod 600 {0}",
            path.display()
        );
        return Err(Error::new(Code::Config, why));
    }
    let mut text = String::new();
    file.take(FILE_MAX).read_to_string(&mut text).map_err(|e| Error::io("cannot read", path, e))?;
    let key = SecretKey::parse(&text).map_err(|e| {
        let why = format!("{}: {}; without it, the box is a new one: rm {0}", path.display(), e.message);
        Error::new(Code::Config, why)
    })?;
    let comment = text.lines().next().unwrap_or_default();
    let board = comment.split_once(BOARD).map_or(NO_BOARD, |(_, board)| board.trim());
    Ok(Some((key, board.to_string())))
}

fn make_key(path: &Path, boards: &[String]) -> Result<SecretKey> {
    let (seed, number) = (random()?, random()?);
    let key = SecretKey::new(seed, Number::new(number));
    let board = boards.first().map_or(NO_BOARD, String::as_str);
    // The file of any secret key, with another comment.
    let text = key.to_text();
    let line = text.lines().nth(1).unwrap_or_default();
    let text = format!("untrusted comment: secret key of this box, {BOARD}{board}\n{line}\n");
    replace(path, text.as_bytes())?;
    Ok(key)
}

/// The number of this run, and its name.
fn next_session(path: &Path, is_new: bool) -> Result<(u32, [u8; RUN])> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        Err(e) => return Err(Error::io("cannot read", path, e)),
    };
    let session = match text.trim().parse::<u32>() {
        Ok(last) => last.saturating_add(1),
        Err(_) if is_new => 1,
        // The number is lost, and others pass over lower ones: one for each minute since 1970 is more than there were starts.
        Err(_) => {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| (since.as_secs() / 60) as u32)
        }
    };
    replace(path, format!("{session}\n").as_bytes())?;
    let letters: [u8; RUN] = random()?;
    Ok((session, letters.map(|byte| LETTERS[usize::from(byte) % LETTERS.len()])))
}

pub fn random<const N: usize>() -> Result<[u8; N]> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    let read = File::open(path).and_then(|mut source| source.read_exact(&mut bytes));
    read.map(|()| bytes).map_err(|e| Error::io("cannot read", path, e))
}

/// Writes a file whole or not at all, and so that it is there after a power cut.
pub fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let cannot = |e| Error::io("cannot write", path, e);
    let new = with_ending(path, ".new");
    // What a crash has left may have another mode.
    match fs::remove_file(&new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(cannot(e)),
        _ => {}
    }
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).clone();
    let written = options.open(&new).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, path)).map_err(cannot)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(cannot)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;
    use std::os::unix::fs::PermissionsExt;

    const HERE: &str = "02:00:00:00:00:01";
    const THERE: &str = "02:00:00:00:00:02";

    fn open(dir: &TempDir, boards: &[&str]) -> Result<Identity> {
        let boards: Vec<String> = boards.iter().map(|board| (*board).to_string()).collect();
        Identity::open(dir.path(), &boards)
    }

    #[test]
    fn a_box_stays_who_it_is_and_counts_its_starts() {
        let dir = TempDir::make();
        let first = open(&dir, &[HERE]).unwrap();
        let mode = fs::metadata(dir.path().join(KEY)).unwrap().permissions().mode() & 0o777;
        assert_eq!((first.session, &first.news, mode), (1, &None, 0o600));
        let second = open(&dir, &[THERE, HERE]).unwrap();
        assert_eq!((second.id, second.session), (first.id, 2));
        assert_eq!(second.seal.public(), first.seal.public());
        assert_ne!(second.run, first.run);
        // An interface that is not there yet makes no other board of it.
        assert_eq!(open(&dir, &[]).unwrap().id, first.id);
    }

    #[test]
    fn a_copied_storage_is_another_box() {
        let dir = TempDir::make();
        let first = open(&dir, &[HERE]).unwrap();
        let copy = open(&dir, &[THERE]).unwrap();
        assert_ne!(copy.id, first.id);
        assert_ne!(copy.seal.public(), first.seal.public());
        assert!(copy.session > first.session);
        assert!(copy.news.unwrap().contains("was made on another board (02:00:00:00:00:01)"));
        assert!(dir.path().join(format!("box.sec.{}", first.id)).exists());
        assert_eq!(open(&dir, &[THERE]).unwrap().id, copy.id);
    }

    #[test]
    fn a_lost_number_is_a_greater_one() {
        let dir = TempDir::make();
        let first = open(&dir, &[HERE]).unwrap();
        for text in [None, Some("garbage")] {
            match text {
                None => fs::remove_file(dir.path().join(SESSION)).unwrap(),
                Some(text) => fs::write(dir.path().join(SESSION), text).unwrap(),
            }
            let again = open(&dir, &[HERE]).unwrap();
            assert_eq!(again.id, first.id);
            assert!(again.session > 1_000_000, "{}", again.session);
        }
    }

    #[test]
    fn a_key_that_others_read_or_that_is_damaged_is_not_used_and_not_replaced() {
        let dir = TempDir::make();
        open(&dir, &[HERE]).unwrap();
        let path = dir.path().join(KEY);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refusal = open(&dir, &[HERE]).err().unwrap();
        assert!(
            refusal.message.contains("can be read by others") && refusal.message.contains("chmod 600"),
            "{refusal}"
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "untrusted comment: x\nRWQ\n").unwrap();
        let refusal = open(&dir, &[HERE]).err().unwrap();
        assert!(refusal.message.contains("without it, the box is a new one"), "{refusal}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "untrusted comment: x\nRWQ\n");
    }

    #[test]
    fn a_board_is_known_by_interfaces_that_have_a_device() {
        let dir = TempDir::make();
        for (name, address, device) in [
            ("eth0", HERE, true),
            ("br-lan", THERE, false),
            ("lo", "00:00:00:00:00:00", true),
            ("wlan0", "\n", true),
        ] {
            let path = dir.path().join("class/net").join(name);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("address"), format!("{address}\n")).unwrap();
            if device {
                fs::create_dir(path.join("device")).unwrap();
            }
        }
        assert_eq!(boards(dir.path()), [HERE]);
        assert_eq!(boards(&dir.path().join("nowhere")), Vec::<String>::new());
    }
}

//! Keys: by them members and boxes of the commons know each other, and know others by what they sign. No daemon is asked.

use super::action::{examples, Action, Lazy};
use super::failure::{complain, Failure, OK};
use super::member::brokers::Brokers;
use super::member::place::{add_known, Where, Who};
use super::page::{push_json, Page};
use crate::commons::formats::{
    make, open, Cert, Index, Owner, Revoked, CERTS_MAX, DAY, MANIFEST_DAYS, REVOKED_DAYS,
};
use crate::commons::heard::newest;
use crate::commons::id::Id;
use crate::commons::signed::{Ed25519, Parts};
use crate::commons::signing::signed;
use crate::commons::topic::Topic;
use crate::error::{escaped, quoted, Code, Error, Result};
use crate::usign::{Number, PublicKey, SecretKey};
use clap::{Args, Subcommand};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The longest key file.
const KEY_MAX: u64 = 4 << 10;
/// The longest signed text.
const SIGNED_MAX: u64 = 1 << 20;

#[derive(Subcommand)]
pub enum Command {
    /// make a key pair
    ///
    /// Writes NAME.sec, which nobody else should see, and NAME.pub, for everybody. They are of the kind that usign and
    /// signify make, without a password. A key that is lost cannot be made again: keep a copy of NAME.sec elsewhere.
    #[command(aliases = ["generate", "create"], after_help = examples! {
        "key new anna" => "anna.sec and anna.pub, here",
        "key new /mnt/stick/anna" => "on a disk that goes into a drawer",
    })]
    New(Lazy<New>),
    /// show whose key it is
    ///
    /// The id, and the public key as one line: what others write into `option key`. FILE may be the secret key, too.
    #[command(alias = "info", after_help = examples! { "key show anna.pub" => "the id, and the line for others" })]
    Show(Lazy<Key>),
    /// print the id alone
    #[command(after_help = examples! { "key id anna.pub" => "16 letters, for scripts" })]
    Id(Lazy<Key>),
    /// take a signed text apart, into what usign -V verifies
    ///
    /// Writes FILE.txt, which is what was signed, and FILE.txt.sig, the signature, and verifies nothing. `signify -V -e`
    /// verifies FILE itself.
    #[command(after_help = examples! {
        "key split wiki.signed" => "then: usign -V -m wiki.signed.txt -p anna.pub",
    })]
    Split(Lazy<Split>),
    /// know somebody, so that your slices go on his boxes
    ///
    /// Without it, `cloudbox slice plan` takes no box of his: whoever knows no owner could be given a thousand invented boxes.
    #[command(after_help = examples! {
        "key know bert bert.pub" => "the file that Bert has sent",
        "key know bert RWSlxcM81Tp9bFPDH5D18NKTkEukBs4CB8ATgsmbKx4YjbnqSoH90D2F" => "or its line",
    })]
    Know(Lazy<Know>),
    /// vouch for somebody's key
    ///
    /// Boxes that host you, and let you vouch (`option delegate '1'`), then host him within your quota. Prints the
    /// certificate; with --publish, it is put into your index, where the boxes find it.
    #[command(after_help = examples! {
        "key vouch bert.pub --share 25% --days 90 --key anna.sec --publish" => "a quarter of what Anna may use",
    })]
    Vouch(Lazy<Vouch>),
    /// take back what was said for a key, or give up your own
    ///
    /// Published on all brokers. Whoever has seen it keeps it for ever: for your own key, that is final, and nothing that it
    /// signs holds any more.
    #[command(after_help = examples! {
        "key revoke bert.pub --key anna.sec" => "Anna vouches for Bert no more",
        "key revoke --own --key anna.sec" => "Anna's key was stolen: it is given up",
    })]
    Revoke(Lazy<Revoke>),
    /// say that a box is yours
    ///
    /// Prints a certificate for the box to show with its offer: members who know you take it. It holds for 90 days.
    #[command(after_help = examples! {
        "key own o6cgvbb4hsvzjf6g --key anna.sec" => "goes into the box's /etc/cloudbox/commons/box.owner",
    })]
    Own(Lazy<Own>),
}

#[derive(Args)]
pub struct Know {
    name: String,
    #[arg(value_name = "KEY", help = "the file with the public key, or its line")]
    whose: String,
}

#[derive(Args)]
pub struct Vouch {
    #[arg(value_name = "KEY", help = "the file with the public key, or its line")]
    whose: String,
    #[arg(long, value_name = "SHARE", default_value = "25%", help = "how much of your quota he may use")]
    share: String,
    #[arg(long, value_name = "NUMBER", default_value_t = 90, help = "for how many days, 90 at most")]
    days: u64,
    #[arg(long, help = "put it into your index, on all brokers")]
    publish: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Revoke {
    #[arg(
        value_name = "KEY",
        required_unless_present = "own",
        help = "the file with the public key, or its line"
    )]
    whose: Option<String>,
    #[arg(long, conflicts_with = "whose", help = "your own key, for ever")]
    own: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Own {
    #[arg(value_name = "BOX", help = "its id, as `cloudbox commons status` shows it")]
    box_id: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct New {
    name: PathBuf,
}

#[derive(Args)]
pub struct Key {
    file: PathBuf,
}

#[derive(Args)]
pub struct Split {
    file: PathBuf,
}

impl Command {
    pub fn action(self, json: bool) -> std::result::Result<Action, Failure> {
        Ok(Action::own(move |_| {
            let mut page = Page::stdout();
            self.write(json, &mut page).map_err(Failure::refused)?;
            page.print()?;
            Ok(OK)
        }))
    }

    fn write(self, json: bool, page: &mut Page) -> Result<()> {
        match self {
            Command::New(Lazy(New { name })) => new(&name, json, page),
            Command::Show(Lazy(Key { file })) => {
                show(&read_key(&file)?, json, page);
                Ok(())
            }
            Command::Id(Lazy(Key { file })) => {
                page.line(&Id::of(&read_key(&file)?).to_string());
                Ok(())
            }
            Command::Split(Lazy(Split { file })) => split(&file, page),
            Command::Know(Lazy(Know { name, whose })) => {
                let key = named_key(&whose)?;
                add_known(&name, &key)?;
                page.line(&format!("{name} is known: {}", Id::of(&key)));
                Ok(())
            }
            Command::Vouch(Lazy(vouch)) => vouch.run(page),
            Command::Revoke(Lazy(revoke)) => revoke.run(page),
            Command::Own(Lazy(own)) => own.run(page),
        }
    }
}

/// A public key by its file or its line.
fn named_key(text: &str) -> Result<PublicKey> {
    PublicKey::parse(text).or_else(|_| read_key(Path::new(text)))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Vouch {
    fn run(&self, page: &mut Page) -> Result<()> {
        let percent = self.share.strip_suffix('%').and_then(|digits| digits.parse().ok());
        let share = percent.filter(|share| (1..=100).contains(share)).ok_or_else(|| {
            let why = format!("--share {}: write a share from 1% to 100%", quoted(&self.share));
            Error::new(Code::InvalidArgument, why)
        })?;
        if !(1..=MANIFEST_DAYS).contains(&self.days) {
            let why = format!("--days {}: write a number from 1 to {MANIFEST_DAYS}", self.days);
            return Err(Error::new(Code::InvalidArgument, why));
        }
        let (key, whose) = (self.who.secret()?, named_key(&self.whose)?);
        let (issuer, now) = (Id::of(&key.public()), now());
        if Id::of(&whose) == issuer {
            return Err(Error::new(Code::InvalidArgument, "it is your own key: nobody vouches for himself"));
        }
        let cert = Cert { issuer, key: whose, share, issued: now, expires: now + self.days * DAY };
        let network = self.by.network()?;
        let text = make(&Ed25519, &key, network, &cert)?;
        page.text.push_str(&String::from_utf8_lossy(&text));
        if self.publish {
            self.publish(&key, &cert, &text)?;
        }
        Ok(())
    }

    /// Puts the certificate into the index, in the place of an earlier one for the same key.
    fn publish(&self, key: &SecretKey, cert: &Cert, text: &[u8]) -> Result<()> {
        let place = self.by.place()?;
        let (network, member, now) = (place.network, cert.issuer, cert.issued);
        let mut brokers = Brokers::connect(&place)?;
        let topic = Topic::Index(member);
        let heard = brokers.read(&[topic.text(network)]);
        let found = newest::<Index>(&Ed25519, network, &heard, |at| *at == topic, |index| index.serial);
        let before = found.newest.into_iter().next().map(|newest| newest.told);
        let mut index = before.unwrap_or_else(|| Index {
            member,
            serial: 0,
            slices: Vec::new(),
            certs: Vec::new(),
            issued: now,
            expires: now + MANIFEST_DAYS * DAY,
        });
        let holds = |text: &str| {
            open::<Cert>(&Ed25519, &key.public(), network, text.as_bytes())
                .is_ok_and(|other| other.member() != cert.member() && other.expires > now)
        };
        index.certs.retain(|other| holds(other));
        if index.certs.len() >= CERTS_MAX {
            let why = format!("you vouch for {CERTS_MAX} others already, and more are not read");
            return Err(Error::new(Code::InvalidArgument, why));
        }
        index.certs.push(String::from_utf8_lossy(text).into());
        index.serial = now.max(index.serial + 1);
        (index.issued, index.expires) = (now, now + MANIFEST_DAYS * DAY);
        publish(
            &mut brokers,
            &topic,
            &make(&Ed25519, key, network, &index)?,
            "nobody will hear that you vouch",
        )
    }
}

/// Says it on all brokers; at least one must keep it.
fn publish(brokers: &mut Brokers, topic: &Topic, text: &[u8], or_else: &str) -> Result<()> {
    let kept = brokers.publish(topic, text);
    for one in &kept {
        if let Some(why) = &one.why_not {
            complain(&format!("{}: {why}", one.host));
        }
    }
    match kept.iter().any(|kept| kept.why_not.is_none()) {
        true => Ok(()),
        false => Err(Error::new(Code::Failed, format_args!("no broker keeps it: {or_else}"))),
    }
}

impl Revoke {
    fn run(&self, page: &mut Page) -> Result<()> {
        let (key, place, now) = (self.who.secret()?, self.by.place()?, now());
        let (member, network) = (Id::of(&key.public()), place.network);
        let whose = match &self.whose {
            Some(whose) => Id::of(&named_key(whose)?),
            None => member,
        };
        if whose == member && !self.own {
            let why = "it is your own key: to give it up for ever, write --own in its place";
            return Err(Error::new(Code::InvalidArgument, why));
        }
        let mut brokers = Brokers::connect(&place)?;
        let topic = Topic::Revoked(member);
        let heard = brokers.read(&[topic.text(network)]);
        let found = newest::<Revoked>(&Ed25519, network, &heard, |at| *at == topic, |list| list.serial);
        let before = found.newest.into_iter().next().map(|newest| newest.told);
        let serial = before.as_ref().map_or(0, |list| list.serial).saturating_add(1).max(now);
        let mut keys = before.map_or(Vec::new(), |list| list.keys);
        if !keys.contains(&whose) {
            keys.push(whose);
        }
        let list = Revoked { member, serial, keys, issued: now, expires: now + REVOKED_DAYS * DAY };
        publish(&mut brokers, &topic, &signed(&key, network, &list)?, "nobody will hear of it")?;
        page.line(&match self.own {
            true => format!("{member}: nothing that this key signs holds any more"),
            false => format!("{whose}: you vouch for it no more"),
        });
        Ok(())
    }
}

impl Own {
    fn run(&self, page: &mut Page) -> Result<()> {
        let (key, now) = (self.who.secret()?, now());
        let (member, of) = (Id::of(&key.public()), self.box_id.parse()?);
        let owner = Owner { member, of, issued: now, expires: now + MANIFEST_DAYS * DAY };
        let text = make(&Ed25519, &key, self.by.network()?, &owner)?;
        page.text.push_str(&String::from_utf8_lossy(&text));
        Ok(())
    }
}

fn new(name: &Path, json: bool, page: &mut Page) -> Result<()> {
    check_name(name)?;
    let mut random = [0; 32 + 8];
    let told = File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut random));
    told.map_err(|e| Error::io("cannot read", Path::new("/dev/urandom"), e))?;
    let (seed, number) = random.split_first_chunk().expect("32 of 40 bytes");
    let number = Number::new(number.try_into().expect("the other 8 bytes"));
    let key = SecretKey::new(*seed, number);
    let (secret, public) = (with_ending(name, ".sec"), with_ending(name, ".pub"));
    write_new(&secret, 0o600, key.to_text().as_bytes())?;
    write_second(&secret, &public, key.public().to_text().as_bytes())?;
    if !json {
        page.line(&format!("{}: keep a copy elsewhere, and show it to nobody", shown(&secret)));
        page.line(&format!("{}: for everybody", shown(&public)));
    }
    show(&key.public(), json, page);
    Ok(())
}

/// Checks that a pair of files can be called so: `.sec` alone would be hidden, and nobody could type some others.
fn check_name(name: &Path) -> Result<()> {
    let bytes = name.as_os_str().as_bytes();
    let why = match name.file_name() {
        _ if bytes.iter().any(u8::is_ascii_control) => "it has a control character",
        // A path that ends so has the name before it.
        None => "it is a directory",
        Some(_) if bytes.ends_with(b"/") || bytes.ends_with(b"/.") => "it is a directory",
        Some(_) => return Ok(()),
    };
    let why = format!("{}: {why}; write the pair's name, such as `cloudbox key new anna`", shown(name));
    Err(Error::new(Code::InvalidName, why))
}

/// A path as people may see it.
fn shown(path: &Path) -> String {
    escaped(&path.display().to_string())
}

fn show(key: &PublicKey, json: bool, page: &mut Page) {
    let (id, line) = (Id::of(key).to_string(), key.to_line());
    if json {
        let text = format!("{:#}\n", json!({ "id": id, "key": line, "number": key.number.to_string() }));
        push_json(&mut page.text, &text);
        return;
    }
    page.line(&format!("id   {id}"));
    page.line(&format!("key  {line}"));
}

fn split(file: &Path, page: &mut Page) -> Result<()> {
    let text = read(file, SIGNED_MAX)?;
    let parts = Parts::of(&text).map_err(|e| about(file, &e))?;
    if parts.message.is_empty() {
        let why = "it is a signature alone, and what it signs is in another file; `usign -V -m THAT -x THIS -p KEY` verifies it as it is";
        return Err(about(file, &Error::new(Code::InvalidArgument, why)));
    }
    let message = with_ending(file, ".txt");
    let signature = with_ending(&message, ".sig");
    write_new(&message, 0o644, parts.message)?;
    write_second(&message, &signature, parts.signature.to_text().as_bytes())?;
    page.line(&format!(
        "{}: what was signed, by its own words by key {}; it is not verified",
        shown(&message),
        parts.signature.number
    ));
    page.line(&format!(
        "{}: the signature; `usign -V -m {} -p KEY` verifies it",
        shown(&signature),
        shown(&message)
    ));
    Ok(())
}

/// A public key, or that of a secret one.
fn read_key(file: &Path) -> Result<PublicKey> {
    let text = String::from_utf8_lossy(&read(file, KEY_MAX)?).into_owned();
    check_alone(&text).map_err(|e| about(file, &e))?;
    let secret = SecretKey::parse(&text).map(|key| key.public());
    secret
        .or_else(|error| match error.message.contains("it has a password") {
            true => Err(error),
            false => PublicKey::parse(&text),
        })
        .map_err(|e| about(file, &e))
}

/// Checks that there is one key: of two, nobody knows which is meant.
fn check_alone(text: &str) -> Result<()> {
    let lines = text.lines().map(str::trim);
    let keys = lines.filter(|line| !line.is_empty() && !line.starts_with("untrusted comment:")).count();
    if keys <= 1 {
        return Ok(());
    }
    let why = "there is more than one key in it; give each a file of its own: a line of comment, and the key's line";
    Err(Error::new(Code::InvalidArgument, why))
}

fn about(file: &Path, error: &Error) -> Error {
    Error::new(error.code, format_args!("{}: {}", file.display(), error.message))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(ending);
    name.into()
}

fn read(file: &Path, most: u64) -> Result<Vec<u8>> {
    let cannot = |e| Error::io("cannot read", file, e);
    // Nobody may be on the other end of a pipe: opening it would wait.
    let options = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).clone();
    let source = options.open(file).map_err(cannot)?;
    if !source.metadata().map_err(cannot)?.is_file() {
        let why = format!("{} is no file, but a directory, a pipe or a device", file.display());
        return Err(Error::new(Code::InvalidArgument, why));
    }
    let mut text = Vec::new();
    source.take(most + 1).read_to_end(&mut text).map_err(cannot)?;
    if text.len() as u64 > most {
        let why = format!("{} is longer than {most} bytes: it is something else", file.display());
        return Err(Error::new(Code::InvalidArgument, why));
    }
    Ok(text)
}

/// Writes a file that is not there yet: no key is ever overwritten.
fn write_new(path: &Path, mode: u32, text: &[u8]) -> Result<()> {
    let options = OpenOptions::new().write(true).create_new(true).mode(mode).clone();
    let mut file = options.open(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => {
            let why =
                format!("{} is there already, and is not overwritten; choose another name", path.display());
            Error::new(Code::Exists, why)
        }
        ErrorKind::NotFound => {
            let directory = path.parent().unwrap_or(path).display();
            let why = format!(
                "cannot write {}: there is no directory {directory}; make it first: mkdir -p {directory}",
                path.display()
            );
            Error::new(Code::NotFound, why)
        }
        _ => Error::io("cannot write", path, e),
    })?;
    // Whatever the umask says.
    let told = file.set_permissions(std::fs::Permissions::from_mode(mode));
    let told = told.and_then(|()| file.write_all(text)).and_then(|()| file.sync_all());
    told.map_err(|e| without(path, Error::io("cannot write", path, e)))
}

/// Writes the second of two files; the first is removed if that fails: half of them is none.
fn write_second(first: &Path, second: &Path, text: &[u8]) -> Result<()> {
    write_new(second, 0o644, text).map_err(|error| without(first, error))
}

/// Removes a file that was written just now, because of `error`.
fn without(path: &Path, error: Error) -> Error {
    let left = std::fs::remove_file(path).map_err(|e| Error::io("cannot remove", path, e)).err();
    error.with_leftovers(left.as_slice())
}

//! Slices: a member's containers on boxes of other people. Everything goes over brokers; no daemon and no bus is needed.

use super::action::{examples, Action, Lazy, NoOptions};
use super::bus::Context;
use super::failure::{complain, Failure, OK, REFUSED};
use super::member::brokers::{Brokers, Kept};
use super::member::place::{last_signed, note_signed, Place, Where, Who};
use super::member::{files, images};
use super::page::{push_json, Page};
use super::text::{count, duration, Table};
use crate::commons::formats::{Alive, Index, Manifest, Offer, Reported, State, Wish};
use crate::commons::heard::{newest, order, Heard};
use crate::commons::id::Id;
use crate::commons::label::{Kind, Label};
use crate::commons::offers::candidate;
use crate::commons::plan::{plan, Candidate, Plan};
use crate::commons::roll_up::{roll_up, RollUp};
use crate::commons::signed::Ed25519;
use crate::commons::signing::{signed, what_is_public, Before, Contents, Signer, AHEAD};
use crate::commons::slice_file::{self, SliceFile};
use crate::commons::topic::{Filter, Topic};
use crate::error::{Code, Error, Result};
use crate::model::span::parse_span;
use clap::{Args, Subcommand};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long `--watch` waits between two looks at the clock, when nothing comes.
const LOOK: Duration = Duration::from_secs(5);
/// The longest life of a slice, in seconds.
const LIFE_MAX: u32 = 90 * 86_400;

#[derive(Subcommand)]
pub enum Command {
    /// print a slice file to begin with
    #[command(after_help = examples! { "slice example" => "write it to a file, and edit it" })]
    Example(Lazy<NoOptions>),
    /// show which boxes a slice would take, and why no others
    ///
    /// Nothing is signed and nothing is published. Boxes of owners whom you do not know are left out; `cloudbox key know`
    /// makes an owner known.
    #[command(after_help = examples! {
        "slice plan wiki.slice" => "with the brokers that are written down",
        "slice plan wiki.slice --any --broker 10.0.0.1" => "boxes of anybody, by this broker",
    })]
    Plan(Lazy<PlanArgs>),
    /// sign a slice and publish it
    ///
    /// Works out the plan, signs it with your key, and publishes it on all brokers. What is there already is changed by it:
    /// limits at once, another image by making one member after the other anew. Refuses when somebody has signed the slice on
    /// another computer since; --over goes on from there.
    #[command(after_help = examples! {
        "slice apply wiki.slice --key anna.sec" => "signed by Anna",
        "slice apply wiki.slice --key anna.sec --over" => "although it was signed on another computer last",
    })]
    Apply(Lazy<Apply>),
    /// bring a deleted slice back
    ///
    /// For seven days after `slice delete` its boxes keep the data, and get it back.
    #[command(after_help = examples! { "slice again wiki.slice --key anna.sec" => "as the file says" })]
    Again(Lazy<Apply>),
    /// list your slices
    #[command(alias = "ls", after_help = examples! {
        "slice list" => "yours, by the key in ~/.config/cloudbox",
        "slice list --key anna.pub" => "Anna's: the public key is enough",
    })]
    List(Lazy<List>),
    /// show what is ready, and why the rest is not
    #[command(after_help = examples! {
        "slice status wiki" => "one look",
        "slice status wiki --watch" => "each change, until Ctrl-C",
    })]
    Status(Lazy<Status>),
    /// let a slice live longer, on the same boxes
    #[command(after_help = examples! {
        "slice renew wiki --key anna.sec" => "for 30 days from now",
        "slice renew wiki --for 90d --key anna.sec" => "for as long as can be",
    })]
    Renew(Lazy<Renew>),
    /// stop the members of a slice; they stay where they are
    #[command(after_help = examples! { "slice stop wiki --key anna.sec" => "until slice start" })]
    Stop(Lazy<Change>),
    /// start the members of a slice again
    #[command(after_help = examples! { "slice start wiki --key anna.sec" => "after slice stop" })]
    Start(Lazy<Change>),
    /// delete a slice everywhere
    ///
    /// A tombstone is published, which no broker can undo. The boxes keep the data for seven days: `slice again`.
    #[command(alias = "rm", after_help = examples! { "slice delete wiki --key anna.sec" => "everywhere" })]
    Delete(Lazy<Change>),
    /// print what a box says of its member of a slice
    ///
    /// One reason, of 120 bytes at most. For more there is SSH: `list authorized_keys` in the slice file.
    #[command(after_help = examples! { "slice log wiki o6cgvbb4hsvzjf6g" => "the box by its id" })]
    Log(Lazy<Log>),
}

#[derive(Args)]
pub struct PlanArgs {
    file: PathBuf,
    #[arg(long, help = "boxes of owners whom you do not know as well")]
    any: bool,
    #[arg(long, value_name = "ID", help = "the peer of the boxes' owners who vouches for you")]
    via: Option<String>,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Apply {
    #[command(flatten)]
    plan: PlanArgs,
    #[arg(long, help = "go on from what another computer has signed")]
    over: bool,
}

#[derive(Args)]
pub struct List {
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Status {
    name: String,
    #[arg(short, long, help = "go on, and print it anew with each change")]
    watch: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Change {
    name: String,
    #[arg(long, help = "go on from what another computer has signed")]
    over: bool,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

#[derive(Args)]
pub struct Renew {
    #[arg(
        long = "for",
        value_name = "SPAN",
        default_value = "30d",
        help = "how long from now on, at most 90d"
    )]
    span: String,
    #[command(flatten)]
    change: Change,
}

#[derive(Args)]
pub struct Log {
    name: String,
    #[arg(value_name = "BOX")]
    box_id: String,
    #[command(flatten)]
    who: Who,
    #[command(flatten)]
    by: Where,
}

impl Command {
    pub fn action(self, json: bool) -> std::result::Result<Action, Failure> {
        Ok(Action::own(move |context| {
            let mut page = Page::stdout();
            let code = self.run(json, context, &mut page).map_err(Failure::refused)?;
            page.print()?;
            Ok(code)
        }))
    }

    fn run(self, json: bool, context: &mut Context, page: &mut Page) -> Result<u8> {
        match self {
            Command::Example(_) => {
                page.text.push_str(slice_file::EXAMPLE);
                Ok(OK)
            }
            Command::Plan(Lazy(args)) => args.show(json, context, page),
            Command::Apply(Lazy(args)) => args.run(false, context, page),
            Command::Again(Lazy(args)) => args.run(true, context, page),
            Command::List(Lazy(args)) => args.show(json, page),
            Command::Status(Lazy(args)) => args.show(json, page),
            Command::Renew(Lazy(Renew { span, change })) => {
                let lives = parse_span("for", &span, 3600, LIFE_MAX)?;
                change.run(None, Some(lives.into()), page)
            }
            Command::Stop(Lazy(change)) => change.run(Some(Wish::Stop), None, page),
            Command::Start(Lazy(change)) => change.run(Some(Wish::Run), None, page),
            Command::Delete(Lazy(change)) => change.run(Some(Wish::Gone), None, page),
            Command::Log(Lazy(args)) => args.show(page),
        }
    }
}

/// Seconds since 1970. Whoever signs needs a clock that is right: a serial is the time of signing.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// All that is known of one slice, and of the boxes.
struct Known {
    offers: Vec<Candidate>,
    /// The offers' keys for what is sealed.
    seals: Vec<(Id, Option<[u8; 32]>)>,
    before: Before,
    index: Option<Index>,
}

/// Reads what the brokers have of a slice and of boxes.
fn read(brokers: &mut Brokers, network: Label, member: Id, slice: Label, now: u64) -> Result<Known> {
    let filters = [
        Filter::Offers(None).text(network),
        Filter::StatesOf(member, slice).text(network),
        Topic::Slice(member, slice).text(network),
        Topic::Index(member).text(network),
    ];
    let heard = brokers.read(&filters);
    let all = newest::<Offer>(&Ed25519, network, &heard, is_offer, |offer| order(offer.stamp));
    let mut known = Known {
        offers: Vec::new(),
        seals: Vec::new(),
        before: Before { own: last_signed(network, member, slice)?, ..Before::default() },
        index: None,
    };
    for offer in &all.newest {
        known.seals.push((offer.told.of, offer.told.seal));
        known.offers.push(candidate(&Ed25519, network, offer, now));
    }
    let manifests = manifests(network, &heard, member, Some(slice));
    known.before.void = manifests.iter().map(|m| m.serial).filter(|serial| *serial > now + AHEAD).collect();
    known.before.manifest = manifests.into_iter().find(|manifest| manifest.serial <= now + AHEAD);
    let states = newest::<State>(&Ed25519, network, &heard, is_state, |state| order(state.stamp));
    let seen = states.newest.iter().map(|state| state.told.seen).filter(|seen| *seen <= now + AHEAD);
    known.before.seen = seen.max().unwrap_or(0);
    known.index = index(network, &heard, member);
    Ok(known)
}

fn is_offer(topic: &Topic) -> bool {
    matches!(topic, Topic::Offer(..))
}

fn is_state(topic: &Topic) -> bool {
    matches!(topic, Topic::State(..))
}

fn is_alive(topic: &Topic) -> bool {
    matches!(topic, Topic::Alive(..))
}

fn index(network: Label, heard: &[Heard], member: Id) -> Option<Index> {
    let wanted = |topic: &Topic| *topic == Topic::Index(member);
    newest::<Index>(&Ed25519, network, heard, wanted, |index| index.serial)
        .newest
        .pop()
        .map(|found| found.told)
}

/// Manifests of a member, all of each slice, the newest first.
fn manifests(network: Label, heard: &[Heard], member: Id, slice: Option<Label>) -> Vec<Manifest> {
    let mut found: Vec<Manifest> = Vec::new();
    // One by one, since one that was signed too far ahead must not hide the one before it.
    for one in heard {
        let wanted = |topic: &Topic| match topic {
            Topic::Slice(of, name) => *of == member && slice.is_none_or(|slice| slice == *name),
            _ => false,
        };
        let alone = std::slice::from_ref(one);
        let all = newest::<Manifest>(&Ed25519, network, alone, wanted, |manifest| manifest.serial);
        for told in all.newest.into_iter().map(|newest| newest.told) {
            if !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found.sort_by_key(|manifest| std::cmp::Reverse(manifest.serial));
    found
}

/// A slice file with what it names, the brokers, and what they know.
struct Prepared {
    file: SliceFile,
    member: Id,
    via: Option<Id>,
    contents: Vec<Contents>,
    place: Place,
    brokers: Brokers,
    known: Known,
    plan: Plan,
    now: u64,
}

impl PlanArgs {
    fn prepare(&self, context: &mut Context) -> Result<Prepared> {
        let text = super::member::place::read_if_there(&self.file)?;
        let text = text.ok_or_else(|| {
            let why = format!(
                "there is no {}; `cloudbox slice example` prints one to begin with",
                self.file.display()
            );
            Error::new(Code::NotFound, why)
        })?;
        let about = |e: Error| Error::new(e.code, format_args!("{}: {}", self.file.display(), e.message));
        let file = slice_file::read(&text).map_err(about)?;
        let member = self.who.id()?;
        let via = self.via.as_deref().map(str::parse).transpose()?;
        let place = Place { network: file.network, ..self.by.place()? };
        let beside = self.file.parent().unwrap_or(Path::new("."));
        let mut contents = Vec::new();
        for group in &file.groups {
            contents.push(Contents {
                first_boot: files::first_boot(group, beside)?,
                secrets: files::secrets(group, beside)?,
                image: images::resolve(group, &place, context)?,
            });
        }
        let now = now();
        let mut brokers = Brokers::connect(&place)?;
        let known = read(&mut brokers, place.network, member, file.name, now)?;
        let owners: Vec<Id> = super::member::place::known()?.iter().map(|known| Id::of(&known.key)).collect();
        let archs: Vec<Vec<String>> = contents
            .iter()
            .map(|content| content.image.sha256.iter().map(|(arch, _)| arch.to_string()).collect())
            .collect();
        let plan = plan(
            &file,
            &known.offers,
            crate::commons::plan::Context {
                member: via.unwrap_or(member),
                known: &owners,
                any: self.any,
                brokers: &brokers.hosts(),
                archs: &archs,
            },
        );
        Ok(Prepared { file, member, via, contents, place, brokers, known, plan, now })
    }

    fn show(&self, json: bool, context: &mut Context, page: &mut Page) -> Result<u8> {
        let prepared = self.prepare(context)?;
        let Prepared { plan, file, brokers, .. } = &prepared;
        let checked = plan.check(file);
        if json {
            push(page, &plan_json(plan));
        } else {
            show_plan(plan, page);
        }
        tell(plan.warnings.iter().chain(&brokers.troubles()));
        if let Err(error) = checked {
            complain(&error.message);
            return Ok(REFUSED);
        }
        Ok(OK)
    }
}

impl Apply {
    fn run(&self, again: bool, context: &mut Context, page: &mut Page) -> Result<u8> {
        let key = self.plan.who.secret()?;
        let mut prepared = self.plan.prepare(context)?;
        let Prepared { file, member, via, contents, place, known, plan, now, .. } = &prepared;
        plan.check(file)?;
        let before = &known.before;
        let is_gone = before.manifest.as_ref().is_some_and(|manifest| manifest.wish == Wish::Gone);
        if is_gone && !again {
            let why = format!("slice {0} was deleted; `cloudbox slice again` brings it back", file.name);
            return Err(Error::new(Code::Exists, why));
        }
        if again && !is_gone {
            let why = format!("slice {} was not deleted; `cloudbox slice apply` changes it", file.name);
            return Err(Error::new(Code::NotFound, why));
        }
        if !self.over {
            before.check(file.name)?;
        }
        let seal_of = |id: Id| known.seals.iter().find(|(of, _)| *of == id).and_then(|(_, seal)| *seal);
        let signer = Signer { member: *member, via: *via, now: *now, seal_of: &seal_of };
        let manifest = signer.apply(file, plan, contents, before)?;
        let index = signer.index(known.index.as_ref(), &manifest)?;
        if before.manifest.is_none() {
            complain("everybody who reads the brokers will read from now on:");
            what_is_public(&manifest).iter().for_each(|line| complain(&format!("- {line}")));
        }
        tell(plan.warnings.iter());
        let network = place.network;
        let texts = (signed(&key, network, &manifest)?, signed(&key, network, &index)?);
        let code = publish(&mut prepared.brokers, network, &manifest, &texts, page)?;
        for group in &prepared.plan.groups {
            let spares = group.boxes.len().saturating_sub(group.count);
            page.line(&format!(
                "group {}: {} and {}",
                group.name,
                count(group.count as u64, "member"),
                count(spares as u64, "spare")
            ));
        }
        Ok(code)
    }
}

/// Publishes a manifest and the index that names it. It counts as signed by this computer once one broker has it.
fn publish(
    brokers: &mut Brokers,
    network: Label,
    manifest: &Manifest,
    (text, index): &(Vec<u8>, Vec<u8>),
    page: &mut Page,
) -> Result<u8> {
    let (member, slice) = (manifest.member, manifest.slice);
    let kept = brokers.publish(&Topic::Slice(member, slice), text);
    let indexed = brokers.publish(&Topic::Index(member), index);
    let good = |kept: &[Kept]| kept.iter().filter(|kept| kept.why_not.is_none()).count();
    let mut told: Vec<String> = brokers.troubles();
    for Kept { host, why_not } in kept.iter().chain(&indexed) {
        let trouble = why_not.as_ref().map(|why| format!("{host}: {why}"));
        told.extend(trouble.filter(|trouble| !told.contains(trouble)));
    }
    tell(told.iter());
    if good(&kept) == 0 || good(&indexed) == 0 {
        let why =
            format!("slice {slice} stands on no broker: nobody will hear of serial {}", manifest.serial);
        return Err(Error::new(Code::Failed, why));
    }
    note_signed(network, member, slice, manifest.serial)?;
    page.line(&format!(
        "{slice}: serial {}, on {} of {}",
        manifest.serial,
        good(&kept),
        count(kept.len() as u64, "broker")
    ));
    Ok(if good(&kept) == kept.len() { OK } else { REFUSED })
}

impl Change {
    fn run(&self, wish: Option<Wish>, lives: Option<u64>, page: &mut Page) -> Result<u8> {
        let key = self.who.secret()?;
        let member = Id::of(&key.public());
        let slice = Label::new(Kind::Slice, &self.name)?;
        let place = self.by.place()?;
        let (now, network) = (now(), place.network);
        let mut brokers = Brokers::connect(&place)?;
        let known = read(&mut brokers, network, member, slice, now)?;
        let Some(before) = known.before.manifest.clone().filter(|manifest| manifest.wish != Wish::Gone)
        else {
            let why =
                format!("no broker has a slice {slice} of yours; `cloudbox slice list` shows what there is");
            return Err(Error::new(Code::NotFound, why));
        };
        if !self.over {
            known.before.check(slice)?;
        }
        let signer = Signer { member, via: before.via, now, seal_of: &|_| None };
        // What was agreed on stays: a stop does not make it live longer, but for what it would lose by the time of signing.
        let left = before.expires.saturating_sub(now).max(3600);
        let manifest =
            signer.again(&before, &known.before, wish.unwrap_or(before.wish), lives.unwrap_or(left));
        let index = signer.index(known.index.as_ref(), &manifest)?;
        let texts = (signed(&key, network, &manifest)?, signed(&key, network, &index)?);
        let code = publish(&mut brokers, network, &manifest, &texts, page)?;
        match manifest.wish {
            Wish::Gone => page.line("it is deleted; for 7 days `cloudbox slice again` brings it back"),
            Wish::Stop => page.line("its members are being stopped"),
            Wish::Run => {
                let left = duration(manifest.expires.saturating_sub(now));
                page.line(&format!("it lives for {left}"));
            }
        }
        Ok(code)
    }
}

impl List {
    fn show(&self, json: bool, page: &mut Page) -> Result<u8> {
        let (member, place, now) = (self.who.id()?, self.by.place()?, now());
        let network = place.network;
        let mut brokers = Brokers::connect(&place)?;
        let filters = [
            Filter::SlicesOf(member).text(network),
            Filter::AllStatesOf(member).text(network),
            Topic::Index(member).text(network),
        ];
        let mut heard = brokers.read(&filters);
        let mut slices: Vec<Manifest> = Vec::new();
        for manifest in manifests(network, &heard, member, None) {
            if !slices.iter().any(|known| known.slice == manifest.slice) {
                slices.push(manifest);
            }
        }
        slices.sort_by_key(|manifest| manifest.slice);
        heard.extend(brokers.read(&alive_of(network, &slices)));
        let sums: Vec<RollUp> = slices.iter().map(|manifest| sum(network, manifest, &heard, now)).collect();
        tell(brokers.troubles().iter());
        if json {
            let all = slices.iter().zip(&sums).map(|(manifest, sum)| status_json(manifest, sum));
            push(page, &json!({ "slices": all.collect::<Vec<Value>>() }));
            return Ok(OK);
        }
        if slices.is_empty() {
            page.line("no slices; `cloudbox slice example` prints a file to begin with");
            return Ok(OK);
        }
        let mut table = Table::titled("NAME|GROUP|STATE|>WANTED|>READY|>SPARES|EXPIRES");
        for (manifest, sum) in slices.iter().zip(&sums) {
            let left = duration(manifest.expires.saturating_sub(now));
            let head = [manifest.slice.to_string(), manifest.wish.as_str().to_string()];
            if sum.groups.is_empty() {
                let dash = "-".to_string();
                let [name, wish] = head.clone();
                table.row(vec![name, dash.clone(), wish, dash.clone(), dash.clone(), dash, left.clone()]);
            }
            for group in &sum.groups {
                let [name, wish] = head.clone();
                let numbers = [group.want, group.ready, group.spare].map(|number| number.to_string());
                let [want, ready, spare] = numbers;
                table.row(vec![name, group.name.to_string(), wish, want, ready, spare, left.clone()]);
            }
        }
        table.write(&mut page.text, "", page.color);
        for (manifest, sum) in slices.iter().zip(&sums) {
            sum.notes.iter().for_each(|note| complain(&format!("{}: {note}", manifest.slice)));
        }
        Ok(OK)
    }
}

/// The topics of the signs of life of all boxes that these slices list.
fn alive_of(network: Label, slices: &[Manifest]) -> Vec<String> {
    let mut boxes: Vec<Id> = slices.iter().flat_map(|manifest| manifest.boxes.iter().copied()).collect();
    boxes.sort_unstable();
    boxes.dedup();
    boxes.into_iter().map(|id| Topic::Alive(id).text(network)).collect()
}

/// Rolls up a slice from all that was heard.
fn sum(network: Label, manifest: &Manifest, heard: &[Heard], now: u64) -> RollUp {
    let of_slice = |topic: &Topic| matches!(topic, Topic::State(_, member, slice) if (*member, *slice) == (manifest.member, manifest.slice));
    let states = newest::<State>(&Ed25519, network, heard, of_slice, |state| order(state.stamp));
    let alive = newest::<Alive>(&Ed25519, network, heard, is_alive, |alive| order(alive.stamp));
    let states: Vec<State> = states.newest.into_iter().map(|newest| newest.told).collect();
    let alive: Vec<Alive> = alive.newest.into_iter().map(|newest| newest.told).collect();
    roll_up(manifest, &states, &alive, now)
}

impl Status {
    fn show(&self, json: bool, page: &mut Page) -> Result<u8> {
        let (member, place) = (self.who.id()?, self.by.place()?);
        let slice = Label::new(Kind::Slice, &self.name)?;
        let network = place.network;
        let mut brokers = Brokers::connect(&place)?;
        let mut filters =
            vec![Topic::Slice(member, slice).text(network), Filter::StatesOf(member, slice).text(network)];
        let mut heard = brokers.read(&filters);
        let manifest = newest_of(network, &heard, member, slice)?;
        let alive = alive_of(network, std::slice::from_ref(&manifest));
        heard.extend(brokers.read(&alive));
        tell(brokers.troubles().iter());
        if !self.watch {
            let sum = sum(network, &manifest, &heard, now());
            show_status(json, &manifest, &sum, page);
            let complete = sum.groups.iter().all(|group| group.ready >= group.want);
            return Ok(if complete || manifest.wish != Wish::Run { OK } else { REFUSED });
        }
        filters.extend(alive);
        let listening = brokers.listen(filters);
        let mut shown = None;
        loop {
            let manifest = newest_of(network, &heard, member, slice)?;
            let sum = sum(network, &manifest, &heard, now());
            // Signs of life alone change nothing that is worth a line.
            let words: Vec<(Id, &str, String)> =
                sum.rows.iter().map(|row| (row.box_id, row.state, row.reason.clone())).collect();
            if shown.as_ref() != Some(&(manifest.serial, words.clone())) {
                show_status(json, &manifest, &sum, page);
                page.print().map_err(|failure| Error::new(Code::Failed, failure.message))?;
                shown = Some((manifest.serial, words));
            }
            if let Some(one) = listening.next(LOOK) {
                // Of each topic and broker the last counts.
                heard.retain(|old| (old.broker, old.topic) != (one.broker, one.topic));
                heard.push(one);
            }
        }
    }
}

fn newest_of(network: Label, heard: &[Heard], member: Id, slice: Label) -> Result<Manifest> {
    manifests(network, heard, member, Some(slice)).into_iter().next().ok_or_else(|| {
        let why =
            format!("no broker has a slice {slice} of {member}; `cloudbox slice list` shows what there is");
        Error::new(Code::NotFound, why)
    })
}

impl Log {
    fn show(&self, page: &mut Page) -> Result<u8> {
        let (member, place) = (self.who.id()?, self.by.place()?);
        let slice = Label::new(Kind::Slice, &self.name)?;
        let box_id: Id = self.box_id.parse()?;
        let network = place.network;
        let mut brokers = Brokers::connect(&place)?;
        let heard = brokers.read(&[Topic::State(box_id, member, slice).text(network)]);
        let all = newest::<State>(&Ed25519, network, &heard, is_state, |state| order(state.stamp));
        let Some(state) = all.newest.first() else {
            let why = format!("box {box_id} has not said anything of slice {slice}");
            return Err(Error::new(Code::NotFound, why));
        };
        for Reported { group, state, code, reason, .. } in &state.told.groups {
            let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
            page.line(format!("{group}: {}{code} {reason}", state.as_str()).trim_end());
        }
        Ok(OK)
    }
}

/// Tells a person what is good to know, and no reason to stop.
fn tell<'a>(notes: impl Iterator<Item = &'a String>) {
    notes.for_each(|note| complain(note));
}

fn push(page: &mut Page, value: &Value) {
    push_json(&mut page.text, &format!("{value:#}\n"));
}

fn show_plan(plan: &Plan, page: &mut Page) {
    for group in &plan.groups {
        page.line(&format!("group {}: {} wanted", group.name, group.count));
        let mut table = Table::titled("BOX|AS|WHY NOT");
        for (at, id) in group.boxes.iter().enumerate() {
            let role = if at < group.count { "member" } else { "spare" };
            table.row(vec![id.to_string(), role.to_string(), "-".to_string()]);
        }
        for (id, why) in &group.left_out {
            table.row(vec![id.to_string(), "-".to_string(), why.clone()]);
        }
        table.write(&mut page.text, "", page.color);
    }
}

fn plan_json(plan: &Plan) -> Value {
    let group = |group: &crate::commons::plan::GroupPlan| {
        let boxes: Vec<String> = group.boxes.iter().map(Id::to_string).collect();
        let left_out: Vec<Value> =
            group.left_out.iter().map(|(id, why)| json!({ "box": id.to_string(), "why": why })).collect();
        json!({ "name": group.name.as_str(), "count": group.count, "boxes": boxes, "left_out": left_out })
    };
    json!({ "groups": plan.groups.iter().map(group).collect::<Vec<Value>>(), "warnings": plan.warnings })
}

fn show_status(json: bool, manifest: &Manifest, sum: &RollUp, page: &mut Page) {
    if json {
        return push(page, &status_json(manifest, sum));
    }
    let left = duration(manifest.expires.saturating_sub(page.now));
    let wish = match manifest.wish {
        Wish::Run => "",
        Wish::Stop => ", stopped",
        Wish::Gone => ", deleted",
    };
    page.line(&format!("{}: serial {}{wish}, expires in {left}", manifest.slice, manifest.serial));
    for group in &sum.groups {
        let mut parts = vec![format!("{} of {} ready", group.ready, group.want)];
        let others = [
            (group.starting, "starting"),
            (group.failed, "failed"),
            (group.refused, "refused"),
            (group.silent, "silent"),
            (group.spare, "standing by"),
        ];
        parts.extend(others.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")));
        page.line(&format!("group {}: {}", group.name, parts.join(", ")));
    }
    let mut table = Table::titled("BOX|GROUP|STATE|HEARD|ADDRESS|WHY");
    for row in &sum.rows {
        let dash = |text: &str| if text.is_empty() { "-".to_string() } else { text.to_string() };
        table.row(vec![
            row.box_id.to_string(),
            row.group.to_string(),
            row.state.to_string(),
            row.heard.map_or("-".to_string(), |ago| format!("{} ago", duration(ago))),
            dash(&row.address),
            dash(&row.reason),
        ]);
    }
    if !sum.rows.is_empty() {
        table.write(&mut page.text, "", page.color);
    }
    sum.notes.iter().for_each(|note| page.complain(note));
}

fn status_json(manifest: &Manifest, sum: &RollUp) -> Value {
    let group = |group: &crate::commons::roll_up::GroupSum| {
        json!({
            "name": group.name.as_str(), "want": group.want, "ready": group.ready, "starting": group.starting,
            "failed": group.failed, "refused": group.refused, "silent": group.silent, "spare": group.spare,
        })
    };
    let row = |row: &crate::commons::roll_up::Row| {
        json!({
            "box": row.box_id.to_string(), "group": row.group.as_str(), "state": row.state, "since": row.since,
            "code": row.code, "reason": row.reason, "address": row.address, "heard": row.heard,
        })
    };
    json!({
        "name": manifest.slice.as_str(),
        "member": manifest.member.to_string(),
        "serial": manifest.serial,
        "state": manifest.wish.as_str(),
        "expires": manifest.expires,
        "groups": sum.groups.iter().map(group).collect::<Vec<Value>>(),
        "boxes": sum.rows.iter().map(row).collect::<Vec<Value>>(),
        "notes": sum.notes,
    })
}

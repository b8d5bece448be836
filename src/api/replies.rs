//! Replies of the methods. Fields that do not apply are left out. Times are seconds since 1970, sizes are bytes.

use crate::model::image::Init;
use crate::model::job::{Job, JobError, State};
use crate::model::options::Shown;
use serde::Serialize;

/// `{ "error": { "code": …, "message": … } }`, sent before a status that is not 0.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The reason.
    pub error: JobError,
}

/// Reply of a method that became a job.
#[derive(Debug, Serialize)]
pub struct Started {
    /// The job's number.
    pub job: String,
}

/// A job.
#[derive(Debug, Serialize)]
pub struct JobReply {
    /// Its number.
    pub id: String,
    /// `create`, `delete`, `start`, `stop`, `restart`, `shutdown`, `set`, `rename`, `freeze`, `unfreeze`, `ended`,
    /// `snapshot`, `restore`, `snapshot_delete`, `clone`, `export`, `import`, `image_import`, `image_delete`, `image_pull`,
    /// `image_prune`
    pub kind: String,
    /// The container or image it works on; `*` is all containers.
    pub target: String,
    /// `pending`, `running`, `done`, `failed`, `cancelled`
    pub state: State,
    /// The present step, or the last.
    pub step: String,
    /// 0 to 100.
    pub percent: u32,
    /// Bytes handled in this step.
    pub bytes: u64,
    /// Bytes in all, when known.
    pub total: Option<u64>,
    /// When it was asked for.
    pub started: u64,
    /// When it ended.
    pub finished: Option<u64>,
    /// Why it failed.
    pub error: Option<JobError>,
    /// What whoever asked for it should know, although it did not fail.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl From<&Job> for JobReply {
    fn from(job: &Job) -> JobReply {
        JobReply {
            id: job.id.to_string(),
            kind: job.word.clone(),
            target: job.target.to_string(),
            state: job.state,
            step: job.step.clone(),
            percent: job.percent(),
            bytes: job.bytes,
            total: job.total,
            started: job.started,
            finished: job.finished,
            error: job.error.clone(),
            notes: job.notes.clone(),
        }
    }
}

/// `cloudbox.job list`
#[derive(Debug, Serialize)]
pub struct JobList {
    /// Oldest first.
    pub jobs: Vec<JobReply>,
}

/// A container in `cloudbox.container list`.
#[derive(Debug, Default, Serialize)]
pub struct ContainerEntry {
    /// Its name.
    pub name: String,
    /// `running`, `frozen`, `stopped`, `creating`, `starting`, `restarting`, `stopping`, `deleting`, `failed` (it could
    /// not be made or started, or it crashed), `orphan` (its section is gone, its data is kept)
    pub state: &'static str,
    /// The image it is made from.
    pub image: String,
    /// The host's pid of its init.
    pub pid: Option<i32>,
    /// Its addresses: 16 at most, only of its bridge's networks, never the box's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// True: it has more addresses than these.
    pub truncated: Option<bool>,
    /// Memory used.
    pub memory: Option<u64>,
    /// Its memory limit.
    pub memory_limit: Option<u64>,
    /// Processes.
    pub pids: Option<u64>,
    /// Processor time used, in microseconds.
    pub cpu_time: Option<u64>,
    /// Thousandths of a processor it used since the last call; at first since its start.
    pub cpu: Option<u64>,
    /// Bytes that came in through its interface.
    pub received: Option<u64>,
    /// Bytes that went out.
    pub sent: Option<u64>,
    /// Bytes its layer takes on the disk, where it has a quota.
    pub disk: Option<u64>,
    /// Its disk quota.
    pub disk_limit: Option<u64>,
    /// Started at boot.
    pub autostart: bool,
    /// Free text.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The slice it belongs to, as its section says.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub slice: String,
    /// Options that differ from what it runs with, and that a restart applies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restart_required: Vec<&'static str>,
    /// The job that works on it.
    pub job: Option<String>,
    /// Seconds since its init began.
    pub uptime: Option<u64>,
    /// How its last run ended, when it should not have, or nobody wanted it: `killed`, `poweroff`, `crashed`,
    /// `out_of_memory`, `reboots`, `unknown`
    pub exit: Option<&'static str>,
    /// How often it was started again since somebody started it.
    pub restarts: Option<u32>,
    /// Seconds until it is started again.
    pub restart_in: Option<u64>,
    /// Why it is `failed`, or why its section cannot be used.
    pub error: Option<JobError>,
}

/// `cloudbox.container list`
#[derive(Debug, Serialize)]
pub struct ContainerList {
    /// By name.
    pub containers: Vec<ContainerEntry>,
    /// Those without a section, whose data is kept.
    pub orphans: Vec<ContainerEntry>,
    /// Those other tools made. They are left alone.
    pub foreign: Vec<ForeignEntry>,
}

/// A container that another tool made.
#[derive(Debug, Serialize)]
pub struct ForeignEntry {
    /// Its name.
    pub name: String,
    /// Its directory.
    pub path: String,
    /// `running`, `stopped`
    pub state: &'static str,
}

/// `cloudbox.container prune`
#[derive(Debug, Serialize)]
pub struct PruneReply {
    /// Containers without a section, removed with their data.
    pub orphans: Vec<String>,
    /// What a container left that was half made or half removed.
    pub leftovers: Vec<String>,
    /// Orphans that are protected, and stay.
    pub protected: Vec<String>,
    /// The jobs that remove them; none unless `yes` was said.
    pub jobs: Vec<String>,
}

/// `cloudbox.container info`
#[derive(Debug, Serialize)]
pub struct ContainerInfo {
    /// The same as in the list.
    #[serde(flatten)]
    pub entry: ContainerEntry,
    /// sha256 of its image.
    pub image_sha256: String,
    /// Its UCI section.
    pub section: String,
    /// The bridge it joins.
    pub network: String,
    /// `dhcp`, or its static address.
    pub address: String,
    /// Its hardware address.
    pub mac: String,
    /// The host's end of its veth pair.
    pub veth: String,
    /// The host's id of its root.
    pub id_base: u32,
    /// How many ids it has.
    pub id_count: u32,
    /// What was asked for.
    pub asked: Limits,
    /// What the kernel enforces; only while it runs.
    pub in_force: Option<Limits>,
    /// The most memory it has used in this run.
    pub memory_peak: Option<u64>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Options by their names on the bus: `priority`, `restart`, `authorized_keys`, `services`, `slice`. Empty ones are
    /// left out.
    #[serde(flatten)]
    pub options: Shown,
    /// Options that differ from what it was made with, and that cannot be changed any more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fixed: Vec<&'static str>,
    /// How its last run ended.
    pub last_exit: Option<LastExit>,
    /// How far its first-boot script is, where it has one.
    pub first_boot: Option<FirstBoot>,
    /// When it was made.
    pub created: u64,
    /// The guest's root on the host, while it runs.
    pub rootfs: String,
    /// Directory of all containers, LXC's `lxcpath`.
    pub lxcpath: String,
    /// What the guest wrote to its console.
    pub console_log: String,
}

/// How a container's last run ended.
#[derive(Debug, Serialize)]
pub struct LastExit {
    /// `asked` (somebody stopped it), `killed` (somebody stopped it, and it had to be killed), `poweroff` (by the
    /// guest), `crashed`, `out_of_memory`, `reboots` (again and again), `unknown`
    pub reason: &'static str,
    /// The exit code of its init, when it crashed.
    pub code: Option<i32>,
    /// The signal that ended its init.
    pub signal: Option<i32>,
    /// When.
    pub at: u64,
}

/// A script that is run once.
#[derive(Debug, Serialize)]
pub struct FirstBoot {
    /// `pending`, `running`, `done`, `failed`, `interrupted` (the daemon or the box ended meanwhile)
    pub state: &'static str,
    /// Its exit code.
    pub code: Option<i32>,
    /// What it said.
    pub log: String,
}

/// An interface of a container.
#[derive(Debug, Serialize)]
pub struct Interface {
    /// Its name in the container.
    pub name: &'static str,
    /// The host's end of its veth pair.
    pub host: String,
    /// Bytes that came in, while it runs.
    pub received: Option<u64>,
    /// Bytes that went out.
    pub sent: Option<u64>,
}

/// Limits of a container.
#[derive(Debug, Serialize)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of swap beside it, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap: Option<u64>,
    /// Processors, `0.5`.
    pub cpus: Option<String>,
    /// Most processes.
    pub pids: Option<u64>,
    /// Bytes of disk.
    pub disk: Option<u64>,
}

/// `cloudbox.container exec`
#[derive(Debug, Serialize)]
pub struct ExecReply {
    /// Exit code; 128 + the signal when one ended it.
    pub code: i32,
    /// Standard output; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// The middle of a long output was left out.
    pub truncated: bool,
}

/// `cloudbox.container log`
#[derive(Debug, Serialize)]
pub struct LogReply {
    /// What the guest wrote to its console; bytes that are not UTF-8 are replaced.
    pub log: String,
    /// There are earlier lines.
    pub truncated: bool,
}

/// A snapshot in `cloudbox.container snapshots`.
#[derive(Debug, Serialize)]
pub struct SnapshotEntry {
    /// Its name.
    pub name: String,
    /// When it was made.
    pub created: u64,
    /// Bytes of the layer then.
    pub bytes: u64,
    /// sha256 of the image below it.
    pub image_sha256: String,
}

/// `cloudbox.container snapshots`
#[derive(Debug, Serialize)]
pub struct SnapshotList {
    /// Oldest first.
    pub snapshots: Vec<SnapshotEntry>,
}

/// An image in `cloudbox.image list`, and the reply of `info`.
#[derive(Debug, Serialize)]
pub struct ImageEntry {
    /// The names that mean it.
    pub names: Vec<String>,
    /// sha256 of the file it was imported from.
    pub sha256: String,
    /// What it calls itself.
    pub description: String,
    /// Its version.
    pub version: String,
    /// Operating system.
    pub os: String,
    /// The system's release.
    pub release: String,
    /// Architecture as `uname -m` names it.
    pub arch: String,
    /// Init system.
    pub init: Init,
    /// Bytes on disk.
    pub size: u64,
    /// When it was imported.
    pub imported: u64,
    /// Services it offers, `name type port`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
    /// The names of those that are off until a container is made with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub optional_services: Vec<String>,
    /// Where it was pulled from, `remote:alias`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// The version that is there by now, as far as somebody has asked.
    pub newer: Option<String>,
    /// Containers made from it.
    pub used_by: Vec<String>,
}

/// `cloudbox.image list`
#[derive(Debug, Serialize)]
pub struct ImageList {
    /// Oldest first.
    pub images: Vec<ImageEntry>,
}

/// A server in `cloudbox.image remotes`.
#[derive(Debug, Serialize)]
pub struct RemoteEntry {
    /// Its name.
    pub name: String,
    /// Its address.
    pub url: String,
    /// Whether what it says must be signed.
    pub signed: bool,
    /// The numbers of the keys in its section; those in files are not listed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Why it cannot be used.
    pub error: Option<JobError>,
}

/// `cloudbox.image remotes`
#[derive(Debug, Serialize)]
pub struct RemoteList {
    /// In the order of the file.
    pub remotes: Vec<RemoteEntry>,
}

/// An image in `cloudbox.image available`.
#[derive(Debug, Serialize)]
pub struct OfferEntry {
    /// The server.
    pub remote: String,
    /// What it calls the image.
    pub aliases: Vec<String>,
    /// Operating system.
    pub os: String,
    /// The system's release.
    pub release: String,
    /// The variant.
    pub variant: String,
    /// The newest version.
    pub version: String,
    /// `squashfs`, `tar.xz`
    pub packing: Option<&'static str>,
    /// Bytes to be fetched.
    pub size: Option<u64>,
    /// sha256 of the file.
    pub sha256: Option<String>,
    /// `new`; `here`; `newer` than the one that was pulled from there
    pub state: &'static str,
    /// Why it cannot be had.
    pub error: Option<JobError>,
}

/// `cloudbox.image available`
#[derive(Debug, Serialize)]
pub struct OfferList {
    /// As the servers list them.
    pub images: Vec<OfferEntry>,
    /// Servers that could not be asked, and why; where there are no images, what each server has that was passed over.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
}

/// `cloudbox.image prune`
#[derive(Debug, Serialize)]
pub struct ImagePruneReply {
    /// Images that nobody uses.
    pub images: Vec<String>,
    /// Their bytes on disk.
    pub bytes: u64,
    /// Bytes that pulls have left.
    pub partial: u64,
    /// The job that removes them.
    pub job: Option<String>,
}

/// A service in `cloudbox.service list`.
#[derive(Debug, Serialize)]
pub struct ServiceEntry {
    /// The section it has, or would have.
    pub id: String,
    /// Its container; none for the box's own.
    pub container: Option<String>,
    /// The name people see.
    pub name: String,
    /// DNS-SD type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its port.
    pub port: u16,
    /// TXT records.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub txt: Vec<String>,
    /// `any`, `ipv4`, `ipv6`
    pub protocol: &'static str,
    /// `tcp`, `none`
    pub check: &'static str,
    /// `config`, `image`, `box`: who declared it
    pub source: &'static str,
    /// `published`, `withheld`
    pub state: &'static str,
    /// Why it is withheld.
    pub reason: Option<String>,
    /// The host name it points at.
    pub host: String,
    /// The addresses of that host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// `cloudbox.service list`
#[derive(Debug, Serialize)]
pub struct ServiceList {
    /// The box's own first, then by container.
    pub services: Vec<ServiceEntry>,
}

/// `cloudbox.service publish` and `withdraw`
#[derive(Debug, Serialize)]
pub struct ServiceId {
    /// The service's id.
    pub id: String,
}

/// A service on the network, in `cloudbox.service browse`.
#[derive(Debug, Serialize)]
pub struct FoundService {
    /// DNS-SD type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// The host name it points at.
    pub host: String,
    /// The addresses of that host.
    pub addresses: Vec<String>,
    /// Its port.
    pub port: u16,
    /// TXT records; bytes that are not UTF-8 are replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub txt: Vec<String>,
    /// The box it belongs to, when it is one's or a container's of one.
    #[serde(rename = "box", skip_serializing_if = "String::is_empty")]
    pub box_name: String,
    /// Whether that is this box.
    pub ours: bool,
}

/// `cloudbox.service browse`
#[derive(Debug, Serialize)]
pub struct FoundServices {
    /// By type, then by name.
    pub services: Vec<FoundService>,
}

/// avahi-daemon, in `status`.
#[derive(Debug, Serialize)]
pub struct AvahiReply {
    /// `running`, `stopped`, `absent`
    pub state: &'static str,
    /// What it means, or what is wrong.
    pub message: String,
    /// Services it is told to announce.
    pub published: u32,
}

/// Reply of a method that has nothing else to say.
#[derive(Debug, Serialize)]
pub struct Done {
    /// The thing it was done to.
    pub name: String,
}

/// A resource of the box in `status`, in bytes.
#[derive(Debug, Serialize)]
pub struct Resource {
    /// All there is.
    pub total: u64,
    /// What is free now.
    pub free: u64,
    /// Kept for the box.
    pub reserve: u64,
    /// Promised to containers.
    pub promised: u64,
}

/// How many containers there are, in `status`.
#[derive(Debug, Default, Serialize)]
pub struct Counts {
    /// All.
    pub total: u32,
    /// Running, frozen ones too.
    pub running: u32,
    /// Could not be made or started.
    pub failed: u32,
    /// Without a section.
    pub orphans: u32,
}

/// `cloudbox status`
#[derive(Debug, Serialize)]
pub struct StatusReply {
    /// The program's version.
    pub version: &'static str,
    /// The API's version.
    pub api: u32,
    /// The daemon's pid.
    pub pid: u32,
    /// Seconds since the daemon started.
    pub uptime: u64,
    /// Whether `option enabled` is on.
    pub enabled: bool,
    /// Architecture as `uname -m` names it.
    pub arch: String,
    /// Where images and containers are kept.
    pub storage: String,
    /// The configuration file.
    pub config: String,
    /// Containers.
    pub containers: Counts,
    /// Images.
    pub images: u32,
    /// Unfinished jobs.
    pub jobs: u32,
    /// The box's memory.
    pub memory: Resource,
    /// The storage's file system.
    pub disk: Resource,
    /// avahi-daemon.
    pub avahi: AvahiReply,
    /// What is wrong in the configuration and with containers.
    pub warnings: Vec<String>,
}

/// One check of `doctor`.
#[derive(Debug, Clone, Serialize)]
pub struct Check {
    /// What was checked.
    pub name: &'static str,
    /// `ok`, `note`, `warning`, `error`
    pub state: &'static str,
    /// What was found, in a sentence.
    pub message: String,
    /// What cures it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

/// `cloudbox doctor`
#[derive(Debug, Serialize)]
pub struct DoctorReply {
    /// The worst of all checks; notes make it no worse.
    pub state: &'static str,
    /// Every check.
    pub checks: Vec<Check>,
}

/// `cloudbox reload`
#[derive(Debug, Serialize)]
pub struct ReloadReply {
    /// Jobs that were started.
    pub jobs: Vec<String>,
    /// Containers that must be restarted for a change to hold.
    pub restart_required: Vec<String>,
    /// What is wrong in the configuration.
    pub warnings: Vec<String>,
    /// Why it could not be read, or that it has lost all it said: what it said before holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Reply of a method that became a job, when the caller waited for it.
#[derive(Debug, Serialize)]
pub struct Waited {
    /// The job's number.
    pub job: String,
    /// `done`; `pending` or `running` when the time was up first.
    pub state: State,
}

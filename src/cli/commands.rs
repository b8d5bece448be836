//! The table of all commands. Parsing, `--help`, the calls and the completions of the shells are made from it.

use super::args::Args;
use super::bus::Context;
#[cfg(feature = "completion")]
use super::completion;
use super::page::Show;
#[cfg(feature = "publish")]
use super::publish;
use super::{bus, copy, enter, events, follow, help, log, show, top, Failure};

/// One command.
pub struct Command {
    /// What there is to know, as `command!` puts it together.
    text: &'static str,
    /// What it does.
    pub action: Action,
}

/// Makes a [`Command`]. All its texts become one: a program for boxes has no room for hundreds of slices.
macro_rules! command {
    (
        // What is typed: `list`, `image import`.
        name: $name:literal,
        // Words that people try for it, only to tell them the right one.
        also: [$($also:literal),*],
        // One line: what it does.
        summary: $summary:literal,
        // What else there is to know.
        details: $details:literal,
        // Command lines (without `cloudbox`) and, behind `  # `, what they do.
        examples: [$($example:literal),* $(,)?],
        // What follows the name, as help shows it: `NAME`, `[NAME]` where it may be left out, `NAME...` where there may
        // be several, `-- PROGRAM...` for all the rest of the line, even what looks like an option.
        operands: [$($operand:literal),* $(,)?],
        // Its own options, as `Opt::of` reads them; `NO_WAIT` and `GLOBAL` are besides.
        options: [$($option:literal),* $(,)?],
        // What it does.
        action: $action:expr,
    ) => {
        Command {
            text: concat!(
                $name, "\0", $summary, "\0", $details, "\0", $($also, "\n",)* "\0",
                $($example, "\n",)* "\0", $($operand, "\n",)* "\0", $($option, "\n",)*
            ),
            action: $action,
        }
    };
}

/// What a command does. Calls are an object and a method; [`request::of`](super::request::of) puts in the arguments.
pub enum Action {
    /// One call, whose reply is shown.
    Show {
        /// What to ask.
        call: &'static str,
        /// How to show the reply.
        show: Show,
    },
    /// Calls that become jobs, which are followed.
    Work {
        /// What to ask, once for each thing it is about.
        call: &'static str,
    },
    /// Something else; returns the exit code.
    Own(fn(&mut Context, &Args) -> Result<u8, Failure>),
    /// The one command that is no client.
    Daemon,
}

/// An option.
pub struct Opt {
    /// All in front of the help: `-s, --socket SOCKET`.
    pub names: &'static str,
    /// `-s`; empty when there is none.
    pub short: &'static str,
    /// `memory` for `--memory`.
    pub long: &'static str,
    /// Name of its value; empty when it has none.
    pub value: &'static str,
    /// One line: what it does.
    pub help: &'static str,
}

impl Opt {
    /// Reads a line of help: `-s, --socket SOCKET  where ubusd listens`.
    pub fn of(line: &'static str) -> Opt {
        let (names, help) = line.split_once("  ").unwrap_or_default();
        let (short, long) = names.split_once("--").unwrap_or_default();
        let (long, value) = long.split_once(' ').unwrap_or((long, ""));
        Opt { names, short: short.strip_suffix(", ").unwrap_or(short), long, value, help }
    }
}

/// An option of every command that becomes a job.
const NO_WAIT: &str = "--no-wait  print the job's number at once instead of following the job";

/// Options of every command.
pub const GLOBAL: &[&str] = &[
    "-s, --socket SOCKET  ubusd's socket, instead of UBUS_SOCKET or the usual one",
    "--json  print replies as JSON, as they came",
    "-h, --help  print help",
];

/// The sections of the overview, and the first command of each.
pub const SECTIONS: &[(&str, &str)] = &[
    ("Containers", "list"),
    ("Images", "image list"),
    ("Services", "service list"),
    ("The box", "status"),
    ("Jobs and the bus", "job list"),
];

/// All commands, in the order in which the overview shows them.
pub const COMMANDS: &[Command] = &[
    command! {
        name: "list",
        also: ["ls", "ps", "lst"],
        summary: "show all containers with their state, addresses and usage",
        details: "CPU is the share of one processor since somebody asked last. MEMORY and DISK are what is used and what \
                  is allowed. A disk without a quota is not measured.",
        examples: [
            "list  # a table",
            "list --names  # names only, one a line, for scripts",
            "list --json  # everything that is known, as JSON",
        ],
        operands: [],
        options: ["--names  print names only"],
        action: Action::Show { call: "cloudbox.container list", show: show::containers },
    },
    command! {
        name: "info",
        also: ["show", "inspect"],
        summary: "show everything about a container",
        details: "Limits are shown as they were asked for and, while it runs, as the kernel enforces them.",
        examples: ["info web  # about the container web"],
        operands: ["NAME"],
        options: [],
        action: Action::Show { call: "cloudbox.container info", show: show::container },
    },
    command! {
        name: "top",
        also: ["htop"],
        summary: "show who uses what, again and again, until Ctrl-C",
        details: "CPU is the share of one processor. Where the output is no terminal, it is shown once.",
        examples: ["top --interval 5  # every five seconds"],
        operands: [],
        options: ["--interval SECONDS  how often; 2 unless said otherwise"],
        action: Action::Own(top::run),
    },
    command! {
        name: "create",
        also: ["launch", "new", "add", "run", "init"],
        summary: "make a container and start it",
        details: "What is not said comes from the section `main` of /etc/config/cloudbox. The container gets a \
                  section of its own there.\n\nNAME may have small letters, digits and hyphens, 63 at most: it \
                  becomes the container's host name.",
        examples: [
            "create web  # with all defaults",
            "create web --memory 256M --cpus 0.5 --disk 2G  # with limits",
            "create web --key ~/.ssh/id_ed25519.pub  # so that root can log in with ssh",
            "create web --address 10.139.40.10/27 --gateway 10.139.40.1  # with a fixed address",
            "create store --service tahoe-storage  # with a service of its image; `image info` shows them",
            "create web --no-start --no-autostart  # only make it",
        ],
        operands: ["NAME"],
        options: [
            "--image IMAGE  the image it is made from",
            "--memory SIZE  most memory, such as 256M",
            "--cpus NUMBER  processors, such as 1 or 0.5",
            "--disk SIZE  disk quota, such as 4G, or none",
            "--pids NUMBER  most processes",
            "--network BRIDGE  the bridge it joins",
            "--address ADDRESS  dhcp, or an address such as 10.0.0.2/24",
            "--gateway ADDRESS  default route of a fixed address",
            "--no-autostart  do not start it when the box starts",
            "--priority NUMBER  0 to 999, 50 unless said otherwise; at boot the smallest starts first",
            "--restart WHEN  when to start it again after it ended by itself",
            "--no-start  do not start it now",
            "--description TEXT  what it is for",
            "--key KEY  SSH key of its root, or a file of keys; may be repeated",
            "--service NAME  a service of its image to switch on; may be repeated",
            "--slice SLICE  the slice it belongs to",
            "--protected  refuse to delete it",
            "--hostname NAME  what it calls itself, instead of its name",
            "--timezone ZONE  such as Europe/Madrid",
            "--first-boot FILE  a script that is run once inside",
        ],
        action: Action::Work { call: "cloudbox.container create" },
    },
    command! {
        name: "set",
        also: ["config", "update", "edit", "resize"],
        summary: "change a container",
        details: "Limits are changed while it runs; so is the disk, which can only grow. The network is changed when it \
                  is started again. /etc/config/cloudbox says the same afterwards.",
        examples: [
            "set web --memory 512M --cpus 2  # more of both",
            "set web --autostart no --restart always  # not at boot, but whenever it ends",
        ],
        operands: ["NAME"],
        options: [
            "--memory SIZE  most memory, such as 256M",
            "--cpus NUMBER  processors, such as 1 or 0.5",
            "--disk SIZE  disk quota, larger than before",
            "--pids NUMBER  most processes",
            "--network BRIDGE  the bridge it joins",
            "--address ADDRESS  dhcp, or an address such as 10.0.0.2/24",
            "--gateway ADDRESS  default route of a fixed address",
            "--autostart YES|NO  whether to start it when the box starts",
            "--priority NUMBER  0 to 999, 50 unless said otherwise; at boot the smallest starts first",
            "--restart WHEN  when to start it again after it ended by itself",
            "--description TEXT  what it is for",
            "--slice SLICE  the slice it belongs to",
            "--protected YES|NO  whether it is safe from delete",
            "--force  also less memory than it uses: what does not fit is killed",
        ],
        action: Action::Work { call: "cloudbox.container set" },
    },
    command! {
        name: "delete",
        also: ["rm", "remove", "destroy"],
        summary: "remove containers with their data",
        details: "There is no way back. A container that runs is left alone unless --force is given.",
        examples: [
            "delete web  # one that is stopped",
            "delete --force web db  # two, running or not",
        ],
        operands: ["NAME..."],
        options: ["-f, --force  also when it is running"],
        action: Action::Work { call: "cloudbox.container delete" },
    },
    command! {
        name: "adopt",
        also: ["recover", "takeover"],
        summary: "take in containers that stand apart in `list`",
        details: "An orphan gets back the section that was removed from /etc/config/cloudbox. One that another tool made \
                  must be stopped and have its root in a directory: that becomes an image, and the image a container \
                  that is not started and does not start at boot. Host name and machine id are its own then. The files \
                  of the other tool stay as they are.",
        examples: ["adopt web  # one of either kind"],
        operands: ["NAME..."],
        options: [],
        action: Action::Work { call: "cloudbox.container adopt" },
    },
    command! {
        name: "prune",
        also: ["clean", "gc"],
        summary: "remove orphans and what was left half made",
        details: "Says what it would remove, and does it with --yes. Protected ones stay, and what other tools made.",
        examples: [
            "prune  # what would go",
            "prune --yes  # remove it",
        ],
        operands: [],
        options: ["-y, --yes  do it"],
        action: Action::Show { call: "cloudbox.container prune", show: show::prune },
    },
    command! {
        name: "start",
        also: ["boot", "up"],
        summary: "start containers",
        details: "",
        examples: ["start web db  # both at a time"],
        operands: ["NAME..."],
        options: [],
        action: Action::Work { call: "cloudbox.container start" },
    },
    command! {
        name: "stop",
        also: ["halt", "kill", "down"],
        summary: "stop containers",
        details: "A container is asked to shut down, and killed when it has not done so after --timeout seconds (30 \
                  unless said otherwise).",
        examples: [
            "stop web  # gently",
            "stop --timeout 5 web  # with less patience",
            "stop --force web  # at once, as if its plug were pulled",
        ],
        operands: ["NAME..."],
        options: [
            "--timeout SECONDS  how long it may take to shut down",
            "-f, --force  kill it at once",
        ],
        action: Action::Work { call: "cloudbox.container stop" },
    },
    command! {
        name: "restart",
        also: ["reboot", "reset"],
        summary: "stop containers and start them again",
        details: "What was changed since the last start and needs one is applied. One that does not run is started.",
        examples: [
            "restart web  # gently",
            "restart --timeout 0 web  # as if its plug were pulled",
        ],
        operands: ["NAME..."],
        options: ["--timeout SECONDS  how long it may take to shut down"],
        action: Action::Work { call: "cloudbox.container restart" },
    },
    command! {
        name: "rename",
        also: ["mv", "move"],
        summary: "give a stopped container another name",
        details: "Its section in /etc/config/cloudbox, its services and its snapshots go along; it keeps its hardware \
                  address. Its guest is told its new name at the next start, unless it calls itself something else.",
        examples: ["rename web www  # web becomes www"],
        operands: ["NAME", "NEW-NAME"],
        options: [],
        action: Action::Work { call: "cloudbox.container rename" },
    },
    command! {
        name: "freeze",
        also: ["pause", "suspend"],
        summary: "let containers stand still",
        details: "Their processes get no processor time until `unfreeze`; their memory stays as it is.",
        examples: ["freeze web  # until it is told to go on"],
        operands: ["NAME..."],
        options: [],
        action: Action::Work { call: "cloudbox.container freeze" },
    },
    command! {
        name: "unfreeze",
        also: ["thaw", "resume", "unpause"],
        summary: "let frozen containers go on",
        details: "",
        examples: ["unfreeze web  # where it stood"],
        operands: ["NAME..."],
        options: [],
        action: Action::Work { call: "cloudbox.container unfreeze" },
    },
    command! {
        name: "exec",
        also: ["attach", "enter"],
        summary: "run a program in a container",
        details: "Prints what the program wrote, and exits with its exit code (128 and the signal's number when a \
                  signal ended it). The program gets no input, and is ended after --timeout seconds (10 unless said \
                  otherwise). No shell reads the words; call one if you need it.",
        examples: [
            "exec web -- ls -l /srv  # one program",
            "exec web -- sh -c 'df -h | tail -1'  # a line of shell",
            "exec web --timeout 600 -- apt-get update  # with more time",
            "exec web --user www-data --directory /srv -- git pull  # as another user, elsewhere",
        ],
        operands: ["NAME", "-- PROGRAM [ARGUMENT]..."],
        options: [
            "--timeout SECONDS  how long it may run",
            "--user USER  who runs it, by name or number; root unless said otherwise",
            "--directory PATH  where it runs, in the container",
            "--env NAME=VALUE  a variable; may be repeated",
        ],
        action: Action::Own(enter::exec),
    },
    command! {
        name: "log",
        also: ["logs", "journal", "dmesg"],
        summary: "show what a container wrote to its console",
        details: "The last lines of 128 KiB at least; what was written before a stop is kept. A guest with systemd has \
                  more to say in its own log: `cloudbox exec NAME -- journalctl`.",
        examples: [
            "log web  # the last 100 lines",
            "log web --lines 20 --follow  # and what comes, until Ctrl-C",
        ],
        operands: ["NAME"],
        options: [
            "--lines NUMBER  how many lines; 100 unless said otherwise",
            "-f, --follow  go on with what comes",
            "--first-boot  what the first-boot script said, instead",
        ],
        action: Action::Own(log::run),
    },
    command! {
        name: "shell",
        also: ["login", "bash", "sh", "ssh"],
        summary: "open a shell in a container",
        details: "The login shell of root, or of --user. Its exit code is passed on. Only root may do it. It needs the \
                  program lxc-attach.",
        examples: [
            "shell web  # as root",
            "shell web --user www-data  # as somebody else",
        ],
        operands: ["NAME"],
        options: ["--user USER  whose shell, by name or number; root unless said otherwise"],
        action: Action::Own(enter::shell),
    },
    command! {
        name: "push",
        also: ["upload", "put"],
        summary: "copy a file into a container, running or not",
        details: "The file belongs to the container's root, or to whom the one belongs that it replaces. It keeps its \
                  mode. No link leads out of the container. FILE - is standard input. Only root may do it.",
        examples: [
            "push index.html web:/var/www/html/  # into a directory",
            "push - web:/etc/motd  # from standard input",
        ],
        operands: [
            "FILE",
            "NAME:PATH",
        ],
        options: [],
        action: Action::Own(copy::push),
    },
    command! {
        name: "pull",
        also: ["download", "get", "cp"],
        summary: "copy a file out of a container, running or not",
        details: "No link leads out of the container. FILE - is standard output. Only root may do it.",
        examples: [
            "pull web:/etc/fstab .  # into this directory",
            "pull web:/etc/motd -  # to the screen",
        ],
        operands: [
            "NAME:PATH",
            "FILE",
        ],
        options: [],
        action: Action::Own(copy::pull),
    },
    command! {
        name: "console",
        also: ["tty"],
        summary: "look at a container's console",
        details: "One can log in where the container runs a getty on it; the distro does not, and shows its boot only: \
                  `cloudbox shell` is the way in. Leave it by Ctrl-a, then q. Only root may do it. It needs the program \
                  lxc-console.",
        examples: ["console web  # the console of web"],
        operands: ["NAME"],
        options: [],
        action: Action::Own(enter::console),
    },
    command! {
        name: "snapshot",
        also: ["snap", "checkpoint"],
        summary: "keep a container's files as they are now",
        details: "What is kept is what the container has changed of its image. A container that runs stands still \
                  while it is copied. Without a name of its own the snapshot is called by the time.",
        examples: [
            "snapshot web  # called by the time",
            "snapshot web before-upgrade  # called so",
        ],
        operands: ["NAME", "[SNAPSHOT]"],
        options: [],
        action: Action::Work { call: "cloudbox.container snapshot" },
    },
    command! {
        name: "snapshots",
        also: ["snapshot-list", "snaps"],
        summary: "show a container's snapshots",
        details: "",
        examples: [
            "snapshots web  # a table",
            "snapshots web --names  # names only, one a line",
        ],
        operands: ["NAME"],
        options: ["--names  print names only"],
        action: Action::Show { call: "cloudbox.container snapshots", show: show::snapshots },
    },
    command! {
        name: "restore",
        also: ["rollback", "revert"],
        summary: "give a container the files of a snapshot back",
        details: "What it has changed since then is lost; the snapshot stays. A container that runs is left alone \
                  unless --force is given: then it is killed for the moment it takes, and started again.",
        examples: [
            "restore web before-upgrade  # one that is stopped",
            "restore --force web before-upgrade  # running or not",
        ],
        operands: ["NAME", "SNAPSHOT"],
        options: ["-f, --force  also when it is running"],
        action: Action::Work { call: "cloudbox.container restore" },
    },
    command! {
        name: "snapshot-delete",
        also: ["delete-snapshot", "snapshot-rm"],
        summary: "remove a snapshot",
        details: "",
        examples: ["snapshot-delete web before-upgrade  # the container stays as it is"],
        operands: ["NAME", "SNAPSHOT"],
        options: [],
        action: Action::Work { call: "cloudbox.container snapshot_delete" },
    },
    command! {
        name: "clone",
        also: ["copy", "duplicate"],
        summary: "make a copy of a container",
        details: "The copy has an identity of its own: name, machine id, hardware address, user ids; its SSH server \
                  makes new keys, and its address comes by DHCP. It does not run yet. A container that runs stands \
                  still while it is copied. Its services are not copied.",
        examples: [
            "clone web web-2  # as it is now",
            "clone web web-2 --snapshot before-upgrade  # as it was",
        ],
        operands: ["NAME", "NEW-NAME"],
        options: ["--snapshot SNAPSHOT  copy this snapshot of it"],
        action: Action::Work { call: "cloudbox.container clone" },
    },
    command! {
        name: "export",
        also: ["backup", "dump"],
        summary: "write a container into one file",
        details: "PATH is a file on the box, a tar that others read as well; there must be none yet. It holds what the \
                  container has changed of its image, and with --image the image, too. A container that runs stands \
                  still meanwhile; a snapshot can be exported while it runs on.",
        examples: [
            "export web /mnt/usb/web.tar  # for a box that has the image",
            "export web /mnt/usb/web.tar --image  # for any other",
            "export web /mnt/usb/web.tar --snapshot before-upgrade  # as it was",
        ],
        operands: ["NAME", "PATH"],
        options: [
            "--snapshot SNAPSHOT  export this snapshot of it",
            "--image  put the image into the file",
        ],
        action: Action::Work { call: "cloudbox.container export" },
    },
    command! {
        name: "import",
        also: ["unpack"],
        summary: "make a container from an exported file",
        details: "The container gets an identity of its own, as a clone does, and does not run yet. Its image must be \
                  on the box, or in the file. For an image from a file see `image import`.",
        examples: ["import /mnt/usb/web.tar web  # called web"],
        operands: ["PATH", "NAME"],
        options: [],
        action: Action::Work { call: "cloudbox.container import" },
    },
    command! {
        name: "image list",
        also: ["images"],
        summary: "show all images",
        details: "",
        examples: [
            "image list  # a table",
            "image list --names  # names only, one a line",
        ],
        operands: [],
        options: ["--names  print names only"],
        action: Action::Show { call: "cloudbox.image list", show: show::images },
    },
    command! {
        name: "image info",
        also: ["image show"],
        summary: "show everything about an image",
        details: "",
        examples: ["image info distro  # about the image distro"],
        operands: ["NAME"],
        options: [],
        action: Action::Show { call: "cloudbox.image info", show: show::image },
    },
    command! {
        name: "image import",
        also: ["image add", "image create"],
        summary: "make an image from a file",
        details: "PATH is a file on the box: a squashfs, or a tar, plain or packed with gzip, xz or zstd. Without a \
                  NAME the image is called as the file is.",
        examples: [
            "image import /tmp/debian.tar.xz  # becomes the image debian",
            "image import distro-amd64.squashfs distro  # becomes the image distro",
        ],
        operands: [
            "PATH",
            "[NAME]",
        ],
        options: ["--sha256 HASH  refuse the file when this is not its sha256"],
        action: Action::Work { call: "cloudbox.image import" },
    },
    command! {
        name: "image remotes",
        also: ["remotes", "image remote", "image servers"],
        summary: "show the servers that images come from",
        details: "They are sections `remote` of /etc/config/cloudbox. SIGNED: what a server lists must be signed with one of \
                  the keys there.",
        examples: ["image remotes  # a table"],
        operands: [],
        options: ["--names  print names only"],
        action: Action::Show { call: "cloudbox.image remotes", show: show::remotes },
    },
    command! {
        name: "image available",
        also: ["available", "image search", "image find"],
        summary: "show what servers have for this box",
        details: "STATE is `here` for what this box has, and `newer` for what was pulled from there in an older version.",
        examples: [
            "image available  # everything",
            "image available debian --remote community  # what has debian in its name, at one server",
        ],
        operands: ["[WORD]"],
        options: [
            "--remote REMOTE  ask only this server",
            "--names  print names only, as `image pull` takes them",
        ],
        action: Action::Show { call: "cloudbox.image available", show: show::offers },
    },
    command! {
        name: "image pull",
        also: ["image fetch", "image update", "image download"],
        summary: "fetch images from a server, or their newer version",
        details: "NAME is that of an image on this box, what a server calls it, or both: community:debian/12 becomes the image \
                  debian-12. Containers keep the version they were made from. A pull that ended early is gone on with by \
                  the next one.",
        examples: [
            "image pull distro  # the newest version of what /etc/config/cloudbox calls distro",
            "image pull community:debian/12  # from one server",
        ],
        operands: ["NAME..."],
        options: ["--remote REMOTE  the server; any that has it unless said otherwise"],
        action: Action::Work { call: "cloudbox.image pull" },
    },
    command! {
        name: "image prune",
        also: ["image clean", "image gc"],
        summary: "remove images that nobody uses",
        details: "Says what it would remove, and does it with --yes. What /etc/config/cloudbox names stays.",
        examples: [
            "image prune  # what would go",
            "image prune --yes  # remove it",
        ],
        operands: [],
        options: ["-y, --yes  do it"],
        action: Action::Show { call: "cloudbox.image prune", show: show::image_prune },
    },
    #[cfg(feature = "publish")]
    command! {
        name: "image publish",
        also: ["image upload", "image push"],
        summary: "put images where a web server serves them to boxes",
        details: "DIRECTORY becomes, or is, a simplestreams server's: any web server can serve it. IMAGE is a squashfs, or a \
                  tar packed with xz; what it does not say of itself, nor a manifest beside it, the options say. --key is a \
                  secret key made by `usign -G`; its public half goes into `list key` of the boxes. Needs no daemon.",
        examples: [
            "image publish /srv/www/images distro.squashfs --key community.sec  # signed",
            "image publish /srv/www/images alpine.tar.xz --name alpine --serial 3.20 --arch amd64  # a tar, which says less",
        ],
        operands: [
            "DIRECTORY",
            "IMAGE...",
        ],
        options: [
            "--key FILE  the secret key to sign the lists with",
            "--name NAME  what the image is called",
            "--serial VERSION  its version; the last in order of the letters is the newest",
            "--os SYSTEM  its system, such as debian",
            "--release RELEASE  the system's release",
            "--arch ARCH  the processors it is for, such as amd64",
        ],
        action: Action::Own(publish::run),
    },
    command! {
        name: "image delete",
        also: ["image rm", "image remove", "rmi"],
        summary: "remove images that no container uses",
        details: "",
        examples: ["image delete debian  # the image debian"],
        operands: ["NAME..."],
        options: [],
        action: Action::Work { call: "cloudbox.image delete" },
    },
    command! {
        name: "service list",
        also: ["services"],
        summary: "show what this box announces, and why not the rest",
        details: "A service is announced while its container runs and its port answers. Those that an image offers \
                  are there without further ado.",
        examples: ["service list  # a table"],
        operands: [],
        options: ["--names  print ids only"],
        action: Action::Show { call: "cloudbox.service list", show: show::services },
    },
    command! {
        name: "service publish",
        also: ["announce", "advertise"],
        summary: "announce a container's service on the network",
        details: "It gets a section of its own in /etc/config/cloudbox. TYPE is a DNS-SD type such as _http._tcp.",
        examples: [
            "service publish web _http._tcp 80  # under the container's name",
            "service publish web _http._tcp 80 --name 'Our wiki' --txt path=/wiki  # with a name and a path",
            "service publish dns _dns._udp 53  # over UDP, which is not checked",
        ],
        operands: [
            "CONTAINER",
            "TYPE",
            "PORT",
        ],
        options: [
            "--name TEXT  the name people see",
            "--txt KEY=VALUE  a TXT record; may be repeated",
            "--protocol FAMILY  announce it over one family",
            "--check HOW  none: also while its port is silent",
        ],
        action: Action::Show { call: "cloudbox.service publish", show: show::service_id },
    },
    command! {
        name: "service withdraw",
        also: ["unpublish"],
        summary: "stop announcing a service",
        details: "One that the image offers is switched off by a section with `option enabled '0'`.",
        examples: ["service withdraw web_http_80  # by its id"],
        operands: ["ID"],
        options: [],
        action: Action::Show { call: "cloudbox.service withdraw", show: show::service_id },
    },
    command! {
        name: "browse",
        also: ["discover", "neighbours", "find"],
        summary: "show the services that are on the network",
        details: "Asks by mDNS and listens for --timeout seconds at most (5 unless said otherwise). BOX is the box a service \
                  belongs to; * marks our own.",
        examples: [
            "browse  # everything",
            "browse _http._tcp  # only web pages",
        ],
        operands: ["[TYPE]"],
        options: ["--timeout SECONDS  how long to listen"],
        action: Action::Show { call: "cloudbox.service browse", show: show::found },
    },
    command! {
        name: "status",
        also: ["stat", "version"],
        summary: "show how the box is doing",
        details: "Memory and disk: what there is, what is free, what is kept for the box, and what is promised to \
                  containers.",
        examples: ["status  # at a glance"],
        operands: [],
        options: [],
        action: Action::Show { call: "cloudbox status", show: show::status },
    },
    command! {
        name: "doctor",
        also: ["check", "diagnose"],
        summary: "check whether all that is needed is there",
        details: "One line for each check, with what cures it. The exit code is 1 when something does not work.",
        examples: ["doctor  # what is missing, and what to do"],
        operands: [],
        options: [],
        action: Action::Show { call: "cloudbox doctor", show: show::doctor },
    },
    command! {
        name: "reload",
        also: ["refresh", "apply"],
        summary: "apply what was changed in /etc/config/cloudbox",
        details: "`reload_config` does the same after `uci commit`.",
        examples: ["reload  # now"],
        operands: [],
        options: [],
        action: Action::Show { call: "cloudbox reload", show: show::reload },
    },
    command! {
        name: "shutdown",
        also: ["poweroff", "stop-all"],
        summary: "stop all containers, as when the box goes down",
        details: "Those with the largest priority stop first, one group after the other. All of them together have \
                  --timeout seconds (20 unless said otherwise); what still runs then is killed. The box itself goes on, \
                  and what starts with it starts with it.",
        examples: ["shutdown --timeout 60  # with more patience"],
        operands: [],
        options: ["--timeout SECONDS  how long all of them may take"],
        action: Action::Work { call: "cloudbox shutdown" },
    },
    command! {
        name: "daemon",
        also: ["serve", "server"],
        summary: "run the service; /etc/init.d/cloudbox does it",
        details: "The environment says the same as the options: UBUS_SOCKET, CLOUDBOX_CONFIG_DIR, CLOUDBOX_STORAGE, \
                  CLOUDBOX_RUN_DIR, CLOUDBOX_AVAHI, CLOUDBOX_AVAHI_RUN. An option goes first.",
        examples: ["daemon -f -v  # in a terminal, with everything it has to say"],
        operands: [],
        options: [
            "-f, --foreground  log to standard error instead of syslog",
            "-v, --verbose  log more",
            "--config-dir DIRECTORY  UCI's files, instead of /etc/config",
            "--storage DIRECTORY  images and containers, instead of what UCI says",
            "--run-dir DIRECTORY  what lasts until a reboot, instead of /var/run/cloudbox",
            "--avahi DIRECTORY  avahi-daemon's files, instead of /etc/avahi",
            "--avahi-run DIRECTORY  its pid file's, instead of /var/run/avahi-daemon",
        ],
        action: Action::Daemon,
    },
    command! {
        name: "job list",
        also: ["jobs", "operation list"],
        summary: "show what is being done, and what was done last",
        details: "",
        examples: [
            "job list  # a table",
            "job list --names  # numbers only, one a line",
        ],
        operands: [],
        options: ["--names  print numbers only"],
        action: Action::Show { call: "cloudbox.job list", show: show::jobs },
    },
    command! {
        name: "job status",
        also: ["job info", "job show"],
        summary: "show how far a job is",
        details: "",
        examples: ["job status 17  # about job 17"],
        operands: ["ID"],
        options: [],
        action: Action::Show { call: "cloudbox.job status", show: show::job },
    },
    command! {
        name: "job wait",
        also: ["wait", "job follow"],
        summary: "follow jobs until they end",
        details: "The exit code is 1 when one of them failed, and 124 when --timeout seconds have passed before.",
        examples: [
            "job wait 17  # follow job 17",
            "job wait --timeout 60 17 18  # for a minute at most",
        ],
        operands: ["ID..."],
        options: ["--timeout SECONDS  how long to wait"],
        action: Action::Own(follow::wait),
    },
    command! {
        name: "job cancel",
        also: ["cancel", "job delete", "job stop"],
        summary: "end a job early",
        details: "What it has done so far is undone.",
        examples: ["job cancel 17  # job 17"],
        operands: ["ID"],
        options: [],
        action: Action::Show { call: "cloudbox.job cancel", show: show::job },
    },
    command! {
        name: "events",
        also: ["monitor", "listen", "watch"],
        summary: "print what happens, one line each, until Ctrl-C",
        details: "Shows ubus events whose names begin with container, image, service or job. With --json each line \
                  is an object, as `ubus listen` prints it.",
        examples: [
            "events  # follow along",
            "events --json | jq .  # for scripts",
        ],
        operands: [],
        options: [],
        action: Action::Own(events::run),
    },
    command! {
        name: "call",
        also: ["ubus"],
        summary: "call any method and print the reply as JSON",
        details: "Like `ubus call`. Data that came with an error is printed, too.",
        examples: [
            "call cloudbox.container info '{\"name\":\"web\"}'  # what `info web --json` prints",
            "call system board  # any object on the bus",
        ],
        operands: [
            "OBJECT",
            "METHOD",
            "[JSON]",
        ],
        options: ["--timeout SECONDS  how long to wait for the reply; 30 unless said otherwise"],
        action: Action::Own(bus::raw_call),
    },
    #[cfg(feature = "completion")]
    command! {
        name: "completion",
        also: ["completions"],
        summary: "print a shell's completion script",
        details: "",
        examples: [
            "completion bash > /etc/bash_completion.d/cloudbox  # for bash",
            "completion zsh > /usr/share/zsh/site-functions/_cloudbox  # for zsh",
            "completion fish > ~/.config/fish/completions/cloudbox.fish  # for fish",
        ],
        operands: ["SHELL"],
        options: [],
        action: Action::Own(completion::run),
    },
    command! {
        name: "help",
        also: ["man", "usage"],
        summary: "explain a command",
        details: "",
        examples: [
            "help create  # the same as `create --help`",
            "help image  # all commands about images",
        ],
        operands: ["[COMMAND]"],
        options: [],
        action: Action::Own(help::run),
    },
];

impl Command {
    fn part(&self, number: usize) -> &'static str {
        self.text.split('\0').nth(number).unwrap_or_default()
    }

    fn lines(&self, number: usize) -> Vec<&'static str> {
        let mut lines = Vec::new();
        for line in self.part(number).split_terminator('\n') {
            lines.push(line);
        }
        lines
    }

    /// What is typed.
    pub fn name(&self) -> &'static str {
        self.part(0)
    }

    /// One line: what it does.
    pub fn summary(&self) -> &'static str {
        self.part(1)
    }

    /// What else there is to know.
    pub fn details(&self) -> &'static str {
        self.part(2)
    }

    /// Words that people try for it.
    pub fn also(&self) -> Vec<&'static str> {
        self.lines(3)
    }

    /// Command lines and what they do.
    pub fn examples(&self) -> Vec<&'static str> {
        self.lines(4)
    }

    /// What follows the name.
    pub fn operands(&self) -> Vec<&'static str> {
        self.lines(5)
    }

    /// Its own options.
    pub fn options(&self) -> Vec<&'static str> {
        let mut options = self.lines(6);
        if let Action::Work { .. } = self.action {
            options.push(NO_WAIT);
        }
        options
    }

    /// What to type: `create NAME [OPTION]...`.
    pub fn synopsis(&self) -> String {
        let mut words = vec![self.name()];
        words.extend(self.operands());
        if !self.options().is_empty() {
            // In front of a program, whose options are its own.
            let at = if self.takes_rest() { 1 } else { words.len() };
            words.insert(at, "[OPTION]...");
        }
        words.join(" ")
    }

    /// Whether all that follows the first word of the last operand belongs to that.
    pub fn takes_rest(&self) -> bool {
        self.operands().last().is_some_and(|last| last.starts_with("-- "))
    }

    /// Its own options and the global ones.
    #[cfg(any(test, feature = "completion"))]
    pub fn all_options(&self) -> Vec<Opt> {
        self.options().iter().chain(GLOBAL).map(|line| Opt::of(line)).collect()
    }
}

/// An operand's name, without how often it may stand there.
pub fn bare(operand: &str) -> &str {
    if let Some(optional) = operand.strip_prefix('[') {
        return optional.strip_suffix(']').unwrap_or(optional);
    }
    let name = operand.strip_prefix("-- ").unwrap_or(operand);
    name.strip_suffix("...").unwrap_or(name)
}

/// The command called `name`.
pub fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name() == name)
}

/// The commands of the group called `name`: `image` has `image list` and others.
pub fn group(name: &str) -> Vec<&'static Command> {
    let is_member =
        |command: &&Command| command.name().split_once(' ').is_some_and(|(group, _)| group == name);
    COMMANDS.iter().filter(is_member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_consistent() {
        assert!(SECTIONS.iter().all(|(_, first)| find(first).is_some()));
        for (index, command) in COMMANDS.iter().enumerate() {
            let name = command.name();
            assert_eq!(command.text.split('\0').count(), 7, "{name}");
            assert!(COMMANDS[index + 1..].iter().all(|other| other.name() != name), "{name} is there twice");
            assert!(!command.examples().is_empty(), "{name} has no example");
            assert!(command.summary().len() <= 60, "{name}: {}", command.summary());
            for example in command.examples() {
                assert!(example.starts_with(name) && example.contains("  # "), "{name}: {example}");
            }
            for word in command.also() {
                assert!(!word.is_empty() && find(word).is_none(), "{name}: {word} is a command");
            }
            for line in command.options() {
                let Opt { short, long, value, help, .. } = Opt::of(line);
                let names = [short, if short.is_empty() { "" } else { ", " }, "--", long].concat();
                let value = if value.is_empty() { String::new() } else { format!(" {value}") };
                assert_eq!(line, format!("{names}{value}  {help}"));
                assert!(short.is_empty() || short.len() == 2, "{line}");
                assert!(!long.is_empty() && !help.is_empty(), "{line}");
            }
            let options = command.all_options();
            for (index, option) in options.iter().enumerate() {
                let clash = |other: &&Opt| {
                    other.long == option.long || !other.short.is_empty() && other.short == option.short
                };
                assert!(options[index + 1..].iter().find(clash).is_none(), "{name} --{}", option.long);
            }
            let optional_or_more = |operand: &&str| operand.starts_with('[') || operand.ends_with("...");
            let unbounded = command.operands().iter().position(optional_or_more);
            assert!(unbounded.is_none_or(|at| at + 1 == command.operands().len()), "{name}");
        }
    }

    #[test]
    fn synopses() {
        for (name, synopsis) in [
            ("list", "list [OPTION]..."),
            ("create", "create NAME [OPTION]..."),
            ("delete", "delete NAME... [OPTION]..."),
            ("exec", "exec [OPTION]... NAME -- PROGRAM [ARGUMENT]..."),
            ("image import", "image import PATH [NAME] [OPTION]..."),
            ("help", "help [COMMAND]"),
        ] {
            assert_eq!(find(name).unwrap().synopsis(), synopsis);
        }
    }
}

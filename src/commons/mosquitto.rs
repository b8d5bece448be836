//! mosquitto's configuration for a community's broker. What is carried is signed, so that a broker need not be trusted; what
//! is written here keeps it useful: it forgets nothing, cuts nothing, and nobody can clear what another has published.

use super::label::Label;

/// Where the list of who may write what lies, and the passwords.
const ACL: &str = "/etc/mosquitto/cloudbox.acl";
const PASSWORDS: &str = "/etc/mosquitto/cloudbox.passwd";
/// The longest message, in bytes: twice the longest that anybody in the commons publishes.
const MESSAGE_MAX: u32 = 32 << 10;
/// Seconds between two savings. A broker that was killed forgets what came since; the boxes publish it again.
const SAVE_EVERY: u32 = 600;

/// Which of the files is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum File {
    /// `/etc/config/mosquitto`, for OpenWrt.
    Uci,
    /// `/etc/mosquitto/conf.d/cloudbox.conf`, for others.
    Plain,
    /// Who may write what.
    Acl,
}

/// Whether boxes log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Users {
    /// Each as a user who is called by its id, and only then may it write its own topics.
    Boxes,
    /// Nobody does, and everybody may write everything.
    Nobody,
}

/// The text of the file. The one about who may write what exists only where boxes log in.
pub fn text(file: File, network: Label, users: Users) -> String {
    match (file, users) {
        (File::Uci, _) => uci(users),
        (File::Plain, _) => plain(users),
        (File::Acl, Users::Boxes) => acl(network),
        (File::Acl, Users::Nobody) => String::new(),
    }
}

fn uci(users: Users) -> String {
    let files = match users {
        Users::Boxes => format!("\toption acl_file '{ACL}'\n\toption password_file '{PASSWORDS}'\n"),
        Users::Nobody => String::new(),
    };
    format!(
        "config owrt 'owrt'\n\toption use_uci '1'\n\nconfig mosquitto 'mosquitto'\n{files}\toption allow_anonymous '1'\n\
         \toption max_queued_messages '0'\n\toption message_size_limit '{MESSAGE_MAX}'\n\n\
         config persistence 'persistence'\n\toption persistence '1'\n\toption location '/srv/mosquitto/'\n\
         \toption autosave_interval '{SAVE_EVERY}'\n\nconfig listener 'cloudbox'\n\toption port '1883'\n"
    )
}

fn plain(users: Users) -> String {
    let files = match users {
        Users::Boxes => format!("acl_file {ACL}\npassword_file {PASSWORDS}\n"),
        Users::Nobody => String::new(),
    };
    // Debian's own file says where it is saved, and that it is.
    format!(
        "listener 1883\n{files}allow_anonymous true\nmax_queued_messages 0\nmessage_size_limit {MESSAGE_MAX}\n\
         autosave_interval {SAVE_EVERY}\n"
    )
}

fn acl(network: Label) -> String {
    let root = format!("cloudbox/1/{network}");
    let mut text = format!("pattern read {root}/#\n");
    text.push_str("# Signed by members, and published by whoever has it.\n");
    for what in ["slice", "index", "revoked", "ask"] {
        text.push_str(&format!("pattern write {root}/{what}/#\n"));
    }
    text.push_str("# Never kept: by it who reads knows that he has read all.\n");
    text.push_str(&format!("pattern write {root}/box/+/mark\n"));
    text.push_str("# Each box its own. Its user is called by its id: `cloudbox commons status` shows it.\n");
    for what in ["box/%u/#", "offer/+/%u", "services/+/%u"] {
        text.push_str(&format!("pattern write {root}/{what}\n"));
    }
    text.push_str("# Whoever runs `cloudbox commons broker sweep`.\n");
    text.push_str(&format!("user sweeper\ntopic readwrite {root}/#\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::super::label::Kind;
    use super::*;
    use openwrt_uci::Package;

    #[test]
    fn both_kinds_of_files_say_the_same() {
        let network = Label::new(Kind::Network, "guifi").unwrap();
        for users in [Users::Boxes, Users::Nobody] {
            let package = Package::parse(text(File::Uci, network, users).as_bytes()).unwrap();
            let plain = text(File::Plain, network, users);
            let said =
                |name: &str| plain.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_string()));
            for (section, option) in [
                ("mosquitto", "acl_file"),
                ("mosquitto", "password_file"),
                ("mosquitto", "max_queued_messages"),
                ("mosquitto", "message_size_limit"),
                ("persistence", "autosave_interval"),
            ] {
                let uci = package.section(section).unwrap().get_str(option).map(str::to_string);
                assert_eq!(uci, said(&format!("{option} ")), "{users:?} {option}");
            }
            assert_eq!(said("listener ").as_deref(), package.section("cloudbox").unwrap().get_str("port"));
        }
        assert_eq!(text(File::Acl, network, Users::Nobody), "");
        let acl = text(File::Acl, network, Users::Boxes);
        assert!(acl.contains("pattern write cloudbox/1/guifi/offer/+/%u\n"), "{acl}");
    }
}

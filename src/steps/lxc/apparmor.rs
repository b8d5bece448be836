//! AppArmor: which profile a guest's processes get, as far as the box has any.
//!
//! LXC refuses to start what is to have a profile that it cannot give, and an LXC that is built without AppArmor, as
//! OpenWrt's is, refuses its very options. So what there is decides what is asked for, anew at each start.

use super::super::ctx::Ctx;
use super::super::tool::{self, Tool};
use super::library;
use log::warn;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Our profile for guests.
pub const GUEST: &str = "cloudbox-guest";
/// Where it stands; Debian loads what is there at boot.
const FILE: &str = "/etc/apparmor.d/cloudbox-guest";
/// The parser translates a profile in a second.
const LOAD_TIME: Duration = Duration::from_secs(30);

/// What there is of AppArmor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The kernel has it, and it is on.
    pub kernel: bool,
    /// Whether LXC is built with it; None where that is not known.
    pub lxc: Option<bool>,
    /// The kernel's has rules about mounts. Without, LXC confines nobody.
    pub mounts: bool,
    /// [`GUEST`] is loaded.
    pub loaded: bool,
    /// [`GUEST`] can be loaded.
    pub file: bool,
    /// There is a program that loads profiles.
    pub parser: bool,
}

/// The profile that LXC is told to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Nothing: it knows no AppArmor, or has nothing to do with it.
    Unsaid,
    /// None: LXC's usual one is not loaded everywhere.
    Unconfined,
    /// The one that LXC makes.
    Generated,
    /// [`GUEST`], once it has been loaded.
    Loadable,
    /// [`GUEST`], which is loaded.
    Guest,
}

impl Found {
    /// Looks what this box has.
    pub fn look() -> Found {
        let on = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        let kernel = on.is_ok_and(|text| text.trim() == "Y");
        let policy = Path::new("/sys/kernel/security/apparmor");
        let loaded = || fs::read_to_string(policy.join("profiles")).unwrap_or_default();
        Found {
            kernel,
            // The name of its usual profile is in it.
            lxc: if kernel { library::has(b"lxc-container-default-cgns") } else { None },
            mounts: kernel && policy.join("features/mount/mask").exists(),
            loaded: kernel && is_loaded(&loaded()),
            file: kernel && Path::new(FILE).exists(),
            parser: kernel && Tool::find("apparmor_parser").is_ok(),
        }
    }

    /// The best that can be had.
    pub fn best(self) -> Profile {
        match self {
            Found { kernel: false, .. } | Found { lxc: None | Some(false), .. } => Profile::Unsaid,
            Found { mounts: false, .. } => Profile::Unconfined,
            Found { loaded: true, .. } => Profile::Guest,
            Found { parser: true, file: true, .. } => Profile::Loadable,
            Found { parser: true, .. } => Profile::Generated,
            _ => Profile::Unconfined,
        }
    }
}

/// `profiles` is the text of the kernel's list, a profile and its mode in each line.
fn is_loaded(profiles: &str) -> bool {
    profiles.lines().any(|line| line.split(' ').next() == Some(GUEST))
}

impl Profile {
    /// The lines of LXC's configuration.
    pub fn lines(self) -> &'static str {
        match self {
            Profile::Unsaid => "",
            Profile::Unconfined => "lxc.apparmor.profile = unconfined\n",
            Profile::Generated | Profile::Loadable => {
                "lxc.apparmor.profile = generated\nlxc.apparmor.allow_nesting = 1\n"
            }
            Profile::Guest => "lxc.apparmor.profile = cloudbox-guest\n",
        }
    }
}

/// The profile of a container that is about to start. Ours is loaded if it is not; where it cannot be, LXC makes one.
pub fn prepare(ctx: &Ctx) -> Profile {
    let best = Found::look().best();
    if best != Profile::Loadable {
        return best;
    }
    let load = Tool::command("apparmor_parser")
        .and_then(|mut parser| tool::run(parser.args(["--replace", FILE]), ctx, LOAD_TIME));
    match load {
        Ok(_) => Profile::Guest,
        Err(error) => {
            warn!("AppArmor's profile {GUEST} cannot be loaded: {error}");
            Profile::Generated
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_decides_what_lxc_is_told() {
        let all =
            Found { kernel: true, lxc: Some(true), mounts: true, loaded: true, file: true, parser: true };
        let bare = Found { loaded: false, file: false, parser: false, ..all };
        for (found, best) in [
            (all, Profile::Guest),
            (Found { file: false, parser: false, ..all }, Profile::Guest),
            (Found { loaded: false, ..all }, Profile::Loadable),
            (Found { parser: true, ..bare }, Profile::Generated),
            // A start with LXC's usual profile would fail where that is not loaded.
            (Found { file: true, ..bare }, Profile::Unconfined),
            (bare, Profile::Unconfined),
            (Found { mounts: false, ..all }, Profile::Unconfined),
            // OpenWrt's LXC refuses the option.
            (Found { lxc: Some(false), ..all }, Profile::Unsaid),
            (Found { lxc: None, ..all }, Profile::Unsaid),
            (Found { kernel: false, ..all }, Profile::Unsaid),
        ] {
            assert_eq!(found.best(), best, "{found:?}");
        }
    }

    #[test]
    fn a_profile_is_loaded_when_the_kernels_list_has_its_whole_name() {
        assert!(is_loaded("lxc-start (enforce)\ncloudbox-guest (enforce)\n"));
        assert!(!is_loaded("cloudbox-guest2 (enforce)\n/usr/bin/cloudbox-guest (enforce)\n"));
        assert!(Profile::Guest.lines().ends_with(&format!("{GUEST}\n")));
        assert!(FILE.ends_with(GUEST));
        let text = include_str!("../../../files/etc/apparmor.d/cloudbox-guest");
        assert!(text.contains(&format!("\nprofile {GUEST} ")), "{text}");
    }
}

//! A method, who calls it, and what the process of the commons may do with it.
//!
//! ubusd tells with each call as which user its caller runs, and nobody can forge that. What that process may do stands in
//! each row of the table of methods; a row without such a word does not compile. Its access list
//! (`files/usr/share/acl.d/cloudbox-commons.json`) says the same to ubusd, but nothing here rests on it.

use super::super::core::{Answer, Core};
use crate::api::COMMONS_USER;
use crate::error::Result;
use crate::state::State;
use openwrt_ubus::signature::Argument;

/// A method.
pub struct Method {
    /// Its name.
    pub name: &'static str,
    /// What it takes, as it is published.
    pub arguments: fn() -> Vec<Argument>,
    /// What it does. The slice holds the call's arguments, as they came.
    pub call: fn(&mut Core, &[u8]) -> Result<Answer>,
    /// What of it the process of the commons may do.
    pub commons: Grant,
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Caller {
    /// Root; rpcd is, too, which has asked its own lists about whoever is behind it.
    Root,
    /// The process of the commons.
    Commons,
    /// Whom an access list of the box lets call: by custom the group `cloudbox`.
    #[default]
    Other,
}

impl Caller {
    /// Who it is that runs as `user`.
    pub fn of(user: Option<&str>) -> Caller {
        match user {
            Some("root") => Caller::Root,
            Some(COMMONS_USER) => Caller::Commons,
            _ => Caller::Other,
        }
    }
}

/// What the process of the commons may do with a method.
pub enum Grant {
    /// Nothing.
    Nothing,
    /// What anybody may, when this lets it: the argument `name` is the container.
    If(fn(&State, &str) -> Result<()>),
    /// This in the place of what others get.
    Instead(fn(&mut Core, &[u8]) -> Result<Answer>),
    /// All of it, and but for root nobody else.
    Alone,
}

//! Who may do what: `ubusd`'s access lists.

use super::Credentials;

/// A file of `/usr/share/acl.d`: what a user or the members of a group may do, who could do nothing without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The user's name.
    pub user: Option<String>,
    /// The group's name, where no user is named.
    pub group: Option<String>,
    /// Paths of objects, and the methods that may be called there; `*` is all of them. A path that ends in `*` is the
    /// beginning of others, as everywhere below.
    pub methods: Vec<(String, Vec<String>)>,
    /// Objects that may be published.
    pub publish: Vec<String>,
    /// Objects that may be subscribed to.
    pub subscribe: Vec<String>,
    /// Events that may be listened to.
    pub listen: Vec<String>,
    /// Events that may be sent.
    pub send: Vec<String>,
}

impl Access {
    /// Whether the list is about a client. Unlike `ubusd`, the broker knows its primary group alone.
    fn is_for(&self, client: &Credentials) -> bool {
        match (&self.user, &self.group) {
            (Some(user), _) => *user == client.user,
            (None, Some(group)) => *group == client.group,
            (None, None) => false,
        }
    }
}

/// All access lists.
#[derive(Debug, Default)]
pub(super) struct Lists(Vec<Access>);

impl Lists {
    pub(super) fn add(&mut self, access: Access) {
        self.0.push(access);
    }

    pub(super) fn may_call(&self, client: &Credentials, path: &[u8], method: &[u8]) -> bool {
        let granted = |methods: &[String]| methods.iter().any(|m| m == "*" || m.as_bytes() == method);
        let of_list = |access: &Access| {
            access.methods.iter().any(|(pattern, methods)| matches(pattern, path) && granted(methods))
        };
        self.allow(client, of_list)
    }

    pub(super) fn may_publish(&self, client: &Credentials, path: &[u8]) -> bool {
        self.allow(client, |access| any(&access.publish, path))
    }

    pub(super) fn may_subscribe(&self, client: &Credentials, path: &[u8]) -> bool {
        self.allow(client, |access| any(&access.subscribe, path))
    }

    pub(super) fn may_listen(&self, client: &Credentials, event: &[u8]) -> bool {
        self.allow(client, |access| any(&access.listen, event))
    }

    pub(super) fn may_send(&self, client: &Credentials, event: &[u8]) -> bool {
        self.allow(client, |access| any(&access.send, event))
    }

    fn allow(&self, client: &Credentials, granted: impl Fn(&Access) -> bool) -> bool {
        client.is_root() || self.0.iter().any(|access| access.is_for(client) && granted(access))
    }
}

fn any(patterns: &[String], text: &[u8]) -> bool {
    patterns.iter().any(|pattern| matches(pattern, text))
}

fn matches(pattern: &str, text: &[u8]) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => text.starts_with(beginning.as_bytes()),
        None => text == pattern.as_bytes(),
    }
}

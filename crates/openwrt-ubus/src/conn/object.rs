use crate::signature::{self, Argument};
use serde::Deserialize;

/// An object as it is offered on the bus: a path, and methods with what they take.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Name {
///     name: String,
/// }
///
/// let object = openwrt_ubus::Object::new("cloudbox.container").method::<()>("list").method::<Name>("info");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    path: String,
    methods: Vec<(String, Vec<Argument>)>,
}

impl Object {
    /// An object without methods. `path` is what callers name it by; by custom lower-case words with dots between.
    pub fn new(path: &str) -> Self {
        Self { path: path.to_owned(), methods: Vec::new() }
    }

    /// Adds a method whose arguments are the fields of `A` ([`signature::arguments`]). Nobody on the way checks a
    /// call's arguments against them: read them with [`from_fields`](crate::from_fields).
    #[must_use]
    pub fn method<'de, A: Deserialize<'de>>(self, name: &str) -> Self {
        self.method_of(name, signature::arguments::<A>())
    }

    /// Adds a method with its arguments spelled out.
    #[must_use]
    pub fn method_of(mut self, name: &str, arguments: Vec<Argument>) -> Self {
        self.methods.push((name.to_owned(), arguments));
        self
    }

    /// The path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The methods with their arguments, in the order they were added.
    pub fn methods(&self) -> &[(String, Vec<Argument>)] {
        &self.methods
    }

    pub(crate) fn has_method(&self, name: &[u8]) -> bool {
        self.methods.iter().any(|(known, _)| known.as_bytes() == name)
    }

    /// Writes the inside of the SIGNATURE attribute.
    pub(crate) fn put_signature(&self, out: &mut Vec<u8>) {
        for (name, arguments) in &self.methods {
            signature::put_method(out, name, arguments);
        }
    }
}

use crate::read::{Field, FromTable};
use crate::signature::{self, Argument};

/// An object as it is offered on the bus: a path, and methods with what they take.
///
/// ```
/// openwrt_ubus::tables! {
///     struct Name {
///         name: String,
///     }
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

    /// An object of methods that are listed: a name, and the [`FromTable::FIELDS`] of what it takes.
    pub fn of(path: &str, methods: &[(&str, &[Field])]) -> Self {
        let mut object = Self::new(path);
        for (name, fields) in methods {
            object.methods.push(((*name).to_owned(), signature::of_fields(fields)));
        }
        object
    }

    /// Adds a method whose arguments are the fields of `A` ([`signature::arguments`]). Nobody on the way checks a
    /// call's arguments against them: read them with [`from_table`](crate::from_table).
    #[must_use]
    pub fn method<A: FromTable>(self, name: &str) -> Self {
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

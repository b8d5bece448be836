//! Undoing what was done, last first, as far as possible.

use crate::error::{Error, Result};

type Step<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// What takes back the steps done so far.
#[derive(Default)]
pub struct Undo<'a>(Vec<Step<'a>>);

impl<'a> Undo<'a> {
    /// Remembers what takes back the step just done, or about to be done.
    pub fn push(&mut self, step: impl FnOnce() -> Result<()> + 'a) {
        self.0.push(Box::new(step));
    }

    /// Takes nothing back when all went well; everything otherwise, whatever fails on the way. What could not be taken
    /// back is told with the error.
    ///
    /// # Errors
    /// That of `result`.
    pub fn unless_good<T>(self, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let left: Vec<Error> = self.0.into_iter().rev().filter_map(|step| step().err()).collect();
            error.with_leftovers(&left)
        })
    }
}

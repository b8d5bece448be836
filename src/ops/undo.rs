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

    /// Everything went well: nothing is taken back.
    pub fn disarm(self) {
        drop(self.0);
    }

    /// Takes everything back after `error`, whatever fails on the way; the failures are told with it.
    pub fn unwind(self, error: Error) -> Error {
        let left: Vec<Error> = self.0.into_iter().rev().filter_map(|step| step().err()).collect();
        error.with_leftovers(&left)
    }
}

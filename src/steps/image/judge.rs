//! Has a child that may next to nothing judge an archive ([`tar`]): what comes back is the checked stream, or the names
//! of an archive that is to be read once more.

use super::import::CONVERSION;
use super::tar::{self, Known, LeftOut, Passed, Sink, NAME_BYTES};
use crate::error::Result;
use crate::steps::ctx::Ctx;
use crate::steps::in_a_child::{in_a_child, strange, Frames, STREAM};
use crate::steps::tool::Source;
use serde::{Deserialize, Serialize};

/// A frame with some of the archive's names, [`NAME_BYTES`] each.
const NAMES: u8 = b'n';
/// A frame with an [`End`], as JSON.
const END: u8 = b'e';
/// Names that go together.
const TOGETHER: usize = 1000;

/// What the archive came to.
#[derive(Serialize, Deserialize)]
enum End {
    /// It was passed on, without this.
    Whole(LeftOut),
    /// It is to be read once more: what is known but for the names.
    Again(bool, bool),
}

/// As [`tar::pass`], in a child.
///
/// # Errors
/// Those of [`tar::pass`] and of [`in_a_child`].
pub fn pass(ctx: &Ctx, source: &mut dyn Source, sink: &mut dyn Sink, known: &Known) -> Result<Passed> {
    let child_knows = known.clone();
    let judge =
        move |source: &mut dyn Source, frames: &mut Frames| match tar::pass(source, frames, &child_knows)? {
            Passed::Whole(left_out) => frames.say_json(END, &End::Whole(left_out)),
            Passed::Again(again) => {
                let names: Vec<_> = again.names().collect();
                names.chunks(TOGETHER).try_for_each(|some| frames.say(NAMES, some.as_flattened()))?;
                let (complete, unified) = again.head();
                frames.say_json(END, &End::Again(complete, unified))
            }
        };
    let mut again = known.with_head(known.head());
    let mut end = None;
    in_a_child(ctx, "archive reader", CONVERSION, source, judge, &mut |kind, content| {
        match kind {
            STREAM => sink.write(content)?,
            NAMES => add_names(&mut again, content)?,
            END => end = Some(serde_json::from_slice(content).map_err(|_| strange())?),
            _ => return Err(strange()),
        }
        Ok(true)
    })?;
    match end {
        Some(End::Whole(left_out)) => Ok(Passed::Whole(left_out)),
        Some(End::Again(complete, unified)) => {
            again.set_head((complete, unified));
            Ok(Passed::Again(again))
        }
        None => Err(strange()),
    }
}

fn add_names(known: &mut Known, names: &[u8]) -> Result<()> {
    let added = names.chunks(NAME_BYTES).all(|name| name.try_into().is_ok_and(|name| known.add_name(name)));
    if added {
        Ok(())
    } else {
        Err(strange())
    }
}

impl Sink for Frames {
    fn write(&mut self, data: &[u8]) -> Result<()> {
        self.stream(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_as_they_were_told() {
        let mut name = [7; NAME_BYTES];
        name[NAME_BYTES - 1] = 1;
        let mut known = Known::default();
        add_names(&mut known, &name).unwrap();
        assert_eq!(known.names().collect::<Vec<_>>(), [name]);
        let error = add_names(&mut known, &name[1..]).unwrap_err();
        assert!(error.message.contains("may be an attack"), "{error}");
    }
}

//! The binary's size.

use crate::options::Options;
use crate::table::Row;
use crate::Result;

/// 800 KB.
const MAX: u64 = 800_000;

/// Adds the row.
pub fn measure(options: &Options, done: &mut Vec<Row>) -> Result<()> {
    let work = format!("static binary, {}, stripped", std::env::consts::ARCH);
    if !options.is_static {
        done.push(Row::missing(&work, None, "–", "the static build failed"));
        return Ok(());
    }
    let bytes = std::fs::metadata(&options.binary)?.len();
    done.push(Row::limit(&work, format!("{bytes} bytes"), &format!("≤ {MAX} bytes"), bytes <= MAX));
    Ok(())
}

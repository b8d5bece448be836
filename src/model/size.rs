//! Sizes in bytes and shares of processors, as people write them.

use crate::error::{quoted, Code, Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;

const UNITS: [(char, u64); 4] = [('K', 1 << 10), ('M', 1 << 20), ('G', 1 << 30), ('T', 1 << 40)];

/// A number of bytes, written `512M`, `4G`, `65536`; units are powers of 1024. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    /// Reads `text`: a whole number above 0, with an optional unit K, M, G or T (an `iB` or `B` behind it is allowed).
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming `what`.
    pub fn parse(what: &str, text: &str) -> Result<Bytes> {
        let wrong = |why: &str| {
            Error::new(
                Code::InvalidArgument,
                format_args!(
                    "{what} {text}: {why}; write a whole number and K, M, G or T, such as 512M",
                    text = quoted(text)
                ),
            )
            .about(what)
        };
        let trimmed = text.trim();
        let number_end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(number_end);
        if digits.is_empty() {
            return Err(wrong("it is no size"));
        }
        let number: u64 = digits.parse().map_err(|_| wrong("it is too large"))?;
        let unit = unit.trim().to_ascii_uppercase();
        let unit = unit.strip_suffix("IB").or(unit.strip_suffix('B')).unwrap_or(&unit);
        let factor = match unit {
            "" => 1,
            _ => {
                let mut letters = unit.chars();
                let letter = letters.next();
                match UNITS.iter().find(|(u, _)| Some(*u) == letter) {
                    Some((_, factor)) if letters.next().is_none() => *factor,
                    _ => return Err(wrong("its unit is unknown")),
                }
            }
        };
        match number.checked_mul(factor) {
            Some(0) => Err(wrong("it must be more than 0")),
            Some(bytes) if i64::try_from(bytes).is_ok() => Ok(Bytes(bytes)),
            _ => Err(wrong("it is too large")),
        }
    }

    /// The bytes.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Bytes {
    /// Exact when it is a whole number of some unit (`512M`), else with one decimal (`23.4G`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((unit, factor)) = UNITS.iter().rev().find(|(_, factor)| self.0 >= *factor) else {
            return write!(f, "{}", self.0);
        };
        let tenths = (self.0 % factor) * 10 / factor;
        if tenths == 0 {
            write!(f, "{}{unit}", self.0 / factor)
        } else {
            write!(f, "{}.{tenths}{unit}", self.0 / factor)
        }
    }
}

impl Bytes {
    /// As text that [`Bytes::parse`] reads back to the same number.
    pub fn exact(self) -> String {
        match UNITS.iter().rev().find(|(_, factor)| self.0 % factor == 0 && self.0 > 0) {
            Some((unit, factor)) => format!("{}{unit}", self.0 / factor),
            None => self.0.to_string(),
        }
    }
}

/// A share of processors in thousandths: `1` is 1000, `0.5` is 500. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(pub u32);

impl Cpus {
    /// The most a container may be given, in thousandths.
    const MAX: u32 = 1_024_000;

    /// Reads `text`: a number above 0, with up to three decimals.
    ///
    /// # Errors
    /// [`Code::InvalidArgument`], naming `what`.
    pub fn parse(what: &str, text: &str) -> Result<Cpus> {
        let wrong = || {
            Error::new(
                Code::InvalidArgument,
                format_args!(
                    "{what} {text} is no number of processors; write one from 0.01 to 1024, such as 1 or 0.5",
                    text = quoted(text)
                ),
            )
            .about(what)
        };
        let (whole, decimals) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
        let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !all_digits(whole) || !all_digits(decimals) || decimals.len() > 3 || whole.len() > 4 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let scale = [100, 10, 1][decimals.len() - 1];
        let fraction: u32 = decimals.parse::<u32>().map_err(|_| wrong())? * scale;
        let milli = whole * 1000 + fraction;
        // Below a hundredth the kernel refuses the quota: 1 ms per 100 ms is its least.
        if (10..=Self::MAX).contains(&milli) {
            Ok(Cpus(milli))
        } else {
            Err(wrong())
        }
    }

    /// Thousandths of a processor.
    pub fn milli(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 1000, self.0 % 1000);
        if fraction == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{fraction:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_and_write() {
        for (text, bytes, exact, shown) in [
            ("1", 1, "1", "1"),
            ("512M", 512 << 20, "512M", "512M"),
            ("4G", 4 << 30, "4G", "4G"),
            ("4GiB", 4 << 30, "4G", "4G"),
            ("4gb", 4 << 30, "4G", "4G"),
            (" 64 k ", 64 << 10, "64K", "64K"),
            ("1536M", 1536 << 20, "1536M", "1.5G"),
            ("1000", 1000, "1000", "1000"),
            ("2T", 2 << 40, "2T", "2T"),
            ("1048577", (1 << 20) + 1, "1048577", "1M"),
        ] {
            let size = Bytes::parse("memory", text).unwrap();
            assert_eq!(size, Bytes(bytes), "{text}");
            assert_eq!(size.exact(), exact, "{text}");
            assert_eq!(size.to_string(), shown, "{text}");
            assert_eq!(Bytes::parse("memory", &size.exact()).unwrap(), size);
        }
    }

    #[test]
    fn nothing_has_no_unit() {
        assert_eq!((Bytes(0).exact(), Bytes(0).to_string()), ("0".into(), "0".into()));
    }

    #[test]
    fn wrong_sizes_name_the_thing_and_the_value() {
        for bad in
            ["", "-1", "0", "0M", "10X", "1.5G", "M", "99999999999999999999", "9999999T", "1KK", "12 34"]
        {
            let error = Bytes::parse("memory", bad).unwrap_err();
            assert_eq!(error.code, Code::InvalidArgument, "{bad}");
            assert!(error.message.contains("memory") && error.message.contains(&format!("{bad:?}")), "{bad}");
        }
    }

    #[test]
    fn processors() {
        for (text, milli, shown) in [
            ("1", 1000, "1"),
            ("0.5", 500, "0.5"),
            ("2.25", 2250, "2.25"),
            ("0.01", 10, "0.01"),
            ("1.0", 1000, "1"),
        ] {
            let cpus = Cpus::parse("cpus", text).unwrap();
            assert_eq!((cpus.milli(), cpus.to_string().as_str()), (milli, shown), "{text}");
        }
        for bad in ["", "0", "0.0", "-1", "x", "1.", ".5", "1.2345", "99999", "0.001", "1e3"] {
            assert!(Cpus::parse("cpus", bad).is_err(), "{bad}");
        }
    }
}

//! Everything that happened, as a hash, and on request as text.

use std::fmt;

use dsc_lib::units::Millis;

#[derive(Debug)]
pub(crate) struct Trace {
    hasher: blake3::Hasher,
    start: Millis,
    is_shown: bool,
}

impl Trace {
    pub(crate) fn new(start: Millis, is_shown: bool) -> Self {
        Self { hasher: blake3::Hasher::new(), start, is_shown }
    }

    pub(crate) fn note(&mut self, now: Millis, what: impl fmt::Display) {
        let line = format!("{:>8} {what}\n", now.since(self.start));
        if self.is_shown {
            print!("{line}");
        }
        self.hasher.update(line.as_bytes());
    }

    /// Stands for every line.
    pub(crate) fn hash(&self) -> String {
        self.hasher.finalize().to_hex()[..16].to_owned()
    }
}

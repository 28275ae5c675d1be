//! Where the servers of a role are, and which of them is asked first.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

/// One address or several. The one that answered last is asked first, by all who share them; the
/// one after it if that hears nothing of what it shares with the others, and may be behind.
#[derive(Debug)]
pub(super) struct Addresses {
    urls: Vec<String>,
    last: AtomicUsize,
    is_stale: AtomicBool,
}

impl Addresses {
    /// Addresses split by commas.
    pub(super) fn parse(urls: &str) -> Self {
        let urls = urls.split(',').map(|url| url.trim_end_matches('/').to_owned());
        let (last, is_stale) = (AtomicUsize::new(0), AtomicBool::new(false));
        Self { urls: urls.collect(), last, is_stale }
    }

    pub(super) fn urls(&self) -> impl Iterator<Item = &str> {
        self.urls.iter().map(String::as_str)
    }

    pub(super) fn count(&self) -> usize {
        self.urls.len()
    }

    /// The one that answered last.
    pub(super) fn last(&self) -> &str {
        self.urls.get(self.last.load(Relaxed)).map(String::as_str).unwrap_or_default()
    }

    /// Whether the one that answered last heard nothing of what it shares with the others.
    pub(super) fn is_stale(&self) -> bool {
        self.is_stale.load(Relaxed)
    }

    /// Every address once, with its index: that which is asked first, and those after it.
    pub(super) fn in_turn(&self) -> impl Iterator<Item = (usize, &str)> {
        let first = self.last.load(Relaxed).saturating_add(usize::from(self.is_stale()));
        let urls = self.urls.iter().map(String::as_str).enumerate();
        urls.cycle().skip(first).take(self.urls.len())
    }

    /// This one has answered.
    pub(super) fn heard(&self, index: usize, is_stale: bool) {
        self.last.store(index, Relaxed);
        self.is_stale.store(is_stale, Relaxed);
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.urls.join(", "))
    }
}

//! `tag(key, n)`: the one keyed hash that every engine searches, in bulk.
//!
//! `tag` is the first 8 bytes, read little-endian, of BLAKE3 keyed with `key` over 40 bytes: 32
//! zero bytes, the high half of `n` and the low half of `n`, each little-endian.
//!
//! # Invariants
//!
//! 1. Every [`Path`] gives the value that [`tag`] gives, for every key and input.
//! 2. A [`Tagger`] holds only a path that the CPU it runs on has.
//!
//! `tests.rs` checks the first against the `blake3` crate; the constructors keep the second.

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
mod avx2;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
mod avx512;
mod kernel;
#[cfg(target_arch = "aarch64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
mod neon;
mod pair;
mod scalar;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector intrinsics")]
mod sse41;
#[cfg(test)]
mod tests;

use std::fmt;

use kernel::{Idle, KeySchedule};

/// The key of a tag function, made by `hash::derive`.
pub type Key = [u8; 32];

/// Returns one tag, computed by the `blake3` crate: the reference for every faster path.
///
/// To compute many under one key, make a [`Tagger`].
pub fn tag(key: &Key, n: u64) -> u64 {
    let mut message = [0; 40];
    // Rotated, the little-endian bytes of `n` are its high half followed by its low half.
    message[32..].copy_from_slice(&n.rotate_left(32).to_le_bytes());
    let digest = blake3::keyed_hash(key, &message);
    let mut first = [0; 8];
    first.copy_from_slice(&digest.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

/// A way to compute tags: an instruction set and the number of lanes that it gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Path {
    /// One value at a time, on any CPU.
    Scalar,
    /// 4 lanes, on x86-64 with SSE4.1.
    Sse41,
    /// 8 lanes, on x86-64 with AVX2.
    Avx2,
    /// 16 lanes, on x86-64 with AVX-512F.
    Avx512,
    /// 4 lanes, on 64-bit Arm.
    Neon,
}

impl Path {
    /// Every path, the faster before the slower.
    const ALL: [Self; 5] = [Self::Avx512, Self::Avx2, Self::Sse41, Self::Neon, Self::Scalar];

    /// Returns the paths that this CPU has, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|path| path.is_available())
    }

    /// Returns the fastest path that this CPU has.
    pub fn best() -> Self {
        Self::available().next().unwrap_or(Self::Scalar)
    }

    /// Tells whether this CPU has the path; the standard library keeps what the CPU answered.
    fn is_available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Sse41 => is_x86_feature_detected!("sse4.1"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scalar => "scalar",
            Self::Sse41 => "sse4.1",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Neon => "neon",
        })
    }
}

/// Calls the function of this name on a tagger's path.
macro_rules! on_path {
    ($tagger:ident, $function:ident($($argument:expr),*)) => {
        match $tagger.path {
            // SAFETY: a tagger holds only a path that the CPU has.
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => unsafe { avx512::$function(&$tagger.schedule, $($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => unsafe { avx2::$function(&$tagger.schedule, $($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Path::Sse41 => unsafe { sse41::$function(&$tagger.schedule, $($argument),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "aarch64")]
            Path::Neon => unsafe { neon::$function(&$tagger.schedule, $($argument),*) },
            _ => pair::$function::<u32, 1, 2>(&$tagger.schedule, $($argument),*),
        }
    };
}

/// What a caller does while tags are computed.
///
/// The CPU executes a few hundred instructions ahead, no more: memory accesses that are to overlap
/// with hashing have to stand among its instructions, not before them.
pub(crate) trait Aside {
    /// Whether a turn does nothing, ever.
    const IS_IDLE: bool = false;

    /// Does a little; always to be inlined, or every vector register is saved for it.
    fn turn(&mut self);
}

/// The tag function of one key: a small value that is cheap to make and to copy.
///
/// # Examples
///
/// ```
/// use dsc_lib::tag::{Tagger, tag};
///
/// let key = [7; 32];
/// let mut out = [0; 100];
/// Tagger::new(&key).fill_range(1_000, &mut out);
/// assert_eq!(out[99], tag(&key, 1_099));
/// ```
#[derive(Clone)]
pub struct Tagger {
    schedule: KeySchedule,
    path: Path,
}

impl Tagger {
    /// Prepares `key` for the fastest path that this CPU has.
    pub fn new(key: &Key) -> Self {
        Self { schedule: KeySchedule::new(key), path: Path::best() }
    }

    /// Prepares `key` for one path, or returns `None` if this CPU does not have it.
    pub fn with_path(key: &Key, path: Path) -> Option<Self> {
        path.is_available().then(|| Self { schedule: KeySchedule::new(key), path })
    }

    /// Returns the path that the bulk methods take.
    pub const fn path(&self) -> Path {
        self.path
    }

    /// Returns the tag of one input.
    pub fn tag(&self, n: u64) -> u64 {
        self.schedule.tag(n)
    }

    /// Writes the tag of `first + i`, modulo 2^64, to each `out[i]`.
    #[allow(unsafe_code, reason = "calls of functions that need CPU features")]
    pub fn fill_range(&self, first: u64, out: &mut [u64]) {
        on_path!(self, fill_range(first, out));
    }

    /// Writes the tag of `inputs[i]` to each `out[i]`.
    ///
    /// # Panics
    ///
    /// If the slices differ in length.
    pub fn fill_slice(&self, inputs: &[u64], out: &mut [u64]) {
        self.fill_slice_aside(inputs, out, &mut Idle);
    }

    /// [`Tagger::fill_slice`] that gives `aside` a turn for each lane, evenly among its own work.
    ///
    /// # Panics
    ///
    /// If the slices differ in length.
    #[allow(unsafe_code, reason = "calls of functions that need CPU features")]
    pub(crate) fn fill_slice_aside(&self, inputs: &[u64], out: &mut [u64], aside: &mut impl Aside) {
        assert_eq!(inputs.len(), out.len(), "one output for each input");
        on_path!(self, fill_slice(inputs, out, aside));
    }

    /// Returns the lowest tag of `count` inputs from `first` on, modulo 2^64, and its input.
    ///
    /// The input breaks ties: the lower wins. `None` if `count` is zero.
    #[allow(unsafe_code, reason = "calls of functions that need CPU features")]
    pub fn min_in_range(&self, first: u64, count: u64) -> Option<(u64, u64)> {
        if count == 0 {
            return None;
        }
        Some(on_path!(self, min_in_range(first, count)))
    }
}

impl fmt::Debug for Tagger {
    /// Shows the path and not the key schedule.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tagger").field("path", &self.path).finish_non_exhaustive()
    }
}

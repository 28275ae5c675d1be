//! The compression of one 40-byte message, written once for vectors of any width.
//!
//! # Invariants
//!
//! 1. Message words 8 and 9 hold the high and the low half of `n`; the other fourteen are zero and
//!    never added.
//! 2. Round 1 reads word 9 in its last diagonal step only, so a [`KeySchedule`] holds everything
//!    before that, and an [`absorb_high`] result everything up to the low half.
//! 3. Round 7 computes only what words 0 and 1 of the digest need.
//! 4. A short tail is computed as one whole vector, of which the part that is asked for is kept.
//! 5. The low half never wraps inside a [`Run`]: a range is cut where its high half changes.
//!
//! `tests.rs` holds every vector type to the `blake3` crate. State words are spelled `v[i]`, and
//! nothing here loops over them: the compiler has to see every index to keep them in registers.
//!
//! Source: BLAKE3 specification, sections 2.2 (compression) and 2.3 (keyed hash).
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "lane arithmetic wraps by definition, and indices of state words are constants"
)]
#![allow(clippy::many_single_char_names, reason = "the names of the BLAKE3 specification")]
#![allow(
    clippy::inline_always,
    reason = "vector code is slow and needs the caller's CPU features until it is inlined there"
)]

use super::{Aside, Key};

/// The first four words of the SHA-256 initial state, which BLAKE3 uses as constants.
const IV: [u32; 4] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a];
/// Length of the message in bytes.
const BLOCK_LEN: u32 = 40;
/// `CHUNK_START | CHUNK_END | ROOT | KEYED_HASH`: one block that is the whole keyed input.
const FLAGS: u32 = 1 | 2 | 8 | 16;
/// Where each round adds the low and the high half of `n`, as indices into the permuted message.
const POSITIONS: [(usize, usize); 7] = positions();

/// A vector of 32-bit lanes, one lane for each of `N` inputs.
///
/// Lane `i` need not belong to input `i`: [`Lanes::steps`], [`Lanes::split`] and [`Lanes::join`]
/// agree on an order that saves the shuffles between 128-bit halves.
pub(super) trait Lanes<const N: usize>: Copy {
    /// Repeats a word in every lane.
    fn splat(word: u32) -> Self;
    /// Returns the index of each lane's input: a permutation of `0..N`.
    fn steps() -> Self;
    /// Adds lane by lane, modulo 2^32.
    fn add(self, other: Self) -> Self;
    /// Combines lane by lane with exclusive or.
    fn xor(self, other: Self) -> Self;
    /// Rotates each lane right by 16 bits.
    fn rotate16(self) -> Self;
    /// Rotates each lane right by 12 bits.
    fn rotate12(self) -> Self;
    /// Rotates each lane right by 8 bits.
    fn rotate8(self) -> Self;
    /// Rotates each lane right by 7 bits.
    fn rotate7(self) -> Self;
    /// Splits inputs into vectors of their low and high halves.
    fn split(inputs: &[u64; N]) -> (Self, Self);
    /// Undoes [`Lanes::split`].
    fn join(low: Self, high: Self, out: &mut [u64; N]);
    /// Tells whether any lane is at most its bound.
    fn any_at_most(self, bound: Self) -> bool;
    /// Returns the value, which the compiler must have computed before it goes on to what has an
    /// effect; where that is not told, it may compute vectors after all turns of an [`Aside`].
    #[inline(always)]
    fn pin(self) -> Self {
        self
    }
}

/// What the tag of every `n` under one key has in common.
#[derive(Clone)]
pub(super) struct KeySchedule {
    words: [u32; 16],
}

impl KeySchedule {
    /// Runs the part of rounds 1 and 2 that does not depend on `n`.
    pub(super) fn new(key: &Key) -> Self {
        let mut v = initial_state(key);
        let unused = Message::<u32, 1> { low: 0, high: 0 };
        columns(&mut v, unused);
        mix(&mut v, DIAGONALS[1], unused, 10);
        mix(&mut v, DIAGONALS[2], unused, 12);
        mix(&mut v, DIAGONALS[3], unused, 14);
        // The first diagonal of round 1 up to the addition of word 8.
        v[0] = v[0].add(v[5]);
        // Columns 3 and 4 of round 2 up to the first word that varies.
        v[2] = v[2].add(v[6]);
        v[14] = v[14].xor(v[2]).rotate16();
        v[3] = v[3].add(v[7]);
        Self { words: v }
    }

    /// Returns the tag of one input.
    pub(super) fn tag(&self, n: u64) -> u64 {
        let (low, high) = u32::split(&[n]);
        let (low, high) = compress(absorb_high(self.words, high), low, high, &mut Idle);
        let mut out = [0];
        u32::join(low, high, &mut out);
        out[0]
    }
}

/// Loads the state that precedes round 1; the chunk counter is zero.
fn initial_state(key: &Key) -> [u32; 16] {
    let mut v = [0; 16];
    for (word, bytes) in v.iter_mut().zip(key.as_chunks::<4>().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    v[8..12].copy_from_slice(&IV);
    v[14] = BLOCK_LEN;
    v[15] = FLAGS;
    v
}

/// Follows words 9 and 8 through the message permutation.
const fn positions() -> [(usize, usize); 7] {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut positions = [(9, 8); 7];
    let mut round = 1;
    while round < 7 {
        let mut to = 0;
        while to < 16 {
            if PERMUTATION[to] == positions[round - 1].0 {
                positions[round].0 = to;
            }
            if PERMUTATION[to] == positions[round - 1].1 {
                positions[round].1 = to;
            }
            to += 1;
        }
        round += 1;
    }
    positions
}

/// The two message words that are not zero, as one round reads them.
#[derive(Clone, Copy)]
struct Message<V, const ROUND: usize> {
    low: V,
    high: V,
}

/// The state words of the four quarter rounds down the columns, and down the diagonals.
const COLUMNS: [[usize; 4]; 4] = [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]];
const DIAGONALS: [[usize; 4]; 4] = [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]];

/// Adds the second word of a quarter round, and message word `index` of the round.
#[inline(always)]
fn add_word<V: Lanes<N>, const N: usize, const ROUND: usize>(
    v: &mut [V; 16],
    [a, b, _, _]: [usize; 4],
    m: Message<V, ROUND>,
    index: usize,
) {
    let (low_at, high_at) = const { POSITIONS[ROUND - 1] };
    if index == low_at {
        v[a] = v[a].add(m.low);
    } else if index == high_at {
        v[a] = v[a].add(m.high);
    }
    v[a] = v[a].add(v[b]);
}

/// The first half of a quarter round after its addition.
#[inline(always)]
fn turn_far<V: Lanes<N>, const N: usize>(v: &mut [V; 16], [a, b, c, d]: [usize; 4]) {
    v[d] = v[d].xor(v[a]).rotate16();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate12();
}

/// The second half of a quarter round after its addition.
#[inline(always)]
fn turn_near<V: Lanes<N>, const N: usize>(v: &mut [V; 16], [a, b, c, d]: [usize; 4]) {
    v[d] = v[d].xor(v[a]).rotate8();
    v[c] = v[c].add(v[d]);
    v[b] = v[b].xor(v[c]).rotate7();
}

/// A quarter round that reads message words `index` and `index + 1` of the round.
#[inline(always)]
fn mix<V: Lanes<N>, const N: usize, const ROUND: usize>(
    v: &mut [V; 16],
    quad: [usize; 4],
    m: Message<V, ROUND>,
    index: usize,
) {
    add_word(v, quad, m, index);
    turn_far(v, quad);
    add_word(v, quad, m, index + 1);
    turn_near(v, quad);
}

/// The first half of a round.
#[inline(always)]
fn columns<V: Lanes<N>, const N: usize, const ROUND: usize>(v: &mut [V; 16], m: Message<V, ROUND>) {
    mix(v, COLUMNS[0], m, 0);
    mix(v, COLUMNS[1], m, 2);
    mix(v, COLUMNS[2], m, 4);
    mix(v, COLUMNS[3], m, 6);
}

/// The second half of a round.
#[inline(always)]
fn diagonals<V: Lanes<N>, const N: usize, const ROUND: usize>(
    v: &mut [V; 16],
    m: Message<V, ROUND>,
) {
    mix(v, DIAGONALS[0], m, 8);
    mix(v, DIAGONALS[1], m, 10);
    mix(v, DIAGONALS[2], m, 12);
    mix(v, DIAGONALS[3], m, 14);
}

/// A whole round, with pauses number `pause` and the next.
#[inline(always)]
fn round<V: Lanes<N>, const N: usize, const ROUND: usize>(
    v: &mut [V; 16],
    m: Message<V, ROUND>,
    aside: &mut impl Aside,
    pause: usize,
) {
    columns(v, m);
    give_turns(v, aside, pause);
    diagonals(v, m);
    give_turns(v, aside, pause + 1);
}

/// The first half of round 2, of which the schedule has run the start of columns 3 and 4.
#[inline(always)]
fn second_columns<V: Lanes<N>, const N: usize, const ROUND: usize>(
    v: &mut [V; 16],
    m: Message<V, ROUND>,
) {
    mix(v, COLUMNS[0], m, 0);
    mix(v, COLUMNS[1], m, 2);
    v[10] = v[10].add(v[14]);
    v[6] = v[6].xor(v[10]).rotate12();
    add_word(v, COLUMNS[2], m, 5);
    turn_near(v, COLUMNS[2]);
    turn_far(v, COLUMNS[3]);
    add_word(v, COLUMNS[3], m, 7);
    turn_near(v, COLUMNS[3]);
}

/// The second half of round 7 as far as words 0 and 1 of the digest need it, and those words.
#[inline(always)]
fn last_diagonals<V: Lanes<N>, const N: usize, const ROUND: usize>(
    mut v: [V; 16],
    m: Message<V, ROUND>,
) -> (V, V) {
    for (quad, index) in [(DIAGONALS[0], 8), (DIAGONALS[1], 10)] {
        add_word(&mut v, quad, m, index);
        turn_far(&mut v, quad);
        add_word(&mut v, quad, m, index + 1);
    }
    for ([a, b, c, d], index) in [(DIAGONALS[2], 12), (DIAGONALS[3], 14)] {
        add_word(&mut v, [a, b, c, d], m, index);
        turn_far(&mut v, [a, b, c, d]);
        add_word(&mut v, [a, b, c, d], m, index + 1);
        v[c] = v[d].xor(v[a]).rotate8().add(v[c]);
    }
    (v[0].xor(v[8]), v[1].xor(v[9]))
}

/// Runs the first diagonal of round 1 from word 8 up to the addition of word 9.
#[inline(always)]
fn absorb_high<V: Lanes<N>, const N: usize>(mut v: [V; 16], high: V) -> [V; 16] {
    v[0] = v[0].add(high);
    turn_far(&mut v, DIAGONALS[0]);
    v[0] = v[0].add(v[5]);
    v
}

/// Nothing to do aside.
pub(super) struct Idle;

impl Aside for Idle {
    const IS_IDLE: bool = true;

    #[inline(always)]
    fn turn(&mut self) {}
}

/// Pauses in one compression.
const PAUSES: usize = 12;

/// Gives `aside` its turns of pause number `pause`: in all pauses together one for each lane.
#[inline(always)]
fn give_turns<V: Lanes<N>, const N: usize, A: Aside>(v: &mut [V; 16], aside: &mut A, pause: usize) {
    if A::IS_IDLE {
        return;
    }
    for word in &mut v[..4] {
        *word = word.pin();
    }
    for _ in pause * N / PAUSES..(pause + 1) * N / PAUSES {
        aside.turn();
    }
}

/// Finishes a state that [`absorb_high`] returned; gives words 0 and 1 of the digest.
#[inline(always)]
fn compress<V: Lanes<N>, const N: usize>(
    mut v: [V; 16],
    low: V,
    high: V,
    aside: &mut impl Aside,
) -> (V, V) {
    give_turns(&mut v, aside, 0);
    v[0] = v[0].add(low);
    turn_near(&mut v, DIAGONALS[0]);
    second_columns(&mut v, Message::<V, 2> { low, high });
    give_turns(&mut v, aside, 1);
    diagonals(&mut v, Message::<V, 2> { low, high });
    give_turns(&mut v, aside, 2);
    round(&mut v, Message::<V, 3> { low, high }, aside, 3);
    round(&mut v, Message::<V, 4> { low, high }, aside, 5);
    round(&mut v, Message::<V, 5> { low, high }, aside, 7);
    round(&mut v, Message::<V, 6> { low, high }, aside, 9);
    columns(&mut v, Message::<V, 7> { low, high });
    give_turns(&mut v, aside, 11);
    last_diagonals(v, Message::<V, 7> { low, high })
}

/// Repeats each word in every lane; `array::map` is not inlined, and slow without CPU features.
#[inline(always)]
fn splat_all<V: Lanes<N>, const N: usize>(words: &[u32; 16]) -> [V; 16] {
    let mut state = [V::splat(0); 16];
    for (vector, word) in state.iter_mut().zip(words) {
        *vector = V::splat(*word);
    }
    state
}

/// A block for a tail, on a boundary of any vector.
///
/// It also makes the compiler align its stack frame, and so the vectors that it spills.
#[repr(align(64))]
struct Scratch<const N: usize>([u64; N]);

/// Inputs `first`, `first + 1`, ... with one high half, and what their tags have in common.
struct Run<V> {
    state: [V; 16],
    low: V,
    high: V,
    stride: V,
}

impl<V> Run<V> {
    /// Starts at `first`.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a vector has at most 16 lanes")]
    fn new<const N: usize>(key: &KeySchedule, first: u64) -> Self
    where
        V: Lanes<N>,
    {
        let (low, high) = u32::split(&[first]);
        let state: [V; 16] = splat_all(&absorb_high(key.words, high));
        let low = V::splat(low).add(V::steps());
        Self { state, low, high: V::splat(high), stride: V::splat(N as u32) }
    }

    /// Compresses the next `N` inputs.
    #[inline(always)]
    fn next<const N: usize>(&mut self) -> (V, V)
    where
        V: Lanes<N>,
    {
        let words = compress(self.state, self.low, self.high, &mut Idle);
        self.low = self.low.add(self.stride);
        words
    }
}

/// Returns how many inputs from `first` on, itself included, share its high half.
fn left_in_run(first: u64) -> u64 {
    (1 << 32) - (first & 0xffff_ffff)
}

/// Writes the tags of `first`, `first + 1`, ... modulo 2^64.
#[inline(always)]
pub(super) fn fill_range<V: Lanes<N>, const N: usize>(
    key: &KeySchedule,
    mut first: u64,
    mut out: &mut [u64],
) {
    while !out.is_empty() {
        let count = usize::try_from(left_in_run(first)).unwrap_or(usize::MAX).min(out.len());
        let (now, later) = out.split_at_mut(count);
        fill_run(Run::<V>::new(key, first), now);
        first = first.wrapping_add(count as u64);
        out = later;
    }
}

/// Writes the tags of a run.
#[inline(always)]
fn fill_run<V: Lanes<N>, const N: usize>(mut run: Run<V>, out: &mut [u64]) {
    for block in out.chunks_mut(N) {
        let (low, high) = run.next();
        store(low, high, block);
    }
}

/// Returns the lowest tag and its input among `count` inputs from `first` on, modulo 2^64.
#[inline(always)]
pub(super) fn min_in_range<V: Lanes<N>, const N: usize>(
    key: &KeySchedule,
    mut first: u64,
    mut count: u64,
) -> (u64, u64) {
    let mut best = (u64::MAX, u64::MAX);
    while count > 0 {
        let now = left_in_run(first).min(count);
        best = best.min(min_of_run(Run::<V>::new(key, first), first, now));
        first = first.wrapping_add(now);
        count -= now;
    }
    best
}

/// Returns the lowest tag of a run, and its input.
#[inline(always)]
fn min_of_run<V: Lanes<N>, const N: usize>(mut run: Run<V>, first: u64, count: u64) -> (u64, u64) {
    let mut best = (u64::MAX, u64::MAX);
    let mut bound = V::splat(u32::MAX);
    for start in (0..count).step_by(N) {
        let (low, high) = run.next();
        if high.any_at_most(bound) {
            let mut scratch = Scratch([0; N]);
            let block = &mut scratch.0;
            V::join(low, high, block);
            let in_range = (start..count).map(|i| first + i);
            best = block.iter().copied().zip(in_range).fold(best, Ord::min);
            bound = V::splat(u32::split(&[best.0]).1);
        }
    }
    best
}

/// Writes the tag of each input; `out` is as long as `inputs`.
#[inline(always)]
pub(super) fn fill_slice<V: Lanes<N>, const N: usize>(
    key: &KeySchedule,
    inputs: &[u64],
    out: &mut [u64],
    aside: &mut impl Aside,
) {
    let state: [V; 16] = splat_all(&key.words);
    for (inputs, out) in inputs.chunks(N).zip(out.chunks_mut(N)) {
        let (low, high) = load(inputs);
        let (low, high) = compress(absorb_high(state, high), low, high, aside);
        store(low, high, out);
    }
}

/// Loads up to `N` inputs.
#[inline(always)]
fn load<V: Lanes<N>, const N: usize>(inputs: &[u64]) -> (V, V) {
    if let Ok(block) = inputs.try_into() {
        return V::split(block);
    }
    let mut scratch = Scratch([0; N]);
    scratch.0[..inputs.len()].copy_from_slice(inputs);
    V::split(&scratch.0)
}

/// Stores up to `N` tags.
#[inline(always)]
fn store<V: Lanes<N>, const N: usize>(low: V, high: V, out: &mut [u64]) {
    if let Ok(block) = (&mut *out).try_into() {
        return V::join(low, high, block);
    }
    let mut scratch = Scratch([0; N]);
    V::join(low, high, &mut scratch.0);
    out.copy_from_slice(&scratch.0[..out.len()]);
}

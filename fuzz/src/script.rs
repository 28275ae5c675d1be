//! Bytes read as a script: small numbers, large ones with edges, and choices.

/// What is left of a script; past its end everything is zero.
#[derive(Debug)]
pub(crate) struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// A number below `end`, which is at most 256.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::from(self.byte()) % end
    }

    pub(crate) fn pick<'t, T>(&mut self, from: &'t [T]) -> &'t T {
        &from[self.below(from.len())]
    }

    /// A place in something of `len` bytes, which may be long.
    pub(crate) fn place(&mut self, len: usize) -> usize {
        let [a, b, c] = [self.byte(), self.byte(), self.byte()];
        u32::from_le_bytes([a, b, c, 0]) as usize % len.max(1)
    }

    pub(crate) fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    pub(crate) fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// Up to `len` bytes, as many as are left.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number near an edge of `u64`, small, or any.
    pub(crate) fn number(&mut self) -> u64 {
        let (kind, near) = (self.byte(), u64::from(self.byte()));
        match kind % 8 {
            0..4 => near,
            4 => u64::MAX - near,
            5 => (1_u64 << (kind >> 3)).wrapping_add(near),
            6 => (1_u64 << (kind >> 3) << 32).wrapping_sub(near),
            _ => u64::from_le_bytes(self.array()),
        }
    }

    /// `number`, or the one a little above or below.
    pub(crate) fn around(&mut self, number: u64) -> u64 {
        match self.byte() {
            0..192 => number,
            192..208 => number.wrapping_add(1),
            208..224 => number.wrapping_sub(1),
            _ => self.number(),
        }
    }
}

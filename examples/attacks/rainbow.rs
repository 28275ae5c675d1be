//! Chains of a function that can be computed forwards: Hellman's tables and Oechslin's.
//!
//! The function is tabulated, as it is small, and what evaluating it would cost is counted.

use crate::table::Random;

/// A function from `0..2^bits` to itself with the hashes that each evaluation costs.
pub(crate) struct Function {
    pub(crate) bits: u32,
    pub(crate) images: Vec<u32>,
    pub(crate) costs: Vec<u64>,
}

impl Function {
    /// One hash for an evaluation.
    pub(crate) fn plain(bits: u32, images: Vec<u32>) -> Self {
        let costs = vec![1; images.len()];
        Self { bits, images, costs }
    }

    fn at(&self, x: u32, hashes: &mut u64) -> u32 {
        *hashes += self.costs[x as usize];
        self.images[x as usize]
    }

    fn mask(&self) -> u32 {
        (1 << self.bits) - 1
    }
}

/// Whether every column has its own reduction (Oechslin) or the table has one (Hellman).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Hellman,
    Rainbow,
}

/// One table: where chains of `length` steps end and start, in order of their ends.
pub(crate) struct Chains {
    kind: Kind,
    length: u32,
    salt: u32,
    ends: Vec<(u32, u32)>,
}

impl Chains {
    /// Follows a chain from each start and keeps one for each end.
    fn build(function: &Function, kind: Kind, length: u32, salt: u32, starts: Vec<u32>) -> Self {
        let mut chains = Self { kind, length, salt, ends: Vec::new() };
        let end = |start| (chains.walk(function, start, 0..length, &mut 0), start);
        let mut ends: Vec<_> = starts.into_iter().map(end).collect();
        ends.sort_unstable();
        ends.dedup_by_key(|chain| chain.0);
        chains.ends = ends;
        chains
    }

    fn reduce(&self, image: u32, column: u32, mask: u32) -> u32 {
        let column = if self.kind == Kind::Rainbow { column } else { 0 };
        let mixed = (self.salt * 1009 + column + 1).wrapping_mul(0x9E37_79B1);
        (image ^ (mixed >> 7)) & mask
    }

    fn walk(
        &self,
        function: &Function,
        start: u32,
        columns: std::ops::Range<u32>,
        hashes: &mut u64,
    ) -> u32 {
        let step = |x, column| self.reduce(function.at(x, hashes), column, function.mask());
        columns.fold(start, step)
    }

    /// The inverse found if the image stands in `column` of the chain that ends at `end`.
    fn replay(&self, function: &Function, end: u32, column: u32, hashes: &mut u64) -> Option<u32> {
        let at = self.ends.binary_search_by_key(&end, |chain| chain.0).ok()?;
        Some(self.walk(function, self.ends[at].1, 0..column, hashes))
    }

    /// The inverses of `image` in this table, at most `limit`.
    fn invert(&self, function: &Function, image: u32, limit: usize, hashes: &mut u64) -> Vec<u32> {
        let mut found = Vec::new();
        let mut end = self.reduce(image, 0, function.mask());
        for column in (0..self.length).rev() {
            if self.kind == Kind::Rainbow {
                let first = self.reduce(image, column, function.mask());
                end = self.walk(function, first, column + 1..self.length, hashes);
            } else if column + 1 < self.length {
                end = self.walk(function, end, 0..1, hashes);
            }
            let candidate = self.replay(function, end, column, hashes);
            let inverse = candidate.filter(|x| function.at(*x, hashes) == image);
            found.extend(inverse.filter(|x| !found.contains(x)));
            if found.len() >= limit {
                break;
            }
        }
        found
    }
}

/// Several tables of one function.
pub(crate) struct Inverter<'a> {
    function: &'a Function,
    tables: Vec<Chains>,
}

impl<'a> Inverter<'a> {
    /// Tables from every start: as many chains as can end apart, about `2N / (length + 2)`.
    pub(crate) fn rainbow(function: &'a Function, length: u32, tables: u32) -> Self {
        let starts = || (0..=function.mask()).collect();
        let table = |salt| Chains::build(function, Kind::Rainbow, length, salt, starts());
        Self { function, tables: (0..tables).map(table).collect() }
    }

    /// Hellman's choice: `length` tables of `N / length^2` chains.
    pub(crate) fn hellman(function: &'a Function, length: u32, tables: u32) -> Self {
        let mut random = Random::new(u64::from(length));
        let count = function.images.len() / (length * length) as usize;
        let mut starts =
            || (0..count).map(|_| random.next() as u32 & function.mask()).collect::<Vec<_>>();
        let mut table = |salt| Chains::build(function, Kind::Hellman, length, salt, starts());
        Self { function, tables: (0..tables).map(&mut table).collect() }
    }

    /// At most `limit` inverses of `image`, and the hashes spent.
    pub(crate) fn invert(&self, image: u32, limit: usize) -> (Vec<u32>, u64) {
        let (mut found, mut hashes) = (Vec::new(), 0);
        for table in &self.tables {
            let new = table.invert(self.function, image, limit, &mut hashes);
            found.extend(new.into_iter().filter(|x| !found.contains(x)).collect::<Vec<_>>());
            if found.len() >= limit {
                break;
            }
        }
        (found, hashes)
    }

    pub(crate) fn chains(&self) -> usize {
        self.tables.iter().map(|table| table.ends.len()).sum()
    }

    /// Chains for each point of the function.
    pub(crate) fn chain_share(&self) -> f64 {
        self.chains() as f64 / self.function.images.len() as f64
    }

    /// Bits for each point of a function of `bits` bits: a start, and a sorted end in Elias-Fano
    /// code.
    pub(crate) fn bits_per_point(&self, bits: f64) -> f64 {
        let one_table = self.chain_share() / self.tables.len() as f64;
        self.chain_share() * (bits + 2.0 - one_table.log2())
    }
}

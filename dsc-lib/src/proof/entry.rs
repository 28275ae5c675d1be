//! Engines as data: what they are called, which parameters they take, how their proofs are laid
//! out; and the proofs themselves.
//!
//! # Invariants
//!
//! 1. [`Params`] hold one value per [`Param`], each within its range.
//! 2. A decoded proof has the [`Shape`] that its engine declares, so its length is bounded.
//! 3. The codec of a [`ProofEntry`] names no engine.

use std::{fmt, str::FromStr};

use bincode::{
    Decode, Encode,
    de::Decoder,
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ENGINES, Miner, ParamError, ProofEngine, UnknownEngine, VerifyError, find};
use crate::codec::{malformed, read_bytes};

/// One engine, declared.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its number in blocks.
    pub kind: ProofKind,
    /// Its name in commands and configuration.
    pub name: &'static str,
    /// What a proof costs, in half a sentence.
    pub summary: &'static str,
    /// Its consensus parameters.
    pub params: &'static [Param],
    /// The layout of its proofs.
    pub shape: Shape,
    /// What suits a network that somebody tries out on a small machine.
    pub trial: Trial,
    /// Makes the engine.
    pub build: fn(&Params) -> Box<dyn ProofEngine>,
}

/// Settings under which an engine is ready in a second and idles between rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Values of the parameters, in their order.
    pub params: &'static [u64],
    /// Tries of a validator in a round.
    pub attempts_max: u64,
    /// Qualities that so many tries draw, for the first target.
    pub draws: u64,
}

impl Entry {
    /// Makes the engine with the default of every parameter.
    pub fn build_default(&self) -> Box<dyn ProofEngine> {
        (self.build)(&Params::defaults(self))
    }

    /// Makes the engine with `values`, one per parameter in their order.
    ///
    /// # Errors
    ///
    /// [`ParamError`] if a value is missing, left over or out of range.
    pub fn build_with(&self, values: &[u64]) -> Result<Box<dyn ProofEngine>, ParamError> {
        Ok((self.build)(&Params::new(self, values)?))
    }
}

/// A consensus parameter of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Its name.
    pub name: &'static str,
    /// What it sets.
    pub summary: &'static str,
    /// Least value allowed.
    pub min: u64,
    /// Greatest value allowed.
    pub max: u64,
    /// Value on a network that does not say.
    pub default: u64,
}

/// The values of an engine's parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    specs: &'static [Param],
    values: Vec<u64>,
}

impl Params {
    /// Takes `values`, one per parameter of `entry` in their order.
    ///
    /// # Errors
    ///
    /// [`ParamError`] if a value is missing, left over or out of range.
    pub fn new(entry: &Entry, values: &[u64]) -> Result<Self, ParamError> {
        let (engine, specs) = (entry.name, entry.params);
        if values.len() != specs.len() {
            return Err(ParamError::Count { engine, got: values.len(), expected: specs.len() });
        }
        for (&Param { name, min, max, .. }, &got) in specs.iter().zip(values) {
            if !(min..=max).contains(&got) {
                return Err(ParamError::OutOfRange { engine, name, got, min, max });
            }
        }
        Ok(Self { specs, values: values.to_vec() })
    }

    /// The defaults of `entry`.
    pub fn defaults(entry: &Entry) -> Self {
        let values = entry.params.iter().map(|param| param.default).collect();
        Self { specs: entry.params, values }
    }

    /// The values, in the order of the parameters.
    pub fn values(&self) -> &[u64] {
        &self.values
    }

    /// The value of the parameter called `name`.
    ///
    /// # Panics
    ///
    /// If the engine declares no such parameter.
    pub fn get(&self, name: &str) -> u64 {
        let found = self.specs.iter().zip(&self.values).find(|(spec, _)| spec.name == name);
        *found.expect("an engine asks for the parameters that it declares").1
    }
}

/// The layout of a proof: fixed bytes, then a list of items that all have one length.
///
/// The list is a `u64` count and the items; an `item_len` of zero means that there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Bytes before the list.
    pub fixed_len: usize,
    /// Bytes of one item.
    pub item_len: usize,
    /// Most items allowed.
    pub items_max: usize,
}

/// Bytes of a list's count.
const COUNT_LEN: usize = 8;

impl Shape {
    /// Bytes of the longest proof of this shape.
    pub const fn len_max(&self) -> usize {
        let items_len = self.item_len.saturating_mul(self.items_max);
        let count_len = if self.item_len == 0 { 0 } else { COUNT_LEN };
        self.fixed_len.saturating_add(count_len).saturating_add(items_len)
    }

    /// Reads the bytes of one proof.
    fn read<D: Decoder>(&self, decoder: &mut D) -> Result<Vec<u8>, DecodeError> {
        let mut bytes = read_bytes(decoder, self.fixed_len)?;
        if self.item_len > 0 {
            let count = u64::decode(decoder)?;
            bytes.extend(count.to_le_bytes());
            bytes.extend(read_bytes(decoder, self.items_len(count)?)?);
        }
        Ok(bytes)
    }

    fn items_len(&self, count: u64) -> Result<usize, DecodeError> {
        let allowed = usize::try_from(count).ok().filter(|&count| count <= self.items_max);
        let len = allowed.and_then(|count| count.checked_mul(self.item_len));
        len.ok_or_else(|| {
            malformed(format!("{count} items in a proof, at most {}", self.items_max))
        })
    }
}

/// The number of an engine in blocks: its index in [`ENGINES`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProofKind(u8);

impl ProofKind {
    /// The kind that an engine declares for itself; others use [`ProofKind::from_index`].
    pub const fn new(index: u8) -> Self {
        Self(index)
    }

    /// The kind at `index` in [`ENGINES`], if there is one.
    pub fn from_index(index: usize) -> Option<Self> {
        ENGINES.get(index).map(|entry| entry.kind)
    }

    /// Every kind, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ENGINES.iter().map(|entry| entry.kind)
    }

    /// The index.
    pub const fn index(self) -> u8 {
        self.0
    }

    /// The engine, if it is registered.
    pub fn entry(self) -> Option<&'static Entry> {
        ENGINES.get(usize::from(self.0)).copied()
    }

    /// The name of the engine, or `unknown`.
    pub fn name(self) -> &'static str {
        self.entry().map_or("unknown", |entry| entry.name)
    }

    /// Refuses a proof of another kind.
    ///
    /// # Errors
    ///
    /// [`VerifyError::WrongKind`]
    pub fn check(self, proof: &Proof) -> Result<&[u8], VerifyError> {
        if proof.kind == self {
            Ok(&proof.bytes)
        } else {
            Err(VerifyError::WrongKind { got: proof.kind, expected: self })
        }
    }
}

impl fmt::Display for ProofKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entry() {
            Some(entry) => f.write_str(entry.name),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ProofKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ProofKind {
    type Err = UnknownEngine;

    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        find(name).map(|entry| entry.kind)
    }
}

impl Serialize for ProofKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ProofKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Encode for ProofKind {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.0.encode(encoder)
    }
}

impl<C> Decode<C> for ProofKind {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let index = u8::decode(decoder)?;
        let unknown = || malformed(format!("proof kind {index}, there are {}", ENGINES.len()));
        Self::from_index(index.into()).ok_or_else(unknown)
    }
}

/// A proof: the canonical bytes of one engine, opaque to everybody else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Proof {
    /// The engine.
    pub kind: ProofKind,
    /// Its bytes, in the [`Shape`] that the engine declares; in text, hexadecimal.
    #[serde(with = "hex::serde")]
    pub bytes: Vec<u8>,
}

impl Encode for Proof {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.kind.encode(encoder)?;
        encoder.writer().write(&self.bytes)
    }
}

impl<C> Decode<C> for Proof {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let kind = ProofKind::decode(decoder)?;
        Ok(Self { kind, bytes: read_shaped(kind, decoder)? })
    }
}

fn read_shaped<D: Decoder>(kind: ProofKind, decoder: &mut D) -> Result<Vec<u8>, DecodeError> {
    let entry = kind.entry().ok_or_else(|| malformed("unknown proof kind"))?;
    entry.shape.read(decoder)
}

/// A proof and the miner it pays, as it stands in a block.
///
/// Encoded as kind, address, fingerprint and the proof's bytes without a length.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProofEntry {
    /// Who is paid.
    pub miner: Miner,
    /// What for.
    pub proof: Proof,
}

impl Encode for ProofEntry {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.proof.kind.encode(encoder)?;
        self.miner.encode(encoder)?;
        encoder.writer().write(&self.proof.bytes)
    }
}

impl<C> Decode<C> for ProofEntry {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let kind = ProofKind::decode(decoder)?;
        let miner = Miner::decode(decoder)?;
        Ok(Self { miner, proof: Proof { kind, bytes: read_shaped(kind, decoder)? } })
    }
}

bincode::impl_borrow_decode!(ProofKind);
bincode::impl_borrow_decode!(Proof);
bincode::impl_borrow_decode!(ProofEntry);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        address::Address,
        codec::{DecodeError, decode, encode},
        proof::Fingerprint,
    };

    const LISTED: Shape = Shape { fixed_len: 2, item_len: 3, items_max: 2 };
    const ENTRY: Entry = Entry {
        kind: ProofKind::new(9),
        name: "toy",
        summary: "",
        params: &[
            Param { name: "a", summary: "", min: 1, max: 3, default: 2 },
            Param { name: "b", summary: "", min: 0, max: u64::MAX, default: 7 },
        ],
        shape: LISTED,
        trial: Trial { params: &[], attempts_max: 1, draws: 1 },
        build: |_| unreachable!("these tests build nothing"),
    };

    /// A decoder's view of [`LISTED`].
    #[derive(Debug, PartialEq)]
    struct Shaped(Vec<u8>);

    impl<C> Decode<C> for Shaped {
        fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, super::DecodeError> {
            LISTED.read(decoder).map(Self)
        }
    }

    fn miner() -> Miner {
        Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) }
    }

    #[test]
    fn parameters_are_counted_and_bounded() {
        let params = Params::new(&ENTRY, &[3, 0]).unwrap();
        assert_eq!((params.get("a"), params.get("b")), (3, 0));
        assert_eq!(Params::defaults(&ENTRY).values(), [2, 7]);
        let count = Params::new(&ENTRY, &[3]).unwrap_err();
        assert_eq!(count.to_string(), "engine toy has 2 parameters, got 1");
        let range = Params::new(&ENTRY, &[4, 0]).unwrap_err();
        assert_eq!(range.to_string(), "toy parameter a is 4, expected 1 to 3");
        assert_eq!(
            ENTRY.build_with(&[0, 0]).unwrap_err(),
            Params::new(&ENTRY, &[0, 0]).unwrap_err()
        );
    }

    #[test]
    fn a_list_is_read_by_its_count_and_bounded() {
        assert_eq!(LISTED.len_max(), 16);
        let mut bytes = vec![8, 8, 2, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6];
        assert_eq!(decode::<Shaped>(&bytes), Ok(Shaped(bytes.clone())));
        bytes[2] = 3;
        let reason = "3 items in a proof, at most 2".into();
        assert_eq!(decode::<Shaped>(&bytes), Err(DecodeError::Malformed { reason }));
        bytes[2] = 1;
        assert_eq!(decode::<Shaped>(&bytes), Err(DecodeError::Trailing { count: 3 }));
    }

    #[test]
    fn every_kind_of_entry_round_trips_without_a_length() {
        for entry in ENGINES {
            let bytes =
                vec![0; entry.shape.fixed_len + if entry.shape.item_len > 0 { 8 } else { 0 }];
            let len = bytes.len();
            let whole = ProofEntry { miner: miner(), proof: Proof { kind: entry.kind, bytes } };
            let encoded = encode(&whole);
            assert_eq!(encoded.len(), 1 + 32 + 16 + len);
            assert_eq!(decode::<ProofEntry>(&encoded), Ok(whole.clone()));
            assert_eq!(decode::<Proof>(&encode(&whole.proof)), Ok(whole.proof.clone()));
            let json = serde_json::to_string(&whole).unwrap();
            assert_eq!(serde_json::from_str::<ProofEntry>(&json).unwrap(), whole);
        }
    }

    #[test]
    fn an_unknown_kind_is_malformed() {
        let proof = Proof { kind: ProofKind::new(200), bytes: vec![] };
        assert_eq!(proof.kind.to_string(), "200");
        let found = decode::<Proof>(&encode(&proof)).unwrap_err();
        assert!(found.to_string().starts_with("proof kind 200, there are"), "{found}");
        assert_eq!(ProofKind::from_index(200), None);
        assert_eq!(ProofKind::all().len(), ENGINES.len());
    }
}

//! Hashes and what is built from them: tags, digests, addresses, challenges, targets, trees, states.

use std::fmt;

use dsc_lib::{
    address::{Address, Prefix},
    block::{first_challenge, next_challenge},
    codec,
    commitment::{Account, Commitment},
    hash::{Context, Digest, derive},
    keys::PublicKey,
    merkle::{self, InclusionProof},
    proof::ProofEntry,
    retarget::{TargetLimits, retarget},
    tag::Tagger,
    testing,
    units::{Amount, Height, Quality, Target},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Case;

/// A u64 as decimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) u64);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
    }
}

/// Bytes in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Hex(#[serde(with = "hex::serde")] pub(super) Vec<u8>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TagCase {
    key: Digest,
    n: Decimal,
    tag: Decimal,
}

impl Case for TagCase {
    fn compute(&self) -> Self {
        Self { tag: Decimal(Tagger::new(self.key.as_bytes()).tag(self.n.0)), ..self.clone() }
    }
}

const CONTEXTS: [Context; 17] = [
    Context::Address,
    Context::Transaction,
    Context::Block,
    Context::MerkleLeaf,
    Context::MerkleNode,
    Context::Challenge,
    Context::Genesis,
    Context::Account,
    Context::State,
    Context::Work,
    Context::SpaceTable1,
    Context::SpaceTable2,
    Context::SpaceChallenge,
    Context::MemoryTable1,
    Context::MemoryTable2,
    Context::MemoryStart,
    Context::MemoryStep,
];

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeriveCase {
    context: String,
    material: Hex,
    digest: Digest,
}

impl DeriveCase {
    /// One case for each context.
    pub(super) fn more() -> Vec<Self> {
        let case = |context: Context| {
            let material = Hex(b"material".to_vec());
            Self { context: context.name().into(), material, digest: Digest::ZERO }
        };
        CONTEXTS.map(case).to_vec()
    }
}

impl Case for DeriveCase {
    fn compute(&self) -> Self {
        let context = CONTEXTS.into_iter().find(|context| context.name() == self.context).unwrap();
        Self { digest: derive(context, &[&self.material.0]), ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct AddressCase {
    modulus: PublicKey,
    address: Address,
    text: String,
    text_development: String,
}

impl AddressCase {
    pub(super) fn all() -> Vec<Self> {
        let keys = [&*testing::ALICE, &*testing::BOB, &*testing::METRONOME];
        keys.map(|key| Self::of(*key.public())).to_vec()
    }

    fn of(modulus: PublicKey) -> Self {
        let address = modulus.address();
        let text = |prefix| address.to_text(prefix);
        let (text, text_development) = (text(Prefix::Main), text(Prefix::Development));
        assert_eq!(Address::from_text(&text, Prefix::Main), Ok(address));
        assert_eq!(Address::from_text(&text_development, Prefix::Development), Ok(address));
        Self { modulus, address, text, text_development }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChallengeCase {
    genesis: Digest,
    challenge_0: Digest,
    winning_entry_0: Hex,
    challenge_1: Digest,
    challenge_1_no_winner: Digest,
}

impl Case for ChallengeCase {
    fn compute(&self) -> Self {
        let entry: ProofEntry = codec::decode(&self.winning_entry_0.0).unwrap();
        let challenge_0 = first_challenge(&self.genesis);
        Self {
            challenge_0,
            challenge_1: next_challenge(&challenge_0, Height(1), Some(&entry)),
            challenge_1_no_winner: next_challenge(&challenge_0, Height(1), None),
            winning_entry_0: Hex(codec::encode(&entry)),
            ..self.clone()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetargetCase {
    target: Target,
    quality: Option<Quality>,
    next: Target,
}

impl RetargetCase {
    /// Both ends.
    pub(super) fn more() -> Vec<Self> {
        let case = |target, quality| Self { target, quality, next: Target(0) };
        let (low, high) = (Target(1), Target(u64::MAX / 4));
        [None, Some(Quality(0)), Some(Quality(1)), Some(Quality(u64::MAX / 8))]
            .into_iter()
            .flat_map(|quality| [case(low, quality), case(high, quality)])
            .collect()
    }
}

impl Case for RetargetCase {
    fn compute(&self) -> Self {
        let free = TargetLimits { min: Target(0), max: Target::MAX };
        Self { next: retarget(self.target, self.quality, free), ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MerkleCase {
    leaves: Vec<Hex>,
    root: Digest,
    /// Of each leaf in turn, the siblings from its own upwards.
    #[serde(default)]
    paths: Vec<Vec<Digest>>,
}

impl Case for MerkleCase {
    fn compute(&self) -> Self {
        let leaves: Vec<_> = self.leaves.iter().map(|leaf| merkle::leaf(&leaf.0)).collect();
        let root = merkle::root(&leaves);
        let path = |index| {
            let proof = InclusionProof::new(&leaves, index).unwrap();
            assert_eq!(proof.verify(leaves[index], root), Ok(()));
            proof.path.to_vec()
        };
        Self { root, paths: (0..leaves.len()).map(path).collect(), ..self.clone() }
    }

    fn as_designed(&self) -> Self {
        Self { paths: Vec::new(), ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountCase {
    address: Address,
    balance: Decimal,
    sequence: Decimal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StateCase {
    accounts: Vec<AccountCase>,
    state: Digest,
}

impl Case for StateCase {
    fn compute(&self) -> Self {
        let mut sum = Commitment::default();
        for AccountCase { address, balance, sequence } in &self.accounts {
            let balance = Amount::from_units(balance.0);
            sum.add(address, &Account { balance, sequence: sequence.0 });
        }
        Self { state: sum.digest(), ..self.clone() }
    }
}

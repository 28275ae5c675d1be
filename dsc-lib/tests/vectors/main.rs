//! The published test vectors: made anew from their inputs, and compared.
//!
//! `docs/vectors.json` must be what [`document`] makes, byte for byte; run with
//! `DSC_WRITE_VECTORS=1` to write it after a change on purpose. `tests/data/design-vectors.json`
//! was computed from the design by another program; every value in it must come out as well.

mod chain;
mod proofs;
mod values;

use std::{env, fmt::Debug, fs, path::PathBuf};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use self::{
    chain::{BlockCase, ChainCase, GenesisCase, TransactionCase},
    proofs::{MemoryCase, SpaceCase, WorkCase},
    values::{
        AddressCase, ChallengeCase, DeriveCase, MerkleCase, RetargetCase, StateCase, TagCase,
    },
};

/// A case of a section: inputs, and outputs that can be made from them.
trait Case: Clone + Debug + PartialEq + Serialize + DeserializeOwned {
    /// The case with its outputs made anew.
    #[must_use]
    fn compute(&self) -> Self;

    /// The case without what the design's vectors do not have.
    #[must_use]
    fn as_designed(&self) -> Self {
        self.clone()
    }
}

/// What the design's program computed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Design {
    tag: Vec<TagCase>,
    derive: Vec<DeriveCase>,
    work: WorkCase,
    space: Vec<SpaceCase>,
    memory: MemoryCase,
    transaction: TransactionCase,
    challenge: ChallengeCase,
    retarget: Vec<RetargetCase>,
    merkle: Vec<MerkleCase>,
    state: Vec<StateCase>,
}

impl Design {
    fn load() -> Self {
        serde_json::from_str(include_str!("../data/design-vectors.json")).unwrap()
    }
}

/// What is published.
#[derive(Serialize)]
struct Document {
    tag: Vec<TagCase>,
    derive: Vec<DeriveCase>,
    address: Vec<AddressCase>,
    work: WorkCase,
    space: Vec<SpaceCase>,
    memory: MemoryCase,
    transaction: Vec<TransactionCase>,
    challenge: ChallengeCase,
    retarget: Vec<RetargetCase>,
    merkle: Vec<MerkleCase>,
    state: Vec<StateCase>,
    genesis: Vec<GenesisCase>,
    block: Vec<BlockCase>,
    chain: ChainCase,
}

/// The cases of the design and some more, all computed here.
fn document() -> Document {
    let design = Design::load();
    let chain = ChainCase::make();
    Document {
        tag: computed(&design.tag, &[]),
        derive: computed(&design.derive, &DeriveCase::more()),
        address: AddressCase::all(),
        work: design.work.compute(),
        space: computed(&design.space, &[]),
        memory: design.memory.compute(),
        transaction: computed(&[design.transaction], &TransactionCase::more()),
        challenge: design.challenge.compute(),
        retarget: computed(&design.retarget, &RetargetCase::more()),
        merkle: computed(&design.merkle, &[]),
        state: computed(&design.state, &[]),
        genesis: GenesisCase::all(),
        block: chain.blocks(),
        chain,
    }
}

fn computed<C: Case>(designed: &[C], more: &[C]) -> Vec<C> {
    designed.iter().chain(more).map(Case::compute).collect()
}

fn published() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors.json")
}

#[test]
fn the_published_vectors_are_what_the_library_computes() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if env::var_os("DSC_WRITE_VECTORS").is_some() {
        fs::write(published(), &text).unwrap();
    }
    let found = fs::read_to_string(published()).unwrap();
    let differs = text.lines().zip(found.lines()).position(|(ours, theirs)| ours != theirs);
    assert_eq!(differs, None, "first line that differs, from 0");
    assert_eq!(text.len(), found.len());
}

fn assert_designed<C: Case>(cases: &[C]) {
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(&case.compute().as_designed(), case);
    }
}

#[test]
fn every_value_of_the_design_comes_out() {
    let Design { tag, derive, work, space, memory, .. } = Design::load();
    assert_designed(&tag);
    assert_designed(&derive);
    assert_designed(&[work]);
    assert_designed(&space);
    assert_designed(&[memory]);
    let Design { transaction, challenge, retarget, merkle, state, .. } = Design::load();
    assert_designed(&[transaction]);
    assert_designed(&[challenge]);
    assert_designed(&retarget);
    assert_designed(&merkle);
    assert_designed(&state);
}

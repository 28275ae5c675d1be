//! Transactions, genesis, blocks and a whole small chain.

use dsc_lib::{
    address::Address,
    block::Block,
    codec::{self, List},
    genesis::Genesis,
    hash::Digest,
    keys::{SecretKey, Signature},
    ledger::{Import, Ledger},
    testing::{self, ALICE, BOB, CAROL, Miners, address, coins},
    transaction::{Memo, Payment, Transaction},
    units::{Amount, Height},
};
use serde::{Deserialize, Serialize};

use super::{
    Case,
    values::{Decimal, Hex},
};

const SIGNATURE_LEN: usize = 256;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TransactionCase {
    private_key_pkcs8_pem: String,
    genesis: Digest,
    address: Address,
    unsigned: Hex,
    id: Digest,
    signature: Signature,
    note: String,
}

impl TransactionCase {
    /// Several payments, some to one address or the sender, no memo, no fee.
    pub(super) fn more() -> Vec<Self> {
        let key = &*ALICE;
        let pay =
            |to: &SecretKey, units| Payment { to: address(to), amount: Amount::from_units(units) };
        let mut draft = testing::draft(7, address(&BOB), coins(0), coins(0));
        draft.payments =
            List::new(vec![pay(&BOB, 1), pay(&BOB, 2), pay(key, u64::MAX - 3)]).unwrap();
        draft.expires = Height(u64::MAX);
        draft.memo = Memo::default();
        let genesis = testing::genesis().hash();
        let transaction = draft.sign(&genesis, key);
        vec![Self {
            private_key_pkcs8_pem: key.to_pkcs8_pem().to_string(),
            genesis,
            address: address(key),
            unsigned: Hex(unsigned(&transaction)),
            id: Digest::ZERO,
            signature: Signature([0; SIGNATURE_LEN]),
            note: "a key for vectors only".into(),
        }]
    }
}

fn unsigned(transaction: &Transaction) -> Vec<u8> {
    let mut bytes = codec::encode(transaction);
    bytes.truncate(bytes.len() - SIGNATURE_LEN);
    bytes
}

impl Case for TransactionCase {
    fn compute(&self) -> Self {
        let key = SecretKey::from_pkcs8_pem(&self.private_key_pkcs8_pem).unwrap();
        let bytes = [&self.unsigned.0[..], &[0; SIGNATURE_LEN]].concat();
        let transaction: Transaction = codec::decode(&bytes).unwrap();
        let id = transaction.id(&self.genesis);
        let signed = Transaction { signature: key.sign(id.as_bytes()), ..transaction };
        let checked = signed.check(&self.genesis).unwrap();
        Self {
            address: checked.sender(),
            unsigned: Hex(unsigned(&checked.transaction())),
            id: checked.id(),
            signature: checked.transaction().signature,
            ..self.clone()
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct GenesisCase {
    bytes: Hex,
    hash: Digest,
}

impl GenesisCase {
    /// A development network, and one without coins at the start.
    pub(super) fn all() -> Vec<Self> {
        let bare = Genesis {
            development: false,
            accounts: List::default(),
            network: List::new(b"main".to_vec()).unwrap(),
            ..testing::genesis()
        };
        [testing::genesis(), bare].map(|genesis| Self::of(&genesis)).to_vec()
    }

    fn of(genesis: &Genesis) -> Self {
        assert!(genesis.clone().check().is_ok());
        Self { bytes: Hex(codec::encode(genesis)), hash: genesis.hash() }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BlockCase {
    bytes: Hex,
    hash: Digest,
}

/// Three blocks: proofs and payments, nothing, proofs alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ChainCase {
    export: Hex,
    blocks: u64,
    tip: Digest,
    supply: Decimal,
    state: Digest,
}

impl ChainCase {
    pub(super) fn make() -> Self {
        let mut ledger = Ledger::in_memory(testing::chain());
        let mut miners = Miners::new(&testing::chain());
        let proofs = miners.mine(ledger.state());
        let transactions = vec![
            testing::pay(&ALICE, 0, address(&CAROL), 100),
            testing::pay(&CAROL, 0, address(&BOB), 50),
        ];
        grow(&mut ledger, proofs, transactions);
        grow(&mut ledger, vec![], vec![]);
        let proofs = miners.mine(ledger.state());
        grow(&mut ledger, proofs, vec![]);
        let summary = ledger.verify(|_, _| {}).unwrap();
        let mut export = Vec::new();
        let blocks = ledger.export(&mut export).unwrap();
        Self {
            export: Hex(export),
            blocks,
            tip: summary.tip,
            supply: Decimal(summary.supply.units()),
            state: summary.state,
        }
    }

    pub(super) fn blocks(&self) -> Vec<BlockCase> {
        let blocks = Import::new(self.export.0.as_slice()).unwrap();
        let case = |block: Block| BlockCase {
            hash: block.header.hash(),
            bytes: Hex(codec::encode(&block)),
        };
        blocks.map(|block| case(block.unwrap())).take(2).collect()
    }
}

fn grow(
    ledger: &mut Ledger,
    proofs: Vec<dsc_lib::proof::ProofEntry>,
    transactions: Vec<Transaction>,
) {
    let block = testing::next_block(ledger.state(), proofs, transactions);
    ledger.commit(&block).unwrap();
}

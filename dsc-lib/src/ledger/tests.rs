use super::*;
use crate::testing::{
    ALICE, BOB, CAROL, Miners, address, chain, coins, next_block, pay, unchecked,
};

#[test]
fn a_chain_survives_reopening_after_each_block() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.redb");
    let mut miners = Miners::new(&chain());
    drop(Ledger::open(&path, Some(chain())).unwrap());
    for height in 0..6 {
        let mut ledger = Ledger::open(&path, None).unwrap();
        assert_eq!(ledger.state().round().height, Height(height));
        let proofs = miners.mine(ledger.state());
        let transactions =
            vec![pay(&ALICE, height, address(&BOB), 10), pay(&BOB, height, address(&CAROL), 5)];
        let block = next_block(ledger.state(), proofs, transactions);
        assert_eq!(ledger.check(unchecked(&block)).unwrap().hash(), block.hash());
        ledger.commit(&block).unwrap();
        assert!(ledger.state().supply_holds());
    }
    let ledger = Ledger::open(&path, Some(chain())).unwrap();
    let summary = ledger.verify(|_, _| {}).unwrap();
    assert_eq!((summary.blocks, summary.transactions), (6, 12));
    assert_eq!(ledger.state().account(&address(&CAROL)).balance, coins(30));
}

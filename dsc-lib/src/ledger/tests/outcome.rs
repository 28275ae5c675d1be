//! What blocks do to balances and rounds.

use super::*;
use crate::{
    block::{first_challenge, next_challenge},
    testing::{CAROL, ENDOWMENT, MINER, coins, proposal},
};

fn balance(state: &State, key: &SecretKey) -> Amount {
    state.account(&address(key)).balance
}

fn grow(
    state: &mut State,
    proofs: Vec<ProofEntry>,
    transactions: Vec<Transaction>,
) -> CheckedBlock {
    let block = next_block(state, proofs, transactions);
    let checked = state.check(unchecked(&block)).unwrap();
    assert_eq!((checked.hash(), checked.changes()), (block.hash(), block.changes()));
    state.apply(&checked).unwrap();
    assert!(state.supply_holds());
    assert_eq!(state.commitment(), block.header().state);
    assert_eq!(state.commitment(), sum_of(state.accounts()).digest());
    block
}

#[test]
fn a_supply_that_balances_do_not_add_up_to_is_noticed() {
    let mut state = State::genesis(chain());
    assert!(state.supply_holds());
    state.supply = coins(1);
    assert!(!state.supply_holds());
}

#[test]
fn the_winner_gets_reward_and_fees() {
    let mut state = State::genesis(chain());
    let mut miners = Miners::new(&chain());
    let proofs = miners.mine(&state);
    let block = grow(&mut state, proofs, vec![pay(&ALICE, 0, 10), pay(&ALICE, 1, 20)]);
    assert_eq!(block.winner().unwrap().miner.address, address(&MINER));
    assert_eq!(block.income(), coins(1024 + 2));
    assert_eq!(balance(&state, &MINER), coins(1024 + 2));
    assert_eq!(balance(&state, &BOB), coins(200_000 + 30));
    assert_eq!(state.account(&address(&ALICE)), Account { balance: coins(199_968), sequence: 2 });
    assert_eq!(state.supply(), coins(400_000 + 1024));
}

#[test]
fn fees_are_burned_without_a_winner() {
    let mut state = State::genesis(chain());
    let block = grow(&mut state, vec![], vec![pay(&ALICE, 0, 10)]);
    assert_eq!((block.winner(), block.income()), (None, Amount::ZERO));
    assert_eq!(state.supply(), coins(400_000 - 1));
}

#[test]
fn the_reward_halves() {
    let mut state = State::genesis(chain());
    let mut miners = Miners::new(&chain());
    let mut incomes = Vec::new();
    for _ in 0..9 {
        let proofs = miners.mine(&state);
        incomes.push(grow(&mut state, proofs, vec![]).income());
    }
    let expected = [1024, 1024, 1024, 1024, 512, 512, 512, 512, 256];
    assert_eq!(incomes, expected.map(coins));
    assert_eq!(state.supply(), coins(400_000 + 4 * 1024 + 4 * 512 + 256));
    assert_eq!(state.supply(), chain().supply_max(Height(8)));
}

#[test]
fn the_lowest_scaled_quality_wins() {
    let mut state = State::genesis(chain());
    let mut miners = Miners::new(&chain());
    for _ in 0..6 {
        let round = *state.round();
        let proofs = miners.mine(&state);
        let scaled = |entry: &ProofEntry| {
            let engine = state.chain().engine(entry.proof.kind).unwrap();
            let challenge = Challenge(round.challenge);
            let quality = engine.verify(&challenge, &entry.miner, &entry.proof).unwrap();
            let target = round.targets[usize::from(entry.proof.kind.index())];
            u128::from(quality.0) * (u128::MAX >> 64) / u128::from(target.0)
        };
        let best = proofs.iter().min_by_key(|entry| scaled(entry)).cloned();
        let block = grow(&mut state, proofs, vec![]);
        assert_eq!(block.winner(), best.as_ref());
        let next = next_challenge(&round.challenge, state.round().height, best.as_ref());
        assert_eq!(state.round().challenge, next);
    }
}

#[test]
fn targets_follow_the_proofs() {
    let mut state = State::genesis(chain());
    assert_eq!(state.round().challenge, first_challenge(&chain().hash()));
    assert_eq!(state.round().targets, chain().first_targets());
    let proofs = Miners::new(&chain()).mine(&state);
    grow(&mut state, proofs.clone(), vec![]);
    let limits: Vec<_> = chain().target_limits().collect();
    for (index, entry) in proofs.iter().enumerate() {
        let engine = state.chain().engine(entry.proof.kind).unwrap();
        let challenge = Challenge(first_challenge(&chain().hash()));
        let quality = engine.verify(&challenge, &entry.miner, &entry.proof).unwrap();
        let expected = retarget(Target::MAX, Some(quality), limits[index]);
        assert_eq!(state.round().targets[index], expected);
    }
    let held = state.round().targets;
    grow(&mut state, vec![], vec![]);
    for (index, target) in state.round().targets.iter().enumerate() {
        assert_eq!(*target, retarget(held[index], None, limits[index]));
    }
}

#[test]
fn coins_received_earlier_in_a_block_can_be_spent_in_it() {
    let mut state = State::genesis(chain());
    let to = |key: &SecretKey| address(key);
    let pay = crate::testing::pay;
    let transactions = vec![pay(&ALICE, 0, to(&CAROL), 100), pay(&CAROL, 0, to(&BOB), 99)];
    grow(&mut state, vec![], transactions.clone());
    assert_eq!(state.account(&to(&CAROL)), Account { balance: Amount::ZERO, sequence: 1 });
    assert_eq!(balance(&state, &BOB), coins(200_099));

    let state = State::genesis(chain());
    let reversed = transactions.into_iter().rev().collect();
    let (block, left_out) = state.draft(proposal(&state, vec![], reversed), &METRONOME).unwrap();
    let (needed, balance) = (coins(100), Amount::ZERO);
    assert_eq!(left_out[0].1, TransactionError::InsufficientFunds { needed, balance });
    assert_eq!(block.transactions().len(), 1);
}

#[test]
fn a_payment_to_oneself_costs_the_fee() {
    let mut state = State::genesis(chain());
    let own = crate::testing::pay(&ALICE, 0, address(&ALICE), 199_999);
    grow(&mut state, vec![], vec![own]);
    assert_eq!(balance(&state, &ALICE), coins(199_999));
}

#[test]
fn all_coins_can_be_spent_and_the_account_remains_for_its_sequence() {
    let mut state = State::genesis(chain());
    grow(&mut state, vec![], vec![pay(&ALICE, 0, 199_999)]);
    assert_eq!(state.account(&address(&ALICE)), Account { balance: Amount::ZERO, sequence: 1 });
    assert!(state.accounts().contains_key(&address(&ALICE)));
    assert_eq!(state.accounts().len(), 2);
}

#[test]
fn a_draft_leaves_out_what_breaks_a_rule() {
    let state = State::genesis(chain());
    let (good, gap, after) = (pay(&ALICE, 0, 1), pay(&ALICE, 2, 1), pay(&ALICE, 1, 1));
    let id = gap.id(&chain().hash());
    let transactions = vec![good, gap, after];
    let (block, left_out) =
        state.draft(proposal(&state, vec![], transactions), &METRONOME).unwrap();
    assert_eq!(left_out, [(id, TransactionError::Sequence { got: 2, expected: 1 })]);
    assert_eq!(block.transactions().len(), 2);
    assert!(state.check(unchecked(&block)).is_ok());
}

#[test]
fn a_draft_keeps_to_the_number_of_transactions() {
    let narrow = chain_with(|genesis| genesis.limits.block_transactions = 2);
    let state = State::genesis(narrow.clone());
    let draft = |sequence| crate::testing::draft(sequence, address(&BOB), coins(1), coins(0));
    let transactions = (0..3).map(|sequence| draft(sequence).sign(&narrow.hash(), &ALICE));
    let proposal = proposal(&state, vec![], transactions.collect());
    let (block, left_out) = state.draft(proposal, &METRONOME).unwrap();
    assert_eq!((block.transactions().len(), left_out.len()), (2, 0));
    assert!(state.check(unchecked(&block)).is_ok());
}

#[test]
fn a_draft_moves_time_up_to_its_parents() {
    let mut state = State::genesis(chain());
    let first = Proposal { epoch: 5, ..proposal(&state, vec![], vec![]) };
    let (first, _) = state.draft(first, &METRONOME).unwrap();
    state.apply(&first).unwrap();
    let early = Proposal { time: Millis(0), ..proposal(&state, vec![], vec![]) };
    let (block, _) = state.draft(early, &METRONOME).unwrap();
    assert_eq!(block.header().time, first.header().time.plus(Millis(1)));
    assert_eq!(block.header().epoch, 5);
    assert!(state.check(unchecked(&block)).is_ok());
}

/// A metronome whose lease was taken over must not go on under the newer one's number.
#[test]
fn a_draft_under_a_superseded_lease_is_refused() {
    let mut state = State::genesis(chain());
    let first = Proposal { epoch: 5, ..proposal(&state, vec![], vec![]) };
    let (first, _) = state.draft(first, &METRONOME).unwrap();
    state.apply(&first).unwrap();
    let old = Proposal { epoch: 4, ..proposal(&state, vec![], vec![]) };
    assert_eq!(state.draft(old, &METRONOME).unwrap_err(), BlockError::Epoch { got: 4, parent: 5 });
}

#[test]
fn a_state_before_the_first_block_has_no_height() {
    let mut state = State::genesis(chain());
    assert_eq!((state.height(), state.supply()), (None, coins(400_000)));
    assert_eq!(balance(&state, &ALICE), ENDOWMENT);
    grow(&mut state, vec![], vec![]);
    assert_eq!(state.height(), Some(Height(0)));
}

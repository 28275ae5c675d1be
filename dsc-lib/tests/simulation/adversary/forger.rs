//! A validator without a resource: it sends noise, old proofs and other miners' proofs as its own.

use dsc_lib::{
    proof::{ENGINES, Fingerprint, Footprint, Miner, Proof},
    role::{Answer, Call, HandIn, Lost},
    testing::{STRANGER, address},
    units::{Height, Millis},
};

use super::Expected;
use crate::{event::Caller, world::World};

const PAUSE: Millis = Millis(400);
/// Reports sent at once.
const FLOOD: usize = 12;

/// What it sent last, and what it has seen of others.
#[derive(Debug, Default)]
pub(crate) struct Forger {
    /// The last hand-in of an honest validator with a proof.
    pub(crate) overheard: Option<HandIn>,
    act: &'static str,
    expected: Expected,
}

fn forged(height: Height, miner: Miner, proof: Option<Proof>) -> HandIn {
    let kind = proof.as_ref().map_or(ENGINES[0].kind, |proof| proof.kind);
    let (attempts, spent, footprint) = (u64::MAX, Millis(1), Footprint::default());
    HandIn { height, miner, kind, attempts, spent, footprint, proof }
}

/// A bare hash meets an easy target by luck, and that is mining, not forging.
fn no_luck(proof: Proof) -> Option<Proof> {
    (proof.kind.name() != "work" || proof.bytes.len() != 8).then_some(proof)
}

impl World {
    fn forger_name(&mut self) -> Miner {
        let number = u8::try_from(self.random.below(256)).unwrap();
        Miner { address: address(&STRANGER), fingerprint: Fingerprint([number; 16]) }
    }

    pub(crate) fn wake_forger(&mut self) {
        let forged = if self.random.chance(self.plan.acts.forger) { self.forge() } else { None };
        let Some((act, expected, hand_in)) = forged else {
            let until = self.now.plus(PAUSE);
            return self.wake_at(Caller::Forger, until);
        };
        (self.forger.act, self.forger.expected) = (act, expected);
        self.counts.add(act);
        self.call(Caller::Forger, &Call::HandIn(hand_in));
    }

    fn forge(&mut self) -> Option<(&'static str, Expected, HandIn)> {
        let now = self.now;
        let height = self.metronome.role.as_ref()?.round(now)?.height;
        let (miner, overheard) = (self.forger_name(), self.forger.overheard.clone());
        Some(match self.random.below(7) {
            0 => ("forger: noise", Expected::Refusal, forged(height, miner, Some(self.noise()?))),
            1 => {
                let mut bytes = self.random.bytes(8);
                bytes.resize(self.random.pick(&[1000, 70_000]), 7);
                let proof = Proof { kind: self.random.pick(ENGINES).kind, bytes };
                ("forger: oversized proof", Expected::Refusal, forged(height, miner, Some(proof)))
            }
            2 => {
                let stolen = self.stolen()?;
                ("forger: old proof", Expected::Refusal, forged(height, miner, Some(stolen)))
            }
            3 => {
                let stolen = no_luck(overheard?.proof?)?;
                ("forger: stolen proof", Expected::Refusal, forged(height, miner, Some(stolen)))
            }
            4 => ("forger: doubled proof", Expected::Anything, overheard?),
            5 => {
                let other = self.random.pick(&[0, height.0 + 2, u64::MAX]);
                let hand_in = HandIn { height: Height(other), ..overheard? };
                if other == height.0 {
                    return None;
                }
                ("forger: other height", Expected::Refusal, hand_in)
            }
            _ => {
                for _ in 0..FLOOD {
                    let name = self.forger_name();
                    self.shout(Caller::Forger, &Call::HandIn(forged(height, name, None)));
                }
                ("forger: flood", Expected::Anything, forged(height, miner, None))
            }
        })
    }

    fn noise(&mut self) -> Option<Proof> {
        let entry = self.random.pick(ENGINES);
        let len = self.random.below(entry.shape.len_max() + 1);
        no_luck(Proof { kind: entry.kind, bytes: self.random.bytes(len) })
    }

    /// A proof of some block: public, and worthless to anyone but its owner.
    fn stolen(&mut self) -> Option<Proof> {
        let next = self.blockchain.ledger()?.state().round().height.0;
        let height = Height(self.random.number().checked_rem(next)?);
        let block = self.blockchain.ledger()?.block(height).ok()??;
        let proofs = block.proofs.into_vec();
        no_luck(proofs.first()?.proof.clone())
    }

    pub(crate) fn forged(&mut self, answer: &Result<Answer, Lost>) {
        let Forger { act, expected, .. } = self.forger;
        if expected.is_met(act, answer) {
            self.counts.add("forgery refused");
        }
    }
}

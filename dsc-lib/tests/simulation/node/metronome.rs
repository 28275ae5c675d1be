//! The metronome, as the program runs it.

use dsc_lib::{
    role::{
        Answer, Call, Lost,
        metronome::{LastSigned, Metronome, Receipt, Settings, SignedError},
    },
    testing::METRONOME,
};

use crate::{
    event::{Asked, Node},
    world::World,
};

/// The metronome, while it is up.
#[derive(Debug, Default)]
pub(crate) struct MetronomeNode {
    pub(crate) role: Option<Metronome>,
}

impl World {
    pub(crate) fn start_metronome(&mut self) -> bool {
        let chain = self.chain();
        let disk = self.machine(Node::Metronome).disk.clone().unwrap();
        let key = METRONOME.clone();
        let signed = match LastSigned::open(disk, &chain, &key.public().address()) {
            Ok(signed) => signed,
            Err(SignedError::Disk(_)) => {
                self.counts.add("record not opened");
                return false;
            }
            Err(error) => panic!("the record of signed blocks cannot be opened: {error}"),
        };
        let interval = chain.genesis().interval;
        self.leases += u64::from(self.plan.has_leases);
        let settings = Settings { key, epoch: self.leases, interval, running: true };
        self.metronome.role = Some(Metronome::new(chain, settings, signed));
        true
    }

    pub(crate) fn serve_metronome(&mut self, asked: Asked) {
        let answer = self.answer_metronome(&asked.call);
        self.answer_or_park(asked, &answer);
    }

    pub(crate) fn answer_metronome(&mut self, call: &Call) -> Result<Answer, Lost> {
        let now = self.now_of(Node::Metronome);
        let Some(role) = &mut self.metronome.role else { return Err(Lost::new("not there")) };
        Ok(match call {
            Call::Round { after, challenge, .. } => {
                Answer::Round(role.round_other_than(now, *after, *challenge))
            }
            Call::HandIn(hand_in) => {
                let taken = role.hand_in(now, hand_in);
                if taken == Ok(Receipt::Best) {
                    self.forger.overheard = Some(hand_in.clone());
                }
                taken.map_or_else(Answer::Refused, Answer::HandedIn)
            }
            Call::MetronomeStatus => Answer::MetronomeStatus(Box::new(role.status(now))),
            other => panic!("{other:?} is not for the metronome"),
        })
    }
}

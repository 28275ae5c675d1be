//! Two blocks of one height with the same signer: what no honest metronome makes.
//!
//! The ledger takes the first and refuses the second, so nothing is lost; but whoever signed both
//! should sign no more, and the two headers prove it to anybody who knows the genesis.
//!
//! # Invariants
//!
//! 1. Nothing is kept that does not prove itself: nobody can be accused falsely.
//! 2. What is kept is bounded, one for each height and few for each key, so that one key that is
//!    lost hides no other; and it is on disk before it is reported.
//!
//! The file is magic (8 bytes), CRC-32C (u32) of what follows, and the canonical list of
//! equivocations; it is replaced as a whole.

use std::{
    fmt, io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    block::Header,
    codec::{self, List},
    disk::{Disk, Memory},
    genesis::{Chain, METRONOMES_MAX},
    ledger::{BlockError, check_origin},
    units::Height,
};

/// Most equivocations of one key that are kept; further ones are refused as blocks all the same.
pub const EQUIVOCATIONS_PER_KEY_MAX: usize = 4;
/// Most equivocations that are kept.
pub const EQUIVOCATIONS_MAX: usize = EQUIVOCATIONS_PER_KEY_MAX * METRONOMES_MAX;
const NAME: &str = "equivocations";
const FRESH: &str = "equivocations.new";
const MAGIC: &[u8; 8] = b"DSCEQUI\x01";

/// Two headers of one height with the same signer.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Equivocation {
    /// The one that is on the ledger.
    pub first: Header,
    /// The other one.
    pub second: Header,
}

/// Two headers that prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EquivocationFault {
    /// One of them is of another chain, or not signed by a metronome of it.
    #[error(transparent)]
    Header(#[from] BlockError),
    /// They are of different heights.
    #[error("the headers are of heights {0} and {1}")]
    Heights(Height, Height),
    /// Different keys signed them.
    #[error("different keys signed the headers")]
    Signers,
    /// They are the same header.
    #[error("the headers are the same")]
    Same,
}

impl Equivocation {
    /// Checks, trusting nobody, that one metronome of `chain` signed two blocks of one height.
    ///
    /// # Errors
    ///
    /// [`EquivocationFault`] naming what does not fit.
    pub fn verify(&self, chain: &Chain) -> Result<(), EquivocationFault> {
        let Self { first, second } = self;
        if first.height != second.height {
            return Err(EquivocationFault::Heights(first.height, second.height));
        }
        if first.metronome != second.metronome {
            return Err(EquivocationFault::Signers);
        }
        if first.hash() == second.hash() {
            return Err(EquivocationFault::Same);
        }
        check_origin(chain, first)?;
        Ok(check_origin(chain, second)?)
    }

    /// Whether these add nothing that somebody would have to know.
    fn is_known(&self, found: &[Self]) -> bool {
        let same_key = found.iter().filter(|e| e.first.metronome == self.first.metronome);
        let mut heights = same_key.clone().map(|e| e.first.height);
        same_key.count() >= EQUIVOCATIONS_PER_KEY_MAX || heights.any(|h| h == self.first.height)
    }
}

/// Why the evidence cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// The disk failed.
    #[error("the evidence of equivocations: {0}")]
    Disk(#[from] io::Error),
    /// The file is not what was written.
    #[error("the evidence of equivocations is damaged")]
    Damaged,
}

/// The equivocations that a blockchain server has seen.
pub struct Evidence {
    /// Held while it is written to, which nobody waits for who only asks.
    disk: Mutex<Box<dyn Disk>>,
    found: Mutex<Vec<Equivocation>>,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").field("found", &self.found().len()).finish_non_exhaustive()
    }
}

impl Default for Evidence {
    /// Evidence that is gone when it is dropped.
    fn default() -> Self {
        Self { disk: Mutex::new(Box::new(Memory::default())), found: Mutex::default() }
    }
}

impl Evidence {
    /// Opens what was found before.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] if it cannot be read, or proves nothing about `chain`.
    pub fn open(disk: impl Disk + 'static, chain: &Chain) -> Result<Self, EvidenceError> {
        let found = read(&disk)?;
        if found.iter().any(|equivocation| equivocation.verify(chain).is_err()) {
            return Err(EvidenceError::Damaged);
        }
        if !found.is_empty() {
            // Whoever wrote it may have been killed before it was on disk.
            write(&disk, &found)?;
        }
        Ok(Self { disk: Mutex::new(Box::new(disk)), found: Mutex::new(found) })
    }

    /// What was found, oldest first.
    pub fn all(&self) -> Vec<Equivocation> {
        self.found().clone()
    }

    /// How much was found.
    pub fn count(&self) -> usize {
        self.found().len()
    }

    /// Whether nothing more has to be known of this height and key.
    pub(super) fn knows(&self, equivocation: &Equivocation) -> bool {
        equivocation.is_known(&self.found())
    }

    /// Keeps what was found, which was verified; says whether it is new.
    pub(super) fn add(&self, equivocation: &Equivocation) -> io::Result<bool> {
        let disk = self.disk.lock().unwrap_or_else(PoisonError::into_inner);
        let mut more = self.all();
        if equivocation.is_known(&more) {
            return Ok(false);
        }
        more.push(equivocation.clone());
        write(&**disk, &more)?;
        *self.found() = more;
        Ok(true)
    }

    fn found(&self) -> MutexGuard<'_, Vec<Equivocation>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(disk: &dyn Disk, found: &[Equivocation]) -> io::Result<()> {
    let Ok(list) = List::<_, 0, EQUIVOCATIONS_MAX>::new(found.to_vec()) else { return Ok(()) };
    let list = codec::encode(&list);
    let sum = crc32c::crc32c(&list).to_le_bytes();
    let file = disk.create(FRESH)?;
    file.write_at(&[MAGIC, &sum[..], &list].concat(), 0)?;
    file.sync()?;
    disk.rename(FRESH, NAME)?;
    disk.sync()
}

fn read(disk: &dyn Disk) -> Result<Vec<Equivocation>, EvidenceError> {
    /// Far more than the bounded list has.
    const BYTES_MAX: u64 = 1 << 20;
    let file = match disk.open(NAME) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        opened => opened?,
    };
    let size = file.size()?.min(BYTES_MAX);
    let mut bytes = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_at(&mut bytes, 0)?;
    parse(&bytes).ok_or(EvidenceError::Damaged)
}

fn parse(bytes: &[u8]) -> Option<Vec<Equivocation>> {
    let (sum, list) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    if crc32c::crc32c(list) != u32::from_le_bytes(*sum) {
        return None;
    }
    codec::decode::<List<Equivocation, 0, EQUIVOCATIONS_MAX>>(list).ok().map(List::into_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::SecretKey,
        ledger::{Ledger, State},
        role::blockchain::{Blockchain, SubmitError},
        testing::{
            ALICE, BOB, METRONOME, STRANGER, address, chain,
            disk::{Keep, NotingDisk},
            next_block, pay, unchecked,
        },
        units::Millis,
    };

    /// Two blocks that may follow the genesis, by the same metronome.
    fn two_blocks() -> [Vec<u8>; 2] {
        let state = State::genesis(chain());
        let empty = next_block(&state, vec![], vec![]);
        let full = next_block(&state, vec![], vec![pay(&ALICE, 0, address(&BOB), 1)]);
        [empty.to_bytes(), full.to_bytes()]
    }

    fn headers() -> [Header; 2] {
        two_blocks().map(|bytes| codec::decode_first(&bytes).unwrap().0)
    }

    fn resigned(change: impl Fn(&mut Header), key: &SecretKey) -> Header {
        let [_, mut header] = headers();
        change(&mut header);
        header.sign(key)
    }

    #[test]
    fn two_blocks_of_one_height_are_evidence_and_the_first_stays() {
        let mut server = Blockchain::new(Ledger::in_memory(chain()));
        let [first, second] = two_blocks();
        let accepted = server.submit(&first).unwrap();
        for _ in 0..2 {
            let error = server.submit(&second).unwrap_err();
            assert!(matches!(error, SubmitError::Equivocation { .. }), "{error}");
            assert_eq!(error.refusal().unwrap().code, "equivocation");
        }
        assert_eq!(server.submit(&first).unwrap(), accepted, "the same block is no second one");
        let [kept] = &server.evidence().all()[..] else { panic!("one for each height and key") };
        let [first, second] = headers();
        assert_eq!((&kept.first, &kept.second), (&first, &second));
        assert_eq!(kept.verify(&chain()), Ok(()));
        assert_eq!(server.info().unwrap().equivocations, 1);
        assert_eq!(server.info().unwrap().tip, first.hash());
    }

    /// Old blocks, forged ones, and two blocks of two metronomes accuse nobody.
    #[test]
    fn nobody_is_accused_falsely() {
        let mut server = Blockchain::new(Ledger::in_memory(chain()));
        let [first, second] = two_blocks();
        server.submit(&first).unwrap();
        let mut forged = unchecked(&next_block(&State::genesis(chain()), vec![], vec![]));
        for key in [&*STRANGER, &*ALICE] {
            forged.header.time = Millis(forged.header.time.0 + 1);
            forged.header = forged.header.clone().sign(key);
            let error = server.submit(&codec::encode(&forged)).unwrap_err();
            assert!(matches!(error, SubmitError::Block(_)), "{error}");
        }
        let mut torn = second;
        let last_of_signature = codec::encode(&headers()[1]).len() - 1;
        torn[last_of_signature] ^= 1;
        assert!(matches!(server.submit(&torn).unwrap_err(), SubmitError::Block(_)));
        assert_eq!(server.evidence().count(), 0);
    }

    #[test]
    fn headers_that_prove_nothing_are_named() {
        let [first, second] = headers();
        let fault = |second: Header| {
            Equivocation { first: first.clone(), second }.verify(&chain()).unwrap_err()
        };
        assert_eq!(fault(first.clone()), EquivocationFault::Same);
        let other = resigned(|header| header.metronome = address(&ALICE), &ALICE);
        assert_eq!(fault(other), EquivocationFault::Signers);
        let higher = resigned(|header| header.height = Height(9), &METRONOME);
        assert_eq!(fault(higher), EquivocationFault::Heights(Height(0), Height(9)));
        let unsigned = Header { signature: first.signature, ..second };
        assert!(matches!(fault(unsigned), EquivocationFault::Header(BlockError::Signature(_))));
    }

    fn equivocation(height: u64) -> Equivocation {
        let of = |time: u64| {
            let change = |header: &mut Header| {
                (header.height, header.time) = (Height(height), Millis(time));
            };
            resigned(change, &METRONOME)
        };
        Equivocation { first: of(1), second: of(2) }
    }

    #[test]
    fn one_key_hides_no_other() {
        let evidence = Evidence::default();
        for height in 0..EQUIVOCATIONS_PER_KEY_MAX as u64 + 3 {
            let is_new = height < EQUIVOCATIONS_PER_KEY_MAX as u64;
            assert_eq!(evidence.add(&equivocation(height)).unwrap(), is_new);
            assert!(!evidence.add(&equivocation(height)).unwrap(), "one for each height");
        }
        assert_eq!(evidence.count(), EQUIVOCATIONS_PER_KEY_MAX);
        let mut other = equivocation(0);
        (other.first.metronome, other.second.metronome) = (address(&ALICE), address(&ALICE));
        assert!(evidence.add(&other).unwrap());
    }

    /// Cut off at any operation, the file is what it was before or after, never less.
    #[test]
    fn evidence_survives_a_crash() {
        let disk = NotingDisk::default();
        let evidence = Evidence::open(disk.clone(), &chain()).unwrap();
        let mut kept = Vec::new();
        for height in 0..2 {
            let before = disk.operations();
            evidence.add(&equivocation(height)).unwrap();
            for crash in before..=disk.operations() {
                for keep in [Keep::Nothing, Keep::Everything, Keep::Some(1), Keep::Some(2)] {
                    let after = Evidence::open(disk.crash(crash, keep), &chain()).unwrap().all();
                    let whole = evidence.all();
                    assert!(after == kept && crash < disk.operations() || after == whole);
                }
            }
            kept = evidence.all();
        }
    }

    /// Whatever was on disk when its writer was killed, what the next start shows is on disk.
    #[test]
    fn evidence_that_is_shown_outlives_a_crash() {
        for operations in 0..8 {
            let disk = NotingDisk::default();
            let evidence = Evidence::open(disk.clone(), &chain()).unwrap();
            disk.kill(operations);
            let is_killed = evidence.add(&equivocation(0)).is_err();
            disk.mend();
            let shown = Evidence::open(disk.clone(), &chain()).unwrap().all();
            assert!(is_killed || shown.len() == 1);
            let cut = disk.crash(disk.operations(), Keep::Nothing);
            assert_eq!(Evidence::open(cut, &chain()).unwrap().all(), shown);
        }
    }

    #[test]
    fn damaged_evidence_is_refused() {
        let disk = Memory::default();
        let evidence = Evidence::open(disk.clone(), &chain()).unwrap();
        evidence.add(&equivocation(1)).unwrap();
        let file = disk.open(NAME).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, 100).unwrap();
        file.write_at(&[!byte[0]], 100).unwrap();
        let error = Evidence::open(disk, &chain()).unwrap_err();
        assert!(matches!(error, EvidenceError::Damaged), "{error}");
    }

    /// A disk that fails lets the block be refused all the same; it is this server's fault then.
    #[test]
    fn evidence_that_cannot_be_kept_is_said() {
        let disk = NotingDisk::default();
        let evidence = Evidence::open(disk.clone(), &chain()).unwrap();
        let mut server = Blockchain::with_evidence(Ledger::in_memory(chain()), evidence);
        let [first, second] = two_blocks();
        server.submit(&first).unwrap();
        disk.fail(0, usize::MAX);
        assert!(matches!(server.submit(&second).unwrap_err(), SubmitError::Store(_)));
        disk.mend();
        assert!(matches!(server.submit(&second).unwrap_err(), SubmitError::Equivocation { .. }));
        assert_eq!(server.evidence().count(), 1);
    }
}

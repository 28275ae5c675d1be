//! Vaults: plotting, taking a plot up again, look-ups, checks and repairs.

use std::sync::LazyLock;

use dsc_lib::{
    address::Address,
    disk::{Disk, Memory},
    proof::{
        Fingerprint, Miner, NoProgress, Progress, Resources,
        space::{
            CheckError, Depth, Fault as VaultFault, PAGE_LEN, RepairError, Upkeep, Vault,
            VaultError, VaultId, check_on, plot_on, repair_on,
        },
    },
    testing::disk::{Dice, Keep, NotingDisk, bytes_of, memory_of},
};

use super::{Fault, Promises, for_each_seed};

/// Two vaults of the smallest size, so that a journal may be of the other one.
static VAULTS: LazyLock<[(VaultId, Vec<u8>); 2]> = LazyLock::new(|| {
    [0, 1].map(|index| {
        let (id, disk) = (id(index), Memory::default());
        plot_on(&disk, &id, &resources(1), &NoProgress).unwrap();
        let bytes = bytes_of(&disk, &id.file_name());
        assert_eq!(bytes.len() as u64, id.file_len());
        (id, bytes)
    })
});

fn id(index: u32) -> VaultId {
    let (address, fingerprint) = (Address([3; 32]), Fingerprint([7; 16]));
    VaultId::new(Miner { address, fingerprint }, 16, index).unwrap()
}

fn resources(threads: usize) -> Resources {
    Resources { threads, ..Resources::new(std::path::Path::new("nowhere")) }
}

fn upkeep() -> Upkeep {
    Upkeep { threads: 1, ..Upkeep::default() }
}

/// Cancels when it was told so many things.
struct Impatient(std::sync::atomic::AtomicUsize);

impl Progress for Impatient {
    fn update(&self, _stage: &'static str, _done: u64, _total: u64) {
        let left = |left: usize| Some(left.saturating_sub(1));
        let order = std::sync::atomic::Ordering::Relaxed;
        let _ = self.0.fetch_update(order, order, left);
    }

    fn is_cancelled(&self) -> bool {
        self.0.load(std::sync::atomic::Ordering::Relaxed) == 0
    }
}

/// A file that has the name of a vault is that vault, whole.
fn check_name(disk: &NotingDisk, vault: &(VaultId, Vec<u8>)) -> bool {
    let is_there = disk.has(&vault.0.file_name()).unwrap();
    assert!(!is_there || bytes_of(disk, &vault.0.file_name()) == vault.1);
    is_there
}

/// A plot that fails, is cancelled, killed or cut short by a crash, again and again, is taken up and
/// ends in the same file.
#[test]
fn a_plot_ends_in_the_same_file_whatever_comes_between() {
    for_each_seed("plot", 12, |seed| {
        let mut dice = Dice(seed);
        let vault = &VAULTS[dice.below(2)];
        let mut disk = NotingDisk::default();
        // Whether somebody was told that it is plotted.
        let mut promises = Promises::new(&disk, false);
        for _ in 0..=dice.below(3) {
            if check_name(&disk, vault) {
                break;
            }
            Fault::inject(&disk, &mut dice, 90);
            let patience = [usize::MAX, dice.below(60)][dice.below(2)];
            let plotted = plot_on(&disk, &vault.0, &resources(1), &Impatient(patience.into()));
            disk.mend();
            if plotted.is_ok() {
                assert!(check_name(&disk, vault));
                promises.add(&disk, true);
            }
            if dice.below(3) > 0 {
                (disk, promises) = promises.crash(&disk, &mut dice);
                assert!(check_name(&disk, vault) || !*promises.last());
            }
        }
        if !check_name(&disk, vault) {
            plot_on(&disk, &vault.0, &resources(1), &NoProgress).unwrap();
            promises.add(&disk, true);
        }
        let left = NotingDisk::of(&disk.crash(disk.operations(), Keep::Nothing));
        assert!(check_name(&left, vault) || !*promises.last());
    });
}

/// Damages pages of a vault; returns which.
fn damage(bytes: &mut [u8], dice: &mut Dice) -> Vec<usize> {
    let pages = bytes.len() / PAGE_LEN;
    let mut damaged = Vec::new();
    for _ in 0..=dice.below(5) {
        let page = dice.below(pages);
        let part = &mut bytes[page * PAGE_LEN..][..PAGE_LEN];
        match dice.below(5) {
            0 => part.fill(0),
            1 => part.fill(0xff),
            2 => part[dice.below(PAGE_LEN)..].fill(0),
            3 => part.iter_mut().for_each(|byte| *byte = dice.roll().to_le_bytes()[0]),
            _ => {
                let bit = dice.below(PAGE_LEN * 8);
                part[bit / 8] ^= 1 << (bit % 8);
            }
        }
        damaged.push(page);
    }
    damaged
}

/// Whatever is asked of a damaged vault, the answer is right or an error.
fn look_up(disk: &dyn Disk, vault: &(VaultId, Vec<u8>), sound: &Vault, dice: &mut Dice) {
    let Ok(open) = Vault::open_on(disk, &vault.0.file_name()) else { return };
    for _ in 0..20 {
        let bucket = dice.below(usize::try_from(vault.0.buckets()).unwrap()) as u64;
        if let Ok(entries) = open.entries(bucket) {
            assert_eq!(entries, sound.entries(bucket).unwrap());
        }
    }
}

/// Whether the disk has failed, and is not taken for damage.
fn is_io(error: &VaultError) -> bool {
    matches!(error.fault, VaultFault::Io { .. })
}

/// Any damaged page is noticed by a full check, and repaired, whatever comes between.
#[test]
fn damage_is_noticed_and_repaired() {
    for_each_seed("vault", 12, |seed| {
        let mut dice = Dice(seed);
        let vault = &VAULTS[dice.below(2)];
        let name = vault.0.file_name();
        let whole = memory_of([(&name[..], &vault.1[..])]);
        let sound = Vault::open_on(&whole, &name).unwrap();
        let mut bytes = vault.1.clone();
        let touched = damage(&mut bytes, &mut dice);
        if dice.below(4) == 0 {
            bytes.truncate(PAGE_LEN + dice.below(bytes.len() - PAGE_LEN));
        }
        let disk = memory_of([(&name[..], &bytes[..])]);
        look_up(&disk, vault, &sound, &mut dice);
        let stated = Upkeep { id: Some(vault.0), ..upkeep() };
        let report = check_on(&disk, &name, Depth::Full, &stated, &NoProgress).unwrap();
        let named: Vec<_> = report.faults.iter().filter_map(VaultFault::page).collect();
        for page in touched {
            let at = page * PAGE_LEN;
            if let Some(there) = bytes.get(at..at + PAGE_LEN) {
                let differs = there != &vault.1[at..at + PAGE_LEN];
                assert_eq!(named.contains(&(page as u64)), differs, "page {page}");
            }
        }
        assert_eq!(report.faults.is_empty(), bytes == vault.1);
        let mut disk = NotingDisk::of(&disk);
        let mut promises = Promises::new(&disk, false);
        for _ in 0..dice.below(3) {
            let fault = Fault::inject(&disk, &mut dice, 12);
            let repaired = repair_on(&disk, &name, &stated, &NoProgress);
            disk.mend();
            match repaired {
                Ok(_) => {
                    assert!(bytes_of(&disk, &name) == vault.1);
                    promises.add(&disk, true);
                }
                Err(RepairError::Vault(error)) => assert!(is_io(&error), "{error}"),
                Err(RepairError::Foreign { .. } | RepairError::NotKept { .. }) => {
                    assert!(fault.hinders_reading());
                }
                Err(RepairError::Io { .. } | RepairError::NoSpace { .. }) => {}
                Err(found) => panic!("{found}"),
            }
            if dice.below(2) == 0 {
                (disk, promises) = promises.crash(&disk, &mut dice);
                assert!(!*promises.last() || bytes_of(&disk, &name) == vault.1);
                look_up(&disk, vault, &sound, &mut dice);
            }
        }
        repair_on(&disk, &name, &stated, &NoProgress).unwrap();
        let left = disk.crash(disk.operations(), Keep::Nothing);
        assert!(bytes_of(&left, &name) == vault.1, "it is on disk");
        match check_on(&left, &name, Depth::Full, &upkeep(), &NoProgress) {
            Ok(report) => assert!(report.faults.is_empty()),
            Err(CheckError::Vault(error)) => panic!("{error}"),
            Err(error) => panic!("{error}"),
        }
    });
}

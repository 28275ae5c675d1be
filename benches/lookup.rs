//! Look-ups in a vault: how long each takes, beside the disk's own random read in the same run.
//!
//! `cargo bench --package dsc-benches --bench lookup` plots a vault in the folder for temporary
//! files (`TMPDIR` says which disk that is on), then takes one sample of every kind in turn, so that
//! whatever else the machine does falls on all alike. Without `--bench` it runs once, as a test.
//!
//! * *disk*: 4 KiB at a random page, past the cache of the system;
//! * *direct*: a look-up that reads past the cache;
//! * *dropped*: a look-up through the cache, from which the file was dropped before;
//! * *warm*: a look-up of a page that is cached, read or mapped;
//! * *challenge*: a whole proof over several vaults, past the cache.

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("only Linux tells how to read past its cache");
}

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    linux::run()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        error::Error,
        fs::{File, OpenOptions},
        os::unix::fs::{FileExt, OpenOptionsExt},
        path::Path,
        sync::atomic::AtomicBool,
        time::{Duration, Instant},
    };

    use dsc_benches::digest;
    use dsc_lib::{
        proof::{
            Budget, Challenge, Clock, Fingerprint, LookupMode, Miner, NoProgress, Prover,
            Resources, find,
            space::{PAGE_LEN, Vault, VaultId, plot},
        },
        tag::Tagger,
        units::Target,
    };

    /// Of the vaults of a challenge: 2 MiB each.
    const K_SMALL: u8 = 18;
    const VAULTS: [u32; 4] = [1, 4, 16, 32];

    struct Wall(Instant);

    impl Clock for Wall {
        fn now(&self) -> Duration {
            self.0.elapsed()
        }
    }

    /// What is measured, and how long each sample took.
    struct Kind<'a> {
        name: String,
        sample: Box<dyn FnMut(u64) + 'a>,
        times: Vec<Duration>,
    }

    impl<'a> Kind<'a> {
        fn new(name: impl Into<String>, sample: impl FnMut(u64) + 'a) -> Self {
            Self { name: name.into(), sample: Box::new(sample), times: Vec::new() }
        }

        fn percentile(&self, percent: usize) -> f64 {
            let mut times = self.times.clone();
            times.sort_unstable();
            times[(times.len() - 1) * percent / 100].as_secs_f64() * 1e6
        }
    }

    fn miner() -> Miner {
        Miner { address: dsc_benches::stranger(1), fingerprint: Fingerprint([7; 16]) }
    }

    pub(super) fn run() -> Result<(), Box<dyn Error>> {
        let is_bench = std::env::args().any(|arg| arg == "--bench");
        let (k, samples) = if is_bench { (25, 3000) } else { (16, 3) };
        let folder = tempfile::tempdir()?;
        let id = VaultId::new(miner(), k, 0).ok_or("no such size")?;
        let path = plot(&id, &Resources::new(folder.path()), &NoProgress)?;
        let [read, direct, mapped] = [LookupMode::Read, LookupMode::Direct, LookupMode::Map]
            .map(|mode| Vault::open(&path, mode));
        let (read, direct, mapped) = (read?, direct?, mapped?);
        println!(
            "k = {k}, {} MiB, {samples} samples, direct is {:?}",
            id.file_len() >> 20,
            direct.mode()
        );
        // A file system in memory has no other reads than those of its cache.
        let disk = open_direct(&path).or_else(|_| File::open(&path))?;
        let cached = File::open(&path)?;
        let disk = || Kind::new("disk", read_from(&disk, id.buckets()));
        let mut cold =
            [disk(), Kind::new("direct", look_up(&direct)), Kind::new("dropped", look_up(&read))];
        measure(&mut cold, samples, || {
            let dropped = rustix::fs::fadvise(&cached, 0, None, rustix::fs::Advice::DontNeed);
            dropped.expect("the cache can be dropped");
        });
        report(&cold);
        let mut warm = [
            disk(),
            Kind::new("warm, read", look_up(&read)),
            Kind::new("warm, mapped", look_up(&mapped)),
        ];
        // The first round fetches what the second finds.
        measure(&mut warm, samples, || {});
        for kind in &mut warm {
            kind.times.clear();
        }
        measure(&mut warm, samples, || {});
        report(&warm);
        challenges(disk(), folder.path(), samples)
    }

    fn look_up(vault: &Vault) -> impl FnMut(u64) {
        let buckets = vault.header().id.buckets();
        move |at| assert!(!vault.entries(at % buckets).expect("a sound page").is_empty())
    }

    fn read_from(disk: &File, pages: u64) -> impl FnMut(u64) {
        let mut bytes = vec![0; 2 * PAGE_LEN];
        let start = bytes.as_ptr().align_offset(PAGE_LEN);
        move |at| {
            let page = &mut bytes[start..start + PAGE_LEN];
            disk.read_exact_at(page, (at % pages + 1) * PAGE_LEN as u64).expect("a page");
        }
    }

    /// Proofs over several vaults.
    fn challenges(disk: Kind<'_>, folder: &Path, samples: u64) -> Result<(), Box<dyn Error>> {
        let engine = find("space")?.build_with(&[16, 0])?;
        let prepare = |count| {
            let (indices, size) = ((0..count).collect(), Some(K_SMALL));
            let lookup = LookupMode::Direct;
            let resources = Resources { indices, size, lookup, ..Resources::new(folder) };
            engine.prepare(&miner(), &resources, &NoProgress)
        };
        let (wall, stop) = (Wall(Instant::now()), AtomicBool::new(false));
        let (wall, stop) = (&wall, &stop);
        let mut kinds = vec![disk];
        for count in VAULTS {
            let mut prover: Box<dyn Prover> = prepare(count)?;
            kinds.push(Kind::new(format!("challenge, {count} vaults"), move |at| {
                let budget = Budget::new(wall, stop);
                let found = prover.prove(&Challenge(digest(at)), Target::MAX, &budget);
                assert!(found.expect("sound vaults").best.is_some());
            }));
        }
        measure(&mut kinds, samples, || {});
        report(&kinds);
        Ok(())
    }

    /// Takes samples of every kind in turn, each at the same places.
    fn measure(kinds: &mut [Kind<'_>], samples: u64, before: impl Fn()) {
        let places = Tagger::new(&[7; 32]);
        for sample in 0..samples {
            for (kind, offset) in kinds.iter_mut().zip(0..) {
                // Each its own place, so that none finds what another has fetched.
                let place = places.tag(sample * 16 + offset);
                before();
                let start = Instant::now();
                (kind.sample)(place);
                kind.times.push(start.elapsed());
            }
        }
    }

    /// Prints every kind beside the first, which is the disk.
    fn report(kinds: &[Kind<'_>]) {
        let disk_us = kinds.first().map_or(f64::NAN, |disk| disk.percentile(50));
        for kind in kinds {
            let [p50, p99] = [50, 99].map(|percent| kind.percentile(percent));
            let (name, ratio) = (&kind.name, p50 / disk_us);
            println!(
                "space::lookup/{name:22} p50 {p50:8.1} us, p99 {p99:8.1} us, {ratio:5.2} x disk"
            );
        }
    }

    fn open_direct(path: &Path) -> std::io::Result<File> {
        let flags = i32::try_from(rustix::fs::OFlags::DIRECT.bits()).expect("a small number");
        OpenOptions::new().read(true).custom_flags(flags).open(path)
    }
}

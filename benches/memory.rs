//! Proof of memory: sorting a table in RAM and walking through it.

use std::{
    hint::black_box,
    sync::atomic::AtomicBool,
    time::{Duration, Instant},
};

use dsc_benches::{Contender, Criterion, MINER, digest, engine, median, rounds, run, side_by_side};
use dsc_lib::{
    proof::{Budget, Challenge, Clock, NoProgress, Prover, Resources, find},
    units::Target,
};
use memmap2::MmapMut;

const TITLE: &str = "proof::memory::beside_the_limit";
/// Sizes whose look-ups are held against the limit of the machine.
const SIZES: [u64; 2] = [24, 26];
/// How long one contender runs in a round.
const RUN: Duration = Duration::from_millis(200);
/// Reads started before the first is waited for: the engine fetches as many look-ups ahead (`LEAD`
/// of its walks), and `dsc bench proof` measures the same limit.
const IN_FLIGHT: usize = 32;

fn main() {
    run(&[|criterion| engine(criterion, "memory", &[16, 20]), beside_the_limit]);
}

struct Running(Instant);

impl Clock for Running {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Look-ups beside independent random reads of eight bytes in as much memory.
fn beside_the_limit(_: &mut Criterion) {
    let sizes = match rounds(TITLE) {
        None => &[][..],
        Some(1) => &[16],
        Some(_) => &SIZES,
    };
    for size in sizes {
        let engine = find("memory").expect("a registered engine").build_with(&[*size, 32]);
        let engine = engine.expect("parameters in range");
        let mut prover =
            engine.prepare(&MINER, &Resources::new(""), &NoProgress).expect("enough memory");
        let memory = memory(prover.footprint().ram_bytes);
        let mut late = Vec::new();
        for threads in [1, 2] {
            let (prover, late, memory) = (&mut *prover, &mut late, &memory);
            let contenders: Vec<Contender<'_>> = vec![
                ("random reads".into(), Box::new(move || reads(memory, threads))),
                ("look-ups".into(), Box::new(move || lookups(prover, threads, late))),
            ];
            let title = format!("{TITLE}/m={size}/threads={threads}");
            side_by_side(&title, contenders);
        }
        if !late.is_empty() {
            let most = late.iter().copied().fold(0.0, f64::max);
            println!("  after the deadline: median {:.3} ms, most {most:.3} ms", median(late));
        }
    }
}

/// Memory of its own pages, huge ones if the system has them, as the prover's table.
fn memory(bytes: u64) -> MmapMut {
    let mut memory = MmapMut::map_anon(usize::try_from(bytes).expect("it fits")).expect("memory");
    #[cfg(target_os = "linux")]
    let _ = memory.advise(memmap2::Advice::HugePage);
    memory.fill(1);
    memory
}

/// Reads at random from all threads together.
fn reads(memory: &[u8], threads: usize) -> u64 {
    std::thread::scope(|scope| {
        let read = |thread| scope.spawn(move || read(memory, thread));
        let reading: Vec<_> = (0..threads as u64).map(read).collect();
        reading.into_iter().map(|thread| thread.join().expect("it reads")).sum()
    })
}

fn read(memory: &[u8], seed: u64) -> u64 {
    let (words, _) = memory.as_chunks::<8>();
    let (begun, mut reads, mut random, mut sum) = (Instant::now(), 0, seed, 0_u64);
    while begun.elapsed() < RUN {
        for _ in 0..1_000 {
            let mut places = [0; IN_FLIGHT];
            for place in &mut places {
                random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                let scaled = (u128::from(random) * words.len() as u128) >> 64;
                *place = usize::try_from(scaled).expect("below the length");
            }
            sum = places.iter().fold(sum, |sum, &at| sum ^ u64::from_le_bytes(words[at]));
        }
        reads += 1_000 * IN_FLIGHT as u64;
    }
    black_box(sum);
    reads
}

/// Walks until a deadline and notes by how many milliseconds it was missed.
fn lookups(prover: &mut dyn Prover, threads: usize, late: &mut Vec<f64>) -> u64 {
    let (clock, cancel) = (Running(Instant::now()), AtomicBool::new(false));
    let budget = Budget::new(&clock, &cancel).with_threads(threads).with_deadline(RUN);
    let attempt = prover.prove(&Challenge(digest(late.len() as u64)), Target::MAX, &budget);
    late.push(clock.now().saturating_sub(RUN).as_secs_f64() * 1e3);
    attempt.expect("a working prover").attempts
}

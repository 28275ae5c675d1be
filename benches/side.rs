//! Contenders measured in turn, so that what else the machine does falls on all of them.

use std::time::Instant;

/// Rounds in which each contender runs once.
const ROUNDS: usize = 9;

/// One contender: its name and what it does; a run returns how many operations it made.
pub type Contender<'a> = (String, Box<dyn FnMut() -> u64 + 'a>);

/// Runs the contenders in turn and prints the median rate of each, and the median of its ratios to
/// the first.
///
/// Run as a test, or with a filter that `title` does not hold, it does next to nothing.
#[allow(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
pub fn side_by_side(title: &str, mut contenders: Vec<Contender<'_>>) {
    let Some(rounds) = rounds(title) else { return };
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
    for _ in 0..rounds {
        for ((_, run), rates) in contenders.iter_mut().zip(&mut rates) {
            let begun = Instant::now();
            let operations = run();
            rates.push(operations as f64 / begun.elapsed().as_secs_f64());
        }
    }
    println!("{title}, side by side, median of {rounds}");
    for ((name, _), own) in contenders.iter().zip(&rates) {
        let ratios = own.iter().zip(&rates[0]).map(|(own, first)| own / first);
        let (rate, ratio) = (median(own.clone()), median(ratios.collect()));
        println!("  {name:<24} {:>9.3} M/s  {ratio:>7.3}", rate / 1e6);
    }
}

/// How many rounds of the comparison called `title` the command line asks for, if any.
pub fn rounds(title: &str) -> Option<usize> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let asked = filter.is_none_or(|filter| title.contains(filter.as_str()));
    let measured = arguments.iter().any(|argument| argument == "--bench");
    asked.then_some(if measured { ROUNDS } else { 1 })
}

/// The middle one of `values`.
///
/// # Panics
///
/// If there are none.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

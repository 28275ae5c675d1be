//! What else the processors did during a run: figures of a disturbed run are not worth keeping.

use std::fs;

use serde::Serialize;

use super::stats::float;

/// Shares of all processors' time during a run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Noise {
    /// Taken by other programs and by the system for them.
    others: f64,
    /// Withheld by the host of a virtual machine.
    stolen: f64,
}

/// Counters of the system, in ticks of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
    own: u64,
}

impl Ticks {
    /// The counters now, where the system keeps them; what `servers` take is not by others.
    pub(crate) fn now(servers: &[u32]) -> Option<Self> {
        let read = |path: &str| fs::read_to_string(path).ok();
        let mut ticks = Self::parse(&read("/proc/stat")?, &read("/proc/self/stat")?)?;
        let of = |server: &u32| own(&read(&format!("/proc/{server}/stat"))?);
        ticks.own += servers.iter().filter_map(of).sum::<u64>();
        Some(ticks)
    }

    fn parse(system: &str, own: &str) -> Option<Self> {
        let first = system.lines().next()?.strip_prefix("cpu ")?;
        let counters: Vec<u64> =
            first.split_whitespace().map(|count| count.parse().ok()).collect::<Option<_>>()?;
        // user, nice, system, idle, waiting, interrupts (two), stolen; guests are part of user.
        let [user, nice, kernel, idle, waiting, hard, soft, stolen, ..] = counters[..] else {
            return None;
        };
        let busy = user + nice + kernel + hard + soft;
        let own = self::own(own)?;
        Some(Self { all: busy + idle + waiting + stolen, busy, stolen, own })
    }

    /// What happened since.
    fn until(self, end: Self) -> Option<Noise> {
        let passed = |count: fn(&Self) -> u64| count(&end).saturating_sub(count(&self));
        let share = |ticks: u64| float(ticks) / float(passed(|ticks| ticks.all));
        let others = passed(|ticks| ticks.busy).saturating_sub(passed(|ticks| ticks.own));
        let is_long = passed(|ticks| ticks.all) > 0;
        is_long
            .then(|| Noise { others: share(others), stolen: share(passed(|ticks| ticks.stolen)) })
    }

    /// What happened since, until now.
    pub(crate) fn until_now(self, servers: &[u32]) -> Option<Noise> {
        self.until(Self::now(servers)?)
    }
}

/// Ticks of a process and of the children that it has waited for.
fn own(stat: &str) -> Option<u64> {
    // The name of the program is in brackets and may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    let field = |index: usize| fields.split_whitespace().nth(index)?.parse::<u64>().ok();
    Some(field(11)? + field(12)? + field(13)? + field(14)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_all_processors() {
        let own = |user: u64, kernel: u64| {
            format!("7 (a) b) R 1 1 1 0 -1 0 0 0 0 0 {user} {kernel} 0 0 20 0 1\n")
        };
        let start = Ticks::parse("cpu  10 1 2 100 3 1 1 4 0 0\ncpu0 1\n", &own(5, 1)).unwrap();
        assert_eq!(start, Ticks { all: 122, busy: 15, stolen: 4, own: 6 });
        let end = Ticks::parse("cpu  70 1 22 110 3 1 1 14 0 0\n", &own(55, 11)).unwrap();
        let noise = start.until(end).unwrap();
        assert_eq!(noise, Noise { others: 0.2, stolen: 0.1 });
        assert_eq!(start.until(start), None);
        assert_eq!(Ticks::parse("cpu 1 2", &own(1, 1)), None);
    }
}

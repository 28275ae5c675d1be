//! Figures for Prometheus, in its text format (version 0.0.4).
//!
//! # Invariants
//!
//! 1. Every family has one HELP and one TYPE line, before its samples.
//! 2. Labels are words of this program: never an address, an id, or anything a client chose.
//! 3. To count costs no allocation and waits for no other counter.
//!
//! Most figures are read off a role when somebody asks, so a registry of live counters (such as that
//! of `prometheus-client`, which writes `OpenMetrics` only) would be a second copy of them.
//! `tests/metrics.rs` holds running roles to the format.

use std::{
    collections::HashMap,
    fmt::{Display, Write},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A name and its value.
pub(crate) type Label<'a> = (&'a str, &'a str);

/// What kind of figure a family is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sort {
    /// Only rises; its name ends in `_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Begins a family.
pub(crate) fn family(text: &mut String, name: &str, sort: Sort, help: &str) {
    let sort = match sort {
        Sort::Counter => "counter",
        Sort::Gauge => "gauge",
        Sort::Histogram => "histogram",
    };
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {sort}");
}

/// Adds a sample to the family begun last.
pub(crate) fn sample(text: &mut String, name: &str, labels: &[Label<'_>], value: impl Display) {
    text.push_str(name);
    for (index, (label, value)) in labels.iter().enumerate() {
        let before = if index == 0 { '{' } else { ',' };
        let _ = write!(text, "{before}{label}=\"{}\"", escaped(value));
    }
    let after = if labels.is_empty() { "" } else { "}" };
    let _ = writeln!(text, "{after} {value}");
}

/// A family of one sample without labels.
pub(crate) fn gauge(text: &mut String, name: &str, help: &str, value: impl Display) {
    family(text, name, Sort::Gauge, help);
    sample(text, name, &[], value);
}

/// A family of one counter.
pub(crate) fn counter(
    text: &mut String,
    name: &str,
    help: &str,
    labels: &[Label<'_>],
    value: impl Display,
) {
    family(text, name, Sort::Counter, help);
    sample(text, name, labels, value);
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Upper bounds of a histogram, in microseconds: rising, the last one open.
type Bounds = &'static [u64];

/// Times by size.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: Bounds,
    /// How many were at most each bound and above the one before; one more for those above all.
    counts: Box<[AtomicU64]>,
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: Bounds) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, counts, nanos: AtomicU64::new(0) }
    }

    pub(crate) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let place = self.bounds.partition_point(|bound| bound.saturating_mul(1000) < nanos);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Relaxed);
        }
        self.nanos.fetch_add(nanos, Relaxed);
    }

    /// Adds its samples to the family `name`.
    pub(crate) fn write(&self, text: &mut String, name: &str, labels: &[Label<'_>]) {
        let (bucket, mut sum) = (format!("{name}_bucket"), 0);
        let ends = self.bounds.iter().map(|micros| seconds(micros.saturating_mul(1000)));
        for (count, end) in self.counts.iter().zip(ends.chain(["+Inf".to_owned()])) {
            sum += count.load(Relaxed);
            let labels: Vec<_> = labels.iter().copied().chain([("le", end.as_str())]).collect();
            sample(text, &bucket, &labels, sum);
        }
        sample(text, &format!("{name}_sum"), labels, seconds(self.nanos.load(Relaxed)));
        sample(text, &format!("{name}_count"), labels, sum);
    }
}

/// Nanoseconds as seconds, without a rounding error.
fn seconds(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Milliseconds as seconds.
pub(crate) fn seconds_of(millis: u64) -> String {
    let text = format!("{}.{:03}", millis / 1000, millis % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// From half a millisecond to a minute, which a long poll may take.
const REQUEST_BOUNDS: Bounds = &[
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 10_000_000, 60_000_000,
];

/// From a millisecond to ten minutes: engines and block times differ a lot.
pub(crate) const PROOF_BOUNDS: Bounds = &[
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    600_000_000,
];

/// The histograms of one route, by status.
type Codes = Vec<(u16, Arc<Histogram>)>;

/// Times of the requests of one role, by route and status: as many series as the router has routes,
/// times the few statuses that each answers.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    routes: RwLock<HashMap<String, Codes>>,
}

impl Requests {
    pub(crate) fn observe(&self, route: &str, code: u16, time: Duration) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let known = routes.get(route).and_then(|codes| of(codes, code));
        if let Some(known) = known {
            return known.observe(time);
        }
        drop(routes);
        self.histogram(route, code).observe(time);
    }

    /// The histogram of a route and status that may be new.
    fn histogram(&self, route: &str, code: u16) -> Arc<Histogram> {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        let codes = routes.entry(route.to_owned()).or_default();
        if let Some(known) = of(codes, code) {
            return known.clone();
        }
        let new = Arc::new(Histogram::new(REQUEST_BOUNDS));
        codes.push((code, new.clone()));
        new
    }

    pub(crate) fn write(&self, text: &mut String, role: &str) {
        let name = "dsc_http_request_seconds";
        let help =
            "Time from the head of a request to that of its answer, waits of long polls included.";
        family(text, name, Sort::Histogram, help);
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let series = routes.iter().flat_map(|(route, codes)| {
            codes.iter().map(|(code, times)| (route.clone(), *code, times.clone()))
        });
        let mut series: Vec<_> = series.collect();
        drop(routes);
        series.sort_by(|left, right| (&left.0, left.1).cmp(&(&right.0, right.1)));
        for (route, code, times) in series {
            let code = code.to_string();
            times.write(text, name, &[("role", role), ("route", &route), ("code", &code)]);
        }
    }
}

fn of(codes: &Codes, code: u16) -> Option<&Arc<Histogram>> {
    codes.iter().find(|(of, _)| *of == code).map(|(_, times)| times)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_written_with_its_labels() {
        let mut text = String::new();
        gauge(&mut text, "dsc_chain_height", "Height.", -1);
        counter(&mut text, "dsc_x_total", "X.", &[("a", "1"), ("b", "q\"\\\n")], 2);
        let expected = "# HELP dsc_chain_height Height.\n# TYPE dsc_chain_height gauge\n\
                        dsc_chain_height -1\n# HELP dsc_x_total X.\n# TYPE dsc_x_total counter\n\
                        dsc_x_total{a=\"1\",b=\"q\\\"\\\\\\n\"} 2\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_histogram_counts_up_to_each_bound() {
        let times = Histogram::new(&[1_000, 10_000]);
        for micros in [1_000, 1_001, 10_000, 60_000_000] {
            times.observe(Duration::from_micros(micros));
        }
        let mut text = String::new();
        times.write(&mut text, "t", &[("a", "b")]);
        let expected = "t_bucket{a=\"b\",le=\"0.001\"} 1\nt_bucket{a=\"b\",le=\"0.01\"} 3\n\
                        t_bucket{a=\"b\",le=\"+Inf\"} 4\nt_sum{a=\"b\"} 60.012001\nt_count{a=\"b\"} 4\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn requests_are_told_apart_by_route_and_status_alone() {
        let requests = Requests::default();
        for (route, code) in [("/v1/x/{id}", 200), ("/v1/x/{id}", 404), ("/v1/x/{id}", 200)] {
            requests.observe(route, code, Duration::from_millis(1));
        }
        let mut text = String::new();
        requests.write(&mut text, "pool");
        let counts: Vec<_> = text.lines().filter(|line| line.contains("_count")).collect();
        let label = "dsc_http_request_seconds_count{role=\"pool\",route=\"/v1/x/{id}\",code";
        assert_eq!(counts, [format!("{label}=\"200\"}} 2"), format!("{label}=\"404\"}} 1")]);
    }

    #[test]
    fn seconds_are_exact() {
        for (nanos, expected) in
            [(0, "0"), (1_000_000_000, "1"), (500_000, "0.0005"), (1, "0.000000001")]
        {
            assert_eq!(seconds(nanos), expected);
        }
    }
}

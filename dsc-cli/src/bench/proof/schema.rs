//! The figures of `dsc.bench.proof/1`, for text, reports and comparisons.

use crate::bench::schema::{
    Baseline,
    Better::{self, Higher, Lower},
    Figure, Limit, List, Schema, Section, Unit,
};

/// A figure beside nothing.
const fn figure(field: &'static str, label: &'static str, unit: Unit, better: Better) -> Figure {
    Figure { field, label, unit, better, baselines: &[], limit: None, list: None }
}

impl Figure {
    /// Sets it against baselines.
    const fn against(self, baselines: &'static [Baseline]) -> Self {
        Self { baselines, ..self }
    }

    const fn limited(self, label: &'static str, field: &'static str) -> Self {
        Self { limit: Some(Limit { label, field }), ..self }
    }
}

const fn baseline(label: &'static str, field: &'static str, ratio: &'static str) -> Baseline {
    Baseline { label, field: Some(field), ratio }
}

/// A rate for each number of threads.
const fn scaling(field: &'static str, label: &'static str) -> Figure {
    const ONE: &[Baseline] = &[Baseline { label: "one thread", field: None, ratio: "speedup" }];
    Figure {
        list: Some(List { field, keys: &["threads"] }),
        ..figure("rate", label, Unit::PerSecond, Higher).against(ONE)
    }
}

const PEAK: Figure = figure("peak_rss_bytes", "memory held at most", Unit::Bytes, Lower);
const VERIFY: Figure = figure("verify_ns", "verify", Unit::Nanoseconds, Lower);
const OVERRUN: Figure =
    figure("overrun_us", "longest overrun of a deadline", Unit::Microseconds, Lower);

const CANCEL: Figure = figure("cancel_us", "end of a cancelled search", Unit::Microseconds, Lower);

const TAG: &[Figure] = &[
    figure("mhs", "search for the least", Unit::MegaHashes, Higher)
        .against(&[
            baseline("blake3::hash", "naive_mhs", "ratio_naive"),
            baseline("hash_many", "hash_many_mhs", "ratio_hash_many"),
        ])
        .limited("instructions", "limit_mhs"),
    figure("range_mhs", "inputs in a row", Unit::MegaHashes, Higher).against(&[baseline(
        "hash_many",
        "hash_many_mhs",
        "ratio_range",
    )]),
    figure("slice_mhs", "inputs anywhere", Unit::MegaHashes, Higher).against(&[baseline(
        "hash_many",
        "hash_many_mhs",
        "ratio_slice",
    )]),
    figure("cycles_per_8", "eight tags", Unit::Cycles, Lower)
        .limited("instructions", "bound_cycles_per_8"),
    figure("clock_hz", "clock of the core", Unit::Hertz, Higher),
    scaling("scaling", "search"),
];

const WORK: &[Figure] = &[
    figure("mhs", "search on all threads", Unit::MegaHashes, Higher).against(&[baseline(
        "blake3::hash",
        "naive_mhs",
        "ratio_naive",
    )]),
    figure("one_thread_mhs", "search on one thread", Unit::MegaHashes, Higher)
        .limited("kernel", "kernel_mhs"),
    scaling("scaling", "search"),
    VERIFY,
    OVERRUN,
    CANCEL,
    PEAK,
];

const SPACE: &[Figure] = &[
    figure("entries_per_second", "plot, durable", Unit::PerSecond, Higher)
        .against(&[baseline("par_sort_unstable", "naive_entries_per_second", "ratio_naive")])
        .limited("least limit", "limit_entries_per_second"),
    figure("hash_limit", "limit of hashing", Unit::PerSecond, Higher),
    figure("memory_limit", "limit of memory", Unit::PerSecond, Higher),
    figure("disk_limit", "limit of the disk", Unit::PerSecond, Higher),
    scaling("scaling", "plot"),
    figure("fill", "entries stored of those expected", Unit::Share, Higher),
    figure("lookup_us_p50", "look-up, cold, p50", Unit::Microseconds, Lower)
        .against(&[baseline("search in halves", "naive_lookup_us_p50", "ratio_lookup")])
        .limited("page read", "disk_read_us_p50"),
    figure("lookup_us_p99", "look-up, cold, p99", Unit::Microseconds, Lower)
        .limited("page read", "disk_read_us_p99"),
    figure("lookup_direct_us_p50", "look-up, past the cache, p50", Unit::Microseconds, Lower)
        .limited("page read", "disk_read_us_p50"),
    figure("lookup_direct_us_p99", "look-up, past the cache, p99", Unit::Microseconds, Lower)
        .limited("page read", "disk_read_us_p99"),
    figure("lookup_mapped_us_p50", "look-up, mapped, p50", Unit::Microseconds, Lower),
    figure("lookup_warm_us_p50", "look-up, warm, p50", Unit::Microseconds, Lower),
    figure("lookup_warm_us_p99", "look-up, warm, p99", Unit::Microseconds, Lower),
    VERIFY,
    figure("vault_bytes", "vault", Unit::Bytes, Lower),
    figure("disk_write_bytes_per_second", "disk, sequential write", Unit::BytesPerSecond, Higher),
    figure("disk_read_us_p50", "disk, random read, p50", Unit::Microseconds, Lower),
    figure("disk_read_us_p99", "disk, random read, p99", Unit::Microseconds, Lower),
    PEAK,
];

const MEMORY: &[Figure] = &[
    figure("build_entries_per_second", "build", Unit::PerSecond, Higher)
        .against(&[baseline("par_sort_unstable", "naive_build_entries_per_second", "ratio_build")])
        .limited("hashing", "build_limit"),
    scaling("build_scaling", "build"),
    figure("lookups_per_second", "look-ups on all threads", Unit::PerSecond, Higher)
        .limited("random access", "random_access_limit"),
    figure("one_thread_lookups_per_second", "look-ups on one thread", Unit::PerSecond, Higher)
        .against(&[baseline("binary_search", "naive_lookups_per_second", "ratio_lookups")])
        .limited("random access", "one_thread_limit"),
    scaling("scaling", "look-ups"),
    VERIFY,
    OVERRUN,
    CANCEL,
    figure("ram_bytes", "table", Unit::Bytes, Lower),
    PEAK,
];

/// The schema.
pub(crate) static SCHEMA: Schema = Schema {
    name: "dsc.bench.proof/1",
    title: "Proof engines",
    work: &["k", "m", "threads", "memory_bytes"],
    sections: &[
        Section { field: "tag", title: "The bulk hash, one core", figures: TAG },
        Section { field: "work", title: "Proof of work", figures: WORK },
        Section { field: "space", title: "Proof of space", figures: SPACE },
        Section { field: "memory", title: "Proof of memory", figures: MEMORY },
    ],
    grids: &[],
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_figure_is_declared_twice() {
        for section in SCHEMA.sections {
            let fields: Vec<_> = section
                .figures
                .iter()
                .map(|figure| (figure.list.map(|list| list.field), figure.field))
                .collect();
            let unique: BTreeSet<_> = fields.iter().collect();
            assert_eq!(unique.len(), fields.len(), "{}", section.field);
        }
    }
}

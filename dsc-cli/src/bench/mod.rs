//! Measuring: what any benchmark of this program shares.
//!
//! A result is one JSON document with a schema, the machine, the commit, the command, the time and
//! sections of figures. A [`schema`] declares its figures once; the tables on the terminal, the
//! reports and the comparisons all follow that declaration, so a new benchmark is one new schema and
//! the code that measures it.
//!
//! # Invariants
//!
//! 1. Contenders are measured in turn, round after round, in one run; a ratio is the median of the
//!    rounds' ratios, so that a machine that slows down harms both alike.
//! 2. Results of different machines, options or schemas are not compared, unless forced to.
//! 3. Nothing here judges a figure: a benchmark reports, and never fails because of speed.

pub(crate) mod chart;
pub(crate) mod compare;
pub(crate) mod disk;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod noise;
pub(crate) mod peak;
pub(crate) mod proof;
pub(crate) mod record;
pub(crate) mod report;
pub(crate) mod schema;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod tables;
pub(crate) mod usage;

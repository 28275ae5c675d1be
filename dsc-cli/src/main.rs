//! The `dsc` command; everything it does is in the library beside it.

use std::process::ExitCode;

/// Blocks come and go in buffers of tens of megabytes. The system's allocator gives each back to the
/// system and gets it anew, page by page, which took half of the servers' time; this one keeps it for
/// a while (docs/performance.md, "The chain").
#[cfg(all(feature = "jemalloc", not(target_env = "msvc")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    dsc_cli::run(std::env::args_os()).into()
}

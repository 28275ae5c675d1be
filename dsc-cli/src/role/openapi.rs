//! The descriptions of all roles, made without starting any.

use serde_json::Value;

use super::{blockchain, describe::AnyAddress, metronome, monitor, pool, validator};
use crate::http::openapi::Operation;

/// A role that serves HTTP, and the description of what it serves.
pub(crate) type Described = (&'static str, fn() -> Value);

/// Every role that serves HTTP.
pub(crate) const ROLES: [Described; 5] = [
    ("blockchain", || blockchain::routes::outline().description()),
    ("pool", || pool::routes::outline().description()),
    ("metronome", || metronome::outline().description()),
    ("validator", || validator::outline().description()),
    ("monitor", || monitor::outline().description()),
];

/// The description of the genesis, which several roles serve.
pub(super) fn genesis() -> Operation {
    Operation::new("genesis", "The genesis of the chain")
        .about("Its hash names the chain; compare it with one from a source that you trust.")
        .binary("The genesis in the canonical encoding.")
}

/// A route about an address in the path.
pub(super) fn of_address(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary)
        .path::<AnyAddress>("address", "In Bech32m, or 64 hexadecimal digits.")
        .fault(400, "invalid-address", "the address is neither, or its checksum is wrong")
        .fault(400, "invalid-path", "the path is not UTF-8")
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// Whoever changes a route sees in the same commit what that means for clients.
    #[test]
    fn the_committed_descriptions_are_those_of_the_routes() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi");
        for (role, describe) in ROLES {
            let path = folder.join(format!("{role}.json"));
            let made = crate::command::openapi::pretty(&describe());
            if std::env::var_os("DSC_WRITE_OPENAPI").is_some() {
                fs::write(&path, &made).unwrap();
            }
            assert!(
                fs::read_to_string(&path).unwrap_or_default() == made,
                "docs/openapi/{role}.json is not what the routes say; if that is meant, run \
                 `DSC_WRITE_OPENAPI=1 cargo test -p dsc-cli --lib role::openapi` and commit it"
            );
        }
    }
}

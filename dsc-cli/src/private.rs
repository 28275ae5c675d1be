//! Files that only their owner may read: tokens, and keys that are not encrypted.

use std::{fs::Metadata, path::Path};

/// The permission bits of the file `path` that others than its owner may use; elsewhere than on unix
/// nothing is known of them.
#[cfg(unix)]
pub(crate) fn exposed(path: &Path, metadata: &Metadata) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY");
    let mode = metadata.permissions().mode() & 0o777;
    open_to_others(mode, is_below(path, credentials.as_deref())).then_some(mode)
}

#[cfg(not(unix))]
pub(crate) fn exposed(_path: &Path, _metadata: &Metadata) -> Option<u32> {
    None
}

/// systemd gives a service its credentials by an access list that names its user alone. What stands
/// where the bits of the group are is then the most that the list may allow, not the group's.
#[cfg(unix)]
const fn open_to_others(mode: u32, is_credential: bool) -> bool {
    let others = if is_credential { 0o037 } else { 0o077 };
    mode & others != 0
}

/// Whether a file is one of those that systemd keeps for this service.
#[cfg(unix)]
fn is_below(path: &Path, credentials: Option<&std::ffi::OsStr>) -> bool {
    let folder = credentials.map(Path::new).filter(|folder| folder.is_absolute());
    folder.is_some_and(|folder| path.parent() == Some(folder))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_group_or_others_may_use_is_exposed() {
        for (mode, of_own, of_systemd) in [
            (0o600, false, false),
            (0o400, false, false),
            (0o440, true, false),
            (0o460, true, true),
            (0o444, true, true),
            (0o601, true, true),
        ] {
            let found = [open_to_others(mode, false), open_to_others(mode, true)];
            assert_eq!(found, [of_own, of_systemd], "{mode:o}");
        }
    }

    #[test]
    fn credentials_are_the_files_of_the_folder_that_systemd_names() {
        let of = |path: &str, folder: Option<&str>| {
            is_below(Path::new(path), folder.map(std::ffi::OsStr::new))
        };
        let folder = "/run/credentials/dsc-pool.service";
        assert!(of("/run/credentials/dsc-pool.service/engine.password", Some(folder)));
        assert!(!of("/run/credentials/dsc-pool.service/../engine.password", Some(folder)));
        assert!(!of("/etc/dsc/engine.password", Some(folder)));
        assert!(!of("/etc/dsc/engine.password", None));
        assert!(!of("engine.password", Some("")));
    }
}

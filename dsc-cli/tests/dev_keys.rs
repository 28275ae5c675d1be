//! The published development keys are whole, distinct and described by their README.

use std::{collections::HashSet, fs, path::Path};

use dsc_lib::{address::Prefix, keys::SecretKey};

#[test]
fn the_development_keys_are_those_the_readme_names() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dev-keys");
    let readme = fs::read_to_string(folder.join("README.md")).unwrap();
    let accounts = (0..10).map(|number| format!("account-{number:02}"));
    let names: Vec<String> =
        accounts.chain(["metronome", "metronome-2", "faucet"].map(ToOwned::to_owned)).collect();
    let mut addresses = HashSet::new();
    for name in &names {
        let text = fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap();
        let key = SecretKey::from_pkcs8_pem(&text).unwrap();
        let address = key.public().address().to_text(Prefix::Development);
        assert!(readme.contains(&format!("| `{name}.pem` | `{address}` |")), "{name}: {address}");
        addresses.insert(address);
    }
    assert_eq!(addresses.len(), names.len());
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, names.len() + 1, "nothing else is in the folder");
}

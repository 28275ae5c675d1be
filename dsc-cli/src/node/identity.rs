//! How a server is called among those that share an engine, and where they reach it.

use std::{fs, io::Write, path::Path};

use crate::{
    entropy::OsEntropy,
    exit::Failure,
    role::{
        Socket,
        blockchain::{Identity, ReplicaNote},
    },
};

/// The identity of the server with this folder, made the first time.
pub(super) fn of(
    folder: &Path,
    socket: &Socket,
    public_url: Option<&str>,
) -> Result<Identity, Failure> {
    let url = url(socket, public_url, "blockchain.public_url")?;
    Ok(Identity { id: id(&folder.join("id"))?, url })
}

/// Where others reach a server: where `key` says, or else where it listens.
pub(super) fn url(
    socket: &Socket,
    public_url: Option<&str>,
    key: &'static str,
) -> Result<String, Failure> {
    match public_url {
        Some(url) => Ok(url.to_owned()),
        None if socket.address.ip().is_unspecified() => {
            let message = "a server that listens on every address does not know its own";
            Err(Failure::configuration("public-url-missing", message)
                .with_hint(format_args!("set {key} to where others reach this one")))
        }
        None => Ok(socket.url()),
    }
}

/// The id that a file keeps; a new one the first time.
fn id(path: &Path) -> Result<String, Failure> {
    if path.exists() {
        let text = fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
        let id = text.trim();
        if ReplicaNote::is_id(id) {
            return Ok(id.to_owned());
        }
        let message = format!("{} is not 16 hexadecimal digits", path.display());
        let hint = format!("move {} away: the server gets another id", path.display());
        return Err(Failure::corrupt("invalid-id", message).with_hint(hint));
    }
    let id = hex::encode(OsEntropy.bytes::<8>());
    let fresh = path.with_extension("new");
    let written = fs::File::create(&fresh).and_then(|mut file| {
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    });
    written.map_err(|error| Failure::file("write", path, &error))?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let bind = |address: &str| Socket::bind("test", address.parse().unwrap()).unwrap();
        let socket = bind("127.0.0.1:0");
        let first = of(folder.path(), &socket, None).unwrap();
        assert_eq!(first.url, socket.url());
        assert!(ReplicaNote::is_id(&first.id), "{}", first.id);
        let again = of(folder.path(), &socket, Some("http://a.example:1")).unwrap();
        assert_eq!((again.id, again.url.as_str()), (first.id, "http://a.example:1"));
    }

    #[test]
    fn what_is_no_id_or_address_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let everywhere = Socket::bind("test", "0.0.0.0:0".parse().unwrap()).unwrap();
        let failure = of(folder.path(), &everywhere, None).unwrap_err();
        assert_eq!(failure.code(), "public-url-missing");
        assert!(failure.hint().unwrap().contains("blockchain.public_url"), "{failure}");
        let failure = url(&everywhere, None, "metronome.public_url").unwrap_err();
        assert!(failure.hint().unwrap().contains("metronome.public_url"), "{failure}");
        fs::write(folder.path().join("id"), "ABC\n").unwrap();
        let failure = of(folder.path(), &everywhere, Some("http://a:1")).unwrap_err();
        assert_eq!(failure.code(), "invalid-id");
    }
}

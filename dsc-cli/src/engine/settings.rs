//! How an engine on other machines is reached: the section `engine` of the configuration.
//!
//! # Invariants
//!
//! 1. A password is in a file that only its owner may read, never in an address, a flag or a log.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use zeroize::Zeroizing;

use crate::{
    config::{Config, keys::EMBEDDED},
    exit::Failure,
    private::exposed,
};

/// Text that is not printed.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Reads a file that only its owner may read.
    fn load(path: &Path) -> Result<Self, Failure> {
        let failed = |error| Failure::file("read", path, &error);
        if let Some(mode) = exposed(path, &fs::metadata(path).map_err(failed)?) {
            let message = format!("{} has mode {mode:03o}, expected 600", path.display());
            return Err(Failure::configuration("engine-secret-exposed", message)
                .with_hint(format_args!("run `chmod 600 {}`", path.display())));
        }
        fs::read_to_string(path).map(|text| Self(Zeroizing::new(text))).map_err(failed)
    }

    fn first_line(&self) -> Self {
        Self(Zeroizing::new(self.0.lines().next().unwrap_or_default().to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Who this process is to the engine.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Nobody in particular: the engine asks for no name.
    Nobody,
    User {
        name: String,
        password: Secret,
    },
    /// The content of a credentials file.
    Credentials(Secret),
}

/// The section `engine`.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Nodes to connect to, one of them at a time.
    pub(super) nodes: Vec<String>,
    /// Where all nodes tell how they keep things.
    pub(super) monitors: Vec<String>,
    pub(super) identity: Identity,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) replicas: usize,
    pub(super) chunk_bytes: usize,
    pub(super) pool_bytes_max: u64,
    pub(super) connect_time: Duration,
}

impl Settings {
    /// The settings of an engine that has to be named.
    pub(crate) fn named(config: &Config) -> Result<Self, Failure> {
        if config.text("engine.url") == EMBEDDED {
            let message = "engine.url is embedded: nothing is shared with servers elsewhere";
            return Err(Failure::configuration("engine-embedded", message)
                .with_hint("name the nodes: --engine nats://HOST:4222,HOST:4222,HOST:4222"));
        }
        Self::from_config(config)
    }

    /// Whether nothing may be sent without TLS.
    pub(super) fn asks_for_tls(&self) -> bool {
        self.ca_file.is_some() || self.nodes.iter().any(|node| node.starts_with("tls://"))
    }

    /// The settings of an engine whose nodes `engine.url` names.
    pub(crate) fn from_config(config: &Config) -> Result<Self, Failure> {
        let list = |key| config.text(key).split(',').map(str::to_owned).collect::<Vec<_>>();
        let replicas = config.count("engine.replicas");
        let is_set = !config.text("engine.monitors").is_empty();
        let monitors = if is_set { list("engine.monitors") } else { Vec::new() };
        if monitors.len() < replicas {
            return Err(too_few_monitors(monitors.len(), replicas));
        }
        let ca_file = config.path("engine.ca_file");
        Ok(Self {
            nodes: nodes(&list("engine.url")),
            monitors,
            identity: identity(config)?,
            ca_file: (!ca_file.as_os_str().is_empty()).then(|| ca_file.to_owned()),
            replicas,
            chunk_bytes: config.count("engine.chunk_bytes"),
            pool_bytes_max: config.count("engine.pool_bytes_max") as u64,
            connect_time: config.time("client.connect_time"),
        })
    }
}

/// Each node says how it is connected to; one that does not is as the one before.
fn nodes(named: &[String]) -> Vec<String> {
    let mut scheme = "nats";
    let with_scheme = |node: &String| match node.split_once("://") {
        Some((own, _)) => {
            scheme = if own == "tls" { "tls" } else { "nats" };
            node.clone()
        }
        None => format!("{scheme}://{node}"),
    };
    named.iter().map(with_scheme).collect()
}

fn too_few_monitors(got: usize, replicas: usize) -> Failure {
    let message = format!("engine.monitors names {got} nodes, expected at least {replicas}");
    Failure::configuration("engine-monitors", message).with_hint(
        "name the monitoring address of every node (`http: 0.0.0.0:8222` in its configuration): \
         what is acknowledged is safe only if each of them says that it syncs always",
    )
}

fn identity(config: &Config) -> Result<Identity, Failure> {
    let is_set = |key: &str| !config.text(key).is_empty();
    let keys = ["engine.user", "engine.password_file", "engine.credentials_file"];
    match keys.map(is_set) {
        [false, false, false] => Ok(Identity::Nobody),
        [true, true, false] => {
            let name = config.text("engine.user").to_owned();
            let password = Secret::load(config.path("engine.password_file"))?.first_line();
            Ok(Identity::User { name, password })
        }
        [false, false, true] => {
            Secret::load(config.path("engine.credentials_file")).map(Identity::Credentials)
        }
        _ => Err(Failure::configuration(
            "engine-identity",
            "a user of the engine has a name and a password file, or a credentials file alone",
        )
        .with_hint("set engine.user and engine.password_file, or engine.credentials_file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::{config::Sources, exit::Exit};

    fn from(settings: &[(&'static str, &str)]) -> Result<Settings, Failure> {
        let given = |(key, value): &(&'static str, &str)| (*key, "--flag", (*value).to_owned());
        let mut flags: Vec<_> = settings.iter().map(given).collect();
        flags.push(("engine.url", "--engine", "tls://a:1,b:2,nats://c:3,d:4".into()));
        flags.push(("engine.monitors", "--flag", "http://a:1,http://b:2,http://c:3".into()));
        Settings::from_config(&Config::load(&Sources { flags, ..Sources::default() }).unwrap())
    }

    #[test]
    fn nodes_are_split_and_as_many_monitors_as_replicas_are_asked_for() {
        let settings = from(&[]).unwrap();
        assert_eq!(settings.nodes, ["tls://a:1", "tls://b:2", "nats://c:3", "nats://d:4"]);
        assert_eq!(settings.monitors.len(), 3);
        let failure = from(&[("engine.replicas", "5")]).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-monitors"));
        assert!(failure.message().contains("names 3 nodes, expected at least 5"), "{failure}");
    }

    #[test]
    fn a_password_is_read_from_a_private_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        fs::write(&path, "secret\n").unwrap();
        let settings = [("engine.user", "me"), ("engine.password_file", path.to_str().unwrap())];
        for (mode, is_private) in [(0o644, false), (0o640, false), (0o600, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            match from(&settings) {
                Ok(settings) => {
                    assert!(is_private && !format!("{settings:?}").contains("secret"));
                    let Identity::User { name, password } = settings.identity else { panic!() };
                    assert_eq!((name.as_str(), password.text()), ("me", "secret"));
                }
                Err(failure) => {
                    assert!(!is_private);
                    assert_eq!(failure.code(), "engine-secret-exposed");
                }
            }
        }
    }

    #[test]
    fn a_user_without_a_password_or_with_credentials_as_well_is_refused() {
        for given in [
            &["engine.user"][..],
            &["engine.password_file"],
            &["engine.user", "engine.credentials_file"],
            &["engine.user", "engine.password_file", "engine.credentials_file"],
        ] {
            let settings: Vec<_> = given.iter().map(|key| (*key, "x")).collect();
            assert_eq!(from(&settings).unwrap_err().code(), "engine-identity", "{given:?}");
        }
    }
}

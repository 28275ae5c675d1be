//! Which engine the servers of one chain share, and how it is reached.
//!
//! # Invariants
//!
//! 1. Without one every role keeps what it needs in its own folder, as alone on one machine.
//! 2. An engine that may lose what it acknowledged is not used: see `nats/safety.rs`.

#[cfg(feature = "cluster")]
pub(crate) mod nats;
#[cfg(feature = "cluster")]
mod settings;

use dsc_lib::{cluster::Cluster, genesis::Chain};

#[cfg(feature = "cluster")]
pub(crate) use self::settings::Settings;
use crate::{
    config::{Config, keys::EMBEDDED},
    exit::Failure,
};

/// What the servers of one chain share.
#[derive(Clone, Debug, Default)]
pub(crate) enum Engine {
    /// Nothing: there is one server of each role.
    #[default]
    Alone,
    /// An engine that is open already, for several servers in one process.
    #[allow(dead_code, reason = "the next commits start roles with it")]
    Shared(Cluster),
    /// Nodes of NATS, to be connected to.
    #[cfg(feature = "cluster")]
    Nats(Settings),
}

impl Engine {
    /// The engine that the configuration names.
    pub(crate) fn from_config(config: &Config) -> Result<Self, Failure> {
        if config.text("engine.url") == EMBEDDED {
            return Ok(Self::Alone);
        }
        Self::nodes(config)
    }

    #[cfg(feature = "cluster")]
    fn nodes(config: &Config) -> Result<Self, Failure> {
        Settings::from_config(config).map(Self::Nats)
    }

    #[cfg(not(feature = "cluster"))]
    fn nodes(_config: &Config) -> Result<Self, Failure> {
        Err(not_built("this program was built without the engine that engine.url names"))
    }

    /// Whether nothing is shared.
    pub(crate) const fn is_alone(&self) -> bool {
        matches!(self, Self::Alone)
    }

    /// What the servers of `chain` share, if they share anything.
    #[cfg_attr(
        not(feature = "cluster"),
        allow(unused_variables, clippy::unnecessary_wraps, reason = "no engine is built in")
    )]
    pub(crate) fn open(&self, chain: &Chain) -> Result<Option<Cluster>, Failure> {
        match self {
            Self::Alone => Ok(None),
            Self::Shared(cluster) => Ok(Some(cluster.clone())),
            #[cfg(feature = "cluster")]
            Self::Nats(settings) => nats::open(settings, chain).map(Some),
        }
    }
}

/// Why this program cannot do what needs an engine.
#[cfg(not(feature = "cluster"))]
pub(crate) fn not_built(message: &'static str) -> Failure {
    Failure::configuration("engine-not-built", message)
        .with_hint("build it with `cargo build --release -p dsc-cli --features cluster`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Sources, exit::Exit};

    fn from(settings: &[(&'static str, &str)]) -> Result<Engine, Failure> {
        let flag = |(key, value): &(&'static str, &str)| (*key, "--flag", (*value).to_owned());
        let flags = settings.iter().map(flag).collect();
        Engine::from_config(&Config::load(&Sources { flags, ..Sources::default() }).unwrap())
    }

    #[test]
    fn a_role_is_alone_unless_an_engine_is_named() {
        assert!(matches!(from(&[]), Ok(Engine::Alone)));
        let named = from(&[("engine.url", "nats://127.0.0.1:4222")]);
        let failure = named.unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        #[cfg(feature = "cluster")]
        assert_eq!(failure.code(), "engine-monitors");
        #[cfg(not(feature = "cluster"))]
        assert_eq!(failure.code(), "engine-not-built");
        assert!(failure.hint().is_some());
    }
}

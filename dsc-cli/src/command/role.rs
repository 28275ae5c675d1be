//! What the commands that run one role share: a socket, a stop, and events on standard output.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde::Serialize;

use super::Context;
use crate::{
    config::keys::Kind,
    exit::Failure,
    node::Host,
    output::Document,
    role::{Socket, transport::Transport},
    shutdown::Shutdown,
    supervisor,
};

/// Time between two looks for something to say.
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// Roles that have no part in what servers share: settings and secrets for that are not theirs.
const APART: [&str; 2] = ["monitor", "validator"];

/// Flags of every role that serves.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Listen {
    /// Where to listen; port 0 takes a free one and says which
    #[arg(long, value_parser = parse_listen)]
    pub(crate) listen: SocketAddr,
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    Kind::Listen.check(text).map_err(|expected| format!("expected {expected}"))?;
    text.parse().map_err(|error| format!("{error}"))
}

/// Flags of every role that has to know the chain.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ChainArgs {
    /// Genesis file; without it the genesis is asked from the other roles
    #[arg(long, value_name = "FILE")]
    pub(crate) genesis: Option<PathBuf>,
}

/// Something that happened to a role, for programs.
#[derive(Debug, Serialize)]
pub(crate) struct RoleEvent<'a> {
    role: &'static str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
}

impl Document for RoleEvent<'_> {
    const SCHEMA: &'static str = "dsc.event/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.url {
            Some(url) => writeln!(f, "{} {} at {url}", self.role, self.event),
            None => writeln!(f, "{} {}", self.role, self.event),
        }
    }
}

/// A role about to run: its port is taken and signals are listened to.
pub(crate) struct Start<'a> {
    context: &'a Context<'a>,
    role: &'static str,
    pub(crate) host: Host,
    pub(crate) transport: Transport,
}

impl<'a> Start<'a> {
    pub(crate) fn new(context: &'a Context<'a>, role: &'static str) -> Result<Self, Failure> {
        let shutdown = Shutdown::on_signals().map_err(|e| Failure::other("signals", e))?;
        let host = if APART.contains(&role) { Host::apart } else { Host::from_config };
        let host = host(&context.config, shutdown)?;
        let transport = Transport::from_config(&context.config)?;
        Ok(Self { context, role, host, transport })
    }

    /// Takes the port.
    pub(crate) fn socket(&self, args: &Listen) -> Result<Socket, Failure> {
        Socket::bind(self.role, args.listen)
    }

    /// The role's own folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.context.config.path("general.data_dir").join(self.role)
    }

    /// Says that the role serves.
    pub(crate) fn listening(&self, url: &str) -> Result<(), Failure> {
        supervisor::tell_ready(&format!("serves at {url}"));
        self.event("listening", Some(url))
    }

    fn event(&self, event: &'static str, url: Option<&str>) -> Result<(), Failure> {
        self.context.output.event(&RoleEvent { role: self.role, event, url })
    }

    /// Waits for the request to end.
    pub(crate) fn wait(&self) {
        while !self.host.shutdown.sleep(Duration::from_secs(3600)) {}
        supervisor::tell_stopping();
    }

    /// Waits for the request to end, and says for programs whenever `look` sees something new.
    pub(crate) fn watch<T: Document + PartialEq>(
        &self,
        look: impl Fn() -> Option<T>,
    ) -> Result<(), Failure> {
        let mut last = look();
        while !self.host.shutdown.sleep(LOOK_PAUSE) {
            let seen = look();
            if let Some(event) = seen.as_ref().filter(|_| seen != last && self.is_json()) {
                self.context.output.event(event)?;
            }
            last = seen;
        }
        supervisor::tell_stopping();
        Ok(())
    }

    fn is_json(&self) -> bool {
        self.context.output.is_json()
    }

    /// Says that the role has ended.
    pub(crate) fn stopped(&self) -> Result<(), Failure> {
        self.event("stopped", None)
    }
}

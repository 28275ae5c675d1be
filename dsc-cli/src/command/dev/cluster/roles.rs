//! The roles, each a process of this program.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use dsc_lib::proof::ProofKind;

use super::{
    super::{Context, rewarded},
    child::{Child, Recipe},
    engine::Nodes,
    ports::{Ports, SERVERS},
};
use crate::{exit::Failure, http::Client, network, role::transport::Transport, shutdown::Shutdown};

/// A role's process, and where it is reached.
#[derive(Debug)]
struct Role {
    child: Child,
    url: String,
}

/// Every role of the chain: two servers of each kind, three validators and a monitor.
#[derive(Debug)]
pub(super) struct Roles {
    blockchains: Vec<Role>,
    pools: Vec<Role>,
    metronomes: Vec<Role>,
    others: Vec<Role>,
}

/// What the processes are started with.
struct Kitchen<'a> {
    program: PathBuf,
    folder: &'a Path,
    variables: Vec<(String, String)>,
}

impl Roles {
    pub(super) fn start(
        folder: &Path,
        ports: &Ports,
        nodes: &Nodes,
        context: &Context<'_>,
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let program = env::current_exe().map_err(|error| Failure::other("program", error))?;
        let variables = variables(folder, ports, nodes);
        let kitchen = Kitchen { program, folder, variables };
        let start = |role: &str, ports: &[u16], more: &dyn Fn(usize) -> Result<Words, Failure>| {
            let of =
                |(index, port): (usize, &u16)| kitchen.server(role, index, *port, more(index)?);
            ports.iter().enumerate().map(of).collect::<Result<Vec<_>, Failure>>()
        };
        let blockchains = start("blockchain", &ports.blockchains, &|_| Ok(Vec::new()))?;
        let pools = start("pool", &ports.pools, &|_| Ok(words(&["--faucet"])))?;
        let key = |index| Ok(vec!["--key".into(), metronome_key(folder, index)?.into()]);
        let metronomes = start("metronome", &ports.metronomes, &key)?;
        let mut roles = Self { blockchains, pools, metronomes, others: Vec::new() };
        roles.wait(shutdown, context)?;
        for kind in ProofKind::all() {
            roles.others.push(kitchen.validator(kind)?);
        }
        roles.others.push(kitchen.server("monitor", 0, ports.monitor, Vec::new())?);
        Ok(roles)
    }

    fn wait(&mut self, shutdown: &Shutdown, context: &Context<'_>) -> Result<(), Failure> {
        let all = [&mut self.blockchains, &mut self.pools, &mut self.metronomes];
        all.into_iter().flatten().try_for_each(|role| role.wait(shutdown, context))
    }

    /// Whoever asks all servers of a kind, one after the other.
    pub(super) fn transport(&self, context: &Context<'_>) -> Result<Transport, Failure> {
        let client = |role: &'static str, of: &[Role]| -> Result<Client, Failure> {
            Ok(Client::from_config(&joined(of), &context.config)?.named(role))
        };
        Ok(Transport {
            blockchain: client("blockchain", &self.blockchains)?,
            pool: client("pool", &self.pools)?,
            metronome: client("metronome", &self.metronomes)?,
        })
    }

    /// A client of each blockchain server.
    pub(super) fn blockchains(&self) -> impl Iterator<Item = Client> {
        let time = std::time::Duration::from_secs(5);
        self.blockchains
            .iter()
            .filter_map(move |role| Client::new(&role.url, time, time, 1 << 20).ok())
    }

    pub(super) fn monitor_url(&self) -> &str {
        self.others.last().map_or("", |role| &role.url)
    }

    /// Where each role is reached, every server of it.
    pub(super) fn addresses(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            ("blockchain", joined(&self.blockchains)),
            ("metronome", joined(&self.metronomes)),
            ("monitor", self.monitor_url().to_owned()),
            ("pool", joined(&self.pools)),
        ])
    }

    /// Name and address of every server.
    pub(super) fn urls(&self) -> impl Iterator<Item = (&str, &str)> {
        let servers = [&self.blockchains, &self.pools, &self.metronomes].into_iter().flatten();
        servers.map(|role| (role.child.name(), role.url.as_str()))
    }

    /// The metronome at this address.
    pub(super) fn metronome_at(&mut self, url: &str) -> Option<&mut Child> {
        let mut all = self.metronomes.iter_mut();
        all.find(|role| role.url == url).map(|role| &mut role.child)
    }

    /// Each metronome's address.
    pub(super) fn metronomes(&self) -> impl Iterator<Item = &str> {
        self.metronomes.iter().map(|role| role.url.as_str())
    }

    /// The first blockchain server.
    pub(super) fn blockchain(&mut self) -> Option<&mut Child> {
        self.blockchains.first_mut().map(|role| &mut role.child)
    }

    /// The first pool.
    pub(super) fn pool(&mut self) -> Option<&mut Child> {
        self.pools.first_mut().map(|role| &mut role.child)
    }

    /// Ends those who ask before those who answer.
    pub(super) fn stop(self) {
        let Self { blockchains, pools, metronomes, others } = self;
        for role in [others, metronomes, pools, blockchains].into_iter().flatten() {
            role.child.stop();
        }
    }
}

impl Role {
    fn wait(&mut self, shutdown: &Shutdown, context: &Context<'_>) -> Result<(), Failure> {
        let client = Client::from_config(&self.url, &context.config)?;
        self.child.wait_ready(shutdown, || client.get_bytes("/readyz").is_ok())
    }
}

fn joined(roles: &[Role]) -> String {
    roles.iter().map(|role| role.url.as_str()).collect::<Vec<_>>().join(",")
}

type Words = Vec<OsString>;

fn words(words: &[&str]) -> Words {
    words.iter().map(Into::into).collect()
}

impl Kitchen<'_> {
    fn server(&self, role: &str, index: usize, port: u16, more: Words) -> Result<Role, Failure> {
        let name = format!("{role}-{}", index.saturating_add(1));
        let mut arguments = words(&[role, "--listen", &format!("127.0.0.1:{port}")]);
        arguments.extend(more);
        let child = self.recipe(name, arguments).start()?;
        Ok(Role { child, url: format!("http://127.0.0.1:{port}") })
    }

    fn validator(&self, kind: ProofKind) -> Result<Role, Failure> {
        let attempts = kind.entry().map_or(u64::MAX, |entry| entry.trial.attempts_max);
        let mut arguments = words(&["validator", "--listen", "127.0.0.1:0", "--threads", "1"]);
        arguments.extend(words(&["--proof", kind.name(), "--attempts", &attempts.to_string()]));
        arguments.extend(words(&["--address", &rewarded(kind).to_string()]));
        let child = self.recipe(format!("validator-{}", kind.name()), arguments).start()?;
        Ok(Role { child, url: String::new() })
    }

    fn recipe(&self, name: String, arguments: Words) -> Recipe {
        let folder = self.folder.join(&name);
        let mut variables = self.variables.clone();
        variables.push(("DSC_GENERAL__DATA_DIR".into(), folder.display().to_string()));
        Recipe { name, program: self.program.clone(), arguments, variables, folder }
    }
}

/// Settings that all roles share.
fn variables(folder: &Path, ports: &Ports, nodes: &Nodes) -> Vec<(String, String)> {
    let urls = |ports: &[u16]| {
        let urls = ports.iter().map(|port| format!("http://127.0.0.1:{port}"));
        urls.collect::<Vec<_>>().join(",")
    };
    let named = [
        ("DSC_GENERAL__GENESIS", folder.join("genesis.json").display().to_string()),
        ("DSC_GENERAL__PROGRESS", "none".into()),
        ("DSC_ENGINE__URL", nodes.urls()),
        ("DSC_ENGINE__MONITORS", nodes.monitors()),
        ("DSC_BLOCKCHAIN__URL", urls(&ports.blockchains)),
        ("DSC_POOL__URL", urls(&ports.pools)),
        ("DSC_METRONOME__URL", urls(&ports.metronomes)),
    ];
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The file of the published key that metronome `index` signs with.
fn metronome_key(folder: &Path, index: usize) -> Result<PathBuf, Failure> {
    debug_assert!(index < usize::from(SERVERS), "there are as many keys as metronomes");
    let path = folder.join(format!("metronome-{}.pem", index.saturating_add(1)));
    if path.exists() {
        return Ok(path);
    }
    let keys = network::metronome_keys();
    let key = keys.get(index).ok_or_else(|| Failure::other("key", "no published key is left"))?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&path).and_then(|mut file| {
        file.write_all(key.to_pkcs8_pem().as_bytes())?;
        file.sync_all()
    });
    if let Err(error) = written {
        drop(fs::remove_file(&path));
        return Err(Failure::file("write", &path, &error));
    }
    Ok(path)
}

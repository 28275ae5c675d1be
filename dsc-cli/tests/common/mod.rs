//! What the tests share that run the binary: a folder, its answers, and a running chain.
#![allow(dead_code, reason = "no test file uses everything")]

use std::{
    fs,
    io::{self, BufRead, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command, Output, Stdio},
    sync::{Arc, LazyLock, Mutex, PoisonError, Weak, mpsc},
    thread,
    time::Duration,
};

use serde_json::Value;

/// The passphrase of every key in the tests.
pub(crate) const PASSPHRASE: &str = "correct horse";

/// The binary in an empty folder with an empty environment.
pub(crate) struct Dsc {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl Dsc {
    /// One without a network: nobody listens where it would ask.
    pub(crate) fn offline() -> Self {
        let nobody = "http://127.0.0.1:1".to_owned();
        let urls = ["BLOCKCHAIN", "POOL", "METRONOME"];
        Self::with(urls.map(|role| (format!("DSC_{role}__URL"), nobody.clone())).to_vec())
    }

    /// One whose network is `network`.
    pub(crate) fn on(network: &Network) -> Self {
        let url = |role: &str| {
            (format!("DSC_{}__URL", role.to_uppercase()), network.url(role).to_owned())
        };
        Self::with(["blockchain", "pool", "metronome"].map(url).to_vec())
    }

    fn with(variables: Vec<(String, String)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("passphrase"), PASSPHRASE).unwrap();
        Self { folder, variables }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args, self.folder.path());
        command.envs(self.variables.clone());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// The text on standard output of a command that succeeds.
    pub(crate) fn text(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The one document of a command that succeeds; its schema has to be `schema`.
    pub(crate) fn json(&self, schema: &str, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let document = document(&output);
        assert_eq!(
            (output.status.code(), &document["schema"]),
            (Some(0), &schema.into()),
            "{args:?}: {document}"
        );
        document
    }

    /// The message and hint of a command that fails with this exit code and code.
    pub(crate) fn fails(&self, exit: i32, code: &str, args: &[&str]) -> (String, String) {
        let error = self.error(exit, code, args);
        let field = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        (field("message"), field("hint"))
    }

    /// All that a command says that fails with this exit code and code.
    pub(crate) fn error(&self, exit: i32, code: &str, args: &[&str]) -> Value {
        let output = self.run(&[args, &["--json"]].concat());
        let error = document(&output)["error"].take();
        let got = (output.status.code(), &error["code"]);
        assert_eq!(got, (Some(exit), &code.into()), "{args:?}: {error}");
        assert!(error["hint"].is_string(), "{args:?} has no hint: {error}");
        error
    }

    /// Makes a key and returns its address.
    pub(crate) fn create(&self, name: &str) -> String {
        let made =
            self.json("dsc.key/1", &["wallet", "create", name, "--passphrase-file", "passphrase"]);
        made["address"].as_str().unwrap().to_owned()
    }

    /// The balance of a key or an address.
    pub(crate) fn balance(&self, of: &str) -> String {
        let document = self.json("dsc.balance/1", &["wallet", "balance", of]);
        document["balance"].as_str().unwrap().to_owned()
    }
}

/// A command that runs beside the test, and is killed with it.
pub(crate) struct Beside {
    pub(crate) child: Child,
    lines: mpsc::Receiver<String>,
    notes: Notes,
}

type Notes = io::Lines<io::BufReader<ChildStderr>>;

/// Longest wait for a command that has something to say.
const PATIENCE: Duration = Duration::from_secs(120);

impl Beside {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = io::BufReader::new(child.stdout.take().unwrap()).lines();
        let notes = io::BufReader::new(child.stderr.take().unwrap()).lines();
        let (told, lines) = mpsc::channel();
        thread::spawn(move || said.map_while(Result::ok).try_for_each(|line| told.send(line)));
        Self { child, lines, notes }
    }

    /// Waits until it tells people something that begins like this.
    pub(crate) fn said(&mut self, start: &str) {
        let found = self.notes.by_ref().map_while(Result::ok).find(|line| line.starts_with(start));
        assert!(found.is_some(), "it never said `{start}`");
    }

    /// The next document of its stream.
    pub(crate) fn next(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("it says something before long");
        serde_json::from_str(&line).unwrap()
    }

    /// Sends it a signal, and returns its exit code when it has ended, if it had one.
    pub(crate) fn end(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsc"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command.env("HOME", folder);
    command
}

/// Standard output has to be one JSON document.
fn document(output: &Output) -> Value {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert!(text.ends_with('\n') && text.lines().count() == 1, "{text}");
    serde_json::from_str(text).unwrap()
}

/// A door to a server: connections to it go to wherever it is pointed, and end when it turns.
pub(crate) struct Door {
    pub(crate) url: String,
    target: Arc<Mutex<String>>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Door {
    pub(crate) fn to(place: &str) -> Self {
        Self::through(place, |near, far| drop(io::copy(near, far)))
    }

    /// One whose connections end with their first answer, so that none is lost when it turns.
    pub(crate) fn for_one_request_each(place: &str) -> Self {
        Self::through(place, |near, far| {
            let mut head = vec![0; 1 << 16];
            let len = near.read(&mut head).unwrap_or_default();
            let line = head[..len].iter().position(|&byte| byte == b'\n').map_or(len, |at| at + 1);
            for part in [&head[..line], b"connection: close\r\n", &head[line..len]] {
                let _ = far.write_all(part);
            }
            let _ = io::copy(near, far);
        })
    }

    /// `pass` gives the server what a client says.
    fn through(place: &str, pass: fn(&mut TcpStream, &mut TcpStream)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(place.to_owned()));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (to, held) = (target.clone(), open.clone());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let place = to.lock().unwrap().clone();
                let Ok(far) = TcpStream::connect(place) else { continue };
                let back: fn(&mut TcpStream, &mut TcpStream) =
                    |far, near| drop(io::copy(far, near));
                for (from, into, pass) in [(&near, &far, pass), (&far, &near, back)] {
                    let (mut from, mut into) =
                        (from.try_clone().unwrap(), into.try_clone().unwrap());
                    thread::spawn(move || {
                        pass(&mut from, &mut into);
                        let _ = into.shutdown(Shutdown::Both);
                    });
                }
                held.lock().unwrap().extend([near, far]);
            }
        });
        Self { url, target, open }
    }

    /// Leads elsewhere from the next connection on.
    pub(crate) fn lead(&self, place: &str) {
        place.clone_into(&mut self.target.lock().unwrap());
    }

    /// Leads elsewhere from now on; an empty place is nowhere.
    pub(crate) fn turn(&self, place: &str) {
        self.lead(place);
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A chain of `dsc dev` that ends with the last test that uses it.
pub(crate) struct Network {
    child: Child,
    urls: Value,
    pub(crate) accounts: Vec<String>,
    folder: tempfile::TempDir,
}

static RUNNING: LazyLock<Mutex<Weak<Network>>> = LazyLock::new(Mutex::default);

impl Network {
    /// The chain of this test file; the first who asks starts it.
    pub(crate) fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(network) = running.upgrade() {
            return network;
        }
        let network = Arc::new(Self::start());
        *running = Arc::downgrade(&network);
        network
    }

    /// Starts a chain; it writes where it is to its standard output once everything runs.
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a chain of its own with these variables.
    pub(crate) fn start_with(variables: &[(&str, &str)]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), variables)
    }

    /// Stops the chain and goes on with it at other ports.
    pub(crate) fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let elsewhere = tempfile::tempdir().unwrap();
        let folder = std::mem::replace(&mut self.folder, elsewhere);
        *self = Self::start_in(folder, &[]);
    }

    /// Where a role is: host and port.
    pub(crate) fn place(&self, role: &str) -> String {
        self.urls[role].as_str().unwrap().trim_start_matches("http://").to_owned()
    }

    fn start_in(folder: tempfile::TempDir, variables: &[(&str, &str)]) -> Self {
        let args = "dev --port-base 0 --block-time 200ms --out /dev/stdout --progress none";
        let args: Vec<_> = args.split(' ').collect();
        let mut child = command(&args, folder.path())
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let mut documents = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
        let description = documents.next().expect("the chain starts").unwrap();
        let accounts = description["accounts"].as_array().unwrap();
        let accounts = accounts.iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        Self { child, urls: description["urls"].clone(), accounts, folder }
    }

    /// Where a role is reached.
    pub(crate) fn url(&self, role: &str) -> &str {
        self.urls[role].as_str().unwrap()
    }

    /// Asks the chain to end; returns how long that took.
    pub(crate) fn end(&mut self) -> Duration {
        let begun = std::time::Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        self.child.wait().unwrap();
        begun.elapsed()
    }

    /// The genesis file of the chain.
    pub(crate) fn genesis(&self) -> PathBuf {
        self.folder.path().join("dsc-data/dev/genesis.json")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

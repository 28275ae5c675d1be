//! A process of the real binary, which ends with the tests whatever becomes of them.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use serde_json::Value;

use crate::figures::Figures;

/// Runs a command, says its process id, and kills it once standard input ends.
const WATCHED: &str = r#"exec 3<&0
"$@" </dev/null 3<&- & child=$!
echo $child
{ cat <&3; kill -9 $child; } >/dev/null 2>&1 &
exec 3<&-
wait $child; kill $!"#;

/// A running role.
pub(crate) struct Process {
    pub(crate) name: &'static str,
    pid: u32,
    pub(crate) url: String,
    log: PathBuf,
    shell: Child,
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts a role in `folder` and waits until it says where it listens.
    pub(crate) fn role(
        name: &'static str,
        folder: &Path,
        args: &[String],
        variables: &[(String, String)],
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        let mut command = Command::new("sh");
        command.args(["-c", WATCHED, "sh", env!("CARGO_BIN_EXE_dsc")]).args(args);
        command.current_dir(folder).env_clear().env("HOME", folder).env("PATH", "/usr/bin:/bin");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.stderr(File::options().append(true).create(true).open(&log).unwrap());
        let mut shell = command.spawn().unwrap();
        let (stdin, stdout) = (shell.stdin.take(), shell.stdout.take().unwrap());
        let said = drained(stdout);
        let hear = || said.recv().unwrap_or_else(|_| panic!("{name} ended: {}", text(&log)));
        let pid = hear().parse().unwrap();
        let url = loop {
            if let Some(url) = listening(&hear()) {
                break url;
            }
        };
        Self { name, pid, url, log, shell, stdin }
    }

    /// `host:port`.
    pub(crate) fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    pub(crate) fn figures(&self) -> Figures {
        Figures::of(self.pid).expect("the role runs")
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        text(&self.log)
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        drop(self.stdin.take());
        self.shell.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn text(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

/// Every line of an output, which is read to its end: a full pipe would stop the role.
fn drained(output: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens once the role has said where it is.
            drop(sender.send(line));
        }
    });
    lines
}

/// Where the role listens, if this is the event that says so.
fn listening(line: &str) -> Option<String> {
    let event: Value = serde_json::from_str(line).ok()?;
    Some(event["url"].as_str()?.to_owned())
}

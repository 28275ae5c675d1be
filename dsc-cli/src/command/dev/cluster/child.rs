//! A program started here, and ended with this one.

use std::{
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    time::Duration,
};

use crate::{exit::Failure, shutdown::Shutdown};

/// How long a program may take until it answers.
const READY_TIME: Duration = Duration::from_secs(60);
const READY_PAUSE: Duration = Duration::from_millis(100);
/// How long a program that was asked to end may take.
const STOP_TIME: Duration = Duration::from_secs(5);

/// What is started, and what it is started with.
#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) variables: Vec<(String, String)>,
    pub(super) folder: PathBuf,
}

/// A running program.
#[derive(Debug)]
pub(super) struct Child {
    recipe: Recipe,
    running: process::Child,
}

impl Recipe {
    /// Starts it; what it says goes to a file in `logs` beside its folder.
    pub(super) fn start(self) -> Result<Child, Failure> {
        let running = self.spawn()?;
        Ok(Child { recipe: self, running })
    }

    fn spawn(&self) -> Result<process::Child, Failure> {
        let log = self.log()?;
        let again = log.try_clone().map_err(|e| Failure::file("open", &self.log_path(), &e))?;
        let mut command = self.command();
        command.current_dir(&self.folder);
        command.stdin(Stdio::null()).stdout(log).stderr(again);
        // Settings of the caller are not those of these programs.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DSC_") {
                command.env_remove(name);
            }
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Ctrl-C is for this process, which ends the others in order.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.spawn().map_err(|error| Failure::file("start", &self.program, &error))
    }

    /// The program, which this one becomes first where that can have it end with whoever starts it,
    /// were that killed: see `command/tie.rs`.
    fn command(&self) -> Command {
        let mut command = if cfg!(target_os = "linux") {
            let mut own = Command::new("/proc/self/exe");
            own.arg("tie").arg(process::id().to_string()).arg("--").arg(&self.program);
            own
        } else {
            Command::new(&self.program)
        };
        command.args(&self.arguments);
        command
    }

    fn log(&self) -> Result<File, Failure> {
        fs::create_dir_all(&self.folder).map_err(|e| Failure::file("make", &self.folder, &e))?;
        let path = self.log_path();
        let opened = File::options().create(true).append(true).open(&path);
        opened.map_err(|error| Failure::file("open", &path, &error))
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.name))
    }
}

impl Child {
    pub(super) fn name(&self) -> &str {
        &self.recipe.name
    }

    /// Waits until `ready` says so; whoever has ended is not waited for.
    pub(super) fn wait_ready(
        &mut self,
        shutdown: &Shutdown,
        ready: impl Fn() -> bool,
    ) -> Result<(), Failure> {
        let tries = READY_TIME.as_millis() / READY_PAUSE.as_millis();
        for _ in 0..tries {
            if ready() {
                return Ok(());
            }
            let ended = self.running.try_wait().ok().flatten();
            if let Some(status) = ended {
                return Err(self.failed(&format!("ended: {status}")));
            }
            if shutdown.sleep(READY_PAUSE) {
                return Err(Failure::interrupted("ended before everything ran"));
            }
        }
        Err(self.failed(&format!("does not answer within {READY_TIME:?}")))
    }

    fn failed(&self, what: &str) -> Failure {
        let log = self.recipe.log_path();
        Failure::other("child-failed", format!("{} {what}", self.recipe.name)).with_hint(format!(
            "{} says more: {}",
            log.display(),
            last_line(&log)
        ))
    }

    /// Kills it as a power cut would, as far as the process is concerned.
    pub(super) fn kill(&mut self) {
        // It has ended already if that fails.
        drop(self.running.kill());
        drop(self.running.wait());
    }

    /// Starts it again where it was.
    pub(super) fn restart(&mut self) -> Result<(), Failure> {
        self.kill();
        self.running = self.recipe.spawn()?;
        Ok(())
    }

    /// Asks it to end, and waits for that a while.
    pub(super) fn stop(mut self) {
        self.ask_to_end();
        let shutdown = Shutdown::new();
        for _ in 0..STOP_TIME.as_millis() / READY_PAUSE.as_millis() {
            if !matches!(self.running.try_wait(), Ok(None)) {
                return;
            }
            shutdown.sleep(READY_PAUSE);
        }
    }

    #[cfg(unix)]
    fn ask_to_end(&self) {
        use rustix::process::{Pid, Signal, kill_process};
        if let Some(pid) = i32::try_from(self.running.id()).ok().and_then(Pid::from_raw) {
            // It has ended already if that fails.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    #[cfg(not(unix))]
    fn ask_to_end(&self) {}
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

fn last_line(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
}

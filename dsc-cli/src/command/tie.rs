//! `dsc tie`: becomes a program that ends with the process that started it, however that one ends.
//!
//! # Invariants
//!
//! 1. Whoever is killed with no chance to end what it started leaves nothing behind: the kernel
//!    asks the program to end then, and one whose starter has ended before that is not run at all.

use std::{ffi::OsString, os::unix::process::CommandExt, path::Path, process::Command};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

use crate::exit::Failure;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The process that starts it
    parent: i32,
    /// The program, with its arguments
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Returns only if the program is not run.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|error| Failure::other("tie", error))?;
    if getppid() != Pid::from_raw(args.parent) {
        return Err(Failure::interrupted("the process that starts it has ended"));
    }
    let Some((program, arguments)) = args.command.split_first() else { return Ok(()) };
    let error = Command::new(program).args(arguments).exec();
    Err(Failure::file("start", Path::new(program), &error))
}

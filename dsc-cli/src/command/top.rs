//! `dsc top`: how the network stands, at a terminal, as the monitor tells it.
//!
//! # Invariants
//!
//! 1. The terminal is as it was when the command ends: by `q`, by a signal, by a failure or a panic.
//! 2. A figure that is not known, or no longer fresh, is shown as that, never as the last one known.
//! 3. Nothing has its meaning by colour alone, and nothing that is shown steers the terminal.

mod canvas;
mod feed;
mod model;
#[cfg(unix)]
mod screen;
mod view;

use std::{
    fmt,
    io::{self, IsTerminal},
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use serde::Serialize;

use self::{feed::News, model::State};
use super::Context;
use crate::{
    clock::SystemClock,
    config::keys::Kind,
    exit::Failure,
    http::Client,
    output::{Document, note},
    shutdown::Shutdown,
};

/// Longest wait for news before keys and signals are looked at.
const LOOK_TIME: Duration = Duration::from_millis(100);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the monitor is reached
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    url: String,
    /// Write a plain table at every look of the monitor [default off a terminal]
    #[arg(long)]
    plain: bool,
    /// Write a plain table once and end
    #[arg(long)]
    once: bool,
}

fn parse_url(text: &str) -> Result<String, String> {
    Kind::Url.check(text).map(|()| text.to_owned()).map_err(|kind| format!("expected {kind}"))
}

/// How the network stands.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    state: &'a State,
}

impl Document for Shown<'_> {
    const SCHEMA: &'static str = "dsc.top/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&view::plain(self.state))
    }
}

pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let client = Client::from_config(&args.url, &context.config)?.named("monitor");
    let state = State::of(feed::history(&client)?);
    if args.once {
        return context.output.document(&Shown { state: &state });
    }
    let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
    let news =
        feed::follow(client, state.id.clone()).map_err(|error| Failure::other("thread", error))?;
    let is_terminal = io::stdout().is_terminal() && io::stdin().is_terminal();
    if args.plain || context.output.is_json() || !is_terminal {
        return table(state, &news, &shutdown, context);
    }
    draw(state, &news, &shutdown)
}

/// A table, or a line of JSON, for every look of the monitor.
fn table(
    mut state: State,
    news: &Receiver<News>,
    shutdown: &Shutdown,
    context: &Context<'_>,
) -> Result<(), Failure> {
    context.output.event(&Shown { state: &state })?;
    while !shutdown.is_requested() {
        let news = match news.recv_timeout(LOOK_TIME) {
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        if let News::Lost(reason) = &news {
            note(format_args!("{reason}; trying again"));
        }
        let is_look = matches!(news, News::Sample(_) | News::History(_));
        state.take(news);
        if is_look {
            context.output.event(&Shown { state: &state })?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn draw(mut state: State, news: &Receiver<News>, shutdown: &Shutdown) -> Result<(), Failure> {
    use std::os::fd::AsFd;

    let clock = SystemClock::new();
    let failed = |error| Failure::other("terminal", error);
    let mut screen =
        screen::Screen::open(io::stdin().as_fd(), io::stdout().as_fd()).map_err(failed)?;
    while !shutdown.is_requested() && !screen.is_quit().map_err(failed)? {
        let (width, height) = screen.size();
        let mut canvas = canvas::Canvas::new(width, height);
        view::draw(&mut canvas, &state, clock.unix().0);
        screen.show(&canvas).map_err(failed)?;
        match news.recv_timeout(LOOK_TIME) {
            Ok(first) => {
                state.take(first);
                for more in news.try_iter() {
                    state.take(more);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn draw(_state: State, _news: &Receiver<News>, _shutdown: &Shutdown) -> Result<(), Failure> {
    let _ = SystemClock::new();
    Err(Failure::usage("this system's terminal is not known").with_hint("use --plain"))
}

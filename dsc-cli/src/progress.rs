//! Progress of slow tasks, on standard error.
//!
//! # Invariants
//!
//! 1. Percent counts from the total, also after a resume; rate and time left count only what was
//!    done by this process.
//! 2. Lines are spaced in time; the first and the last of a stage are always written.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use dsc_lib::proof::Progress;
use serde::Serialize;

use crate::{clock::SystemClock, duration};

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// One line that is drawn again.
    Bar,
    /// A line now and then.
    Plain,
    /// A line of JSON now and then.
    Json,
    /// Nothing.
    Silent,
}

impl Style {
    /// The style of a `--progress` word; `auto` draws on a terminal only.
    pub fn from_word(word: &str) -> Self {
        match word {
            "bar" => Self::Bar,
            "plain" => Self::Plain,
            "json" => Self::Json,
            "none" => Self::Silent,
            _ if io::stderr().is_terminal() => Self::Bar,
            _ => Self::Plain,
        }
    }

    const fn spacing(self) -> Duration {
        match self {
            Self::Bar => Duration::from_millis(100),
            Self::Json => Duration::from_secs(1),
            Self::Plain | Self::Silent => Duration::from_secs(5),
        }
    }
}

#[derive(Debug)]
struct Stage {
    name: &'static str,
    started: Duration,
    done_before: u64,
    done: u64,
    total: u64,
    written: Duration,
    finished: bool,
}

impl Stage {
    /// Whether what is told next is a later part of the same task: it counts on, to the same total.
    const fn goes_on(&self, done: u64, total: u64) -> bool {
        total == self.total && done >= self.done && !self.finished
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Step {
    schema: &'static str,
    stage: &'static str,
    done: u64,
    total: u64,
    percent: f64,
    per_second: f64,
    seconds_left: Option<u64>,
}

impl Step {
    #[allow(clippy::cast_precision_loss, reason = "figures for people")]
    fn new(stage: &Stage, done: u64, total: u64, now: Duration) -> Self {
        let elapsed = now.saturating_sub(stage.started).as_secs_f64();
        let here = done.saturating_sub(stage.done_before) as f64;
        let per_second = if elapsed > 0.0 { here / elapsed } else { 0.0 };
        let left = total.saturating_sub(done) as f64 / per_second;
        let left = Duration::try_from_secs_f64(left).ok().map(|left| left.as_secs());
        let percent = if total == 0 { 100.0 } else { 100.0 * done as f64 / total as f64 };
        let (name, seconds_left) = (stage.name, left);
        Self {
            schema: "dsc.progress/1",
            stage: name,
            done,
            total,
            percent,
            per_second,
            seconds_left,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stage, done, total, percent, per_second, .. } = self;
        write!(f, "{stage} {percent:.1}% ({done}/{total})")?;
        // Nothing is known at the first line.
        if *per_second > 0.0 {
            write!(f, " {per_second:.0}/s")?;
        }
        match self.seconds_left {
            Some(left) => write!(f, " {} left", duration::display(Duration::from_secs(left))),
            None => Ok(()),
        }
    }
}

/// Shows the progress of one task after another.
pub struct Reporter {
    style: Style,
    clock: SystemClock,
    stage: Mutex<Option<Stage>>,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Reporter {
    /// Writes to standard error.
    pub fn new(style: Style) -> Self {
        Self::with_sink(style, Box::new(io::stderr()))
    }

    fn with_sink(style: Style, sink: Box<dyn Write + Send>) -> Self {
        let (clock, stage) = (SystemClock::new(), Mutex::new(None));
        Self { style, clock, stage, sink: Mutex::new(sink) }
    }

    fn update_at(&self, name: &'static str, done: u64, total: u64, now: Duration) {
        let mut guard = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = guard.as_ref().is_none_or(|stage| stage.name != name);
        if let Some(stage) = guard.as_mut().filter(|stage| is_new && stage.goes_on(done, total)) {
            stage.name = name;
        } else if is_new {
            *guard = Some(Stage {
                name,
                started: now,
                done_before: done,
                done,
                total,
                written: now,
                finished: false,
            });
        }
        let Some(stage) = guard.as_mut() else { return };
        stage.done = done;
        let is_last = done >= total && !stage.finished;
        if is_new || is_last || now.saturating_sub(stage.written) >= self.style.spacing() {
            stage.written = now;
            stage.finished |= is_last;
            self.write(&Step::new(stage, done, total, now), is_last);
        }
    }

    fn write(&self, step: &Step, is_last: bool) {
        let line = match self.style {
            Style::Bar => {
                let end = if is_last { "\n" } else { "" };
                format!("\r{}\x1b[K{step}{end}", bar(step.percent))
            }
            Style::Json => serde_json::to_string(step).unwrap_or_default() + "\n",
            Style::Plain | Style::Silent => format!("{step}\n"),
        };
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        // Progress that nobody can read is no reason to stop the task.
        drop(sink.write_all(line.as_bytes()).and_then(|()| sink.flush()));
    }
}

impl Progress for Reporter {
    fn update(&self, stage: &'static str, done: u64, total: u64) {
        if self.style != Style::Silent {
            self.update_at(stage, done, total, self.clock.elapsed());
        }
    }
}

fn bar(percent: f64) -> String {
    const WIDTH: usize = 24;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=24 before the cast"
    )]
    let full = (percent / 100.0 * 24.0).clamp(0.0, 24.0) as usize;
    format!("[{}{}] ", "#".repeat(full), "-".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::testing::Buffer;

    fn reporter(style: Style) -> (Reporter, Buffer) {
        let buffer = Buffer::default();
        (Reporter::with_sink(style, Box::new(buffer.clone())), buffer)
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn percent_counts_from_the_total_and_rate_from_the_resume() {
        let (reporter, buffer) = reporter(Style::Plain);
        reporter.update_at("plot", 500, 1000, at(0));
        reporter.update_at("plot", 600, 1000, at(10));
        assert_eq!(buffer.text(), "plot 50.0% (500/1000)\nplot 60.0% (600/1000) 10/s 40.0s left\n");
    }

    #[test]
    fn a_stage_that_counts_on_keeps_the_rate() {
        let (reporter, buffer) = reporter(Style::Plain);
        reporter.update_at("hash", 0, 300, at(0));
        reporter.update_at("hash", 100, 300, at(10));
        reporter.update_at("match", 120, 300, at(12));
        reporter.update_at("check", 1, 10, at(13));
        assert_eq!(
            buffer.text(),
            "hash 0.0% (0/300)\nhash 33.3% (100/300) 10/s 20.0s left\n\
             match 40.0% (120/300) 10/s 18.0s left\ncheck 10.0% (1/10)\n"
        );
    }

    #[test]
    fn lines_are_spaced_but_the_last_one_is_written_once() {
        let (reporter, buffer) = reporter(Style::Plain);
        for done in 0..=10 {
            reporter.update_at("sort", done, 10, at(done / 4));
        }
        reporter.update_at("sort", 10, 10, at(3));
        assert_eq!(buffer.text().lines().count(), 2, "{}", buffer.text());
        assert!(buffer.text().ends_with("sort 100.0% (10/10) 5/s 0.0s left\n"));
    }

    #[test]
    fn json_is_one_document_a_line() {
        let (reporter, buffer) = reporter(Style::Json);
        reporter.update_at("plot", 0, 4, at(0));
        reporter.update_at("plot", 1, 4, at(2));
        let lines: Vec<serde_json::Value> =
            buffer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1]["schema"], "dsc.progress/1");
        assert_eq!(lines[1]["seconds_left"], 6);
    }

    #[test]
    fn a_bar_is_drawn_on_one_line() {
        let (reporter, buffer) = reporter(Style::Bar);
        reporter.update_at("plot", 0, 2, at(0));
        reporter.update_at("plot", 1, 2, at(1));
        reporter.update_at("plot", 2, 2, at(2));
        assert_eq!(buffer.text().matches('\r').count(), 3);
        assert_eq!(buffer.text().matches('\n').count(), 1);
        assert!(buffer.text().contains("[############------------]"));
    }
}

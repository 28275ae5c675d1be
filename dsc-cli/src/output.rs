//! Standard output: text for people, or exactly one JSON document.
//!
//! # Invariants
//!
//! 1. With `--json`, a command writes one document (a stream: one per line), and a failure is one
//!    document as well. Each names its schema.
//! 2. Without it, a failure is written to standard error and standard output stays empty.
//! 3. A reader that has gone ends the command quietly; nothing here panics.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use serde::Serialize;

use crate::exit::Failure;

/// An answer of a command.
pub trait Document: Serialize {
    /// Name and version of the JSON form, such as `dsc.tx/1`.
    const SCHEMA: &'static str;

    /// Writes the form for people, lines ending in a line feed.
    ///
    /// # Errors
    ///
    /// Those of `f`.
    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    body: &'a T,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    faults: Option<&'a serde_json::Value>,
}

struct Text<'a, T>(&'a T);

impl<T: Document> fmt::Display for Text<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.text(f)
    }
}

/// Where a command writes its answer.
pub struct Output {
    json: bool,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").field("json", &self.json).finish_non_exhaustive()
    }
}

impl Output {
    /// Writes to standard output.
    pub fn stdout(json: bool) -> Self {
        Self::new(json, Box::new(io::stdout()))
    }

    /// Writes to `sink`.
    pub fn new(json: bool, sink: Box<dyn Write + Send>) -> Self {
        Self { json, sink: Mutex::new(sink) }
    }

    /// Whether JSON was asked for.
    pub const fn is_json(&self) -> bool {
        self.json
    }

    /// Writes the answer: the only document of a command that is not a stream.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if standard output takes no more.
    pub fn document<T: Document>(&self, document: &T) -> Result<(), Failure> {
        if self.json {
            self.write(&json_line(document)?)
        } else {
            self.write(Text(document).to_string().as_bytes())
        }
    }

    /// Writes one event of a stream: a line of JSON, or text.
    ///
    /// # Errors
    ///
    /// A [`Failure`] if standard output takes no more; the stream should end then.
    pub fn event<T: Document>(&self, event: &T) -> Result<(), Failure> {
        self.document(event)
    }

    /// Writes a failure: to standard output as JSON, or to standard error.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            let error = ErrorFields {
                code: failure.code(),
                message: failure.message(),
                hint: failure.hint(),
                faults: failure.faults(),
            };
            let body = ErrorBody { error };
            let line = encode(&Envelope { schema: "dsc.error/1", body: &body });
            // Nobody is left to be told that this could not be written.
            drop(line.and_then(|line| self.write(&line)));
        } else {
            // Others have a say in it: a server's problem, a file's text.
            note(format_args!("error: {}", steady(failure.message())));
            if let Some(hint) = failure.hint() {
                note(format_args!("  hint: {}", steady(hint)));
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write_all(bytes).and_then(|()| sink.flush()).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::reader_gone(),
            io::ErrorKind::StorageFull => {
                Failure::no_space("disk-full", "there is no room for the answer")
                    .with_hint("free some space where standard output goes, and run this again")
            }
            _ => Failure::other("output", format_args!("cannot write the answer: {error}")),
        })
    }
}

/// Text with nothing in it that steers a terminal; lines stay lines.
pub(crate) fn steady(text: &str) -> String {
    let steers = |c: &char| c.is_control() && !matches!(c, '\n' | '\t');
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(&c) { shown.extend(c.escape_debug()) } else { shown.push(c) }
    }
    shown
}

/// A document as one line of JSON, as it goes to standard output or to a file.
///
/// # Errors
///
/// A [`Failure`] if the document cannot be written as JSON.
pub fn json_line<T: Document>(document: &T) -> Result<Vec<u8>, Failure> {
    encode(&Envelope { schema: T::SCHEMA, body: document })
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Failure> {
    let mut line = serde_json::to_vec(value)
        .map_err(|error| Failure::other("output", format_args!("cannot encode: {error}")))?;
    line.push(b'\n');
    Ok(line)
}

/// Writes one line for people to standard error; a closed one is no error.
pub fn note(line: impl fmt::Display) {
    drop(writeln!(io::stderr(), "{line}"));
}

#[cfg(test)]
pub(crate) mod testing {
    use std::sync::Arc;

    use super::*;

    /// A sink whose content can be read.
    #[derive(Clone, Default)]
    pub(crate) struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::Buffer, *};
    use crate::exit::Exit;

    #[test]
    fn what_others_say_does_not_steer_a_terminal() {
        assert_eq!(steady("a\n\tb \u{e9}"), "a\n\tb \u{e9}");
        assert_eq!(
            steady("\u{1b}]52;c;cHduZWQ=\u{7}\u{9b}2K"),
            "\\u{1b}]52;c;cHduZWQ=\\u{7}\\u{9b}2K"
        );
    }

    #[derive(Serialize)]
    struct Sample {
        height: u64,
    }

    impl Document for Sample {
        const SCHEMA: &'static str = "dsc.sample/1";

        fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            writeln!(f, "height {}", self.height)
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_document_is_text_or_one_line_of_json() {
        let (text, json) = (Buffer::default(), Buffer::default());
        Output::new(false, Box::new(text.clone())).document(&Sample { height: 7 }).unwrap();
        Output::new(true, Box::new(json.clone())).document(&Sample { height: 7 }).unwrap();
        assert_eq!(text.text(), "height 7\n");
        assert_eq!(json.text(), "{\"schema\":\"dsc.sample/1\",\"height\":7}\n");
    }

    #[test]
    fn a_failure_is_a_document_with_code_message_and_hint() {
        let json = Buffer::default();
        let failure = Failure::usage("bad").with_hint("do this");
        Output::new(true, Box::new(json.clone())).failure(&failure);
        let expected = "{\"schema\":\"dsc.error/1\",\"error\":{\"code\":\"usage\",\
                        \"message\":\"bad\",\"hint\":\"do this\"}}\n";
        assert_eq!(json.text(), expected);
    }

    #[test]
    fn a_failure_lists_its_faults_only_if_it_has_some() {
        let json = Buffer::default();
        let failure = Failure::corrupt("bad", "bad").with_faults(serde_json::json!([{"page": 1}]));
        Output::new(true, Box::new(json.clone())).failure(&failure);
        assert!(json.text().ends_with("\"hint\":null,\"faults\":[{\"page\":1}]}}\n"));
    }

    #[test]
    fn a_reader_that_has_gone_ends_the_command_without_an_error() {
        let failure = Output::new(true, Box::new(Closed)).event(&Sample { height: 7 });
        assert_eq!(failure.unwrap_err().exit(), Exit::Done);
    }
}

//! The terminal: its other screen, without echo and line by line, and back as it was.
//!
//! # Invariants
//!
//! 1. Whoever ends, by return or by panic, [`restore`] has run; a panic's message is on the screen
//!    that stays.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
    panic,
    sync::{Mutex, Once, PoisonError},
    thread::{self, ThreadId},
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::canvas::Canvas;

/// To the other screen, with the cursor hidden.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[2J";
/// The cursor again, and the screen that was there.
const LEAVE: &str = "\u{1b}[0m\u{1b}[?25h\u{1b}[?1049l";
/// Size when a terminal does not say.
const SIZE: (usize, usize) = (80, 24);
const CTRL_C: u8 = 3;

/// A terminal that is drawn on, and how it was before.
struct Saved {
    input: File,
    output: File,
    before: Termios,
    /// Who draws: a panic of another thread does not end that.
    owner: ThreadId,
}

static SAVED: Mutex<Option<Saved>> = Mutex::new(None);
static HOOK: Once = Once::new();

/// A terminal while it is drawn on.
#[derive(Debug)]
pub(super) struct Screen {
    input: File,
    output: File,
}

impl Screen {
    pub(super) fn open(input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> io::Result<Self> {
        let file = |of: BorrowedFd<'_>| of.try_clone_to_owned().map(File::from);
        let before = tcgetattr(input)?;
        let mut modes = before.clone();
        // No echo, no lines, no signals: Ctrl-C is a key that is read here.
        modes.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG);
        modes.special_codes[SpecialCodeIndex::VMIN] = 0;
        modes.special_codes[SpecialCodeIndex::VTIME] = 0;
        let owner = thread::current().id();
        let saved = Saved { input: file(input)?, output: file(output)?, before, owner };
        *SAVED.lock().unwrap_or_else(PoisonError::into_inner) = Some(saved);
        HOOK.call_once(restore_before_panics);
        // From here on there is something to restore.
        let mut screen = Self { input: file(input)?, output: file(output)? };
        tcsetattr(&screen.input, OptionalActions::Now, &modes)?;
        screen.write(ENTER)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = tcgetwinsize(&self.output).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        size.map_or(SIZE, |size| (size.ws_col.into(), size.ws_row.into()))
    }

    pub(super) fn show(&mut self, canvas: &Canvas) -> io::Result<()> {
        self.write(&canvas.escapes())
    }

    /// Whether a key was pressed that ends it; a terminal that has gone is a failure.
    pub(super) fn is_quit(&mut self) -> io::Result<bool> {
        let mut keys = [0; 64];
        match self.input.read(&mut keys) {
            Ok(count) => {
                Ok(keys.iter().take(count).any(|key| matches!(key, b'q' | b'Q' | &CTRL_C)))
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, text: &str) -> io::Result<()> {
        self.output.write_all(text.as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore_before_panics() {
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner);
        let is_owner = saved.as_ref().is_some_and(|saved| saved.owner == thread::current().id());
        drop(saved);
        if is_owner {
            restore();
        }
        told(info);
    }));
}

/// Puts the terminal back, once.
fn restore() {
    let saved = SAVED.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(Saved { input, mut output, before, .. }) = saved {
        let _ = output.write_all(LEAVE.as_bytes());
        let _ = tcsetattr(input.as_fd(), OptionalActions::Now, &before);
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};

    use super::*;

    /// Both ends of a terminal.
    fn terminal() -> (File, File) {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let near = openpt(flags).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        let far = ioctl_tiocgptpeer(&near, flags).unwrap();
        (near.into(), far.into())
    }

    fn modes(terminal: &File) -> LocalModes {
        tcgetattr(terminal).unwrap().local_modes
    }

    /// One test, because there is one terminal at a time in a process.
    #[test]
    fn the_terminal_is_as_it_was_after_the_end_and_after_a_panic() {
        let (mut near, far) = terminal();
        let before = modes(&far);
        assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        let mut screen = Screen::open(far.as_fd(), far.as_fd()).unwrap();
        assert!(!modes(&far).intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
        assert!(!screen.is_quit().unwrap());
        for (key, is_quit) in [(&b"x"[..], false), (b"q", true), (b"\x03", true)] {
            near.write_all(key).unwrap();
            assert_eq!(screen.is_quit().unwrap(), is_quit, "{key:?}");
        }
        let mut canvas = Canvas::new(5, 1);
        canvas.put(0, 0, "hello", super::super::canvas::Style::Plain);
        screen.show(&canvas).unwrap();
        drop(screen);
        assert_eq!(modes(&far), before);
        let (mut shown, mut bytes) = (String::new(), [0; 256]);
        while !shown.ends_with(LEAVE) {
            let count = near.read(&mut bytes).unwrap();
            shown.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        assert!(shown.starts_with(ENTER) && shown.contains("hello"), "{shown:?}");

        let ended = panic::catch_unwind(|| {
            let _screen = Screen::open(far.as_fd(), far.as_fd()).unwrap();
            panic!("on purpose");
        });
        assert!(ended.is_err());
        assert_eq!(modes(&far), before);
    }
}

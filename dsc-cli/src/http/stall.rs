//! A stream that fails when its peer takes no bytes for too long, or too few of them in all.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// What a peer has to take in a second, on average, of answers that wait for it.
const BYTES_PER_SECOND_MIN: u64 = 64 << 10;

/// A connection whose writes make progress or fail.
#[derive(Debug)]
pub(super) struct Stalling {
    stream: TcpStream,
    write_time: Duration,
    /// When the write under way began to wait.
    waiting_since: Option<Instant>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// How long writes may still wait: what is waited is taken off, what is taken earns it again.
    allowance: Duration,
}

impl Stalling {
    pub(super) const fn new(stream: TcpStream, write_time: Duration) -> Self {
        let (waiting_since, deadline) = (None, None);
        Self { stream, write_time, waiting_since, deadline, allowance: write_time }
    }

    /// Passes on what a write did, unless it has been pending for too long.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        len: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = &written {
            let waited = self.waiting_since.take().map(|since| since.elapsed()).unwrap_or_default();
            let len = outcome.as_ref().map_or(0, len) as u64;
            let earned = Duration::from_millis(len.saturating_mul(1000) / BYTES_PER_SECOND_MIN);
            let left = self.allowance.saturating_sub(waited).saturating_add(earned);
            self.allowance = left.min(self.write_time.saturating_mul(2));
            self.deadline = None;
            return written;
        }
        let time = self.allowance.min(self.write_time);
        self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Stalling {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stalling {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written, |len| *len)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, written, |len| *len)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

//! Problems instead of the bare answers of hyper.
//!
//! A head that is no request never comes to the application: hyper answers it with a status and
//! nothing else, and closes. The stream below replaces these answers, which are known to the
//! letter, while they are written. It then reads on for a moment before it closes: a peer that is
//! still sending would otherwise lose the answer to a reset.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use super::bare_answer::{bare_answer, problem_answer};

/// What is read after a refusal, and how long.
const MAX_DRAINED_BYTES: usize = 1 << 20;
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// A stream whose bare answers become problems.
pub(super) struct ErrorAnswers<S> {
    stream: S,
    state: State,
}

enum State {
    Passing,
    /// An answer that is written instead of one of `length` bytes, of which `written` are.
    Replacing {
        answer: Vec<u8>,
        written: usize,
        length: usize,
    },
    /// It was replaced; the connection ends.
    Replaced,
    Draining {
        read: usize,
        until: Pin<Box<Sleep>>,
    },
}

impl<S> ErrorAnswers<S> {
    pub(super) fn new(stream: S) -> Self {
        Self {
            stream,
            state: State::Passing,
        }
    }
}

impl<S: AsyncWrite + Unpin> ErrorAnswers<S> {
    /// Writes the problem; then tells hyper that its own answer is written.
    fn poll_replace(&mut self, context: &mut Context<'_>) -> Option<Poll<io::Result<usize>>> {
        let State::Replacing {
            answer,
            written,
            length,
        } = &mut self.state
        else {
            return None;
        };
        while *written < answer.len() {
            match Pin::new(&mut self.stream).poll_write(context, &answer[*written..]) {
                Poll::Ready(Ok(0)) => {
                    return Some(Poll::Ready(Err(io::ErrorKind::WriteZero.into())));
                }
                Poll::Ready(Ok(count)) => *written += count,
                other => return Some(other),
            }
        }
        let length = *length;
        self.state = State::Replaced;
        Some(Poll::Ready(Ok(length)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ErrorAnswers<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ErrorAnswers<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(written) = self.poll_replace(context) {
            return written;
        }
        match bare_answer(bytes) {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some((0, status)) => {
                self.state = State::Replacing {
                    answer: problem_answer(status),
                    written: 0,
                    length: bytes.len(),
                };
                self.poll_replace(context).unwrap_or(Poll::Ready(Ok(0)))
            }
            // The answer to an earlier request stands before it.
            Some((at, _)) => Pin::new(&mut self.stream).poll_write(context, &bytes[..at]),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        match first {
            Some(first)
                if !matches!(self.state, State::Passing) || bare_answer(first).is_some() =>
            {
                self.poll_write(context, first)
            }
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if matches!(self.state, State::Passing | State::Replacing { .. }) {
            return Pin::new(&mut self.stream).poll_shutdown(context);
        }
        if matches!(self.state, State::Replaced) {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.state = State::Draining {
                read: 0,
                until: Box::pin(sleep(DRAIN_LIMIT)),
            };
        }
        let Self { stream, state } = &mut *self;
        let State::Draining { read, until } = state else {
            return Poll::Ready(Ok(()));
        };
        let mut bytes = [0; 4096];
        while *read < MAX_DRAINED_BYTES && until.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => *read += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

//! The head of a request as it came over the wire: the HTTP library drops what this has to see.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::Version;
use hyper::header::HOST;
use hyper::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longer heads are not kept: the HTTP library refuses them by itself.
const MAX_HEAD: usize = 512 * 1024;
const END: &[u8] = b"\r\n\r\n";

/// The head at hand of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadWatch(Arc<Mutex<Head>>);

#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    is_complete: bool,
}

/// A stream whose reads are watched. What is written is an answer, behind which the next head comes:
/// a request that was sent before the answer to the one before is not looked at.
pub(crate) struct Watched<S> {
    stream: S,
    watch: HeadWatch,
}

impl HeadWatch {
    /// What the request's framing breaks of the rules of HTTP/1.1, though it could be guessed what it means.
    pub(crate) fn flaw(&self, parts: &Parts) -> Option<&'static str> {
        let hosts = parts.headers.get_all(HOST).iter().count();
        if self.names("content-length") && self.names("transfer-encoding") {
            Some("a message with both Content-Length and Transfer-Encoding")
        } else if parts.version == Version::HTTP_11 && hosts != 1 {
            Some("a message of HTTP/1.1 must have one Host")
        } else {
            None
        }
    }

    fn names(&self, header: &str) -> bool {
        self.change(|head| {
            let lines = head.bytes.split(|byte| *byte == b'\n').skip(1);
            let mut names = lines.filter_map(|line| line.split(|byte| *byte == b':').next());
            names.any(|name| name.trim_ascii().eq_ignore_ascii_case(header.as_bytes()))
        })
    }

    fn read(&self, bytes: &[u8]) {
        self.change(|head| {
            if head.is_complete || head.bytes.len() > MAX_HEAD {
                return;
            }
            let looked_at = head.bytes.len().saturating_sub(END.len() - 1);
            head.bytes.extend_from_slice(bytes);
            let end = head.bytes[looked_at..].windows(END.len()).position(|window| window == END);
            if let Some(end) = end {
                head.bytes.truncate(looked_at + end);
                head.is_complete = true;
            }
        });
    }

    fn answered(&self) {
        self.change(|head| {
            if head.is_complete {
                *head = Head::default();
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Head) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, watch: HeadWatch) -> Self {
        Self { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.watch.read(&buffer.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch.answered();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

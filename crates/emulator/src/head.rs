//! The raw head of a request: the HTTP library discards what this has to check.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper::Version;
use hyper::header::HOST;
use hyper::http::request::Parts;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Longer heads are not kept: the HTTP library rejects them itself.
const MAX_HEAD: usize = 512 * 1024;
const END: &[u8] = b"\r\n\r\n";

/// The current request head of one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadWatch(Arc<Mutex<Head>>);

#[derive(Debug, Default)]
struct Head {
    bytes: Vec<u8>,
    is_complete: bool,
}

/// A stream that observes what is read. A write is a response, after which the next head follows; a request pipelined
/// before the previous response is not checked.
pub(crate) struct Watched<S> {
    stream: S,
    watch: HeadWatch,
}

impl HeadWatch {
    /// How the request's framing violates HTTP/1.1, even if its meaning could be guessed.
    pub(crate) fn flaw(&self, parts: &Parts) -> Option<&'static str> {
        let hosts = parts.headers.get_all(HOST).iter().count();
        if self.names("content-length") && self.names("transfer-encoding") {
            Some("both Content-Length and Transfer-Encoding")
        } else if parts.version == Version::HTTP_11 && hosts != 1 {
            Some("an HTTP/1.1 request must have exactly one Host")
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

//! A response body as a list of steps, so that it can be slow, truncated or reset.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::Sleep;

use crate::socket::ResetSwitch;

/// A body that plays its steps.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    /// The current pause.
    pause: Option<Pin<Box<Sleep>>>,
    switch: ResetSwitch,
}

/// One step of a body.
pub(crate) enum Step {
    Send(Bytes),
    /// Sends the same bytes this many times.
    Repeat(Bytes, u64),
    Pause(Duration),
    /// Lets the connection write what was sent so far, which an abort would discard.
    Flush,
    /// Closes the connection without the rest of the body.
    BreakOff,
    /// Closes the connection with a reset.
    Reset,
}

/// The body or the whole response ends here, before it is complete.
#[derive(Debug, thiserror::Error)]
#[error("the response is aborted on purpose")]
pub(crate) struct BrokenOff;

impl From<Infallible> for BrokenOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl Script {
    pub(crate) fn new(steps: impl Into<VecDeque<Step>>, switch: ResetSwitch) -> Self {
        Self { steps: steps.into(), pause: None, switch }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Send(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Repeat(_, 0)) => {}
                Some(Step::Repeat(bytes, times)) => {
                    self.steps.push_front(Step::Repeat(bytes.clone(), times - 1));
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Pause(time)) => self.pause = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Flush) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::BreakOff) => return Poll::Ready(Some(Err(BrokenOff))),
                Some(Step::Reset) => {
                    self.switch.turn_on();
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty() && self.pause.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.steps.len() {
            0 => SizeHint::with_exact(0),
            1 => match &self.steps[0] {
                Step::Send(bytes) => SizeHint::with_exact(bytes.len() as u64),
                _ => SizeHint::default(),
            },
            _ => SizeHint::default(),
        }
    }
}

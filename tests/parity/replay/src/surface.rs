//! The SDK's two surfaces behind one interface, so that a replay can use either.

use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use convert_sdk::{
    AsyncContext, AsyncCore, Attributes, Context, ContextError, ConversionOptions, ConversionResult, Core,
    InitializeError, Stats, error::PreviewError,
};

use crate::error::Trouble;

/// Calls within this process take microseconds; beyond this something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The surface that a replay uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Sync,
    Async,
}

/// A core of either surface.
#[derive(Clone)]
pub(crate) enum Sdk {
    Sync(Core),
    Async(AsyncCore),
}

/// A context of either surface; what never waits is the same on both.
pub(crate) enum Visitor {
    Sync(Context),
    Async(AsyncContext),
}

impl Sdk {
    /// A core, used through this surface.
    pub(crate) fn new(core: Core, surface: Surface) -> Self {
        match surface {
            Surface::Sync => Self::Sync(core),
            Surface::Async => Self::Async(core.to_async()),
        }
    }

    pub(crate) fn initialize(&self) -> Result<(), InitializeError> {
        match self {
            Self::Sync(core) => core.initialize(),
            Self::Async(core) => block_on(core.initialize()),
        }
    }

    pub(crate) fn create_context(
        &self,
        visitor: &str,
        attributes: impl Into<Attributes>,
    ) -> Result<Visitor, ContextError> {
        match self {
            Self::Sync(core) => core.create_context(visitor, attributes).map(Visitor::Sync),
            Self::Async(core) => block_on(core.create_context(visitor, attributes)).map(Visitor::Async),
        }
    }

    /// Waits until every record is delivered and every change is in the store.
    pub(crate) fn flush(&self) -> Result<(), Trouble> {
        let flushed = match self {
            Self::Sync(core) => core.flush(PATIENCE),
            Self::Async(core) => block_on(core.flush(PATIENCE)),
        };
        let report = flushed.map_err(|error| Trouble::Sdk(error.to_string()))?;
        debug_assert!(report.is_complete(), "the wire takes everything");
        Ok(())
    }

    pub(crate) fn stats(&self) -> Stats {
        match self {
            Self::Sync(core) => core.stats(),
            Self::Async(core) => core.stats(),
        }
    }
}

impl Visitor {
    pub(crate) fn with_location(self, location: Attributes) -> Self {
        match self {
            Self::Sync(context) => Self::Sync(context.with_location(location)),
            Self::Async(context) => Self::Async(context.with_location(location)),
        }
    }

    pub(crate) fn set_preview(
        &mut self,
        experience_id: &str,
        variation_id: &str,
    ) -> Result<(), PreviewError> {
        match self {
            Self::Sync(context) => context.set_preview(experience_id, variation_id),
            Self::Async(context) => block_on(context.set_preview(experience_id, variation_id)),
        }
    }

    pub(crate) fn track_conversion_confirmed(
        &self,
        goal_key: &str,
        options: &ConversionOptions,
    ) -> ConversionResult {
        match self {
            Self::Sync(context) => context.track_conversion_confirmed(goal_key, options, PATIENCE),
            Self::Async(context) => block_on(context.track_conversion_confirmed(goal_key, options, PATIENCE)),
        }
    }
}

impl Deref for Visitor {
    type Target = Context;

    fn deref(&self) -> &Context {
        match self {
            Self::Sync(context) => context,
            Self::Async(context) => context,
        }
    }
}

impl DerefMut for Visitor {
    fn deref_mut(&mut self) -> &mut Context {
        match self {
            Self::Sync(context) => context,
            Self::Async(context) => context,
        }
    }
}

/// The SDK's futures need no runtime: this thread parks until it is woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Parked(Thread);
    impl Wake for Parked {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let (mut context, mut future) = (TaskContext::from_waker(&waker), pin!(future));
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

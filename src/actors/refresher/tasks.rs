//! The refresher's questions, as tasks ask them.

use super::{Refreshed, RefresherHandle, Wish};
use crate::actors::wait::Limit;

impl RefresherHandle {
    /// As [`refresh`](Self::refresh).
    pub(crate) async fn refresh_in_task(&self, limit: &mut Limit) -> Option<Refreshed> {
        self.desk.ask_in_task(Wish::Current, limit).await
    }

    /// As [`initialize`](Self::initialize).
    pub(crate) async fn initialize_in_task(&self, limit: &mut Limit) -> Option<Refreshed> {
        self.desk.ask_in_task(Wish::Ready, limit).await
    }
}

//! A question to an inbox, as tasks ask it.

use super::Desk;
use crate::actors::wait::{Limit, answer, question};

impl<Q: Send + 'static, T: Send + 'static> Desk<Q, T> {
    /// As [`ask`](Self::ask).
    pub(in crate::actors) async fn ask_in_task(&self, asked: Q, limit: &mut Limit) -> Option<T> {
        let (reply, answered) = question();
        self.inbox.put(asked, reply);
        answer(&self.worker, answered, limit).await.ok()
    }
}

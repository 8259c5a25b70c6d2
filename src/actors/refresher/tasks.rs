//! The refresher's questions, as tasks ask them.

use std::sync::Arc;

use crossbeam_channel::TrySendError;

use super::{RefreshOutcome, RefresherCommand, RefresherHandle};
use crate::actors::thread::Worker;
use crate::actors::wait::{Answer, Limit, answer, question, send};
use crate::config::ConfigSnapshot;
use crate::error::LoadError;

impl RefresherHandle {
    /// As [`refresh`](Self::refresh).
    pub(crate) async fn refresh_in_task(
        &self,
        limit: &mut Limit,
    ) -> Option<Result<RefreshOutcome, LoadError>> {
        let (reply, outcome) = question();
        self.ask(RefresherCommand::RefreshNow(Some(reply)), outcome, limit).await
    }

    /// As [`fetch_experience`](Self::fetch_experience).
    pub(crate) async fn fetch_experience_in_task(
        &self,
        experience_id: &str,
        limit: &mut Limit,
    ) -> Option<Result<Arc<ConfigSnapshot>, LoadError>> {
        let (reply, fetched) = question();
        self.ask(RefresherCommand::FetchExperience(experience_id.into(), reply), fetched, limit).await
    }

    /// The thread.
    pub(crate) const fn worker(&self) -> &Worker {
        &self.worker
    }

    async fn ask<T>(&self, command: RefresherCommand, asked: Answer<T>, limit: &mut Limit) -> Option<T> {
        // The sender is looked up anew for each try: to keep it would keep the thread alive.
        let try_send = |command| match self.inbox.load().as_ref() {
            Some(inbox) => inbox.commands.try_send(command),
            None => Err(TrySendError::Disconnected(command)),
        };
        send(&self.worker, &self.room, limit, command, try_send).await.ok()?;
        answer(&self.worker, asked, limit).await.ok()
    }
}

//! The tracker's questions, as tasks ask them.

use std::sync::atomic::Ordering;

use super::{TrackerCommand, TrackerHandle, Verdict};
use crate::actors::wait::{Answer, Limit, Unanswered, answer, question, send};
use crate::flush::FlushReport;
use crate::tracking::{Refused, ReleaseReason, Stats, TrackedEvent};

impl TrackerHandle {
    /// As [`confirm`](Self::confirm). The record is handed over when this is first polled.
    pub(crate) async fn confirm_in_task(
        &self,
        event: TrackedEvent,
        limit: &mut Limit,
    ) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = question();
        self.mailbox.offer(event, Some(reply))?;
        self.mailbox.nudge();
        match answer(&self.tracker, verdict, limit).await {
            Ok(verdict) => Ok(Some(verdict)),
            Err(Unanswered::Timeout) => Ok(None),
            Err(Unanswered::Ended) => Err(Refused::Closed),
        }
    }

    /// As [`flush`](Self::flush).
    pub(crate) async fn flush_in_task(
        &self,
        reason: ReleaseReason,
        limit: &mut Limit,
    ) -> Option<FlushReport> {
        let (reply, report) = question();
        self.ask(TrackerCommand::Flush(reason, reply), report, limit).await
    }

    /// As [`close`](Self::close).
    pub(crate) async fn close_in_task(&self, limit: &mut Limit) -> Option<Stats> {
        self.mailbox.closed.store(true, Ordering::SeqCst);
        let (reply, stats) = question();
        self.ask(TrackerCommand::Close(reply), stats, limit).await
    }

    async fn ask<T>(&self, command: TrackerCommand, asked: Answer<T>, limit: &mut Limit) -> Option<T> {
        let (worker, mailbox) = (&self.tracker, &self.mailbox);
        let try_send = |command| mailbox.commands.try_send(command);
        send(worker, &mailbox.room, limit, command, try_send).await.ok()?;
        answer(worker, asked, limit).await.ok()
    }
}

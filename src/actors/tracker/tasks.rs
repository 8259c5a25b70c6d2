//! The tracker's questions, as tasks ask them.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::handle::{Admitted, Mailbox};
use super::{FlushRequest, Record, TrackerHandle, Verdict};
use crate::actors::wait::{Limit, Unanswered, answer, question};
use crate::flush::{FlushLimit, FlushReport};
use crate::tracking::{Class, Refused, ReleaseReason, TrackedEvent};

impl TrackerHandle {
    /// How long a caller may wait for space in the channel.
    pub(crate) fn patience(&self) -> Duration {
        self.mailbox.patience()
    }

    /// As [`confirm`](Self::confirm). The record is handed over when this is first polled, or when there
    /// is space for it, until `patience` ends.
    pub(crate) async fn confirm_in_task(
        &self,
        event: TrackedEvent,
        patience: &mut Limit,
        limit: &mut Limit,
    ) -> Result<Option<Verdict>, Refused> {
        let (reply, verdict) = question();
        self.mailbox.offer_in_task(self.mailbox.record(event, Some(reply)), patience).await?;
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
        flush: FlushLimit,
        limit: &mut Limit,
    ) -> Option<FlushReport> {
        let (reply, report) = question();
        self.mailbox.flush(FlushRequest { reason, limit: flush, reply });
        answer(&self.tracker, report, limit).await.ok()
    }

    /// As [`close`](Self::close).
    pub(crate) async fn close_in_task(&self, limit: &mut Limit) {
        self.mailbox.close();
        self.tracker.ended_by(limit).await;
    }
}

impl Mailbox {
    /// As [`offer`](Self::offer), for a task that waits.
    async fn offer_in_task(&self, record: Record, patience: &mut Limit) -> Result<(), Refused> {
        let (class, space) = (record.event.class(), self.attention.space.tasks.waiter());
        let (mut record, waits) = (Some(record), !self.patience().is_zero());
        let mut offer = Offer { mailbox: self, class, refused: Some(Refused::Full) };
        let sent = poll_fn(|context| {
            space.register(context);
            let Some(waiting) = record.take() else { return Poll::Ready(Err(Refused::Full)) };
            match self.admit(waiting, class) {
                Admitted::Taken => Poll::Ready(Ok(())),
                Admitted::Refused(refused) => Poll::Ready(Err(refused)),
                Admitted::NotNow(_) if !waits => Poll::Ready(Err(Refused::Full)),
                Admitted::NotNow(unsent) => {
                    record = Some(unsent);
                    patience.poll(context).map(|()| Err(Refused::Full))
                }
            }
        });
        let sent = sent.await;
        offer.refused = sent.err();
        sent
    }
}

/// A record that is being handed over. A task that gives up meanwhile has handed nothing over.
struct Offer<'a> {
    mailbox: &'a Mailbox,
    class: Class,
    refused: Option<Refused>,
}

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        if let Some(refused) = self.refused {
            self.mailbox.ledger.count_refused(refused, self.class);
        }
    }
}

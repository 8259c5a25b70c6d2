//! What a failed attempt says about what it has carried.

use crate::ports::{DeliveryFailure, RefusalReason, TransportError};

/// What to do about a failed delivery.
pub(super) enum Remedy {
    Retry,
    /// The request is too large.
    Split,
    /// One of the parcels is at fault, or several are.
    Isolate,
    /// Not the parcels are at fault but the key, the account or the route.
    Hold,
    Drop,
}

/// What is refused for other reasons than the parcels is kept: what it is about can be mended.
pub(super) const fn remedy(cause: &DeliveryFailure, parcels: usize) -> Remedy {
    match cause {
        DeliveryFailure::Refused(refusal) => match refusal.reason {
            RefusalReason::TooLarge if parcels > 1 => Remedy::Split,
            RefusalReason::TooLarge => Remedy::Drop,
            RefusalReason::Events => Remedy::Isolate,
            RefusalReason::Sender => Remedy::Hold,
            RefusalReason::Busy | RefusalReason::Failing => Remedy::Retry,
        },
        DeliveryFailure::NotSent(TransportError::InvalidRequest) => Remedy::Drop,
        DeliveryFailure::Unknown(_) | DeliveryFailure::NotSent(_) => Remedy::Retry,
    }
}

/// Whether what was sent can be why an attempt failed that is worth another one. An endpoint that nobody reaches,
/// or that asks for time, says nothing about it.
pub(super) const fn can_be_the_parcels(cause: &DeliveryFailure) -> bool {
    match cause {
        DeliveryFailure::Refused(refusal) => !matches!(refusal.reason, RefusalReason::Busy),
        DeliveryFailure::Unknown(_) => true,
        DeliveryFailure::NotSent(_) => false,
    }
}

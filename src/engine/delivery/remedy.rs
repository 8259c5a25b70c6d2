//! What a failed attempt says about the parcels it carried.

use crate::ports::{DeliveryFailure, RefusalReason, TransportError};

/// What to do about a failed delivery.
pub(super) enum Remedy {
    Retry,
    /// The request is too large.
    Split,
    /// One or more of the parcels are at fault.
    Isolate,
    /// The key, the account or the route is at fault, not the parcels.
    Hold,
    Drop,
}

/// Parcels refused for reasons that lie elsewhere are kept, because those can be fixed.
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

/// Whether the parcels can be the cause of a failure that is worth a retry. An endpoint that cannot be
/// reached, or that asks for time, says nothing about them.
pub(super) const fn can_be_the_parcels(cause: &DeliveryFailure) -> bool {
    match cause {
        DeliveryFailure::Refused(refusal) => !matches!(refusal.reason, RefusalReason::Busy),
        DeliveryFailure::Unknown(_) => true,
        DeliveryFailure::NotSent(_) => false,
    }
}

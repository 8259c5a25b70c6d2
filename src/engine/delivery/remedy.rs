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

/// Whether the endpoint may have received the parcels, and failed then: they can be the cause of it, and it may have
/// taken them nevertheless. One that cannot be reached, or that asks for time, has not.
pub(super) const fn may_have_arrived(cause: &DeliveryFailure) -> bool {
    match cause {
        DeliveryFailure::Refused(refusal) => matches!(refusal.reason, RefusalReason::Failing),
        DeliveryFailure::Unknown(_) => true,
        DeliveryFailure::NotSent(_) => false,
    }
}

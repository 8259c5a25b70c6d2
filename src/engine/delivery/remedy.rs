//! What a failed attempt says about what it has carried.

use crate::ports::TransportError;

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

/// Another try can help after a broken connection, a timeout, and statuses that say so. A 400 and a 422
/// are about what the request carries; other 4xx are not, and what they are about can be mended.
pub(super) const fn remedy(cause: &TransportError, parcels: usize) -> Remedy {
    if matches!(cause, TransportError::InvalidRequest) {
        return Remedy::Drop;
    }
    match cause.status() {
        Some(413) if parcels > 1 => Remedy::Split,
        Some(413) => Remedy::Drop,
        Some(400 | 422) => Remedy::Isolate,
        Some(408 | 425 | 429) | None => Remedy::Retry,
        Some(400..=499) => Remedy::Hold,
        Some(_) => Remedy::Retry,
    }
}

/// Whether what was sent can be why an attempt failed that is worth another one. An endpoint that nobody reaches,
/// or that asks for time, says nothing about it.
pub(super) fn can_be_the_parcels(cause: &TransportError) -> bool {
    *cause != TransportError::Connect && !matches!(cause.status(), Some(408 | 425 | 429))
}

/// Whether the endpoint may have the parcels although no answer came.
pub(super) fn fate_is_unknown(cause: &TransportError) -> bool {
    match cause {
        // Nothing of the request was sent.
        TransportError::Timeout(doing) => *doing != "connecting",
        TransportError::Broken(_)
        | TransportError::Protocol
        | TransportError::Interrupted
        | TransportError::Panicked => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_is_at_fault() {
        for status in [100, 301, 304, 307, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Retry), "{status}");
        }
        for status in [401, 402, 403, 404, 405, 410, 451, 499] {
            assert!(matches!(remedy(&TransportError::Status(status), 2), Remedy::Hold), "{status}");
        }
        for status in [400, 422] {
            assert!(matches!(remedy(&TransportError::Status(status), 1), Remedy::Isolate), "{status}");
        }
        assert!(matches!(remedy(&TransportError::Status(413), 2), Remedy::Split));
        assert!(matches!(remedy(&TransportError::Status(413), 1), Remedy::Drop));
        assert!(matches!(remedy(&TransportError::Timeout("x"), 2), Remedy::Retry));
    }
}

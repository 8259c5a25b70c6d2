//! Bodies of requests: each is collected as it comes, all together are bounded.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The room that a body begins with.
const FIRST: usize = 4096;

/// A body, and the room it takes as long as it is held.
pub(crate) struct Collected<'a> {
    bytes: Vec<u8>,
    room: SemaphorePermit<'a>,
    all: &'a Semaphore,
}

/// Why a body was not read to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    TooLarge,
    /// All bodies together have reached their bound.
    NoRoom,
    /// The connection failed.
    Broken,
}

/// Collects a body of at most `most` bytes. There is a permit for each byte that all bodies may take; what a client
/// announces takes none.
pub(crate) async fn collect(
    mut body: Incoming,
    most: usize,
    all: &Semaphore,
) -> Result<Collected<'_>, Unread> {
    let mut collected = Collected::new(all)?;
    while let Some(frame) = body.frame().await {
        if let Ok(piece) = frame.map_err(|_| Unread::Broken)?.into_data() {
            collected.add(&piece, most)?;
        }
    }
    Ok(collected)
}

impl<'a> Collected<'a> {
    fn new(all: &'a Semaphore) -> Result<Self, Unread> {
        Ok(Self { bytes: Vec::new(), room: all.try_acquire_many(0).map_err(|_| Unread::NoRoom)?, all })
    }

    fn add(&mut self, piece: &[u8], most: usize) -> Result<(), Unread> {
        let length = self.bytes.len() + piece.len();
        if length > most {
            return Err(Unread::TooLarge);
        }
        if length > self.bytes.capacity() {
            let capacity = length.next_power_of_two().max(FIRST).min(most);
            let more = u32::try_from(capacity - self.room.num_permits()).map_err(|_| Unread::TooLarge)?;
            self.room.merge(self.all.try_acquire_many(more).map_err(|_| Unread::NoRoom)?);
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_single_bytes_takes_no_more_room_than_counted() {
        const MOST: usize = 100_000;
        let all = Semaphore::new(2 * MOST);
        let mut body = Collected::new(&all).unwrap();
        for number in 0..MOST {
            body.add(b"x", MOST).unwrap();
            let taken = 2 * MOST - all.available_permits();
            assert!(body.bytes.capacity() <= taken && taken <= FIRST.max(2 * (number + 1)), "{taken}");
        }
        assert_eq!(body.add(b"x", MOST), Err(Unread::TooLarge));
        assert_eq!(body.bytes().len(), MOST);
        drop(body);
        assert_eq!(all.available_permits(), 2 * MOST);
    }
}

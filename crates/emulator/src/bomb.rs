//! A gzip body that is small on the wire and huge once decompressed.

use flate2::{Compress, Compression, Crc, FlushCompress};
use hyper::body::Bytes;

/// A header without name, time or comment.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// The header, a block that decompresses to `piece` however often it is repeated, and the trailer. For a body of
/// `bytes` bytes, send the block once for each whole `piece` in it.
pub(crate) fn gzip_bomb(bytes: u64, piece: &[u8]) -> [Bytes; 3] {
    let whole = bytes / piece.len() as u64;
    let cut = &piece[..usize::try_from(bytes % piece.len() as u64).unwrap_or(0)];
    let mut sum = Crc::new();
    // By doubling (one piece, two, four), a gigabyte is summed in a few steps.
    let mut power = Crc::new();
    power.update(piece);
    for bit in 0..u64::BITS - whole.leading_zeros() {
        if whole >> bit & 1 == 1 {
            sum.combine(&power);
        }
        let mut double = Crc::new();
        double.combine(&power);
        double.combine(&power);
        power = double;
    }
    let mut last = Crc::new();
    last.update(cut);
    sum.combine(&last);
    let mut rest = deflate(cut, FlushCompress::Finish);
    rest.extend(sum.sum().to_le_bytes());
    // The format stores the length modulo 2^32.
    rest.extend((bytes as u32).to_le_bytes());
    [Bytes::from_static(&HEAD), deflate(piece, FlushCompress::Full).into(), rest.into()]
}

fn deflate(bytes: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut packed = Vec::with_capacity(bytes.len() + 64);
    // Writing to memory with enough capacity cannot fail.
    let _ = Compress::new(Compression::best(), false).compress_vec(bytes, &mut packed, flush);
    packed
}

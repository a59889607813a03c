//! How the bytes of a result are kept: as they are, or compressed as one zstd frame that tells its plain size. What is stored tells which,
//! by the frame's magic number, with which no JSON begins; what begins so and is to be kept is compressed, however small it is.
//!
//! Invariant: what is read from a key is ours or somebody's, and no byte of it is believed. Nothing is allocated before the size that a
//! frame tells is found to be allowed, and what turns out to be another size is not served.
//!
//! zstd at level 1 leaves three fifths of what lz4 leaves of JSON, and decompresses 1 GB a second: docs/performance.md has the figures. The same
//! bytes always make the same frame, whatever the thread compressed before, so that stored forms are compared instead of results.

use std::cell::RefCell;
use std::sync::Arc;

use zstd::bulk::{Compressor, Decompressor};

/// Name of the compressed form, as HTTP has it among its content codings.
pub const ZSTD: &str = "zstd";

/// Name of the plain form.
pub const IDENTITY: &str = "identity";

/// So many plain bytes are decompressed within 0.2 ms, a slow machine's included: what is larger is no work for Redis' thread.
pub const AT_ONCE: usize = 128 << 10;

/// A frame's first bytes.
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

const LEVEL: i32 = 1;

/// A buffer that grew beyond it for once is given back.
const KEPT: usize = 1 << 20;

/// What a result was, and its stored form where that is another. Shared by all who are told and by who stores it.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    pub plain: Arc<Vec<u8>>,
    pub compressed: Option<Arc<Vec<u8>>>,
}

impl Content {
    pub fn new(plain: Vec<u8>, compressed: Option<Vec<u8>>) -> Content {
        Content { plain: plain.into(), compressed: compressed.map(Into::into) }
    }

    /// The bytes of the entry's key.
    pub fn stored(&self) -> &Arc<Vec<u8>> {
        self.compressed.as_ref().unwrap_or(&self.plain)
    }

    /// Name of the stored form.
    pub fn encoding(&self) -> &'static str {
        if self.compressed.is_some() {
            ZSTD
        } else {
            IDENTITY
        }
    }

    /// Memory that both take.
    pub fn bytes(&self) -> usize {
        self.plain.len() + self.compressed.as_ref().map_or(0, |compressed| compressed.len())
    }
}

/// What stored bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Plain,
    /// A frame of so many plain bytes, as far as its first bytes tell.
    Compressed {
        plain_len: usize,
    },
    /// It begins as a frame does, and none of ours: somebody's.
    Broken,
}

impl Form {
    /// Of stored bytes that are plain or a frame of at most `most` plain bytes.
    pub fn of(stored: &[u8], most: usize) -> Form {
        if !stored.starts_with(&MAGIC) {
            return Form::Plain;
        }
        let plain_len = zstd::zstd_safe::get_frame_content_size(stored).ok().flatten();
        match plain_len.and_then(|len| usize::try_from(len).ok()) {
            Some(plain_len) if plain_len <= most => Form::Compressed { plain_len },
            _ => Form::Broken,
        }
    }
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static READER: RefCell<Reader> = const { RefCell::new(Reader::new()) };
}

/// The compressed form of a result of at least `from` bytes, where it is an eighth smaller: what is not costs every hit for nothing.
/// None: it is stored as it is.
pub fn compress(plain: &[u8], from: usize) -> Option<Vec<u8>> {
    let is_mistakable = plain.starts_with(&MAGIC);
    if plain.len() < from && !is_mistakable {
        return None;
    }
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(compressor()?),
        };
        let compressed = compressor.compress(plain).ok();
        // A context that has failed is not asked again.
        if compressed.is_none() {
            *kept = None;
        }
        compressed
    })?;
    (is_mistakable || compressed.len() <= plain.len() - plain.len() / 8).then_some(compressed)
}

/// With a checksum, for a frame with a hole in it may well be one of the same size.
fn compressor() -> Option<Compressor<'static>> {
    let mut compressor = Compressor::new(LEVEL).ok()?;
    compressor.include_checksum(true).ok()?;
    Some(compressor)
}

/// Reads what [`compress`] made, into a buffer that it keeps.
#[derive(Default)]
pub struct Reader {
    decompressor: Option<Decompressor<'static>>,
    plain: Vec<u8>,
}

impl Reader {
    const fn new() -> Reader {
        Reader { decompressor: None, plain: Vec::new() }
    }

    /// The one that the thread keeps.
    pub fn of_this_thread<R>(read: impl FnOnce(&mut Reader) -> R) -> R {
        READER.with_borrow_mut(read)
    }

    /// The plain bytes of a frame that tells this length; None where it lies, or is broken.
    pub fn decompress(&mut self, stored: &[u8], plain_len: usize) -> Option<&[u8]> {
        if self.plain.capacity() > KEPT && plain_len <= KEPT {
            self.plain = Vec::new();
        }
        self.plain.clear();
        self.plain.try_reserve(plain_len).ok()?;
        let decompressor = match &mut self.decompressor {
            Some(decompressor) => decompressor,
            None => self.decompressor.insert(Decompressor::new().ok()?),
        };
        match decompressor.decompress_to_buffer(stored, &mut self.plain) {
            Ok(len) if len == plain_len => Some(&self.plain),
            _ => None,
        }
    }

    /// The plain bytes of any stored form of at most `most` plain bytes; None where they are none of ours.
    pub fn read<'a>(&'a mut self, stored: &'a [u8], most: usize) -> Option<&'a [u8]> {
        match Form::of(stored, most) {
            Form::Plain => Some(stored),
            Form::Compressed { plain_len } => self.decompress(stored, plain_len),
            Form::Broken => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 1 << 20;

    fn json(rows: usize) -> Vec<u8> {
        let row = |i: usize| format!(r#"{{"id":{i},"name":"Bear {}","size":{}}}"#, i * 7919 % 1000, i % 300);
        format!("[{}]", (0..rows).map(row).collect::<Vec<_>>().join(",")).into_bytes()
    }

    #[test]
    fn what_is_large_enough_and_shrinks_is_compressed() {
        let text = json(100);
        for (plain, from, is_compressed) in [
            (text.clone(), 64, true),
            (text.clone(), text.len(), true),
            (text.clone(), text.len() + 1, false),
            (b"[]".to_vec(), 0, false),
            (Vec::new(), 0, false),
            // Nothing to be had.
            (
                (0..4_096u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) ^ (i << 13)).to_le_bytes()).collect(),
                64,
                false,
            ),
        ] {
            let compressed = compress(&plain, from);
            assert_eq!(compressed.is_some(), is_compressed, "{} bytes from {from}", plain.len());
            let content = Content::new(plain.clone(), compressed);
            assert_eq!(Reader::default().read(content.stored(), MOST), Some(plain.as_slice()));
            assert_eq!(content.encoding(), if is_compressed { ZSTD } else { IDENTITY });
        }
    }

    #[test]
    fn json_shrinks_to_a_third_or_less() {
        let text = json(1_000);
        let compressed = compress(&text, 64).expect("it is large");
        assert!(compressed.len() * 3 < text.len(), "{} of {}", compressed.len(), text.len());
        assert_eq!(Form::of(&compressed, MOST), Form::Compressed { plain_len: text.len() });
    }

    #[test]
    fn what_begins_as_a_frame_does_is_compressed_however_small() {
        for rest in [&b""[..], b"\0", b"anything", &[0xff; 100]] {
            let plain = [&MAGIC[..], rest].concat();
            let compressed = compress(&plain, usize::MAX).expect("it could be mistaken");
            assert_eq!(Reader::default().read(&compressed, MOST), Some(plain.as_slice()));
        }
    }

    #[test]
    fn a_frame_that_tells_more_than_is_allowed_is_broken() {
        let compressed = compress(&vec![b' '; MOST], 64).expect("it is large");
        assert!(compressed.len() < 1_000, "a bomb");
        assert_eq!(Form::of(&compressed, MOST), Form::Compressed { plain_len: MOST });
        assert_eq!(Form::of(&compressed, MOST - 1), Form::Broken);
        assert_eq!(Reader::default().read(&compressed, MOST - 1), None);
    }

    #[test]
    fn what_is_no_frame_of_ours_is_not_read() {
        let text = json(20_000);
        let good = compress(&text, 64).expect("it is large");
        // A frame that does not tell its size, as streams write it, and one that goes on behind its end.
        let streamed = zstd::stream::encode_all(text.as_slice(), 1).expect("in memory");
        let twice = [&good[..], &good[..]].concat();
        let trailed = [&good[..], b"x"].concat();
        let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0][..], &good].concat();
        let mut reader = Reader::default();
        for (what, bytes) in [("streamed", &streamed), ("twice", &twice), ("trailed", &trailed)] {
            assert_eq!(reader.read(bytes, MOST), None, "{what}");
        }
        assert_eq!(reader.read(&skippable, MOST), Some(skippable.as_slice()), "it does not begin as a frame does");
        assert_eq!(reader.read(&MAGIC, MOST), None);
        assert_eq!(reader.read(&good, MOST), Some(text.as_slice()), "one that failed spoils nothing");
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let (large, small) = (vec![b' '; 4 * KEPT], json(10));
        let (stored_large, stored_small) = (compress(&large, 64).expect("large"), compress(&small, 64).expect("large"));
        let mut reader = Reader::default();
        assert_eq!(reader.read(&stored_large, 4 * KEPT), Some(large.as_slice()));
        assert_eq!(reader.read(&stored_small, MOST), Some(small.as_slice()));
        assert!(reader.plain.capacity() <= KEPT);
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_read_again(words in prop::collection::vec("[a-z]{0,9}|[0-9]{1,6}", 0..400), from in 0usize..2_000) {
            let plain = words.join(",").into_bytes();
            let content = Content::new(plain.clone(), compress(&plain, from));
            let mut reader = Reader::default();
            prop_assert_eq!(reader.read(content.stored(), plain.len()), Some(plain.as_slice()));
            prop_assert!(content.stored().len() <= plain.len());
            prop_assert!(plain.len() >= from || content.compressed.is_none());
        }

        #[test]
        fn any_bytes_are_read_again(plain in prop::collection::vec(any::<u8>(), 0..600), as_a_frame in any::<bool>()) {
            let plain = if as_a_frame { [&MAGIC[..], &plain].concat() } else { plain };
            let content = Content::new(plain.clone(), compress(&plain, 64));
            let mut reader = Reader::default();
            prop_assert_eq!(reader.read(content.stored(), plain.len()), Some(plain.as_slice()));
        }

        #[test]
        fn the_same_bytes_make_the_same_frame(first in 1usize..500, others in prop::collection::vec(1usize..3_000, 0..4)) {
            let expected = compress(&json(first), 0);
            for other in others {
                compress(&json(other), 0);
                prop_assert_eq!(&compress(&json(first), 0), &expected);
            }
            let elsewhere = std::thread::spawn(move || compress(&json(first), 0)).join().expect("it does not panic");
            prop_assert_eq!(elsewhere, expected);
        }

        #[test]
        fn broken_frames_are_not_read(
            rows in 5usize..200, at in any::<prop::sample::Index>(), xor in 1u8..=255, cut in any::<prop::sample::Index>(),
        ) {
            let plain = json(rows);
            let good = compress(&plain, 0).expect("it shrinks");
            let mut frame = good.clone();
            let at = at.index(frame.len());
            frame[at] ^= xor;
            let mut reader = Reader::default();
            for bytes in [&frame[..], &good[..cut.index(good.len())], &frame[..cut.index(good.len())]] {
                let read = reader.read(bytes, plain.len());
                // Some bits of a head mean nothing to a reader.
                let is_good = read.is_none() || read == Some(bytes) || read == Some(&plain);
                prop_assert!(is_good, "{read:?}");
            }
        }
    }
}

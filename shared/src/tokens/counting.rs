//! Counting the tokens of a text, piece by piece.

use super::{Encoding, pieces::Pieces};

/// From this many bytes on, what pieces have is remembered: making room for that takes some microseconds.
const REMEMBERED_FROM: usize = 16 * 1024;
/// Pieces that are remembered, a power of two: as many as a core keeps near it.
const SLOTS: usize = 1 << SLOT_BITS;
const SLOT_BITS: u32 = 12;
/// Bytes that no token has more of: 128 characters of white space.
const LONGEST_TOKEN: usize = 128 * 4;
/// Longest piece that is remembered, in bytes: nearly every word.
const LONGEST: usize = 30;
/// Where a slot has the length of its piece, and its tokens.
const LENGTH_AT: usize = 30;
const WORDS: usize = 4;
/// All of a slot's last word but its tokens.
const PIECE_MASK: u64 = u64::MAX >> 8;

/// Tokens of a text.
pub(super) fn count(encoding: Encoding, text: &str) -> usize {
    let tables = encoding.tables();
    let pieces = Pieces::new(encoding, text).map(str::as_bytes);
    if text.len() < REMEMBERED_FROM {
        return pieces.map(|piece| tables.count(piece)).sum();
    }
    let mut known = Known::new();
    pieces
        .map(|piece| known.count(piece, |piece| tables.count(piece)))
        .sum()
}

/// Bytes of the longest beginning of a text that ends with a piece, or within one that is too long, and has at most so many
/// tokens.
pub(super) fn cut(encoding: Encoding, text: &str, most: usize) -> usize {
    let tables = encoding.tables();
    let (mut left, mut end) = (most, 0);
    for piece in Pieces::new(encoding, text) {
        // No token has more bytes than this; and what is longer may take long.
        let shown = &piece[..piece.floor_char_boundary(left.saturating_mul(LONGEST_TOKEN))];
        let tokens = tables.count(shown.as_bytes());
        if shown.len() < piece.len() || tokens > left {
            return end + part(shown, left, |part| tables.count(part.as_bytes()));
        }
        left -= tokens;
        end += piece.len();
    }
    end
}

/// Bytes of a beginning of a piece that has at most so many tokens.
fn part(piece: &str, most: usize, count: impl Fn(&str) -> usize) -> usize {
    let (mut enough, mut too_many) = (0, piece.len() + 1);
    while too_many - enough > 1 {
        let middle = piece.floor_char_boundary(enough.midpoint(too_many));
        if middle == enough {
            // Only a character wider than what is left lies between.
            let Some(next) = piece[enough..].chars().next() else {
                break;
            };
            let next = enough + next.len_utf8();
            if next >= too_many || count(&piece[..next]) > most {
                break;
            }
            enough = next;
        } else if count(&piece[..middle]) <= most {
            enough = middle;
        } else {
            too_many = middle;
        }
    }
    enough
}

/// Pieces that were counted already: texts say the same words again and again.
///
/// Each piece has one slot, which it takes from whatever was there; so a text that never says anything twice costs little
/// more than without.
struct Known(Vec<[u64; WORDS]>);

impl Known {
    fn new() -> Self {
        Self(vec![[0; WORDS]; SLOTS])
    }

    #[inline]
    fn count(&mut self, piece: &[u8], count: impl FnOnce(&[u8]) -> usize) -> usize {
        let Some(key) = key(piece) else {
            return count(piece);
        };
        let slot = &mut self.0[slot(&key)];
        let [.., last] = *slot;
        if slot[..3] == key[..3] && last & PIECE_MASK == key[3] {
            // The eight bits that are left.
            return usize::try_from(last >> 56).unwrap_or_default();
        }
        let tokens = count(piece);
        // It has no more tokens than bytes.
        *slot = [key[0], key[1], key[2], key[3] | ((tokens as u64) << 56)];
        tokens
    }
}

/// What tells a piece from all others: its bytes and its length. Nothing where it is too long, or nothing at all.
#[inline]
fn key(piece: &[u8]) -> Option<[u64; WORDS]> {
    let length = piece.len();
    if length == 0 || length > LONGEST {
        return None;
    }
    let mut bytes = [0; WORDS * 8];
    bytes[..length].copy_from_slice(piece);
    bytes[LENGTH_AT] = u8::try_from(length).ok()?;
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("there are eight"));
    }
    Some(words)
}

/// Where a piece is remembered.
#[inline]
fn slot(key: &[u64; WORDS]) -> usize {
    /// 2⁶⁴ divided by the golden ratio: neighbours are spread out.
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut mixed = 0_u64;
    for word in key {
        mixed = (mixed.rotate_left(29) ^ word).wrapping_mul(SPREAD);
    }
    usize::try_from(mixed >> (u64::BITS - SLOT_BITS)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_counted() {
        let mut known = Known::new();
        let pieces = [
            " a",
            "a",
            "a\0",
            " क्षत्रिय",
            "a word that is so long that it is not remembered",
            "exactly thirty bytes, no more.",
        ];
        assert_eq!(pieces[5].len(), LONGEST);
        for _ in 0..3 {
            for (tokens, piece) in pieces.iter().enumerate() {
                let counted = known.count(piece.as_bytes(), |_| tokens + 1);
                assert_eq!(counted, tokens + 1, "{piece}");
            }
        }
        let remembered = |known: &mut Known, piece: &str| known.count(piece.as_bytes(), |_| 99);
        assert_eq!(remembered(&mut known, pieces[5]), 6);
        assert_eq!(remembered(&mut known, pieces[4]), 99);
    }

    #[test]
    fn a_long_text_has_the_tokens_of_its_parts() {
        let part = "Don't say the same, नमस्ते دنیا 12345 {x = y;}\n\n";
        let long = part.repeat(2 * REMEMBERED_FROM / part.len());
        assert!(long.len() > REMEMBERED_FROM);
        for encoding in [Encoding::O200k, Encoding::Cl100k] {
            let tables = encoding.tables();
            let pieces = Pieces::new(encoding, &long).map(str::as_bytes);
            let alone: usize = pieces.map(|piece| tables.count(piece)).sum();
            assert_eq!(count(encoding, &long), alone);
        }
    }
}

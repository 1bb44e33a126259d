//! Kinds of characters, as the encodings tell them apart.

use std::{collections::HashMap, sync::LazyLock};

use regex_syntax::hir::{Class, HirKind};

/// Small letters.
pub(super) const LOWER: u8 = 1;
/// Capital letters.
pub(super) const UPPER: u8 = 1 << 1;
/// Letters that are neither small nor capital, like those of Devanagari.
pub(super) const CASELESS: u8 = 1 << 2;
/// What is written on a letter.
pub(super) const MARK: u8 = 1 << 3;
/// Digits and other numbers.
pub(super) const NUMBER: u8 = 1 << 4;
/// White space, ends of lines too.
pub(super) const SPACE: u8 = 1 << 5;
/// `\r` and `\n`.
pub(super) const LINE_END: u8 = 1 << 6;
/// Any letter.
pub(super) const LETTER: u8 = LOWER | UPPER | CASELESS;

/// The kinds, as regular expressions name them: the same tables that encodings were made with.
const KINDS: [(&str, u8); 6] = [
    (r"\p{Ll}", LOWER),
    (r"[\p{Lu}\p{Lt}]", UPPER),
    (r"[\p{Lm}\p{Lo}]", CASELESS),
    (r"\p{M}", MARK),
    (r"\p{N}", NUMBER),
    (r"\s", SPACE),
];

/// All characters there may be.
const CHARACTERS: usize = 0x11_0000;
/// Characters that are kept together: of most blocks there are many that are alike.
const BLOCK: usize = 256;

/// The kind of every character.
pub(super) struct Classes {
    ascii: [u8; 128],
    /// Which block a character is in.
    index: Vec<u16>,
    blocks: Vec<[u8; BLOCK]>,
}

impl Classes {
    /// The one table of the process, made in some milliseconds when it is needed first.
    pub(super) fn get() -> &'static Self {
        static CLASSES: LazyLock<Classes> = LazyLock::new(Classes::new);
        &CLASSES
    }

    fn new() -> Self {
        let mut all = vec![0; CHARACTERS];
        for (pattern, kind) in KINDS {
            let hir = regex_syntax::parse(pattern).expect("it names a class of characters");
            let HirKind::Class(Class::Unicode(class)) = hir.into_kind() else {
                unreachable!("it names a class of characters");
            };
            for range in class.ranges() {
                let (start, end) = (range.start() as usize, range.end() as usize);
                for kinds in &mut all[start..=end] {
                    *kinds |= kind;
                }
            }
        }
        for line_end in [b'\r', b'\n'] {
            all[usize::from(line_end)] |= LINE_END;
        }
        let mut known: HashMap<&[u8], u16> = HashMap::new();
        let mut index = Vec::with_capacity(CHARACTERS / BLOCK);
        let mut blocks: Vec<[u8; BLOCK]> = Vec::new();
        for block in all.chunks_exact(BLOCK) {
            let next = u16::try_from(blocks.len()).expect("there are 4,352 blocks");
            let at = *known.entry(block).or_insert_with(|| {
                blocks.push(block.try_into().expect("it is of this length"));
                next
            });
            index.push(at);
        }
        let mut ascii = [0; 128];
        ascii.copy_from_slice(&all[..128]);
        Self {
            ascii,
            index,
            blocks,
        }
    }

    /// The kind of a character of ASCII.
    #[inline]
    pub(super) fn of_ascii(&self, byte: u8) -> u8 {
        self.ascii[usize::from(byte & 0x7f)]
    }

    /// The kind of any character.
    #[inline]
    pub(super) fn of(&self, character: char) -> u8 {
        let code = character as usize;
        self.blocks[usize::from(self.index[code / BLOCK])][code % BLOCK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_of_their_kinds() {
        let classes = Classes::get();
        for (character, kind) in [
            ('a', LOWER),
            ('Z', UPPER),
            ('ǅ', UPPER),
            ('ſ', LOWER),
            ('क', CASELESS),
            ('ि', MARK),
            ('ʰ', CASELESS),
            ('ک', CASELESS),
            ('٣', NUMBER),
            ('½', NUMBER),
            (' ', SPACE),
            ('\u{3000}', SPACE),
            ('\n', SPACE | LINE_END),
            ('\u{85}', SPACE),
            ('\u{1c}', 0),
            ('—', 0),
            ('😀', 0),
            ('\u{10ffff}', 0),
        ] {
            assert_eq!(classes.of(character), kind, "{character:?}");
            if let Ok(byte @ 0..128) = u8::try_from(character) {
                assert_eq!(classes.of_ascii(byte), kind, "{character:?}");
            }
        }
        assert!(classes.blocks.len() < 400, "{}", classes.blocks.len());
    }
}

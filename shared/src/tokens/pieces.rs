//! The pieces of a text, each of which is made into tokens by itself.
//!
//! This is what the regular expressions of the encodings say (`openai_public.py` of tiktoken 0.13), as one pass over the
//! text: no character is looked at more than a few times, and none of it is undone, whatever the text. Expressions look
//! again at what they have tried in vain. Tests compare the two.

use super::{
    Encoding,
    classes::{CASELESS, Classes, LETTER, LINE_END, LOWER, MARK, NUMBER, SPACE, UPPER},
};

/// Most digits of a piece.
const MOST_DIGITS: usize = 3;

/// Goes through the pieces of a text.
pub(super) struct Pieces<'a> {
    text: &'a str,
    encoding: Encoding,
    classes: &'static Classes,
    /// Where the next piece begins.
    at: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.at;
        let (kind, after) = self.look(start)?;
        let word = match self.encoding {
            Encoding::O200k => self.cased_word(start, kind, after),
            Encoding::Cl100k => self.word(start, kind, after),
        };
        self.at = word.unwrap_or_else(|| self.other(start, kind, after));
        Some(&self.text[start..self.at])
    }
}

impl<'a> Pieces<'a> {
    pub(super) fn new(encoding: Encoding, text: &'a str) -> Self {
        Self {
            text,
            encoding,
            classes: Classes::get(),
            at: 0,
        }
    }

    /// The kind of the character that begins at a byte, and where it ends.
    #[inline]
    fn look(&self, at: usize) -> Option<(u8, usize)> {
        let byte = *self.text.as_bytes().get(at)?;
        if byte.is_ascii() {
            return Some((self.classes.of_ascii(byte), at + 1));
        }
        let character = self.text[at..].chars().next()?;
        Some((self.classes.of(character), at + character.len_utf8()))
    }

    /// Where the characters of some kinds end that begin at a byte.
    #[inline]
    fn run(&self, from: usize, kinds: u8) -> usize {
        let mut end = from;
        while let Some((kind, after)) = self.look(end)
            && kind & kinds != 0
        {
            end = after;
        }
        end
    }

    /// The end of a word of `cl100k_base`: letters, with one other character before them; or what follows an apostrophe.
    fn word(&self, start: usize, kind: u8, after: usize) -> Option<usize> {
        if let Some(end) = self.contraction(start) {
            return Some(end);
        }
        if kind & LETTER != 0 {
            return Some(self.run(after, LETTER));
        }
        if kind & (NUMBER | LINE_END) != 0 {
            return None;
        }
        let (next, end) = self.look(after)?;
        (next & LETTER != 0).then(|| self.run(end, LETTER))
    }

    /// The end of a word of `o200k_base`: capital letters, then small ones, with one other character before them and what
    /// follows an apostrophe after them.
    fn cased_word(&self, start: usize, kind: u8, after: usize) -> Option<usize> {
        let end = if kind & LETTER != 0 {
            let (with_small, all) = self.cased(start);
            with_small.unwrap_or(all)
        } else if kind & MARK != 0 {
            // A mark may stand before a word, and be one itself.
            self.cased(after).0.unwrap_or(after)
        } else if kind & (NUMBER | LINE_END) == 0 {
            let (with_small, all) = self.cased(after);
            let capitals = (all > after).then_some(all);
            with_small.or(capitals)?
        } else {
            return None;
        };
        Some(self.contraction(end).unwrap_or(end))
    }

    /// Where letters end of which the last is not a capital one, if there are such; and where capital ones end.
    ///
    /// Those that are neither, and marks, are both.
    fn cased(&self, from: usize) -> (Option<usize>, usize) {
        let (mut end, mut last_caseless) = (from, None);
        while let Some((kind, after)) = self.look(end) {
            if kind & (UPPER | CASELESS | MARK) != 0 {
                if kind & UPPER == 0 {
                    last_caseless = Some(after);
                }
                end = after;
            } else if kind & LOWER != 0 {
                return (Some(self.run(end, LOWER | CASELESS | MARK)), end);
            } else {
                break;
            }
        }
        (last_caseless, end)
    }

    /// The end of an apostrophe and what follows it in English.
    fn contraction(&self, at: usize) -> Option<usize> {
        let length = match self.text.as_bytes().get(at..)? {
            [
                b'\'',
                b's' | b'S' | b't' | b'T' | b'm' | b'M' | b'd' | b'D',
                ..,
            ] => 2,
            // The last is ſ, which is an s.
            [b'\'', b'r' | b'R' | b'v' | b'V', b'e' | b'E', ..]
            | [b'\'', b'l' | b'L', b'l' | b'L', ..]
            | [b'\'', 0xc5, 0xbf, ..] => 3,
            _ => return None,
        };
        Some(at + length)
    }

    /// The end of digits, signs or white space.
    fn other(&self, start: usize, kind: u8, after: usize) -> usize {
        if kind & NUMBER != 0 {
            return self.digits(after);
        }
        if is_sign(kind) {
            return self.signs(after);
        }
        if self.text.as_bytes()[start] == b' '
            && let Some((next, end)) = self.look(after)
            && is_sign(next)
        {
            return self.signs(end);
        }
        self.space(start)
    }

    /// The end of digits, of which there was one.
    fn digits(&self, from: usize) -> usize {
        let mut end = from;
        for _ in 1..MOST_DIGITS {
            match self.look(end) {
                Some((kind, after)) if kind & NUMBER != 0 => end = after,
                _ => break,
            }
        }
        end
    }

    /// The end of signs, and of the ends of lines after them.
    fn signs(&self, from: usize) -> usize {
        let mut end = from;
        while let Some((kind, after)) = self.look(end)
            && is_sign(kind)
        {
            end = after;
        }
        loop {
            match self.text.as_bytes().get(end) {
                Some(b'\r' | b'\n') => end += 1,
                Some(b'/') if self.encoding == Encoding::O200k => end += 1,
                _ => return end,
            }
        }
    }

    /// The end of white space: with the last end of a line; else all but one, which belongs to what follows.
    fn space(&self, start: usize) -> usize {
        let (mut end, mut last, mut line) = (start, start, None);
        while let Some((kind, after)) = self.look(end)
            && kind & SPACE != 0
        {
            if kind & LINE_END != 0 {
                line = Some(after);
            }
            (last, end) = (end, after);
        }
        let is_all = end == self.text.len();
        match line {
            // There is nothing that follows; `cl100k_base` looks at that first.
            _ if is_all && self.encoding == Encoding::Cl100k => end,
            Some(line) => line,
            None if is_all || last == start => end,
            None => last,
        }
    }
}

/// Whether it is neither letter, number nor white space. Marks are signs where they are not part of a word.
fn is_sign(kind: u8) -> bool {
    kind & (LETTER | NUMBER | SPACE) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(encoding: Encoding, text: &str) -> Vec<&str> {
        Pieces::new(encoding, text).collect()
    }

    #[test]
    fn words_begin_with_what_stands_before_them() {
        let text = "Don't ASK me, नमस्ते!\n\n  12345 'LL";
        assert_eq!(
            pieces(Encoding::O200k, text),
            [
                "Don't",
                " ASK",
                " me",
                ",",
                " नमस्ते",
                "!\n\n",
                " ",
                " ",
                "123",
                "45",
                " '",
                "LL"
            ]
        );
        assert_eq!(
            pieces(Encoding::Cl100k, "don't कि"),
            ["don", "'t", " क", "ि"]
        );
    }

    #[test]
    fn white_space_at_the_end_is_one_piece_or_two() {
        assert_eq!(pieces(Encoding::O200k, "a\n  "), ["a", "\n", "  "]);
        assert_eq!(pieces(Encoding::Cl100k, "a\n  "), ["a", "\n  "]);
    }

    #[test]
    fn capitals_before_small_letters_are_one_word() {
        assert_eq!(
            pieces(Encoding::O200k, "HTMLParser camelCase"),
            ["HTMLParser", " camel", "Case"]
        );
        // Letters that are neither end a word of capitals.
        assert_eq!(pieces(Encoding::O200k, "ककAB"), ["कक", "AB"]);
        assert_eq!(pieces(Encoding::O200k, ""), [""; 0]);
    }
}

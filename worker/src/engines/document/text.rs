//! The text that a PDF brings along: cleaned, and judged whether it is the page's.

/// Letters and digits from which a page's own text counts as its text: less than a line is a stamp on a scan.
const ENOUGH: usize = 24;

/// Share of characters without a meaning from which a page's own text is taken for rubbish: a font whose codes say
/// nothing.
const RUBBISH: f64 = 0.2;

/// A page's text as `pdftotext -layout` prints it, without what is no part of it: control characters, marks of
/// direction, white space at the ends of lines, and more than one empty line. Joiners stay: Hindi and Urdu are spelled
/// with them.
pub(super) fn cleaned(text: &str) -> String {
    let marks = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    let mut cleaned = String::new();
    let mut empty_lines = 0;
    for line in text.lines() {
        let line: String = line
            .chars()
            .filter(|&letter| (!letter.is_control() || letter == '\t') && !marks(letter))
            .collect();
        let line = line.trim_end();
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        if !cleaned.is_empty() {
            cleaned += if empty_lines > 0 { "\n\n" } else { "\n" };
        }
        empty_lines = 0;
        cleaned += line;
    }
    cleaned
}

/// How many letters and digits a text has.
pub(super) fn letters(text: &str) -> usize {
    text.chars()
        .filter(|letter| letter.is_alphanumeric())
        .count()
}

/// Whether a page's own text is enough, so that nothing has to be recognized.
pub(super) fn is_enough(text: &str) -> bool {
    letters(text) >= ENOUGH && !is_rubbish(text)
}

/// Whether so many characters have no meaning that the others mean nothing either.
pub(super) fn is_rubbish(text: &str) -> bool {
    // Replacement characters and private use: what programs print for codes that a font does not explain.
    let meaningless =
        |letter: &char| matches!(letter, '\u{fffd}' | '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..);
    let all = text
        .chars()
        .filter(|letter| !letter.is_whitespace())
        .count();
    let bad = text.chars().filter(meaningless).count();
    #[expect(
        clippy::cast_precision_loss,
        reason = "texts are far shorter than 2^52"
    )]
    let share = bad as f64 / all.max(1) as f64;
    share > RUBBISH
}

/// The longest beginning of a text that has at most so many bytes.
pub(super) fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_text_is_kept() {
        let text = "  Total\u{0}   25 \r\n\n\n\n\u{202b}کتب\u{202c} \t \nक्\u{200d}ष\u{feff}\n\n";
        assert_eq!(cleaned(text), "  Total   25\n\nکتب\nक्\u{200d}ष");
        assert_eq!(cleaned("\n \n\u{c}"), "");
    }

    #[test]
    fn a_stamp_or_rubbish_is_not_enough() {
        assert!(is_enough("The library opens on Saturday."));
        assert!(is_enough("यह पुस्तकालय शनिवार को नौ बजे खुलता है।"));
        assert!(!is_enough("Page 3 of 12"));
        assert!(!is_enough(&"- . , ".repeat(100)));
        assert!(!is_enough(&"ab\u{f0ab}\u{fffd}".repeat(100)));
        assert!(is_rubbish("\u{f041}") && !is_rubbish("") && !is_rubbish("a"));
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(beginning("aह", 1), "a");
        assert_eq!(beginning("aह", 3), "a");
        assert_eq!(beginning("aह", 4), "aह");
        assert_eq!(beginning("aह", 99), "aह");
    }

    proptest! {
        #[test]
        fn cleaning_twice_changes_nothing(text: String) {
            let once = cleaned(&text);
            prop_assert!(!once.contains(['\0', '\u{c}']), "{:?}", once);
            prop_assert_eq!(cleaned(&once), once);
        }
    }
}

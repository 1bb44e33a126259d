//! What a tool says, as a model is shown it: bounded, and without what cannot be stored.

/// Longest output of a tool, its mark included.
pub(super) const OUTPUT_MAX_BYTES: usize = 16 * 1024;
/// Ends what was cut.
const MARK: &str = "\n[cut: there is more]";

/// The beginning of an output, with a mark where there is more.
pub(super) fn cap(text: &str) -> String {
    // U+0000 cannot be stored, and means nothing.
    let text = text.replace('\0', "");
    if text.len() <= OUTPUT_MAX_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(OUTPUT_MAX_BYTES - MARK.len());
    format!("{}{MARK}", &text[..end])
}

/// As many characters of a text as are worth showing.
pub(super) fn cut(text: &str, most: usize) -> String {
    let mut characters = text.chars();
    let beginning: String = characters.by_ref().take(most).collect();
    if characters.next().is_some() {
        format!("{beginning}…")
    } else {
        beginning
    }
}

/// One line of what went wrong, for the log.
pub(super) fn reason(error: &impl std::fmt::Display) -> String {
    const MAX: usize = 200;
    cut(&format!("{error:#}").replace(char::is_control, " "), MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_cut_between_characters_and_says_so() {
        assert_eq!(cap("sh\0ort"), "short");
        let exact = "x".repeat(OUTPUT_MAX_BYTES);
        assert_eq!(cap(&exact), exact);
        for text in ["नमस्ते".repeat(4_000), "x".repeat(OUTPUT_MAX_BYTES + 1)] {
            let cut = cap(&text);
            assert!(cut.len() <= OUTPUT_MAX_BYTES && cut.ends_with(MARK));
            assert!(text.starts_with(cut.strip_suffix(MARK).unwrap()));
            assert!(cut.len() > OUTPUT_MAX_BYTES - 8);
        }
    }

    #[test]
    fn a_long_text_is_shown_by_its_beginning() {
        assert_eq!(cut("किताब", 5), "किताब");
        assert_eq!(cut("किताबें", 2), "कि…");
    }
}

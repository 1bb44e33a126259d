//! Markdown: each message under a heading of its own, as it was written.
//!
//! What a message opens and does not close (a fenced block, a comment) would swallow the ones after it. Such a message is
//! quoted as a whole, which ends everything in it. Definitions of links (`[1]: https://…`) are of the whole document, so they
//! become plain text: the sources of one answer are not those of the next.

use std::{borrow::Cow, io::Write};

use pulldown_cmark::{Event, HeadingLevel, Parser, Tag, TagEnd};

use super::{
    RenderError,
    markup::OPTIONS,
    source::{Entries, Entry, Head, Piece, Shown, shown_time},
};

/// Follows a text on trial: only where this is a heading of its own, the text leaves nothing open.
const PROBE: &str = "probe";

/// How often definitions of one name are looked for in one text.
const DEFINITIONS: usize = 8;

/// Writes the document.
pub(super) fn write(
    head: &Head,
    entries: Entries,
    out: &mut impl Write,
) -> Result<u64, RenderError> {
    writeln!(out, "# {}\n", escaped(head.title()))?;
    writeln!(out, "- Conversation: `{}`", head.conversation.id)?;
    writeln!(out, "- Begun: {}", shown_time(head.conversation.created_at))?;
    writeln!(out, "- Exported: {}", shown_time(head.exported_at))?;
    if let Some(model) = &head.conversation.model {
        writeln!(out, "- Model: {}", escaped(model))?;
    }
    if !head.conversation.tags.is_empty() {
        writeln!(
            out,
            "- Tags: {}",
            escaped(&head.conversation.tags.join(", "))
        )?;
    }
    if let Some(prompt) = &head.conversation.system_prompt {
        writeln!(out, "\n## Instructions\n")?;
        write_text(prompt, out)?;
    }
    let mut count = 0;
    for entry in entries {
        write_entry(&entry?, out)?;
        count += 1;
    }
    Ok(count)
}

fn write_entry(entry: &Entry, out: &mut impl Write) -> Result<(), RenderError> {
    writeln!(out, "\n---\n\n## {} · {}\n", entry.speaker(), entry.time())?;
    for piece in &entry.content {
        match piece {
            Piece::Attachment(shown) => write_attachment(shown, out)?,
            said => write_text(&said.markdown(), out)?,
        }
    }
    Ok(())
}

fn write_text(text: &str, out: &mut impl Write) -> Result<(), RenderError> {
    let text = &undefined(text);
    if is_closed(text) {
        writeln!(out, "{}\n", text.trim_end_matches(['\n', '\r']))?;
    } else {
        write_quoted(text, out)?;
    }
    Ok(())
}

fn write_quoted(text: &str, out: &mut impl Write) -> Result<(), RenderError> {
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        writeln!(out, "> {line}")?;
    }
    writeln!(out)?;
    Ok(())
}

fn write_attachment(shown: &Shown, out: &mut impl Write) -> Result<(), RenderError> {
    writeln!(out, "- Attachment: {}\n", escaped(&shown.line()))?;
    if let Some(text) = &shown.extracted_text {
        let cut = if shown.truncated {
            " (its beginning)"
        } else {
            ""
        };
        writeln!(out, "  Its text{cut}:\n")?;
        write_quoted(text, out)?;
    }
    Ok(())
}

/// The text with its definitions of links made plain. Of several of one name, a parser tells the first only.
fn undefined(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    for _ in 0..DEFINITIONS {
        let parser = Parser::new_ext(&text, OPTIONS);
        let definitions = parser.reference_definitions().iter();
        let mut starts: Vec<usize> = definitions.map(|(_, one)| one.span.start).collect();
        drop(parser);
        if starts.is_empty() {
            break;
        }
        starts.sort_unstable();
        let mut plain = String::with_capacity(text.len() + starts.len());
        let mut from = 0;
        for start in starts {
            plain.push_str(&text[from..start]);
            plain.push('\\');
            from = start;
        }
        plain.push_str(&text[from..]);
        text = Cow::Owned(plain);
    }
    text
}

/// Whether a heading after the text is a heading.
fn is_closed(text: &str) -> bool {
    let tried = format!("{text}\n\n# {PROBE}\n");
    let mut depth = 0_u32;
    let mut heading = None;
    for event in Parser::new_ext(&tried, OPTIONS) {
        match event {
            Event::Start(Tag::Heading {
                level: HeadingLevel::H1,
                ..
            }) if depth == 0 => {
                heading = Some(String::new());
                depth += 1;
            }
            Event::Start(_) => {
                heading = None;
                depth += 1;
            }
            Event::End(TagEnd::Heading(_)) => depth -= 1,
            Event::End(_) => {
                heading = None;
                depth -= 1;
            }
            Event::Text(part) => {
                if let Some(heading) = &mut heading {
                    heading.push_str(&part);
                }
            }
            _ => heading = None,
        }
    }
    heading.as_deref() == Some(PROBE)
}

/// One line of plain text, as Markdown.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' => escaped.push(' '),
            letter if letter.is_ascii_punctuation() && !",.:;()/-'".contains(letter) => {
                escaped.extend(['\\', letter]);
            }
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_leaves_open_is_noticed() {
        for closed in [
            "",
            "hello",
            "# a heading",
            "- a list",
            "```rust\nfn main() {}\n```",
            "> a quote",
            "| a |\n|---|\n| b |",
            "<b>bold</b>",
            "    code",
        ] {
            assert!(is_closed(closed), "{closed}");
        }
        for open in [
            "```rust\nfn main() {}",
            "~~~~\n~~~",
            "<!-- a comment",
            "<script>\n\nalert(1)",
            "<pre>\n",
            "<![CDATA[",
        ] {
            assert!(!is_closed(open), "{open}");
        }
    }

    #[test]
    fn a_quoted_text_ends_with_its_quote() {
        for open in ["```\n\n# a", "<!-- \r\n --", "<script>"] {
            let mut quoted = Vec::new();
            write_quoted(open, &mut quoted).unwrap();
            assert!(is_closed(std::str::from_utf8(&quoted).unwrap()), "{open}");
        }
    }

    #[test]
    fn a_definition_is_of_its_own_message() {
        let text =
            "See [1] and [x][1].\n\n[1]: https://example.com/a\n\n[1]: https://example.com/b\n";
        let plain = undefined(text);
        assert_eq!(plain.matches("\\[1]: https").count(), 2, "{plain}");
        let both = format!("{plain}\n\nSee [1].\n\n[1]: https://example.com/c\n");
        let parser = Parser::new_ext(&both, OPTIONS);
        let (_, definition) = parser.reference_definitions().iter().next().unwrap();
        assert_eq!(&*definition.dest, "https://example.com/c");
        for text in ["", "[a](https://example.com/) `[1]: x`", "```\n[1]: x\n```"] {
            assert_eq!(undefined(text), text);
        }
    }

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escaped("*a*\n# [b](c)"), "\\*a\\* \\# \\[b\\](c)");
        assert_eq!(escaped("नमस्ते, 1.5 kB"), "नमस्ते, 1.5 kB");
    }
}

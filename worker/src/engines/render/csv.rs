//! CSV (RFC 4180): a row for each message.
//!
//! It begins with a byte order mark, without which spreadsheets take UTF-8 for something else and show no Hindi. A cell
//! that a spreadsheet would take for a formula begins with an apostrophe (OWASP, "CSV Injection").

use std::{borrow::Cow, io::Write};

use csv::{Terminator, WriterBuilder};

use super::{
    RenderError,
    source::{Entries, Head, Piece},
};

const MARK: &str = "\u{feff}";
const COLUMNS: [&str; 7] = [
    "id",
    "parentId",
    "role",
    "createdAt",
    "tokenCount",
    "text",
    "attachments",
];

/// Writes the table.
pub(super) fn write(_: &Head, entries: Entries, out: &mut impl Write) -> Result<u64, RenderError> {
    out.write_all(MARK.as_bytes())?;
    let mut rows = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(out);
    rows.write_record(COLUMNS)?;
    let mut count = 0;
    for entry in entries {
        let entry = entry?;
        let (mut texts, mut files) = (Vec::new(), Vec::new());
        for piece in &entry.content {
            match piece {
                Piece::Text { text } => texts.push(Cow::from(text)),
                Piece::Attachment(shown) => files.push(shown.line()),
                Piece::ToolCall { .. } | Piece::ToolResult { .. } => {
                    if let Some((line, words)) = piece.of_tools() {
                        texts.push(Cow::from(format!("{line}: {words}")));
                    }
                }
            }
        }
        let (text, files) = (texts.join("\n"), files.join("\n"));
        rows.write_record([
            &entry.id,
            entry.parent_id.as_deref().unwrap_or_default(),
            &entry.role,
            &entry.created_at.to_rfc3339(),
            &entry.token_count.to_string(),
            &*harmless(&text),
            &*harmless(&files),
        ])?;
        count += 1;
    }
    rows.flush()?;
    Ok(count)
}

/// A text that is no formula, whichever spreadsheet opens it.
fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]) {
        format!("'{text}").into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formulas_are_defused() {
        for formula in [
            "=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1",
        ] {
            assert_eq!(harmless(formula), format!("'{formula}"));
        }
        for text in ["", "1=1", "a", " =1", "नमस्ते"] {
            assert_eq!(harmless(text), text);
        }
    }
}

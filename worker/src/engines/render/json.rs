//! JSON: everything that is known, as one document. It is written message by message.
//!
//! `{"format": "baatcheet.conversation", "version": 1, "exportedAt", "conversation": {…}, "from", "to", "branch",
//! "includeAttachments", "messages": [{"id", "parentId", "role", "createdAt", "tokenCount", "content": [{"type": "text",
//! "text"} or {"type": "attachment", "id", "fileName", …, "extractedText", "truncated"} or {"type": "toolCall", "callId", "name",
//! "arguments"} or {"type": "toolResult", "callId", "name", "status", "output"}]}]}`. The parent of a message may be one that was
//! deleted, or is not in the export.

use std::io::Write;

use serde::Serialize;

use super::{
    RenderError,
    source::{Entries, Head, Piece},
};

/// What the document is called, and the version of its shape: fields may be added to it.
#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    version: u32,
    #[serde(flatten)]
    head: &'a Head,
}

/// Writes the document.
pub(super) fn write(
    head: &Head,
    entries: Entries,
    out: &mut impl Write,
) -> Result<u64, RenderError> {
    let document = Document {
        format: "baatcheet.conversation",
        version: 1,
        head,
    };
    let document = serde_json::to_string(&document)?;
    let open = document.strip_suffix('}').unwrap_or(&document);
    write!(out, "{open},\"messages\":[")?;
    let mut count = 0;
    for entry in entries {
        let mut entry = entry?;
        for piece in &mut entry.content {
            if let Piece::Attachment(shown) = piece {
                shown.picture = None;
            }
        }
        out.write_all(if count == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &entry)?;
        count += 1;
    }
    out.write_all(b"\n]}\n")?;
    Ok(count)
}

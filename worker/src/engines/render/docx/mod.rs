//! DOCX: Office Open XML (ECMA-376), written as it goes, so that no conversation is ever whole in memory.
//!
//! No crate is used for the XML: docx-rs 0.4 knows no right-to-left paragraphs, takes no JPEG, and keeps everything in
//! memory.

mod body;
mod parts;
mod run;

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    path::PathBuf,
};

use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use self::body::Body;
use super::{
    RenderError,
    markup::{parse, pieces},
    pictures::Pictures,
    source::{Entries, Entry, Head, Piece, Shown, shown_time},
};

/// What the text refers to, which stands in files of its own.
#[derive(Debug, Default)]
struct References {
    /// Addresses of links.
    links: Vec<String>,
    /// JPEGs.
    pictures: Vec<PathBuf>,
    /// With which number each numbered list begins.
    lists: Vec<u64>,
}

/// Writes the document.
pub(super) fn write(
    head: &Head,
    entries: Entries,
    pictures: &mut Pictures,
    out: File,
) -> Result<u64, RenderError> {
    let deflated = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    // JPEGs get no smaller.
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(BufWriter::new(out));
    for (name, content) in parts::FIXED {
        zip.start_file(*name, deflated)?;
        zip.write_all(content.as_bytes())?;
    }
    zip.start_file("docProps/core.xml", deflated)?;
    zip.write_all(parts::properties(head.title(), head.exported_at).as_bytes())?;

    zip.start_file("word/document.xml", deflated)?;
    zip.write_all(parts::DOCUMENT_BEGIN.as_bytes())?;
    let mut body = Body::default();
    write_head(head, &mut body);
    zip.write_all(body.take().as_bytes())?;
    let (mut count, mut day) = (0, None);
    for entry in entries {
        let entry = entry?;
        let today = entry.created_at.date_naive();
        if day.replace(today) != Some(today) {
            body.heading("Heading1", &today.format("%-d %B %Y").to_string());
        }
        write_entry(&entry, pictures, &mut body);
        zip.write_all(body.take().as_bytes())?;
        count += 1;
    }
    zip.write_all(parts::DOCUMENT_END.as_bytes())?;

    let references = body.finish();
    for (index, path) in references.pictures.iter().enumerate() {
        zip.start_file(format!("word/media/{index}.jpg"), stored)?;
        zip.write_all(&fs::read(path)?)?;
    }
    zip.start_file("word/numbering.xml", deflated)?;
    zip.write_all(parts::numbering(&references.lists).as_bytes())?;
    zip.start_file("word/_rels/document.xml.rels", deflated)?;
    zip.write_all(parts::relationships(&references).as_bytes())?;
    zip.finish()?.flush()?;
    Ok(count)
}

fn write_head(head: &Head, body: &mut Body) {
    let conversation = &head.conversation;
    body.heading("Title", head.title());
    body.line(
        "Caption",
        &format!(
            "Begun {} · Exported {}",
            shown_time(conversation.created_at),
            shown_time(head.exported_at)
        ),
    );
    if let Some(model) = &conversation.model {
        body.line("Caption", &format!("Model: {model}"));
    }
    if !conversation.tags.is_empty() {
        body.line(
            "Caption",
            &format!("Tags: {}", conversation.tags.join(", ")),
        );
    }
    if let Some(prompt) = &conversation.system_prompt {
        body.line("Caption", "Instructions");
        write_text(prompt, body);
    }
}

fn write_entry(entry: &Entry, pictures: &mut Pictures, body: &mut Body) {
    let time = entry.created_at.format("%H:%M:%S UTC");
    body.heading("Heading2", &format!("{} · {time}", entry.speaker()));
    for piece in &entry.content {
        match piece {
            Piece::Attachment(shown) => write_attachment(shown, pictures, body),
            said => write_text(&said.markdown(), body),
        }
    }
}

/// In pieces, as word processors hang at one huge paragraph.
fn write_text(text: &str, body: &mut Body) {
    for piece in pieces(parse(text)) {
        body.block(&piece.block);
    }
}

fn write_attachment(shown: &Shown, pictures: &mut Pictures, body: &mut Body) {
    let line = shown.line();
    if let Some(picture) = pictures.of(shown) {
        body.picture(&picture, &line);
    }
    body.line("Caption", &line);
    if let Some(text) = &shown.extracted_text {
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            body.line("Quote", line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> String {
        let mut body = Body::default();
        write_text(text, &mut body);
        format!(
            "{}{}{}",
            parts::DOCUMENT_BEGIN,
            body.take(),
            parts::DOCUMENT_END
        )
    }

    /// Reads XML to its end, and gives its text.
    fn read(xml: &str) -> String {
        let mut reader = quick_xml::Reader::from_str(xml);
        let mut text = String::new();
        loop {
            match reader.read_event().unwrap() {
                quick_xml::events::Event::Eof => return text,
                quick_xml::events::Event::Text(part) => text.push_str(&part),
                _ => {}
            }
        }
    }

    #[test]
    fn any_text_is_well_formed_and_there() {
        for text in [
            "plain & <b>html</b> \"quotes\"",
            "# a\n\n- b\n  1. c\n\n> d\n\n| e | f |\n|---|---|\n| g | h |\n\n```rust\nfn i() {}\n```\n\n---\n\n**j** *k* ~~l~~ `m` [n](https://o)",
            "\u{1}\u{b}\u{c}\u{fffe}\u{ffff}\u{202e}x",
            "]]> <!-- & &#0; &amp;",
            "اردو اور English",
        ] {
            read(&document(text));
        }
        assert_eq!(read(&document("hello **bold** world")), "hello bold world");
    }

    #[test]
    fn what_runs_from_right_to_left_says_so() {
        let xml = document("یہ اردو ہے English بھی");
        assert!(xml.contains("<w:bidi/>"), "{xml}");
        assert!(
            xml.contains("<w:rtl/></w:rPr><w:t xml:space=\"preserve\">یہ اردو ہے </w:t>"),
            "{xml}"
        );
        assert!(
            xml.contains("<w:t xml:space=\"preserve\">English </w:t>"),
            "{xml}"
        );
        assert!(!document("हिन्दी and English").contains("<w:rtl/>"));
    }

    #[test]
    fn lists_are_lists_and_links_are_links() {
        let mut body = Body::default();
        write_text(
            "3. a\n4. b\n\n- c\n\n[d](https://e.example/?f=1&g=2)",
            &mut body,
        );
        let xml = body.take();
        assert_eq!(xml.matches("<w:numId w:val=\"2\"/>").count(), 2, "{xml}");
        assert_eq!(xml.matches("<w:numId w:val=\"1\"/>").count(), 1, "{xml}");
        assert!(xml.contains("<w:hyperlink r:id=\"link0\">"), "{xml}");
        let references = body.finish();
        assert_eq!(references.lists, [3]);
        let relationships = parts::relationships(&references);
        assert!(
            relationships.contains("Target=\"https://e.example/?f=1&amp;g=2\""),
            "{relationships}"
        );
        assert!(parts::numbering(&references.lists).contains("<w:startOverride w:val=\"3\"/>"));
        for xml in [relationships, parts::numbering(&references.lists)] {
            read(&xml);
        }
    }

    #[test]
    fn every_fixed_part_is_well_formed() {
        for (_, content) in parts::FIXED {
            read(content);
        }
        read(&parts::properties("a & b", chrono::DateTime::UNIX_EPOCH));
    }
}

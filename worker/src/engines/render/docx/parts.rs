//! The files of a DOCX but for the text itself.

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat, Utc};

use super::{References, run::escaped};

/// Files that are the same in every document.
pub(super) const FIXED: &[(&str, &str)] = &[
    (
        "[Content_Types].xml",
        include_str!("parts/content-types.xml"),
    ),
    ("_rels/.rels", include_str!("parts/relationships.xml")),
    ("word/styles.xml", include_str!("parts/styles.xml")),
    ("word/settings.xml", include_str!("parts/settings.xml")),
    ("word/footer.xml", include_str!("parts/footer.xml")),
];

/// What stands before the text, and after it.
pub(super) const DOCUMENT_BEGIN: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#,
    r#"<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main""#,
    r#" xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships""#,
    r#" xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing""#,
    r#" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main""#,
    r#" xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><w:body>"#,
);
pub(super) const DOCUMENT_END: &str = concat!(
    r#"<w:sectPr><w:footerReference w:type="default" r:id="footer"/><w:pgSz w:w="11906" w:h="16838"/>"#,
    r#"<w:pgMar w:top="1134" w:right="1134" w:bottom="1134" w:left="1134" w:header="567" w:footer="567" w:gutter="0"/>"#,
    r#"</w:sectPr></w:body></w:document>"#,
);

const XML: &str = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
const OFFICE: &str = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
/// Marks of a list, by level.
const MARKS: [&str; 3] = ["•", "◦", "▪"];
/// Numbers of a list, by level.
const NUMBERS: [&str; 3] = ["decimal", "lowerLetter", "lowerRoman"];
/// Levels that Word knows.
const LEVELS: usize = 9;

/// What the document says of itself.
pub(super) fn properties(title: &str, at: DateTime<Utc>) -> String {
    let (title, at) = (
        escaped(title),
        at.to_rfc3339_opts(SecondsFormat::Secs, true),
    );
    format!(
        "{XML}<cp:coreProperties xmlns:cp=\"http://schemas.openxmlformats.org/package/2006/metadata/core-properties\" \
         xmlns:dc=\"http://purl.org/dc/elements/1.1/\" xmlns:dcterms=\"http://purl.org/dc/terms/\" \
         xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"><dc:title>{title}</dc:title>\
         <dcterms:created xsi:type=\"dcterms:W3CDTF\">{at}</dcterms:created></cp:coreProperties>"
    )
}

/// The kinds of lists: the first is that of marks, and each numbered list is one of its own, as it begins anew.
pub(super) fn numbering(starts: &[u64]) -> String {
    let mut xml = format!(
        "{XML}<w:numbering xmlns:w=\"http://schemas.openxmlformats.org/wordprocessingml/2006/main\">"
    );
    for (kind, is_numbered) in [(0, false), (1, true)] {
        let _ = write!(
            xml,
            "<w:abstractNum w:abstractNumId=\"{kind}\"><w:multiLevelType w:val=\"hybridMultilevel\"/>"
        );
        for level in 0..LEVELS {
            let (format, text) = if is_numbered {
                (NUMBERS[level % 3], format!("%{}.", level + 1))
            } else {
                ("bullet", MARKS[level % 3].to_owned())
            };
            let indent = 360 * (level + 1);
            let _ = write!(
                xml,
                "<w:lvl w:ilvl=\"{level}\"><w:start w:val=\"1\"/><w:numFmt w:val=\"{format}\"/>\
                 <w:lvlText w:val=\"{text}\"/><w:lvlJc w:val=\"left\"/>\
                 <w:pPr><w:ind w:start=\"{indent}\" w:left=\"{indent}\" w:hanging=\"360\"/></w:pPr></w:lvl>"
            );
        }
        xml.push_str("</w:abstractNum>");
    }
    xml.push_str("<w:num w:numId=\"1\"><w:abstractNumId w:val=\"0\"/></w:num>");
    for (index, start) in starts.iter().enumerate() {
        let id = index + 2;
        let _ = write!(
            xml,
            "<w:num w:numId=\"{id}\"><w:abstractNumId w:val=\"1\"/>"
        );
        for level in 0..LEVELS {
            let _ = write!(
                xml,
                "<w:lvlOverride w:ilvl=\"{level}\"><w:startOverride w:val=\"{}\"/></w:lvlOverride>",
                (*start).min(32_767)
            );
        }
        xml.push_str("</w:num>");
    }
    xml.push_str("</w:numbering>");
    xml
}

/// Where everything is that the text refers to.
pub(super) fn relationships(references: &References) -> String {
    let mut xml = format!(
        "{XML}<Relationships xmlns=\"http://schemas.openxmlformats.org/package/2006/relationships\">"
    );
    for name in ["styles", "settings", "numbering", "footer"] {
        let _ = write!(
            xml,
            "<Relationship Id=\"{name}\" Type=\"{OFFICE}/{name}\" Target=\"{name}.xml\"/>"
        );
    }
    for index in 0..references.pictures.len() {
        let _ = write!(
            xml,
            "<Relationship Id=\"picture{index}\" Type=\"{OFFICE}/image\" Target=\"media/{index}.jpg\"/>"
        );
    }
    for (index, url) in references.links.iter().enumerate() {
        let _ = write!(
            xml,
            "<Relationship Id=\"link{index}\" Type=\"{OFFICE}/hyperlink\" Target=\"{}\" TargetMode=\"External\"/>",
            escaped(url)
        );
    }
    xml.push_str("</Relationships>");
    xml
}

//! Blocks as paragraphs and tables.

use std::fmt::Write as _;

use super::{
    References,
    run::{self, Look, escaped},
};
use crate::engines::render::{
    markup::{Align, Block, Inline, is_rtl},
    pictures::Picture,
};

/// Most numbered lists that begin anew; further ones go on counting. Each takes 700 bytes.
const MAX_LISTS: usize = 10_000;

/// Deepest level of a list that Word knows.
const MAX_LEVEL: usize = 8;
/// How far a level is moved in, in twentieths of a point.
const LEVEL_INDENT: usize = 360;
/// A pixel in English Metric Units, at 144 pixels an inch.
const PIXEL: u64 = 914_400 / 144;
/// Between the margins of A4, in English Metric Units.
const MAX_WIDTH: u64 = 6_120_000;
const MAX_HEIGHT: u64 = 8_000_000;

/// The text so far, and what it refers to.
#[derive(Debug, Default)]
pub(super) struct Body {
    xml: String,
    references: References,
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// How many lists and quotes it is in.
    depth: usize,
    is_quoted: bool,
    /// The list whose mark it gets.
    mark: Option<(usize, usize)>,
}

impl Body {
    /// What has been written since the last call.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.xml)
    }

    /// What all of it refers to.
    pub(super) fn finish(self) -> References {
        self.references
    }

    /// A paragraph of plain text that is kept with the next one.
    pub(super) fn heading(&mut self, style: &str, text: &str) {
        self.line(style, text);
    }

    /// A paragraph of plain text.
    pub(super) fn line(&mut self, style: &str, text: &str) {
        self.begin_styled(style, is_rtl(text));
        run::add(&mut self.xml, text, Look::default());
        self.xml.push_str("</w:p>");
    }

    /// A block of a message.
    pub(super) fn block(&mut self, block: &Block) {
        self.add(block, Place::default());
    }

    /// A picture, and what it is called for those who do not see it.
    pub(super) fn picture(&mut self, picture: &Picture, called: &str) {
        let (mut width, mut height) = (
            u64::from(picture.width) * PIXEL,
            u64::from(picture.height) * PIXEL,
        );
        if width > MAX_WIDTH {
            (width, height) = (MAX_WIDTH, height * MAX_WIDTH / width);
        }
        if height > MAX_HEIGHT {
            (width, height) = (width * MAX_HEIGHT / height, MAX_HEIGHT);
        }
        let index = self.references.pictures.len();
        self.references.pictures.push(picture.path.clone());
        let (id, called) = (index + 1, escaped(called));
        let _ = write!(
            self.xml,
            "<w:p><w:r><w:drawing><wp:inline distT=\"0\" distB=\"0\" distL=\"0\" distR=\"0\">\
             <wp:extent cx=\"{width}\" cy=\"{height}\"/><wp:docPr id=\"{id}\" name=\"Picture {id}\" descr=\"{called}\"/>\
             <a:graphic><a:graphicData uri=\"http://schemas.openxmlformats.org/drawingml/2006/picture\"><pic:pic>\
             <pic:nvPicPr><pic:cNvPr id=\"{id}\" name=\"Picture {id}\"/><pic:cNvPicPr/></pic:nvPicPr>\
             <pic:blipFill><a:blip r:embed=\"picture{index}\"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill>\
             <pic:spPr><a:xfrm><a:off x=\"0\" y=\"0\"/><a:ext cx=\"{width}\" cy=\"{height}\"/></a:xfrm>\
             <a:prstGeom prst=\"rect\"><a:avLst/></a:prstGeom></pic:spPr></pic:pic></a:graphicData></a:graphic>\
             </wp:inline></w:drawing></w:r></w:p>"
        );
    }

    fn add(&mut self, block: &Block, place: Place) {
        match block {
            Block::Par { rtl, c } => self.paragraph(None, *rtl, c, place),
            Block::Heading { level, rtl, c } => {
                // Headings of messages are below those of the document.
                let style = format!("Heading{}", (level + 2).min(6));
                self.paragraph(Some(&style), *rtl, c, place);
            }
            Block::Code { s, .. } => self.code(s, place),
            Block::List { start, items, .. } => self.list(*start, items, place),
            Block::Quote { b } => {
                for block in b {
                    let inside = Place {
                        depth: place.depth + 1,
                        is_quoted: true,
                        mark: None,
                    };
                    self.add(block, inside);
                }
            }
            Block::Table { align, rtl, rows } => self.table(align, *rtl, rows),
            Block::Rule => self
                .xml
                .push_str("<w:p><w:pPr><w:pStyle w:val=\"Rule\"/></w:pPr></w:p>"),
        }
    }

    fn paragraph(&mut self, style: Option<&str>, rtl: bool, c: &[Inline], place: Place) {
        let style = style.or(place.is_quoted.then_some("Quote"));
        self.begin(style, rtl, place);
        self.inlines(c, Look::default());
        self.xml.push_str("</w:p>");
    }

    fn begin_styled(&mut self, style: &str, rtl: bool) {
        self.begin(Some(style), rtl, Place::default());
    }

    /// In the order of the schema (ECMA-376 part 1, 17.3.1.26).
    fn begin(&mut self, style: Option<&str>, rtl: bool, place: Place) {
        self.xml.push_str("<w:p><w:pPr>");
        if let Some(style) = style {
            let _ = write!(self.xml, "<w:pStyle w:val=\"{style}\"/>");
        }
        if let Some((list, level)) = place.mark {
            let _ = write!(
                self.xml,
                "<w:numPr><w:ilvl w:val=\"{level}\"/><w:numId w:val=\"{list}\"/></w:numPr>"
            );
        }
        if rtl {
            self.xml.push_str("<w:bidi/>");
        }
        if place.mark.is_none() && place.depth > 0 {
            let indent = LEVEL_INDENT * place.depth.min(MAX_LEVEL + 1);
            let _ = write!(
                self.xml,
                "<w:ind w:start=\"{indent}\" w:left=\"{indent}\"/>"
            );
        }
        self.xml.push_str("</w:pPr>");
    }

    fn code(&mut self, code: &str, place: Place) {
        let depth = Place {
            mark: None,
            ..place
        };
        self.begin(Some("Code"), false, depth);
        run::add(&mut self.xml, code.trim_end_matches('\n'), Look::default());
        self.xml.push_str("</w:p>");
    }

    fn list(&mut self, start: Option<u64>, items: &[Vec<Block>], place: Place) {
        // The first list is that of marks.
        let list = start.map_or(1, |start| {
            if self.references.lists.len() < MAX_LISTS {
                self.references.lists.push(start);
            }
            self.references.lists.len() + 1
        });
        let level = place.depth.min(MAX_LEVEL);
        for item in items {
            let mut mark = Some((list, level));
            for block in item {
                let inside = Place {
                    depth: place.depth + 1,
                    is_quoted: place.is_quoted,
                    mark: mark
                        .filter(|_| matches!(block, Block::Par { .. } | Block::Heading { .. })),
                };
                self.add(block, inside);
                mark = mark.filter(|_| inside.mark.is_none());
            }
        }
    }

    fn table(&mut self, align: &[Align], rtl: bool, rows: &[Vec<Vec<Inline>>]) {
        self.xml
            .push_str("<w:tbl><w:tblPr><w:tblStyle w:val=\"TableGrid\"/>");
        if rtl {
            self.xml.push_str("<w:bidiVisual/>");
        }
        self.xml
            .push_str("<w:tblW w:w=\"0\" w:type=\"auto\"/></w:tblPr><w:tblGrid>");
        self.xml.push_str(&"<w:gridCol/>".repeat(align.len()));
        self.xml.push_str("</w:tblGrid>");
        for (index, row) in rows.iter().enumerate() {
            self.xml.push_str("<w:tr>");
            if index == 0 {
                self.xml.push_str("<w:trPr><w:tblHeader/></w:trPr>");
            }
            let look = Look {
                bold: index == 0,
                ..Look::default()
            };
            for (cell, side) in row.iter().zip(align) {
                self.cell(cell, *side, look);
            }
            self.xml.push_str("</w:tr>");
        }
        // Two tables after each other would be one.
        self.xml.push_str("</w:tbl><w:p/>");
    }

    fn cell(&mut self, cell: &[Inline], side: Align, look: Look) {
        let rtl = is_rtl(&crate::engines::render::markup::plain(cell));
        let side = match side {
            Align::Start => None,
            Align::Left => Some("left"),
            Align::Center => Some("center"),
            Align::Right => Some("right"),
        };
        self.xml
            .push_str("<w:tc><w:tcPr><w:tcW w:w=\"0\" w:type=\"auto\"/></w:tcPr><w:p><w:pPr>");
        if rtl {
            self.xml.push_str("<w:bidi/>");
        }
        if let Some(side) = side {
            let _ = write!(self.xml, "<w:jc w:val=\"{side}\"/>");
        }
        self.xml.push_str("</w:pPr>");
        self.inlines(cell, look);
        self.xml.push_str("</w:p></w:tc>");
    }

    fn inlines(&mut self, inlines: &[Inline], look: Look) {
        for inline in inlines {
            match inline {
                Inline::Text { s } => run::add(&mut self.xml, s, look),
                Inline::Code { s } => run::add(&mut self.xml, s, Look { code: true, ..look }),
                Inline::Strong { c } => self.inlines(c, Look { bold: true, ..look }),
                Inline::Emph { c } => self.inlines(
                    c,
                    Look {
                        italic: true,
                        ..look
                    },
                ),
                Inline::Strike { c } => self.inlines(
                    c,
                    Look {
                        struck: true,
                        ..look
                    },
                ),
                Inline::Break => self.xml.push_str("<w:r><w:br/></w:r>"),
                // A link in a link is none.
                Inline::Link { c, .. } if look.link => self.inlines(c, look),
                Inline::Link { url, c } => {
                    let index = self.references.links.len();
                    self.references.links.push(url.clone());
                    let _ = write!(self.xml, "<w:hyperlink r:id=\"link{index}\">");
                    self.inlines(c, Look { link: true, ..look });
                    self.xml.push_str("</w:hyperlink>");
                }
            }
        }
    }
}

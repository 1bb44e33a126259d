//! From Markdown to blocks.

use pulldown_cmark::{Alignment, CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};

use super::{Align, Block, Inline, MAX_DEPTH, OPTIONS, is_rtl, plain, safe_url};

/// Longest name of a language, in bytes.
const MAX_LANG_BYTES: usize = 32;

/// Most columns of a table that is laid out as one; a wider one is shown as it is written.
const MAX_COLUMNS: usize = 40;

/// Reads a text. What is nested deeper than [`MAX_DEPTH`] belongs to what it is nested in.
pub(in super::super) fn parse(text: &str) -> Vec<Block> {
    let text = readable(text);
    let mut builder = Builder::default();
    for event in Parser::new_ext(&text, OPTIONS) {
        builder.take(event);
    }
    builder.finish()
}

/// Without what has no shape: control characters but for tabs and line breaks.
fn readable(text: &str) -> String {
    let is_shapeless = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
    text.replace(is_shapeless, "")
}

/// What is open, and what is in it so far.
#[derive(Debug, Default)]
struct Frame {
    kind: Kind,
    blocks: Vec<Block>,
    inlines: Vec<Inline>,
    /// Of a list its items, of a table its rows.
    items: Vec<Vec<Block>>,
    rows: Vec<Vec<Vec<Inline>>>,
    cells: Vec<Vec<Inline>>,
}

#[derive(Debug, Default)]
enum Kind {
    #[default]
    Flat,
    Paragraph,
    Heading(u8),
    Code(Option<String>, String),
    List(Option<u64>),
    Item,
    Quote,
    Table(Vec<Align>),
    Row,
    Cell,
    Strong,
    Emph,
    Strike,
    Link(String),
    Html(String),
}

#[derive(Debug, Default)]
struct Builder {
    root: Frame,
    open: Vec<Frame>,
    /// Frames that were not opened, since there were too many.
    flat: Vec<bool>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(code) => self.inline(Inline::Code {
                s: code.into_string(),
            }),
            Event::SoftBreak => self.text(" "),
            Event::HardBreak => self.inline(Inline::Break),
            Event::Rule => self.block(Block::Rule),
            Event::TaskListMarker(done) => self.text(if done { "☑ " } else { "☐ " }),
            // None of these is switched on.
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.text(&text);
            }
        }
    }

    fn top(&mut self) -> &mut Frame {
        self.open.last_mut().unwrap_or(&mut self.root)
    }

    fn start(&mut self, tag: &Tag<'_>) {
        let kind = match tag {
            Tag::Paragraph => Kind::Paragraph,
            Tag::Heading { level, .. } => Kind::Heading(level_of(*level)),
            Tag::CodeBlock(kind) => Kind::Code(language(kind), String::new()),
            Tag::List(start) => Kind::List(*start),
            Tag::Item => Kind::Item,
            Tag::BlockQuote(_) => Kind::Quote,
            Tag::Table(columns) => Kind::Table(columns.iter().map(|one| align(*one)).collect()),
            Tag::TableHead | Tag::TableRow => Kind::Row,
            Tag::TableCell => Kind::Cell,
            Tag::Strong => Kind::Strong,
            Tag::Emphasis => Kind::Emph,
            Tag::Strikethrough => Kind::Strike,
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                Kind::Link(dest_url.to_string())
            }
            Tag::HtmlBlock => Kind::Html(String::new()),
            _ => Kind::Flat,
        };
        // Lists and tables keep their parts; all else is laid flat where it is too deep. Three levels are left for them.
        let is_part = matches!(kind, Kind::Item | Kind::Row | Kind::Cell);
        let parent_is_flat = self.flat.last() == Some(&true);
        let is_flat = if is_part {
            parent_is_flat
        } else {
            self.open.len() + 3 > MAX_DEPTH && !matches!(kind, Kind::Code(..) | Kind::Html(_))
        };
        if !matches!(
            kind,
            Kind::Strong | Kind::Emph | Kind::Strike | Kind::Link(_)
        ) {
            self.end_loose_text();
        }
        self.flat.push(is_flat);
        if !is_flat {
            self.open.push(Frame {
                kind,
                ..Frame::default()
            });
        }
    }

    fn end(&mut self, tag: TagEnd) {
        if self.flat.pop() == Some(true) {
            match tag {
                TagEnd::TableCell => self.text("  "),
                TagEnd::Strong
                | TagEnd::Emphasis
                | TagEnd::Strikethrough
                | TagEnd::Link
                | TagEnd::Image => {}
                _ => self.end_loose_text(),
            }
            return;
        }
        self.end_loose_text();
        let Some(frame) = self.open.pop() else {
            return;
        };
        self.close(frame);
    }

    fn close(&mut self, frame: Frame) {
        let Frame {
            kind,
            blocks,
            inlines: c,
            items,
            rows,
            cells,
        } = frame;
        match kind {
            Kind::Paragraph if c.is_empty() => {}
            Kind::Paragraph => self.block(paragraph(c)),
            Kind::Heading(level) => {
                let rtl = is_rtl(&plain(&c));
                self.block(Block::Heading { level, rtl, c });
            }
            Kind::Code(lang, s) => self.block(Block::Code { lang, s }),
            Kind::Html(s) => self.block(Block::Code { lang: None, s }),
            Kind::List(start) => {
                let first = items.first().and_then(|item| item.first());
                let rtl = first.is_some_and(is_rtl_block);
                self.block(Block::List { start, rtl, items });
            }
            Kind::Item => self.top().items.push(blocks),
            Kind::Quote => self.block(Block::Quote { b: blocks }),
            Kind::Table(align) => {
                let table = table(align, rows);
                self.block(table);
            }
            Kind::Row => self.top().rows.push(cells),
            Kind::Cell => self.top().cells.push(c),
            Kind::Strong => self.inline(Inline::Strong { c }),
            Kind::Emph => self.inline(Inline::Emph { c }),
            Kind::Strike => self.inline(Inline::Strike { c }),
            Kind::Link(url) => self.link(&url, c),
            Kind::Flat => {
                for inline in c {
                    self.inline(inline);
                }
                for block in blocks {
                    self.block(block);
                }
            }
        }
    }

    fn link(&mut self, url: &str, c: Vec<Inline>) {
        let Some(safe) = safe_url(url) else {
            for inline in c {
                self.inline(inline);
            }
            return;
        };
        let is_nameless = plain(&c).trim().is_empty();
        let c = if is_nameless {
            vec![Inline::Text { s: safe.to_owned() }]
        } else {
            c
        };
        let url = safe.to_owned();
        self.inline(Inline::Link { url, c });
    }

    fn text(&mut self, text: &str) {
        let frame = self.top();
        if let Kind::Code(_, code) | Kind::Html(code) = &mut frame.kind {
            code.push_str(text);
        } else if let Some(Inline::Text { s }) = frame.inlines.last_mut() {
            s.push_str(text);
        } else {
            frame.inlines.push(Inline::Text { s: text.to_owned() });
        }
    }

    fn inline(&mut self, inline: Inline) {
        self.top().inlines.push(inline);
    }

    fn block(&mut self, block: Block) {
        let frame = self.top();
        match frame.kind {
            // Where only lines are, a block becomes one.
            Kind::Paragraph
            | Kind::Heading(_)
            | Kind::Cell
            | Kind::Strong
            | Kind::Emph
            | Kind::Strike
            | Kind::Link(_) => {
                let s = text_of(&block);
                frame.inlines.push(Inline::Text { s });
            }
            _ => frame.blocks.push(block),
        }
    }

    /// The text of a tight item, and what was laid flat, stand in no paragraph: they get one.
    fn end_loose_text(&mut self) {
        let frame = self.top();
        let holds_blocks = matches!(
            frame.kind,
            Kind::Flat | Kind::Item | Kind::Quote | Kind::List(_)
        );
        if holds_blocks && !frame.inlines.is_empty() {
            let block = paragraph(std::mem::take(&mut frame.inlines));
            if let Kind::List(_) = frame.kind {
                frame.items.push(vec![block]);
            } else {
                frame.blocks.push(block);
            }
        }
    }

    fn finish(mut self) -> Vec<Block> {
        while let Some(frame) = self.open.pop() {
            self.close(frame);
        }
        self.end_loose_text();
        self.root.blocks
    }
}

pub(super) fn paragraph(c: Vec<Inline>) -> Block {
    let rtl = is_rtl(&plain(&c));
    Block::Par { rtl, c }
}

fn table(align: Vec<Align>, rows: Vec<Vec<Vec<Inline>>>) -> Block {
    if align.len() > MAX_COLUMNS {
        let lines = rows.iter().map(|row| {
            let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
            cells.join(" | ")
        });
        let s = lines.collect::<Vec<_>>().join("\n");
        return Block::Code { lang: None, s };
    }
    let first = rows.first().and_then(|row| row.first());
    let rtl = first.is_some_and(|cell| is_rtl(&plain(cell)));
    Block::Table { align, rtl, rows }
}

pub(super) fn is_rtl_block(block: &Block) -> bool {
    match block {
        Block::Par { rtl, .. }
        | Block::Heading { rtl, .. }
        | Block::List { rtl, .. }
        | Block::Table { rtl, .. } => *rtl,
        Block::Quote { b } => b.first().is_some_and(is_rtl_block),
        Block::Code { .. } | Block::Rule => false,
    }
}

pub(super) fn text_of(block: &Block) -> String {
    match block {
        Block::Par { c, .. } | Block::Heading { c, .. } => plain(c),
        Block::Code { s, .. } => s.clone(),
        Block::List { items, .. } => items.iter().flatten().map(text_of).collect(),
        Block::Quote { b } => b.iter().map(text_of).collect(),
        Block::Table { rows, .. } => rows.iter().flatten().map(|cell| plain(cell)).collect(),
        Block::Rule => String::new(),
    }
}

fn level_of(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}

fn align(column: Alignment) -> Align {
    match column {
        Alignment::None => Align::Start,
        Alignment::Left => Align::Left,
        Alignment::Center => Align::Center,
        Alignment::Right => Align::Right,
    }
}

/// The first word after a fence, if it can be the name of a language.
fn language(kind: &CodeBlockKind<'_>) -> Option<String> {
    let CodeBlockKind::Fenced(info) = kind else {
        return None;
    };
    let name = info.split([' ', ',', '\t', '{']).next()?;
    let is_name = !name.is_empty()
        && name.len() <= MAX_LANG_BYTES
        && name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || "+#-_.".contains(letter));
    is_name.then(|| name.to_ascii_lowercase())
}

//! PDF, by Typst: right to left and complex scripts, colour emoji, coloured code, tables, pictures, links, an outline, and
//! PDF/A-2b where every character has a font.
//!
//! A conversation is laid out part by part, as memory grows with what is laid out together: a thousand messages take
//! 230 MB. The parts are joined in the end.

mod data;
mod join;
mod world;

use std::{fs, io::Write, path::PathBuf};

use chrono::NaiveDate;

use self::{
    data::{Data, File, Part, Said, Total, fit},
    join::Joined,
    world::Press,
};
use super::{
    RenderArgs, RenderError,
    markup::{Block, Inline, is_rtl, parse, pieces},
    pictures::{Picture, Pictures},
    source::{Entries, Entry, Folder, Head, Piece, Shown},
};

/// Most messages of a part, and most weight of what is in it: about as many bytes of text.
pub(super) const PART_MESSAGES: usize = 1_000;
const PART_WEIGHT: usize = 1 << 20;
/// What a message weighs beside its blocks.
const MESSAGE_WEIGHT: usize = 256;
/// Most pictures of a part, and what one weighs: they are in memory, up to half a megabyte each.
const PICTURE_WEIGHT: usize = 32 << 10;
/// Most bytes of code of a part whose words are coloured, which takes 3 µs for each byte.
const PART_COLOURED: usize = 512 << 10;

/// Most pages of a document: what is joined is in memory, too.
const MAX_PAGES: usize = 25_000;

/// What was printed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Document {
    pub(super) messages: u64,
    pub(super) pages: usize,
    pub(super) archival: bool,
}

/// Writes the document.
pub(super) fn write(
    head: &Head,
    entries: Entries,
    args: &RenderArgs,
    pictures: &mut Pictures,
    out: &mut impl Write,
) -> Result<Document, RenderError> {
    let mut book = Book {
        head,
        press: Press::new(&args.fonts),
        folder: Folder::new(&args.folder),
        part_messages: args.part_messages.max(1),
        pictures,
        open: Open::default(),
        parts: Vec::new(),
        messages: 0,
        pages: 0,
        archival: true,
    };
    for entry in entries {
        book.push(&entry?)?;
        book.messages += 1;
    }
    book.finish(out)?;
    Ok(Document {
        messages: book.messages,
        pages: book.pages,
        archival: book.archival,
    })
}

/// The document so far.
struct Book<'a> {
    head: &'a Head,
    press: Press,
    folder: Folder,
    part_messages: usize,
    pictures: &'a mut Pictures,
    open: Open,
    /// Files of the parts that were printed.
    parts: Vec<PathBuf>,
    messages: u64,
    pages: usize,
    archival: bool,
}

/// The part that is being filled.
#[derive(Default)]
struct Open {
    messages: Vec<Said>,
    day: Option<NaiveDate>,
    weight: usize,
    coloured: usize,
    pictures: Vec<(String, PathBuf)>,
}

impl Book<'_> {
    fn push(&mut self, entry: &Entry) -> Result<(), RenderError> {
        let is_full = self.open.messages.len() >= self.part_messages
            || self.open.weight + MESSAGE_WEIGHT > PART_WEIGHT;
        if is_full {
            self.print(Total::Unknown)?;
        }
        self.begin(entry, true);
        for piece in &entry.content {
            match piece {
                Piece::Text { text } => self.push_blocks(entry, parse(text))?,
                Piece::Attachment(shown) => self.push_file(entry, shown)?,
            }
        }
        Ok(())
    }

    /// Begins a message, or goes on with one in a new part.
    fn begin(&mut self, entry: &Entry, is_new: bool) {
        let day = entry.created_at.date_naive();
        let is_other_day = self.open.day != Some(day);
        self.open.day = Some(day);
        self.open.weight += MESSAGE_WEIGHT;
        self.open.messages.push(Said {
            day: is_other_day.then(|| day.format("%-d %B %Y").to_string()),
            name: is_new.then(|| entry.speaker().to_owned()),
            role: entry.role.clone(),
            time: entry.created_at.format("%H:%M:%S UTC").to_string(),
            blocks: Vec::new(),
        });
    }

    /// Makes room in the open part, or opens another one.
    fn make_room(&mut self, entry: &Entry, weight: usize) -> Result<(), RenderError> {
        let is_full = self.open.weight + weight > PART_WEIGHT && self.open.weight > PART_WEIGHT / 2;
        if is_full {
            self.print(Total::Unknown)?;
            self.begin(entry, false);
        }
        self.open.weight += weight;
        Ok(())
    }

    fn add(&mut self, part: Part) {
        if let Some(said) = self.open.messages.last_mut() {
            said.blocks.push(part);
        }
    }

    fn push_blocks(&mut self, entry: &Entry, blocks: Vec<Block>) -> Result<(), RenderError> {
        for mut piece in pieces(blocks) {
            self.make_room(entry, piece.weight)?;
            let mut left = PART_COLOURED.saturating_sub(self.open.coloured);
            fit(&mut piece.block, &mut left);
            self.open.coloured = PART_COLOURED - left;
            self.add(Part::Block(piece.block));
        }
        Ok(())
    }

    fn push_file(&mut self, entry: &Entry, shown: &Shown) -> Result<(), RenderError> {
        let picture = self.pictures.of(shown);
        let weight = picture.as_ref().map_or(MESSAGE_WEIGHT, |_| PICTURE_WEIGHT);
        self.make_room(entry, weight)?;
        let placed = picture
            .as_ref()
            .map(|picture| (picture, self.place(picture)));
        self.add(Part::File(File::new(shown, placed)));
        if let Some(text) = &shown.extracted_text {
            self.push_blocks(entry, vec![Block::Quote { b: plain(text) }])?;
        }
        Ok(())
    }

    /// The path of a picture for the template.
    fn place(&mut self, picture: &Picture) -> String {
        let known = &mut self.open.pictures;
        let index = known.iter().position(|(_, path)| *path == picture.path);
        let index = index.unwrap_or(known.len());
        let path = format!("/pictures/{index}.jpg");
        if index == known.len() {
            known.push((path.clone(), picture.path.clone()));
        }
        path
    }

    /// Prints the open part to a file of its own, and opens another one.
    fn print(&mut self, total: Total) -> Result<(), RenderError> {
        let open = std::mem::take(&mut self.open);
        let kind = if self.parts.is_empty() {
            "first"
        } else {
            "more"
        };
        let mut data = Data::new(self.head, kind, self.pages + 1);
        data.total = total;
        data.messages = open.messages;
        if self.parts.is_empty()
            && let Some(prompt) = &self.head.conversation.system_prompt
        {
            let mut left = PART_COLOURED;
            data.prompt = pieces(parse(prompt))
                .into_iter()
                .map(|mut piece| {
                    fit(&mut piece.block, &mut left);
                    piece.block
                })
                .collect();
        }
        let files = open
            .pictures
            .into_iter()
            .map(|(name, path)| Ok((name, fs::read(path)?)));
        let files = files.collect::<Result<_, RenderError>>()?;
        let printed = self.press.print(serde_json::to_vec(&data)?, files)?;
        self.pages += printed.pages;
        self.archival &= printed.archival;
        if self.pages > MAX_PAGES {
            return Err(RenderError::Refused(format!(
                "the PDF would have more than {MAX_PAGES} pages; narrow the export with `from` and `to`"
            )));
        }
        let path = self
            .folder
            .path()
            .join(format!("part-{}.pdf", self.parts.len()));
        fs::write(&path, printed.pdf)?;
        self.parts.push(path);
        self.folder.note_progress(self.messages)?;
        Ok(())
    }

    fn finish(&mut self, out: &mut impl Write) -> Result<(), RenderError> {
        if self.parts.is_empty() {
            self.print(Total::Own("known"))?;
            out.write_all(&fs::read(&self.parts[0])?)?;
            return Ok(());
        }
        if !self.open.messages.is_empty() {
            self.print(Total::Unknown)?;
        }
        let mut data = Data::new(self.head, "total", 1);
        data.total = Total::Of(self.pages);
        let overlay = self.press.print(serde_json::to_vec(&data)?, Vec::new())?;
        let mut joined = Joined::default();
        for part in &self.parts {
            joined.add(&fs::read(part)?)?;
            fs::remove_file(part)?;
        }
        joined.lay_over(&overlay.pdf)?;
        joined.write(self.archival, out)
    }
}

/// A text that is not Markdown: paragraphs of lines.
fn plain(text: &str) -> Vec<Block> {
    let paragraphs = text.split("\n\n").filter(|part| !part.trim().is_empty());
    paragraphs
        .map(|part| {
            let mut c = Vec::new();
            for line in part
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.is_empty())
            {
                if !c.is_empty() {
                    c.push(Inline::Break);
                }
                let s = line.replace(char::is_control, "");
                c.push(Inline::Text { s });
            }
            Block::Par {
                rtl: is_rtl(part),
                c,
            }
        })
        .collect()
}

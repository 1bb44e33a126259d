//! PDF, by Typst: right to left and complex scripts, colour emoji, coloured code, tables, pictures, links, an outline, and
//! PDF/A-2b where every character has a font.
//!
//! A conversation is laid out part by part, as memory grows with what is laid out together: a thousand messages take
//! 230 MB. Two parts are laid out at once, beside each other; the parts are joined in the end, and numbers laid over the
//! pages.

mod data;
mod join;
mod world;

use std::{
    collections::VecDeque,
    fs,
    io::Write,
    path::PathBuf,
    thread::{Builder, Scope, ScopedJoinHandle, available_parallelism},
};

use chrono::NaiveDate;

use self::{
    data::{Data, File, Numbers, Part, Said, fit},
    join::Joined,
    world::{Press, Printed},
};
use super::{
    RenderArgs, RenderError,
    markup::{Block, Inline, is_rtl, parse, pieces},
    pictures::{Picture, Pictures},
    source::{Entries, Entry, Folder, Head, Piece, Shown},
};

/// Most messages of a part, and most weight of what is in it: about as many bytes of text.
pub(super) const PART_MESSAGES: usize = 250;
const PART_WEIGHT: usize = 256 << 10;
/// What a message weighs beside its blocks.
const MESSAGE_WEIGHT: usize = 256;
/// Most pictures of a part, and what one weighs: they are in memory, up to half a megabyte each.
const PICTURE_WEIGHT: usize = 32 << 10;
/// Most bytes of code of a part whose words are coloured, which takes 3 µs for each byte.
const PART_COLOURED: usize = 128 << 10;
/// Most parts that are laid out at once, and the stack of each: what is nested takes much of it.
const AT_ONCE: usize = 2;
const STACK_BYTES: usize = 16 << 20;
/// Most pages of numbers that are laid out together.
const PART_NUMBERS: usize = 1_000;

/// Most pages of a document: what is joined is in memory, too.
const MAX_PAGES: usize = 12_000;

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
    let press = Press::new(&args.fonts);
    std::thread::scope(|scope| {
        let mut book = Book {
            head,
            press: &press,
            scope,
            at_once: available_parallelism().map_or(1, usize::from).min(AT_ONCE),
            folder: Folder::new(&args.folder),
            part_messages: args.part_messages.max(1),
            pictures,
            open: Open::default(),
            printing: VecDeque::new(),
            begun: 0,
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
    })
}

/// The document so far.
struct Book<'scope, 'env> {
    head: &'env Head,
    press: &'env Press,
    scope: &'scope Scope<'scope, 'env>,
    at_once: usize,
    folder: Folder,
    part_messages: usize,
    pictures: &'env mut Pictures,
    open: Open,
    /// Parts that are being laid out, in order, and how many there were before.
    printing: VecDeque<Printing<'scope>>,
    begun: usize,
    /// Files of the parts that were printed.
    parts: Vec<PathBuf>,
    messages: u64,
    pages: usize,
    archival: bool,
}

/// A part that is being laid out.
struct Printing<'scope> {
    printer: ScopedJoinHandle<'scope, Result<Printed, RenderError>>,
    /// How many messages are laid out then.
    messages: u64,
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

impl Book<'_, '_> {
    fn push(&mut self, entry: &Entry) -> Result<(), RenderError> {
        let is_full = self.open.messages.len() >= self.part_messages
            || self.open.weight + MESSAGE_WEIGHT > PART_WEIGHT;
        if is_full {
            self.print()?;
        }
        self.begin(entry, true);
        for piece in &entry.content {
            match piece {
                Piece::Attachment(shown) => self.push_file(entry, shown)?,
                said => self.push_blocks(entry, parse(&said.markdown()))?,
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
            self.print()?;
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

    /// Closes the open part, and opens another one.
    fn close(&mut self, kind: &'static str) -> Result<Job, RenderError> {
        let open = std::mem::take(&mut self.open);
        let mut data = Data::new(self.head, kind);
        data.messages = open.messages;
        if self.begun == 0
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
        let pictures = open
            .pictures
            .into_iter()
            .map(|(name, path)| Ok((name, fs::read(path)?)));
        Ok(Job {
            data: serde_json::to_vec(&data)?,
            pictures: pictures.collect::<Result<_, RenderError>>()?,
        })
    }

    /// Has the open part printed, while the next one is filled.
    fn print(&mut self) -> Result<(), RenderError> {
        if self.printing.len() >= self.at_once {
            self.take_printed()?;
        }
        let kind = if self.begun == 0 { "first" } else { "more" };
        let job = self.close(kind)?;
        let press = self.press;
        let printer = Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(self.scope, move || press.print(job.data, job.pictures))?;
        self.begun += 1;
        self.printing.push_back(Printing {
            printer,
            messages: self.messages,
        });
        Ok(())
    }

    /// Waits for the oldest part that is being laid out, and keeps it in a file.
    fn take_printed(&mut self) -> Result<(), RenderError> {
        let Some(printing) = self.printing.pop_front() else {
            return Ok(());
        };
        let printed = match printing.printer.join() {
            Ok(printed) => printed?,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        self.count(&printed)?;
        let name = format!("part-{}.pdf", self.parts.len());
        let path = self.folder.path().join(name);
        fs::write(&path, printed.pdf)?;
        self.parts.push(path);
        self.folder.note_progress(printing.messages)?;
        Ok(())
    }

    fn count(&mut self, printed: &Printed) -> Result<(), RenderError> {
        self.pages += printed.pages;
        self.archival &= printed.archival;
        if self.pages > MAX_PAGES {
            return Err(RenderError::Refused(format!(
                "the PDF would have more than {MAX_PAGES} pages; narrow the export with `from` and `to`"
            )));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut impl Write) -> Result<(), RenderError> {
        if self.begun == 0 {
            let job = self.close("whole")?;
            let printed = self.press.print(job.data, job.pictures)?;
            self.count(&printed)?;
            out.write_all(&printed.pdf)?;
            return Ok(());
        }
        if !self.open.messages.is_empty() {
            self.print()?;
        }
        while !self.printing.is_empty() {
            self.take_printed()?;
        }
        let mut joined = Joined::default();
        for part in &self.parts {
            joined.add(&fs::read(part)?)?;
            fs::remove_file(part)?;
        }
        let total = self.pages;
        for first in (1..=total).step_by(PART_NUMBERS) {
            let mut data = Data::new(self.head, "numbers");
            let last = total.min(first + PART_NUMBERS - 1);
            data.numbers = Some(Numbers { first, last, total });
            let numbers = self.press.print(serde_json::to_vec(&data)?, Vec::new())?;
            joined.lay_over(first - 1, &numbers.pdf)?;
        }
        joined.write(self.archival, out)
    }
}

/// What is laid out together.
struct Job {
    data: Vec<u8>,
    pictures: Vec<(String, Vec<u8>)>,
}

/// A text that is not Markdown: paragraphs of lines.
fn plain(text: &str) -> Vec<Block> {
    let text = text.replace("\r\n", "\n").replace('\t', " ");
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

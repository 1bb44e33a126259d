//! What Typst sees: one template, fonts, and the data and pictures of one part. No other file, no package, no network, no
//! clock.

use std::{collections::HashMap, path::Path};

use typst::{
    Library, LibraryExt as _, World,
    diag::{FileError, FileResult, SourceDiagnostic},
    foundations::{Bytes, Datetime, Duration},
    syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot},
    text::{Font, FontBook},
    utils::LazyHash,
};
use typst_kit::fonts::{self, FontStore};
use typst_layout::PagedDocument;
use typst_pdf::{PdfOptions, PdfStandard, PdfStandards};

use crate::engines::render::RenderError;

const TEMPLATE: &str = include_str!("template.typ");

/// What all parts share.
pub(super) struct Press {
    library: LazyHash<Library>,
    fonts: FontStore,
    template: Source,
}

/// A part that was laid out.
pub(super) struct Printed {
    pub(super) pdf: Vec<u8>,
    pub(super) pages: usize,
    /// Whether it keeps to PDF/A-2b: not where there is a character that no font has.
    pub(super) archival: bool,
}

impl Press {
    /// Finds the fonts of a folder; those that are built in come last.
    pub(super) fn new(folder: &Path) -> Self {
        let mut store = FontStore::new();
        store.extend(fonts::scan(folder));
        store.extend(fonts::embedded());
        Self {
            library: LazyHash::new(Library::default()),
            fonts: store,
            template: Source::new(file_id("/main.typ"), TEMPLATE.to_owned()),
        }
    }

    /// Lays a part out. `files` are its pictures, by their paths.
    pub(super) fn print(
        &self,
        data: Vec<u8>,
        files: Vec<(String, Vec<u8>)>,
    ) -> Result<Printed, RenderError> {
        let mut known = HashMap::from([(file_id("/data.json"), Bytes::new(data))]);
        for (path, content) in files {
            known.insert(file_id(&path), Bytes::new(content));
        }
        let desk = Desk {
            press: self,
            files: known,
        };
        let document = typst::compile::<PagedDocument>(&desk).output;
        let printed = document
            .map_err(|errors| failed(&errors))
            .and_then(|document| write(&document));
        drop(desk);
        // No part resembles another one, and what is remembered of it is of no use; but another one may be half done.
        comemo::evict(1);
        printed
    }
}

/// PDF/A-2b where it can be, else a plain PDF: a tool may show a box for a character, and still its text is there.
fn write(document: &PagedDocument) -> Result<Printed, RenderError> {
    let options = |standards: &[PdfStandard]| PdfOptions {
        standards: PdfStandards::new(standards).expect("one alone contradicts nothing"),
        tagged: false,
        ..PdfOptions::default()
    };
    let pages = document.pages().len();
    if let Ok(pdf) = typst_pdf::pdf(document, &options(&[PdfStandard::A_2b])) {
        return Ok(Printed {
            pdf,
            pages,
            archival: true,
        });
    }
    let pdf = typst_pdf::pdf(document, &options(&[])).map_err(|errors| failed(&errors))?;
    Ok(Printed {
        pdf,
        pages,
        archival: false,
    })
}

fn failed(errors: &[SourceDiagnostic]) -> RenderError {
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    RenderError::Typst(messages.join("; "))
}

/// Ids are kept for ever, and there are 65,535 of them: paths are used again for each part.
fn file_id(path: &str) -> FileId {
    let path = VirtualPath::new(path).expect("paths are ours");
    FileId::new(RootedPath::new(VirtualRoot::Project, path))
}

struct Desk<'a> {
    press: &'a Press,
    files: HashMap<FileId, Bytes>,
}

impl World for Desk<'_> {
    fn library(&self) -> &LazyHash<Library> {
        &self.press.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        self.press.fonts.book()
    }

    fn main(&self) -> FileId {
        self.press.template.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.main() {
            Ok(self.press.template.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        self.files.get(&id).cloned().ok_or(FileError::AccessDenied)
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.press.fonts.font(index)
    }

    fn today(&self, _: Option<Duration>) -> Option<Datetime> {
        None
    }
}

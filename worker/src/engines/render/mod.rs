//! Makes a file of a conversation.
//!
//! Whatever was said is untrusted: it may be huge, nested a thousand times, or made to crash a library. So all of this runs
//! in a process of its own (`baatcheet-worker render`, hidden), which reads what the worker put into a folder, writes the
//! result there, and tells in a line of JSON what it made. Messages are read one by one.

mod csv;
mod docx;
mod html;
mod json;
mod markdown;
mod markup;
mod pdf;
mod pictures;
pub mod source;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use serde::{Deserialize, Serialize};
use shared::models::export::Format;

use self::{pictures::Pictures, source::Folder};

/// The name of the subcommand.
pub const SUBCOMMAND: &str = "render";

/// What the subcommand is told.
#[derive(Debug, Clone, clap::Args)]
pub struct RenderArgs {
    /// The folder with the conversation
    #[arg(long)]
    pub folder: PathBuf,
    /// What kind of file is made
    #[arg(long)]
    pub format: String,
    /// Where fonts are
    #[arg(long)]
    pub fonts: PathBuf,
    /// Most messages of a PDF that are laid out together
    #[arg(long, default_value_t = pdf::PART_MESSAGES)]
    pub part_messages: usize,
}

/// What was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Made {
    /// Messages in it.
    pub messages: u64,
    /// Pages, where there are such.
    pub pages: Option<u32>,
    /// Whether a PDF keeps to PDF/A-2b.
    pub archival: Option<bool>,
    /// The most memory that it took, where the system tells.
    pub peak_memory_bytes: Option<u64>,
}

/// What the process says at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// The result is in its place.
    Made(Made),
    /// It cannot be made, ever; why, for the user.
    Refused(String),
}

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// It can never be made; for the user.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read or written.
    #[error("a file cannot be read or written")]
    Io(#[from] io::Error),
    /// What the worker wrote cannot be read, or the result not be put into words.
    #[error("the JSON cannot be read or written")]
    Json(#[from] serde_json::Error),
    /// The table cannot be written.
    #[error("the table cannot be written")]
    Csv(#[from] ::csv::Error),
    /// The DOCX cannot be written.
    #[error("the document cannot be written")]
    Zip(#[from] zip::result::ZipError),
    /// A page cannot be laid out.
    #[error("typst: {0}")]
    Typst(String),
    /// The parts of a PDF cannot be joined.
    #[error("the parts of the PDF cannot be joined")]
    Join(#[from] lopdf::Error),
}

/// Does the work of the subcommand.
pub fn main(args: &RenderArgs) -> ExitCode {
    let said = match render(args) {
        Ok(made) => Said::Made(made),
        Err(RenderError::Refused(reason)) => Said::Refused(reason),
        Err(error) => {
            let _ = writeln!(io::stderr(), "{:#}", anyhow::Error::from(error));
            return ExitCode::FAILURE;
        }
    };
    let line = serde_json::to_string(&said).expect("it is plain data");
    match writeln!(io::stdout(), "{line}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Makes the file that is asked for.
///
/// # Errors
/// See [`RenderError`].
pub fn render(args: &RenderArgs) -> Result<Made, RenderError> {
    let format: Format = serde_json::from_value(args.format.as_str().into())?;
    let folder = Folder::new(&args.folder);
    let (head, entries) = folder.open()?;
    let mut pictures = Pictures::new(folder.clone());
    let mut out = BufWriter::new(File::create(folder.result())?);
    let (mut pages, mut archival) = (None, None);
    let messages = match format {
        Format::Pdf => {
            let made = pdf::write(&head, entries, args, &mut pictures, &mut out)?;
            (pages, archival) = (u32::try_from(made.pages).ok(), Some(made.archival));
            made.messages
        }
        Format::Docx => docx::write(
            &head,
            entries,
            &mut pictures,
            File::create(folder.result())?,
        )?,
        Format::Markdown => markdown::write(&head, entries, &mut out)?,
        Format::Html => html::write(&head, entries, &mut pictures, &mut out)?,
        Format::Json => json::write(&head, entries, &mut out)?,
        Format::Csv => csv::write(&head, entries, &mut out)?,
    };
    out.flush()?;
    Ok(Made {
        messages,
        pages,
        archival,
        peak_memory_bytes: peak_memory_bytes(),
    })
}

/// The most memory that this process has held (`VmHWM` of proc(5)).
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

//! What the worker does for an export: it reads the conversation into a folder, has the file made there by a process of
//! its own, and stores it.

pub(crate) mod snapshot;

use std::{convert::Infallible, fs, path::Path, time::Duration};

use bytes::Bytes;
use shared::{
    clients::storage::{self, Unclaimed},
    keyring::Sha256,
    models::export::Format,
};
use tokio::{fs::File, io::AsyncReadExt as _};

use crate::{
    context::JobContext,
    engines::{
        process::{Isolation, Limits, ProcessError},
        render::{Made, SUBCOMMAND, Said, source::Folder},
    },
};

/// Percent done when all messages are read, and when the file is written.
pub(crate) const READ: u8 = 40;
pub(crate) const WRITTEN: u8 = 90;

/// How often it is looked how far the file has come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What making a file may use. A PDF of many messages takes the most: it is laid out in parts, two at once, on a core each,
/// in some 300 MB; threads and fonts take address space that is never used.
const LIMITS: Limits = Limits {
    address_space_bytes: 3 << 30,
    cpu: Duration::from_mins(24),
    file_bytes: 1 << 30,
    timeout: Duration::from_mins(12),
    isolation: Isolation::None,
};

/// What the files of the fonts are called that exports are made with.
const FAMILY: &str = "NotoSans";

/// Bytes that are sent to the store at once.
const PIECE_BYTES: usize = 256 << 10;

/// Why no file was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    /// It can never be made; for the user.
    #[error("{0}")]
    Refused(String),
    /// The process that makes it gave no result.
    #[error("the file was not made")]
    Render(#[source] ProcessError),
    /// It said something that we do not understand.
    #[error("the process that makes the file said something else")]
    Unclear(#[source] serde_json::Error),
    /// A file of ours cannot be read or written.
    #[error("the folder of the export cannot be used")]
    Io(#[from] std::io::Error),
    /// The messages cannot be read.
    #[error("the conversation cannot be read")]
    Database(#[from] shared::database::Error),
    /// A picture cannot be loaded, or the file not be stored.
    #[error("the storage cannot be used")]
    Storage(#[from] storage::Error),
}

/// Whether there are fonts for many scripts in a folder, or in those in it.
pub(crate) fn has_fonts(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => has_fonts(&entry.path()),
        Ok(_) => entry.file_name().to_string_lossy().starts_with(FAMILY),
        Err(_) => false,
    })
}

/// Has the file made of so many messages.
pub(crate) async fn render(
    ctx: &JobContext,
    format: Format,
    folder: &Folder,
    messages: usize,
) -> Result<Made, ExportError> {
    let path = folder.path();
    let args = [
        "--format".as_ref(),
        format.name().as_ref(),
        "--folder".as_ref(),
        path.as_os_str(),
        "--fonts".as_ref(),
        ctx.fonts.as_os_str(),
    ];
    let begun = tokio::time::Instant::now();
    let output = tokio::select! {
        output = ctx.helper.run(SUBCOMMAND, args, path, &LIMITS) => output.map_err(ExportError::Render)?,
        never = tell(ctx, folder, messages) => match never {},
    };
    let said: Said = serde_json::from_slice(&output.stdout).map_err(ExportError::Unclear)?;
    match said {
        Said::Refused(reason) => Err(ExportError::Refused(reason)),
        Said::Made(made) => {
            tracing::info!(
                format = format.name(),
                messages = made.messages,
                pages = made.pages,
                archival = made.archival,
                peak_memory_bytes = made.peak_memory_bytes,
                duration_ms = begun.elapsed().as_millis(),
                "wrote an export"
            );
            Ok(made)
        }
    }
}

/// Tells how far the file has come, for ever.
async fn tell(ctx: &JobContext, folder: &Folder, messages: usize) -> Infallible {
    let mut tick = tokio::time::interval(LOOK_EVERY);
    loop {
        tick.tick().await;
        let (done, note) = match folder.progress() {
            Some(done) => (done, format!("laid out message {done} of {messages}")),
            None => (0, "writing the file".to_owned()),
        };
        let span = u64::from(WRITTEN - READ);
        let percent = u64::from(READ) + span * done / (messages as u64).max(1);
        ctx.progress(u8::try_from(percent).unwrap_or(WRITTEN), &note)
            .await;
    }
}

/// Sends the file to the store, piece by piece; its key was noted before. Gives its length and SHA-256.
pub(crate) async fn store(
    ctx: &JobContext,
    storage_key: &str,
    format: Format,
    folder: &Folder,
) -> Result<(Unclaimed, u64, [u8; 32]), ExportError> {
    let mut file = File::open(folder.result()).await?;
    let mut upload = ctx.storage.upload(storage_key, format.media_type()).await?;
    let (mut size_bytes, mut digest) = (0, Sha256::default());
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut next = (&mut file).take(PIECE_BYTES as u64);
        if next.read_to_end(&mut piece).await? == 0 {
            break;
        }
        size_bytes += piece.len() as u64;
        digest.update(&piece);
        upload.write(Bytes::from(piece)).await?;
    }
    Ok((upload.finish().await?, size_bytes, digest.finish()))
}

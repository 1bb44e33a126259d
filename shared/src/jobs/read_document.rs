//! Reading the text of a document.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::AttachmentId,
    models::recognition,
    queue::{End, Job, Priority, Queue},
};

/// Reads the text of an attachment's document, page by page, and stores it.
///
/// Which languages it is in, the attachment's recognition says. Safe to repeat: the text is written once, by the run
/// that owns the job, and reading twice gives the same.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReadDocument {
    /// What is read.
    pub attachment: AttachmentId,
}

impl Job for ReadDocument {
    const NAME: &'static str = "read_document";
    const QUEUE: Queue = Queue::Ocr;
    const PRIORITY: Priority = Priority::HIGH;
    /// Ten minutes of reading; the rest is for loading and storing.
    const TIMEOUT: Duration = Duration::from_mins(12);

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        recognition::close(tx, self.attachment, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        recognition::reopen(tx, self.attachment).await
    }
}

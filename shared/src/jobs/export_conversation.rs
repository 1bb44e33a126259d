//! Making a file of a conversation.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::ExportId,
    models::export,
    queue::{End, Job, Queue},
};

/// Writes a conversation to a file and stores it.
///
/// What of it and in which format, the export says. Safe to repeat: the file is named once, by the run that owns the job,
/// and the object of a run that lost it is swept away.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportConversation {
    /// What is made.
    pub export: ExportId,
}

impl Job for ExportConversation {
    const NAME: &'static str = "export_conversation";
    const QUEUE: Queue = Queue::Export;
    /// Twelve minutes of writing; the rest is for reading the messages and storing the file.
    const TIMEOUT: Duration = Duration::from_mins(20);

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        export::close(tx, self.export, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        export::reopen(tx, self.export).await
    }
}

//! Writing down what is said in a sound.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::AttachmentId,
    models::transcription,
    queue::{Backoff, End, Job, Priority, Queue},
};

/// Writes down what is said in an attachment's sound, and stores it.
///
/// Which language it is in, the attachment's transcription says, if anybody does. Safe to repeat: the text is written
/// once, by the run that owns the job; a server that is paid for it may be asked twice.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TranscribeAudio {
    /// What is heard.
    pub attachment: AttachmentId,
}

impl Job for TranscribeAudio {
    const NAME: &'static str = "transcribe_audio";
    const QUEUE: Queue = Queue::Audio;
    const PRIORITY: Priority = Priority::HIGH;
    /// Two hours of sound on a slow machine of one's own; each part has a limit of its own.
    const TIMEOUT: Duration = Duration::from_hours(6);
    /// Servers that are busy want to be left alone for a while.
    const BACKOFF: Backoff = Backoff::exponential(Duration::from_secs(10), Duration::from_hours(1));

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        transcription::close(tx, self.attachment, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        transcription::reopen(tx, self.attachment).await
    }
}

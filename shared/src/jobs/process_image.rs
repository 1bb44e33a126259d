//! Making what every picture has for people to look at.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::AttachmentId,
    models::image,
    queue::{End, Job, Queue},
};

/// Makes the standard variants of an attachment's picture, and finds out what it looks like.
///
/// Safe to repeat: the variants are recorded once, by the run that owns the job; what another run has made is removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProcessImage {
    /// Whose picture it is.
    pub attachment: AttachmentId,
}

impl Job for ProcessImage {
    const NAME: &'static str = "process_image";
    const QUEUE: Queue = Queue::Image;
    /// 90 s for the work; the rest is for loading and storing.
    const TIMEOUT: Duration = Duration::from_mins(3);

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        image::close(tx, self.attachment, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        image::reopen(tx, self.attachment).await
    }
}

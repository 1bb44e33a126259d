//! Making a picture that somebody asked for out of an uploaded one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    database::{Result, Tx},
    ids::VariantId,
    models::image_variant,
    queue::{End, Job, Queue},
};

/// Makes a variant of an attachment's picture by its recipe.
///
/// Safe to repeat: the variant is recorded once, by the run that owns the job; what another run has made is removed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MakeVariant {
    /// What is made.
    pub variant: VariantId,
}

impl Job for MakeVariant {
    const NAME: &'static str = "make_variant";
    const QUEUE: Queue = Queue::Image;
    /// 90 s for the work; the rest is for loading and storing.
    const TIMEOUT: Duration = Duration::from_mins(3);

    async fn ended(&self, tx: &mut Tx, end: &End) -> Result<()> {
        image_variant::close(tx, self.variant, end).await
    }

    async fn reopened(&self, tx: &mut Tx) -> Result<()> {
        image_variant::reopen(tx, self.variant).await
    }
}

//! Asking for what every picture has for people to look at.

use chrono::{DateTime, Utc};
use shared::{
    database::Tx,
    jobs::ProcessImage,
    models::{
        attachment::{self, Kind},
        image,
    },
    queue::{self, Enqueue},
};

use crate::error::Result;

/// Asks for it in the transaction of the upload; of what is no picture there is nothing to ask for.
///
/// # Errors
/// As the database fails.
pub(super) async fn begin(tx: &mut Tx, row: &attachment::Model, now: DateTime<Utc>) -> Result<()> {
    if row.kind != Kind::Image {
        return Ok(());
    }
    let attachment = row.id;
    let key = format!("process-image:{attachment}");
    let job = queue::enqueue(tx, Enqueue::new(ProcessImage { attachment }).unique(key)).await?;
    image::begin(tx, attachment, job.id, now).await?;
    Ok(())
}

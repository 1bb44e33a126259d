//! What the making of standard variants and of others has in common.

use anyhow::Context as _;
use bytes::Bytes;
use futures::TryStreamExt as _;
use shared::{
    clients::storage::{Kind, Unclaimed},
    keyring::Sha256,
    models::{attachment, image_variant, pending_object},
};
use tempfile::TempDir;
use tokio::fs::File;
use tokio_util::io::ReaderStream;

use super::{Failure, reading::load};
use crate::{
    context::JobContext,
    engines::variants::{self, Made, Order, Variant, VariantError, Wanted},
};

/// What was made, in a folder that goes with it.
pub(super) struct Batch {
    order: Order,
    pub(super) made: Made,
    _folder: TempDir,
}

/// A file in the storage that no row names yet; dropped, it is deleted.
pub(super) struct Stored {
    pub(super) file: image_variant::Made,
    pub(super) object: Unclaimed,
}

/// Loads a picture, and makes what is wanted of it.
pub(super) async fn make(
    ctx: &JobContext,
    attachment: &attachment::Model,
    wanted: Wanted,
) -> anyhow::Result<Batch> {
    ctx.progress(5, "loading the picture").await;
    let bytes = load(ctx, attachment).await?;
    let folder = ctx.scratch.folder().context("no temporary folder")?;
    let order = Order {
        upload: folder.path().join("upload"),
        folder: folder.path().to_owned(),
        fonts: ctx.fonts.clone(),
        wanted,
    };
    tokio::fs::write(&order.upload, bytes).await?;
    ctx.progress(20, "making the variants").await;
    let made = variants::make(&ctx.helper, &order).await.map_err(explain)?;
    ctx.progress(80, "storing the variants").await;
    Ok(Batch {
        order,
        made,
        _folder: folder,
    })
}

/// Tells users what they can understand; the rest is for the log.
fn explain(error: VariantError) -> anyhow::Error {
    let reason = match &error {
        VariantError::Refused(refused) => Failure::Permanent(refused.to_string()),
        VariantError::TooSlow(_) => Failure::Temporary {
            reason: error.to_string(),
            retry_after: None,
        },
        VariantError::Process(_) | VariantError::Io(_) => return error.into(),
    };
    anyhow::Error::new(error).context(reason)
}

impl Batch {
    /// Puts a variant's file into the storage. Its key is noted before the first byte is there.
    pub(super) async fn store(
        &self,
        ctx: &JobContext,
        variant: &Variant,
    ) -> anyhow::Result<Stored> {
        let file = File::open(variants::file_of(&self.order, variant)).await?;
        let storage_key = ctx.storage.random_key(Kind::Image);
        pending_object::begin(&ctx.db, &storage_key).await?;
        let mut upload = ctx
            .storage
            .upload(&storage_key, &variant.media_type)
            .await?;
        let (mut hash, mut size_bytes) = (Sha256::default(), 0);
        let mut pieces = ReaderStream::with_capacity(file, 64 * 1024);
        while let Some(piece) = pieces.try_next().await? {
            let piece: Bytes = piece;
            hash.update(&piece);
            size_bytes += piece.len() as u64;
            upload.write(piece).await?;
        }
        let file = image_variant::Made {
            storage_key,
            media_type: variant.media_type.clone(),
            width: variant.width,
            height: variant.height,
            size_bytes,
            sha256: hash.finish(),
        };
        Ok(Stored {
            file,
            object: upload.finish().await?,
        })
    }
}

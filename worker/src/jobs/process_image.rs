//! Making what every picture has for people to look at.

use anyhow::Context as _;
use shared::{
    jobs::ProcessImage,
    models::{
        attachment,
        image::{self, Look},
        image_variant,
    },
};

use super::{Outcome, Run, variants};
use crate::{context::JobContext, engines::variants::Wanted};

impl Run for ProcessImage {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let attachment = attachment::find_for_any_user(&ctx.db, self.attachment).await?;
        let asked = image::find(&ctx.db, self.attachment).await?;
        let (Some(attachment), Some(_)) = (attachment, asked) else {
            return Ok(Outcome::Discard("the attachment was deleted"));
        };
        let batch = variants::make(ctx, &attachment, Wanted::Standard).await?;
        let picture = batch
            .made
            .picture
            .clone()
            .context("nothing was found out")?;
        let mut stored = Vec::new();
        for variant in &batch.made.variants {
            stored.push((variant.name.as_str(), batch.store(ctx, variant).await?));
        }

        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        let now = ctx.clock.now();
        let look = Look {
            width: picture.width,
            height: picture.height,
            frames: picture.frames,
            dominant_color: picture.dominant_color,
            blur_hash: picture.blur_hash,
        };
        image::complete(&mut tx, attachment.id, look, now).await?;
        let mut objects = Vec::new();
        for (name, stored) in stored {
            image_variant::complete_standard(&mut tx, attachment.id, name, stored.file, now)
                .await?;
            objects.push(stored.object);
        }
        // Before the commit: if its answer is lost, rows may name them all the same.
        for object in objects {
            object.keep();
        }
        tx.done(None).await
    }
}

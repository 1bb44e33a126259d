//! Making a picture that somebody asked for out of an uploaded one.

use anyhow::Context as _;
use shared::{
    jobs::MakeVariant,
    models::{attachment, image::Status, image_variant},
    picture::Recipe,
};

use super::{Outcome, Run, variants};
use crate::{context::JobContext, engines::variants::Wanted};

const GONE: &str = "the variant was deleted, or is there already";

impl Run for MakeVariant {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let variant = image_variant::find_for_any_user(&ctx.db, self.variant)
            .await?
            .filter(|variant| variant.status == Status::Processing);
        let Some(variant) = variant else {
            return Ok(Outcome::Discard(GONE));
        };
        let Some(attachment) =
            attachment::find_for_any_user(&ctx.db, variant.attachment_id).await?
        else {
            return Ok(Outcome::Discard(GONE));
        };
        let recipe = variant.recipe.context("it has no recipe")?;
        let recipe: Recipe = serde_json::from_value(recipe).context("its recipe cannot be read")?;
        let batch = variants::make(ctx, &attachment, Wanted::One(recipe)).await?;
        let made = batch.made.variants.first().context("nothing was made")?;
        let stored = batch.store(ctx, made).await?;

        let mut tx = ctx.fenced().await?; // this run still owns the job, or it stops here
        image_variant::complete(&mut tx, variant.id, stored.file, ctx.clock.now()).await?;
        // Before the commit: if its answer is lost, a row may name it all the same.
        stored.object.keep();
        tx.done(None).await
    }
}

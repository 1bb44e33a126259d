//! Telling a client's server.

mod failing;
mod load;
mod redact;
mod request;
mod success;
mod verdict;

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::json;
use shared::{
    clients::outbound::{Limits, Sent},
    ids::DeliveryId,
    jobs::DeliverWebhook,
    keyring,
    models::{delivery, event, webhook},
};
use url::Url;

use self::load::Loaded;
use super::{Outcome, Run};
use crate::{context::JobContext, together::Together};

/// What is read of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// Why there is nothing to do any more.
const DELETED: &str = "the endpoint was deleted";
const ENDED: &str = "the delivery has ended or its endpoint was deleted";
const OFF: &str = "the endpoint is switched off";

/// What deliveries of a worker share.
pub struct Deliveries {
    /// Longest time of a try, where the endpoint says nothing else.
    timeout: Duration,
    loading: Together<DeliveryId, Option<Loaded>>,
    succeeding: Together<success::Success, bool>,
}

impl Deliveries {
    /// With a time limit for endpoints that have none of their own.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            loading: Together::new(1),
            succeeding: Together::new(2),
        }
    }
}

impl Run for DeliverWebhook {
    async fn run(self, ctx: &JobContext) -> anyhow::Result<Outcome> {
        let Some(loaded) = load::load(ctx, self.delivery).await? else {
            return Ok(Outcome::Discard(ENDED));
        };
        if !loaded.endpoint.is_active {
            return discard(ctx, &loaded).await;
        }
        if let Some(why) = loaded.barred {
            return withhold(ctx, &loaded, why).await;
        }
        if let Some(wait) = loaded.slowed(ctx.clock.now()) {
            // It was on its way already when the endpoint asked to be left alone.
            return ctx.fenced().await?.postpone(wait).await;
        }
        let started_at = ctx.clock.now();
        let body = Bytes::from(
            event::payload(
                &loaded.event.kind,
                loaded.event.created_at,
                &loaded.event.data,
            )
            .to_string(),
        );
        let request = match request::Request::new(ctx, &loaded, started_at, &body).await {
            Ok(request) => request,
            Err(error) if is_sealed(&error) => {
                let webhook = loaded.endpoint.id;
                tracing::error!(webhookId = %webhook, error = %format!("{error:#}"), "what a webhook signs with cannot be opened");
                return failing::store_unreadable(ctx, &loaded, started_at).await;
            }
            Err(error) => return Err(error),
        };
        let url = Url::parse(&loaded.endpoint.url)
            .context("an endpoint's URL was checked when it was stored")?;
        let limits = limits(ctx, &loaded.endpoint);
        let sent = tokio::select! {
            biased;
            sent = ctx.outbound.post(&url, request.headers.clone(), body, limits) => sent,
            () = ctx.cancelled() => {
                let of = request.broken_off(started_at, ctx.clock.now());
                return failing::store_broken_off(ctx, &loaded, of).await;
            }
        };
        let of = request.tried(&sent, started_at);
        if is_success(&sent) {
            success::store(ctx, &loaded, of).await
        } else {
            failing::store(ctx, &loaded, &sent, of).await
        }
    }
}

/// Whether no configured key opens what a request needs.
fn is_sealed(error: &anyhow::Error) -> bool {
    let not_opened = error.downcast_ref::<webhook::NotOpened>();
    error.is::<keyring::Error>() || matches!(not_opened, Some(webhook::NotOpened::Sealed(_)))
}

/// Only 2xx is success (Standard Webhooks 1.0.0, "Deliverability").
fn is_success(sent: &Sent) -> bool {
    matches!(&sent.result, Ok(answer) if answer.status.is_success())
}

fn limits(ctx: &JobContext, endpoint: &webhook::Model) -> Limits {
    let own = endpoint
        .timeout_seconds
        .and_then(|seconds| u64::try_from(seconds).ok());
    Limits {
        timeout: own.map_or(ctx.deliveries.timeout, Duration::from_secs),
        max_answer_bytes: MAX_ANSWER_BYTES,
    }
}

/// Ends a delivery to an endpoint that is off. One that we switched off did not get what it wanted: that can be recovered.
async fn discard(ctx: &JobContext, loaded: &Loaded) -> anyhow::Result<Outcome> {
    let mut tx = ctx.fenced().await?;
    let (id, now) = (loaded.delivery.id, ctx.clock.now());
    if loaded.endpoint.disabled_reason.is_some() {
        delivery::give_up(&mut tx, id, OFF, now).await?;
    } else {
        delivery::cancel(&mut tx, id, OFF, now).await?;
    }
    tx.done(Some(json!({ "discarded": OFF }))).await
}

/// Ends a delivery that its endpoint may not have any more.
async fn withhold(ctx: &JobContext, loaded: &Loaded, why: &'static str) -> anyhow::Result<Outcome> {
    let mut tx = ctx.fenced().await?;
    delivery::cancel(&mut tx, loaded.delivery.id, why, ctx.clock.now()).await?;
    tx.done(Some(json!({ "discarded": why }))).await
}

//! What a delivery is made of, read for many at once.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sea_orm::DatabaseConnection;
use shared::{
    database::Result,
    ids::{DeliveryId, EventId, UserId, WebhookId},
    models::{
        delivery, event, user,
        webhook::{self, state},
    },
};

use crate::context::JobContext;

/// What a delivery is made of.
#[derive(Clone)]
pub(super) struct Loaded {
    pub(super) delivery: delivery::Model,
    pub(super) event: Arc<event::Model>,
    pub(super) endpoint: Arc<webhook::Model>,
    /// Why the endpoint may not be sent the event.
    pub(super) barred: Option<&'static str>,
    slowed_until: Option<DateTime<Utc>>,
}

impl Loaded {
    /// How long the endpoint wants to be left alone.
    pub(super) fn slowed(&self, now: DateTime<Utc>) -> Option<Duration> {
        let wait = (self.slowed_until? - now).to_std().ok()?;
        (!wait.is_zero()).then_some(wait)
    }
}

/// Nothing when it has ended, or its endpoint is gone.
pub(super) async fn load(ctx: &JobContext, id: DeliveryId) -> Result<Option<Loaded>> {
    let db = ctx.db.clone();
    let all = move |ids: Vec<DeliveryId>| async move {
        match load_all(&db, &ids).await {
            Ok(mut found) => ids.iter().map(|id| found.remove(id)).collect(),
            // Then each asks for itself, and hears why.
            Err(_) => Vec::new(),
        }
    };
    match ctx.deliveries.loading.ask(id, all).await {
        Some(found) => Ok(found),
        None => Ok(load_all(&ctx.db, &[id]).await?.remove(&id)),
    }
}

async fn load_all(
    db: &DatabaseConnection,
    ids: &[DeliveryId],
) -> Result<HashMap<DeliveryId, Loaded>> {
    let deliveries = delivery::find_open(db, ids).await?;
    let events: Vec<EventId> = deliveries.iter().map(|row| row.event_id).collect();
    let endpoints: Vec<WebhookId> = deliveries.iter().map(|row| row.webhook_id).collect();
    let events: HashMap<EventId, Arc<event::Model>> = event::find_for_deliveries(db, &events)
        .await?
        .into_iter()
        .map(|row| (row.id, Arc::new(row)))
        .collect();
    let states: HashMap<WebhookId, state::Model> = state::find_all(db, &endpoints)
        .await?
        .into_iter()
        .map(|row| (row.webhook_id, row))
        .collect();
    let endpoints: HashMap<WebhookId, Arc<webhook::Model>> =
        webhook::find_for_deliveries(db, &endpoints)
            .await?
            .into_iter()
            .map(|row| (row.id, Arc::new(row)))
            .collect();
    let owners: Vec<UserId> = endpoints.values().map(|row| row.user_id).collect();
    let owners = user::find_standings(db, &owners).await?;
    Ok(deliveries
        .into_iter()
        .filter_map(|delivery| {
            let event = events.get(&delivery.event_id)?.clone();
            let endpoint = endpoints.get(&delivery.webhook_id)?.clone();
            let owner = owners.get(&endpoint.user_id).copied();
            let loaded = Loaded {
                barred: endpoint.barred(owner, event.user_id),
                event,
                endpoint,
                slowed_until: states
                    .get(&delivery.webhook_id)
                    .and_then(|state| state.slowed_until),
                delivery,
            };
            Some((loaded.delivery.id, loaded))
        })
        .collect())
}

//! How providers are: by their breakers, and by a question that costs nothing, asked at most once a minute by all
//! instances together and never for a request.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use shared::clients::chat::AskError;
use tokio::time::MissedTickBehavior;

use super::{HealthStatus, Service};
use crate::app::App;

/// How often a provider is asked by all instances together.
const PROBE_EVERY: Duration = Duration::from_mins(1);
/// How often an instance looks whether it is its turn.
const LOOK: Duration = Duration::from_secs(10);
/// For so long it is remembered how a provider was.
const REMEMBERED: Duration = Duration::from_mins(3);

/// How a provider was when it was asked last.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Probed {
    is_well: bool,
    latency_ms: u64,
}

/// Starts to ask, where that is wanted.
pub(super) fn start(app: &App) {
    if !app.config.health_probe_providers {
        return;
    }
    let (probing, closing) = (app.clone(), app.closing.clone());
    app.tasks
        .spawn(closing.run_until_cancelled_owned(async move {
            let mut last = BTreeMap::new();
            let mut tick = tokio::time::interval(LOOK);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                probe_all(&probing, &mut last).await;
            }
        }));
}

async fn probe_all(app: &App, last: &mut BTreeMap<Arc<str>, Instant>) {
    let keys = app.redis.keys().clone();
    let me = app.chat.instance().as_bytes().to_vec();
    for (provider, key) in app.providers.probes() {
        let turn = format!("{}:turn", keys.provider_health(&provider.name));
        // Without Redis nobody knows whose turn it is, and nobody could be told.
        let is_turn = match app.redis.claim(&turn, me.clone(), PROBE_EVERY).await {
            Ok(true) => true,
            // Redis may have heard us, and we not its answer.
            Ok(false) => {
                let is_due = last
                    .get(&provider.name)
                    .is_none_or(|last| last.elapsed() > PROBE_EVERY);
                is_due
                    && app
                        .redis
                        .get(&turn)
                        .await
                        .is_ok_and(|whose| whose.as_ref() == Some(&me))
            }
            Err(_) => false,
        };
        if !is_turn {
            continue;
        }
        last.insert(provider.name.clone(), Instant::now());
        let asked = Instant::now();
        let answer = app.chat.probe(&provider, &key).await;
        let probed = Probed {
            // It is there, whatever it thinks of the question.
            is_well: !matches!(answer, Err(AskError::Unavailable { .. })),
            latency_ms: u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX),
        };
        if let Ok(json) = serde_json::to_vec(&probed) {
            let key = keys.provider_health(&provider.name);
            if let Err(error) = app.redis.set(&key, json, REMEMBERED).await {
                tracing::debug!(error = %error, "how a provider is is not remembered");
            }
        }
    }
}

/// How each provider is.
pub(super) async fn services(app: &App) -> BTreeMap<String, Service> {
    let mut services = BTreeMap::new();
    for view in app.providers.view().await {
        let key = app.redis.keys().provider_health(&view.name);
        let known = app.redis.get(&key).await.ok().flatten();
        let probed: Option<Probed> = known.and_then(|json| serde_json::from_slice(&json).ok());
        let mut all = view.groups.iter().flat_map(|group| &group.keys);
        let is_refused = all.all(|key| key.retired.is_some());
        let is_open = view.models.iter().any(|model| model.open.is_some());
        let is_away = probed.is_some_and(|probed| !probed.is_well);
        let (status, hint) = if is_refused {
            let hint = "it takes none of our keys: see GET /api/v1/admin/providers";
            (HealthStatus::Unhealthy, Some(hint))
        } else if is_away {
            (HealthStatus::Unhealthy, None)
        } else if is_open {
            let hint = "it has failed, and is left alone for a moment";
            (HealthStatus::Degraded, Some(hint))
        } else if !view.models.is_empty() {
            let hint = "it has failed, and the next question shows whether it is back";
            (HealthStatus::Degraded, Some(hint))
        } else {
            (HealthStatus::Healthy, None)
        };
        let latency = probed.map_or(0, |probed| probed.latency_ms);
        services.insert(
            view.name,
            Service {
                status,
                latency,
                hint,
            },
        );
    }
    services
}

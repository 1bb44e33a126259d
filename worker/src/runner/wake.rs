//! Hearing what happens elsewhere. All of it would be found by a tick; hearing it saves the wait.

use std::sync::Arc;

use shared::{ids::JobId, queue::Queue, redis::Heard};

use super::{Engine, Stop};

pub(super) async fn listen(engine: Arc<Engine>) {
    let redis = &engine.context.redis;
    let keys = redis.keys();
    let (enqueued, dispatched, cancel) = (keys.enqueued(), keys.dispatched(), keys.cancel());
    let mut subscription =
        match redis.subscribe(&[enqueued.clone(), dispatched.clone(), cancel.clone()]) {
            Ok(subscription) => subscription,
            Err(error) => {
                tracing::error!(error = %error, "cannot listen to redis; ticks do the work");
                return std::future::pending().await;
            }
        };
    loop {
        match subscription.next().await {
            Heard::Message(channel, message) if channel == enqueued => {
                for queue in message.split(',').filter_map(|name| name.parse().ok()) {
                    engine.want_dispatch(queue);
                }
            }
            Heard::Message(channel, message) if channel == dispatched => {
                if let Some(lane) = message
                    .parse::<Queue>()
                    .ok()
                    .and_then(|queue| engine.lanes.get(&queue))
                {
                    lane.available.notify_one();
                }
            }
            Heard::Message(_, message) => {
                for id in message.split(',').filter_map(|id| id.parse::<JobId>().ok()) {
                    engine.stop(Stop::Cancelled, |key| key.0 == id);
                }
            }
            Heard::Gap => {
                for (&queue, lane) in &engine.lanes {
                    engine.want_dispatch(queue);
                    lane.available.notify_one();
                }
            }
        }
    }
}

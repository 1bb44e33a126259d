//! Counting the queues for the metrics: every worker asks for its turn, and one of them does it.

use std::sync::Arc;

use shared::queue::figures::{SAMPLE_EVERY, sample};
use tokio::time::MissedTickBehavior;

use super::Engine;

pub(super) async fn run(engine: Arc<Engine>) {
    let mut tick = tokio::time::interval(SAMPLE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // Not on a connection of the engine: a deep backlog takes a while, and dispatch must not wait for it.
        let pool = engine.context.db.get_postgres_connection_pool();
        if let Err(error) = sample(pool).await {
            tracing::debug!(error = %error, "could not count the queues");
        }
    }
}

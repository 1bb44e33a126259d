//! Calls of servers of which nobody tells what came: their worker was killed, or was stopped while Postgres was away.

use std::time::Duration;

use sea_orm::DbErr;
use shared::{
    database::{Error, Result},
    models::call,
};
use uuid::Uuid;

use super::Engine;

/// Most calls that are looked at at a time.
const BATCH: i64 = 500;
/// Longest wait for a connection, which jobs may have: the sweep has more to do.
const PATIENCE: Duration = Duration::from_millis(500);

impl Engine {
    /// Accounts for calls whose run is over, and gives those that were found. Only those that were found the time `before`, too:
    /// the row of a call may still be on its way when its job ends.
    pub(super) async fn sweep_calls(&self, before: &[Uuid]) -> sqlx::Result<Vec<Uuid>> {
        let lost: Vec<Uuid> = self
            .dispatching
            .run(async |db| {
                sqlx::query_scalar(call::LOST)
                    .bind(BATCH)
                    .fetch_all(db)
                    .await
            })
            .await?;
        let mut estimated = 0_u32;
        for &id in lost.iter().filter(|id| before.contains(id)) {
            match self.estimate(id).await {
                Ok(is_estimated) => estimated += u32::from(is_estimated),
                // All that were found are looked at again.
                Err(Error::Unavailable(error)) => {
                    tracing::debug!(error = %error, "estimates of calls wait for postgres");
                    break;
                }
                // One that cannot be accounted for must not keep the others waiting.
                Err(error) => {
                    let error = anyhow::Error::new(error);
                    tracing::error!(call = %id, error = %format!("{error:#}"), "could not account for a call of a server");
                }
            }
        }
        if estimated > 0 {
            tracing::warn!(
                calls = estimated,
                "calls of servers whose runs are over were estimated"
            );
        }
        Ok(lost)
    }

    async fn estimate(&self, id: Uuid) -> Result<bool> {
        let begun = tokio::time::timeout(PATIENCE, self.context.begin()).await;
        let busy = |_| Error::Unavailable(DbErr::Custom("jobs have all connections".to_owned()));
        let mut tx = begun.map_err(busy)??;
        let is_estimated = call::estimate(&mut tx, &self.context.usage_limits, id).await?;
        tx.commit().await?;
        Ok(is_estimated)
    }
}

//! What the database of a test has, and what a test has it have.

use crate::{Actor, TestApp, eventually};

impl TestApp {
    /// How many jobs are in a state.
    pub async fn count_jobs(&self, state: &str) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM jobs WHERE state = $1")
            .bind(state)
            .fetch_one(self.database.pool())
            .await
            .expect("a count")
    }

    /// How many jobs have not ended.
    pub async fn count_live_jobs(&self) -> i64 {
        sqlx::query_scalar(
            "SELECT count(*) FROM jobs WHERE state IN ('queued', 'parked', 'dispatched', 'running')",
        )
        .fetch_one(self.database.pool())
        .await
        .expect("a count")
    }

    /// Forgets all jobs, where they are not what is tested.
    pub async fn forget_jobs(&self) {
        sqlx::query("DELETE FROM jobs")
            .execute(self.database.pool())
            .await
            .expect("they are forgotten");
    }

    /// Waits until one answer is being made.
    pub async fn wait_for_question(&self) {
        eventually("the question is stored", async || {
            let count: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
                .fetch_one(self.database.pool())
                .await
                .expect("a count");
            count == 1
        })
        .await;
    }

    /// Makes somebody an administrator, and logs them in as such.
    pub async fn promote(&self, actor: &Actor) -> Actor {
        sqlx::query("UPDATE users SET role = 'admin' WHERE email = $1")
            .bind(&actor.email)
            .execute(self.database.pool())
            .await
            .expect("a change");
        self.login(actor).await
    }
}

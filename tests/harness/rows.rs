//! What the database of a test has, and what a test has it have.

use crate::{Actor, TestApp, eventually};

impl TestApp {
    /// Runs a query that tells one number.
    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql)
            .fetch_one(self.database.pool())
            .await
            .expect("a number")
    }

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

impl TestApp {
    /// Lets so many deliveries to an endpoint have failed, a second apart, the last one now. Their jobs are gone.
    pub async fn failed_deliveries(&self, webhook: &str, number: i32) {
        let webhook: uuid::Uuid = webhook.parse().expect("an id");
        sqlx::query(
            "WITH made AS (
                INSERT INTO events (id, user_id, kind, data, created_at)
                SELECT gen_random_uuid(), w.user_id, 'image.ocr_failed', jsonb_build_object('number', n),
                       job_now() - ($2 - n) * interval '1 second'
                  FROM webhooks w, generate_series(1, $2) n WHERE w.id = $1 RETURNING id, created_at)
             INSERT INTO deliveries (id, webhook_id, event_id, status, error, created_at, finished_at)
             SELECT gen_random_uuid(), $1, id, 'failed', 'the endpoint answered 500', created_at, created_at FROM made",
        )
        .bind(webhook)
        .bind(number)
        .execute(self.database.pool())
        .await
        .expect("they are there");
    }
}

//! What becomes of the jobs of workers that died.

use std::time::Duration;

use shared::{ids::JobId, queue::LiveJob};
use tests::{
    TestApp,
    work::{Effect, What, numbers},
};

use crate::engine::{act, look, spawn};

/// Claims a job as a worker would that then dies.
pub(crate) async fn claim_and_die(app: &TestApp, id: JobId) {
    sqlx::query(
        "UPDATE jobs SET state = 'running', attempt = attempt + 1, epoch = epoch + 1, worker_id = 'dead',
                lease_until = job_now() + interval '30 seconds' WHERE id = $1",
    )
    .bind(id.0)
    .execute(app.database.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn the_jobs_of_a_dead_worker_run_again_after_their_lease() {
    let app = spawn().await;
    let job = app.enqueue(Effect { number: 1 }).await;
    claim_and_die(&app, job.id).await;
    app.advance(Duration::from_secs(30)).await;
    assert_eq!(app.sweep().await, 0, "the lease still holds");
    app.advance(Duration::from_millis(1)).await;
    assert_eq!(app.sweep().await, 1);
    assert_eq!(
        look(&app, job.id).await,
        (
            "queued".to_owned(),
            1,
            Some("the worker that ran it died".to_owned()),
            1
        )
    );
    app.run_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await, [1]);
    assert_eq!(look(&app, job.id).await.0, "succeeded");
    app.finish().await;
}

#[tokio::test]
async fn a_job_on_which_three_workers_died_is_quarantined() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::Hold)).await;
    sqlx::query("UPDATE jobs SET max_attempts = 10")
        .execute(app.database.pool())
        .await
        .unwrap();
    for _ in 0..3 {
        claim_and_die(&app, job.id).await;
        app.advance(Duration::from_secs(31)).await;
        assert_eq!(app.sweep().await, 1);
    }
    assert_eq!(look(&app, job.id).await.0, "quarantined");
    assert_eq!(app.run_due_jobs().await, 0);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_dead_workers_last_attempt_ends_the_job() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::Hold)).await;
    sqlx::query("UPDATE jobs SET max_attempts = 1")
        .execute(app.database.pool())
        .await
        .unwrap();
    claim_and_die(&app, job.id).await;
    app.advance(Duration::from_secs(31)).await;
    app.sweep().await;
    assert_eq!(look(&app, job.id).await.0, "failed");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_run_that_lost_its_job_changes_nothing() {
    let app = spawn().await;
    let job = app.enqueue(Effect { number: 1 }).await;
    claim_and_die(&app, job.id).await;
    let tx = app.begin().await;
    assert!(
        LiveJob::lock_run(&tx, job.id, 2).await.unwrap().is_none(),
        "another epoch is another run"
    );
    assert!(LiveJob::lock_run(&tx, job.id, 1).await.unwrap().is_some());
    drop(tx);
    app.advance(Duration::from_secs(31)).await;
    app.sweep().await;
    let tx = app.begin().await;
    assert!(
        LiveJob::lock_run(&tx, job.id, 1).await.unwrap().is_none(),
        "a swept run owns nothing"
    );
    drop(tx);
    app.run_jobs().await;
    app.finish().await;
}

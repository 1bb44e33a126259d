//! The job engine's rules, one job at a time, on a frozen clock.

use std::time::Duration;

use shared::{
    database::Error,
    ids::JobId,
    queue::{self, End, Enqueue, Priority},
};
use tests::{
    Options, TestApp,
    work::{self, Act, Effect, What, numbers},
};

/// A product whose worker knows jobs for tests.
pub(crate) async fn spawn() -> TestApp {
    let app = TestApp::with(Options {
        registry: Some(work::registry()),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    app
}

pub(crate) fn act(number: i64, what: What) -> Act {
    Act { number, what }
}

/// State, attempt, public error and number of kept errors of a job.
pub(crate) async fn look(app: &TestApp, id: JobId) -> (String, i32, Option<String>, i32) {
    sqlx::query_as(
        "SELECT state, attempt, last_error, coalesce(jsonb_array_length(errors), 0) FROM jobs WHERE id = $1",
    )
    .bind(id.0)
    .fetch_one(app.database.pool())
    .await
    .unwrap()
}

#[tokio::test]
async fn a_job_runs_once_and_its_effect_is_stored_once() {
    let app = spawn().await;
    let job = app.enqueue(Effect { number: 7 }).await;
    app.run_jobs().await;
    app.run_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await, [7]);
    assert_eq!(
        look(&app, job.id).await,
        ("succeeded".to_owned(), 1, None, 0)
    );
    app.finish().await;
}

#[tokio::test]
async fn a_rollback_enqueues_nothing() {
    let app = spawn().await;
    let mut tx = app.begin().await;
    queue::enqueue(&mut tx, Effect { number: 1 }).await.unwrap();
    drop(tx);
    app.run_jobs().await;
    assert!(numbers(&app.database, "effects").await.is_empty());
    assert_eq!(app.count_jobs("queued").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let app = spawn().await;
    app.enqueue(Enqueue::new(Effect { number: 1 }).delay(Duration::from_mins(1)))
        .await;
    app.advance(Duration::from_millis(59_999)).await;
    assert_eq!(app.run_due_jobs().await, 0);
    app.advance(Duration::from_millis(1)).await;
    assert_eq!(app.run_due_jobs().await, 1);
    app.finish().await;
}

#[tokio::test]
async fn urgent_jobs_go_first() {
    let app = spawn().await;
    for (number, priority) in [
        (1, Priority::LOW),
        (2, Priority::MEDIUM),
        (3, Priority::HIGH),
        (4, Priority(11)),
    ] {
        app.enqueue(Enqueue::new(act(number, What::FailUntil(0))).priority(priority))
            .await;
    }
    // One slot, so that the order of the claims is the order of the starts.
    let ids: Vec<i16> = sqlx::query_scalar("SELECT priority FROM jobs ORDER BY priority")
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    assert_eq!(ids, [10, 11, 50, 90]);
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_failing_job_is_tried_three_times_with_growing_waits() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::Fail)).await;
    let mut waits = Vec::new();
    for attempt in 1..=2 {
        assert_eq!(app.run_due_jobs().await, 1);
        assert_eq!(
            look(&app, job.id).await,
            (
                "queued".to_owned(),
                attempt,
                Some("internal error".to_owned()),
                attempt
            )
        );
        let wait: f64 =
            sqlx::query_scalar("SELECT extract(epoch FROM run_at - job_now())::float8 FROM jobs")
                .fetch_one(app.database.pool())
                .await
                .unwrap();
        waits.push(wait);
        app.advance(Duration::from_secs_f64(wait + 0.001)).await;
    }
    assert!(
        (1.0..=2.0).contains(&waits[0]) && (2.0..=4.0).contains(&waits[1]),
        "{waits:?}"
    );
    assert_eq!(app.run_due_jobs().await, 1);
    // Users read nothing about the inside; operators do.
    assert_eq!(
        look(&app, job.id).await,
        ("failed".to_owned(), 3, Some("internal error".to_owned()), 3)
    );
    let detail: String = sqlx::query_scalar("SELECT errors->0->>'message' FROM jobs")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(detail, "a secret of the inside");
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_job_that_heals_succeeds_and_shows_no_error() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::FailUntil(3))).await;
    app.run_jobs().await;
    assert_eq!(
        look(&app, job.id).await,
        ("succeeded".to_owned(), 3, None, 2)
    );
    app.finish().await;
}

#[tokio::test]
async fn a_permanent_error_ends_at_once_with_its_reason() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::FailForGood)).await;
    app.run_jobs().await;
    assert_eq!(
        look(&app, job.id).await,
        (
            "failed".to_owned(),
            1,
            Some("the file is damaged".to_owned()),
            1
        )
    );
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn the_other_side_may_ask_for_a_longer_wait() {
    let app = spawn().await;
    app.enqueue(act(1, What::RetryAfter(300))).await;
    app.run_due_jobs().await;
    app.advance(Duration::from_secs(299)).await;
    assert_eq!(app.run_due_jobs().await, 0);
    app.advance(Duration::from_secs(1)).await;
    assert_eq!(app.run_due_jobs().await, 1);
    app.run_jobs().await;
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_panic_and_a_timeout_are_failures_like_others() {
    let app = spawn().await;
    let panics = app.enqueue(act(1, What::Panic)).await;
    let hangs = app.enqueue(act(2, What::Hold)).await;
    sqlx::query("UPDATE jobs SET timeout_ms = 50 WHERE id = $1")
        .bind(hangs.id.0)
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    assert_eq!(
        look(&app, panics.id).await,
        ("failed".to_owned(), 3, Some("internal error".to_owned()), 3)
    );
    assert_eq!(
        look(&app, hangs.id).await,
        (
            "failed".to_owned(),
            3,
            Some("took longer than 0.05 s".to_owned()),
            3
        )
    );
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn an_unreadable_payload_and_an_unknown_kind_fail_alone() {
    let app = spawn().await;
    let good = app.enqueue(Effect { number: 1 }).await;
    let (unreadable, unknown) = (
        app.enqueue(Effect { number: 2 }).await,
        app.enqueue(Effect { number: 3 }).await,
    );
    let change = "UPDATE jobs SET payload = CASE WHEN id = $1 THEN '{}' ELSE payload END,
                         kind = CASE WHEN id = $2 THEN 'nobody_knows' ELSE kind END";
    sqlx::query(change)
        .bind(unreadable.id.0)
        .bind(unknown.id.0)
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    assert_eq!(look(&app, good.id).await.0, "succeeded");
    assert_eq!(
        look(&app, unreadable.id).await.2.unwrap(),
        "the job cannot be read"
    );
    assert_eq!(look(&app, unknown.id).await.0, "failed");
    app.expect_failed(2);
    app.finish().await;
}

#[tokio::test]
async fn a_waiting_job_is_ended_once() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::Hold)).await;
    for expected in [true, false] {
        let mut tx = app.begin().await;
        let ended = queue::end_queued(&mut tx, job.id, &End::Failed("not needed".to_owned()))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(ended, expected);
    }
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn a_postgres_that_is_away_is_told_from_one_that_refuses() {
    let app = spawn().await;
    let refused: Error =
        sea_orm::ConnectionTrait::execute_unprepared(&app.database.db, "SELECT 1/0")
            .await
            .unwrap_err()
            .into();
    assert!(matches!(refused, Error::Failed(_)), "{refused:?}");
    let args = shared::config::CommonArgs {
        database_url: Some("postgres://nobody@127.0.0.1:1/none?pool_timeout=1".to_owned()),
        redis_url: Some(app.redis_url.clone()),
        secret_key: Some(tests::SECRET_KEY.to_owned()),
        ..Default::default()
    };
    let config = args
        .check(&mut shared::config::Problems::default())
        .unwrap();
    let away = shared::database::ping(&shared::database::connect(&config.database, None, 1))
        .await
        .unwrap_err();
    assert!(matches!(away, Error::Unavailable(_)), "{away:?}");
    app.finish().await;
}

#[tokio::test]
async fn an_error_text_that_postgres_refuses_ends_the_job_all_the_same() {
    let app = spawn().await;
    let job = app.enqueue(act(1, What::FailWithNul)).await;
    app.run_jobs().await;
    assert_eq!(
        look(&app, job.id).await,
        ("failed".to_owned(), 3, Some("internal error".to_owned()), 3)
    );
    app.expect_failed(1);
    app.finish().await;
}

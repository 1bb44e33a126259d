//! Notes of calls: each becomes one row of the ledger, whoever writes it and however often.

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait as _;
use shared::{
    ids::{AttachmentId, ConversationId, JobId, MessageId, ProjectId, UsageId, UserId},
    models::{
        call,
        usage::{self, Kind, Outcome},
    },
};
use tests::TestDatabase;
use uuid::Uuid;

/// A row without an empty column, as it is known before the call ends.
pub(crate) fn estimate() -> usage::Model {
    let at = DateTime::parse_from_rfc3339("2020-01-02T03:04:05.678901Z").unwrap();
    usage::Model {
        id: UsageId::new(),
        user_id: Some(UserId::new()),
        project_id: Some(ProjectId::new()),
        conversation_id: Some(ConversationId::new()),
        message_id: Some(MessageId::new()),
        attachment_id: Some(AttachmentId::new()),
        kind: Kind::Transcription,
        attempt: 2,
        provider: "groq".to_owned(),
        model: "whisper".to_owned(),
        provider_model: "whisper-large-v3".to_owned(),
        key_group: "acme".to_owned(),
        outcome: Outcome::Interrupted,
        error: Some("\"नहीं\"".to_owned()),
        input_tokens: 1 << 40,
        cached_tokens: 1,
        output_tokens: 2,
        reasoning_tokens: 3,
        audio_ms: Some(4),
        is_estimated: true,
        price_version: Some("1".to_owned()),
        cost_microusd: Some(5),
        latency_ms: 0,
        first_token_ms: Some(6),
        created_at: at.to_utc(),
    }
}

/// The same call, as it is known when it has ended.
pub(crate) fn truth(estimate: &usage::Model) -> usage::Model {
    usage::Model {
        outcome: Outcome::Completed,
        error: None,
        input_tokens: 7,
        cached_tokens: 0,
        output_tokens: 8,
        reasoning_tokens: 0,
        is_estimated: false,
        price_version: Some("reported".to_owned()),
        cost_microusd: None,
        latency_ms: 9,
        first_token_ms: None,
        ..estimate.clone()
    }
}

async fn lost(database: &TestDatabase) -> Vec<Uuid> {
    sqlx::query_scalar(call::LOST)
        .bind(100_i64)
        .fetch_all(database.pool())
        .await
        .unwrap()
}

async fn make_estimate(database: &TestDatabase, id: UsageId) -> u64 {
    sqlx::query(call::ESTIMATE)
        .bind(id.0)
        .execute(database.pool())
        .await
        .unwrap()
        .rows_affected()
}

async fn ledger(database: &TestDatabase) -> Vec<usage::Model> {
    usage::Entity::find().all(&database.db).await.unwrap()
}

async fn notes(database: &TestDatabase) -> usize {
    call::Entity::find().all(&database.db).await.unwrap().len()
}

#[tokio::test]
async fn a_lost_call_is_estimated_once_by_any_number_of_workers() {
    let database = TestDatabase::create().await;
    let estimate = estimate();
    for _ in 0..2 {
        // An answer may be lost.
        call::note(&database.db, Some((JobId::new(), 1)), &estimate)
            .await
            .unwrap();
    }
    assert_eq!(lost(&database).await, [estimate.id.0]);
    let tries = (0..8).map(|_| make_estimate(&database, estimate.id));
    let written: u64 = futures::future::join_all(tries).await.into_iter().sum();
    assert_eq!(written, 1);
    let rows = ledger(&database).await;
    let expected = usage::Model {
        latency_ms: rows[0].latency_ms,
        ..estimate
    };
    assert_eq!(rows, [expected]);
    assert!(rows[0].latency_ms > 0);
    assert_eq!(notes(&database).await, 0);
}

#[tokio::test]
async fn what_is_known_replaces_what_was_estimated() {
    let database = TestDatabase::create().await;
    for is_estimated in [false, true] {
        let estimate = estimate();
        let truth = truth(&estimate);
        call::note(&database.db, Some((JobId::new(), 1)), &estimate)
            .await
            .unwrap();
        if is_estimated {
            assert_eq!(make_estimate(&database, estimate.id).await, 1);
        }
        for _ in 0..2 {
            call::settle(&database.db, &truth).await.unwrap();
            assert_eq!(make_estimate(&database, estimate.id).await, 0);
        }
        let row = usage::Entity::find_by_id(truth.id).one(&database.db).await;
        assert_eq!(row.unwrap(), Some(truth));
        assert_eq!(notes(&database).await, 0);
    }
    assert_eq!(ledger(&database).await.len(), 2);
}

#[tokio::test]
async fn both_at_the_same_time_come_to_what_is_known() {
    let database = TestDatabase::create().await;
    for _ in 0..50 {
        let estimate = estimate();
        let truth = truth(&estimate);
        call::note(&database.db, Some((JobId::new(), 1)), &estimate)
            .await
            .unwrap();
        let (_, settled) = tokio::join!(
            make_estimate(&database, estimate.id),
            call::settle(&database.db, &truth)
        );
        settled.unwrap();
        let row = usage::Entity::find_by_id(truth.id).one(&database.db).await;
        assert_eq!(row.unwrap(), Some(truth));
    }
    assert_eq!(
        (ledger(&database).await.len(), notes(&database).await),
        (50, 0)
    );
}

#[tokio::test]
async fn a_call_that_was_not_made_leaves_nothing() {
    let database = TestDatabase::create().await;
    for is_estimated in [false, true] {
        let estimate = estimate();
        call::note(&database.db, Some((JobId::new(), 1)), &estimate)
            .await
            .unwrap();
        if is_estimated {
            assert_eq!(make_estimate(&database, estimate.id).await, 1);
        }
        for _ in 0..2 {
            call::withdraw(&database.db, estimate.id).await.unwrap();
        }
        assert_eq!(
            (ledger(&database).await.len(), notes(&database).await),
            (0, 0)
        );
    }
}

#[tokio::test]
async fn a_call_of_a_request_is_lost_when_it_must_have_ended() {
    let database = TestDatabase::create().await;
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT job_now()")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let (before, current) = (
        estimate(),
        usage::Model {
            created_at: now,
            ..estimate()
        },
    );
    for estimate in [&before, &current] {
        call::note(&database.db, None, estimate).await.unwrap();
    }
    assert_eq!(lost(&database).await, [before.id.0]);
    assert_eq!(make_estimate(&database, before.id).await, 1);
    assert_eq!(ledger(&database).await[0].id, before.id);
}

#[tokio::test]
async fn a_call_is_lost_when_its_run_is_over() {
    let database = TestDatabase::create().await;
    let now: DateTime<Utc> = sqlx::query_scalar("SELECT job_now()")
        .fetch_one(database.pool())
        .await
        .unwrap();
    let job = JobId::new();
    sqlx::query(
        "INSERT INTO jobs (id, kind, queue, payload, state, epoch, timeout_ms, run_at, created_at, lease_until)
         VALUES ($1, 'none', 'audio', '{}', 'running', 2, 1000, $2, $2, $2)",
    )
    .bind(job.0)
    .bind(now)
    .execute(database.pool())
    .await
    .unwrap();
    let (before, current) = (estimate(), estimate());
    call::note(&database.db, Some((job, 1)), &before)
        .await
        .unwrap();
    call::note(&database.db, Some((job, 2)), &current)
        .await
        .unwrap();
    // Its lease has run out, but nobody has taken it away yet.
    assert_eq!(lost(&database).await, [before.id.0]);
    for state in [
        "queued",
        "dispatched",
        "succeeded",
        "failed",
        "cancelled",
        "quarantined",
    ] {
        sqlx::query("UPDATE jobs SET state = $1")
            .bind(state)
            .execute(database.pool())
            .await
            .unwrap();
        assert_eq!(
            lost(&database).await,
            [before.id.0, current.id.0],
            "{state}"
        );
    }
}

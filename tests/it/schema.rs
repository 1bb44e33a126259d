//! The schema: every step forth and back, every entity, and what the engine's statements cost.

use std::collections::BTreeSet;

use migration::Migrator;
use sea_orm::{EntityTrait, QuerySelect as _};
use sea_orm_migration::MigratorTrait as _;
use serde_json::Value;
use shared::models::{self, sealed};
use tests::{
    TestApp, TestDatabase,
    process::{Process, program},
};

/// Columns of bytes that hold nothing sealed, and what they hold.
const NOT_SEALED: [(&str, &str); 13] = [
    ("api_keys.key_hash", "SHA-256 of a random key"),
    ("attachments.sha256", "SHA-256 of a file"),
    ("exports.sha256", "SHA-256 of a file"),
    (
        "idempotency_keys.fingerprint",
        "a signature, which is looked at for a day",
    ),
    ("idempotency_keys.key_hash", "SHA-256 of a name"),
    ("image_variants.fingerprint", "SHA-256 of a recipe"),
    ("image_variants.sha256", "SHA-256 of a file"),
    ("webhooks.public_key", "anybody may know it"),
    ("webhook_old_secrets.public_key", "anybody may know it"),
    ("sessions.access_token_hash", "SHA-256 of a random token"),
    (
        "sessions.address_hash",
        "a signature, made anew with each refresh",
    ),
    ("sessions.refresh_token_hash", "SHA-256 of a random token"),
    (
        "spent_refresh_tokens.token_hash",
        "SHA-256 of a random token",
    ),
];

#[tokio::test]
async fn every_step_goes_up_down_and_up_again() {
    let database = TestDatabase::create().await;
    let objects = async || -> Vec<String> {
        let sql = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
                   UNION SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace ORDER BY 1";
        sqlx::query_scalar(sql)
            .fetch_all(database.pool())
            .await
            .unwrap()
    };
    let whole = objects().await;
    assert!(whole.contains(&"jobs_due".to_owned()), "{whole:?}");
    for _ in Migrator::migrations() {
        Migrator::down(&database.db, Some(1)).await.unwrap();
    }
    assert_eq!(
        objects().await,
        ["seaql_migrations", "seaql_migrations_pkey"]
    );
    Migrator::up(&database.db, None).await.unwrap();
    assert_eq!(objects().await, whole);
}

#[tokio::test]
async fn a_step_that_would_hold_up_others_gives_up() {
    let database = TestDatabase::create().await;
    let migrate = || {
        let environment = [("DATABASE_URL", database.url.as_str())];
        Process::start(&program("baatcheet-migration"), &["down"], &environment)
    };
    let mut reading = database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE seaql_migrations IN SHARE MODE")
        .execute(&mut *reading)
        .await
        .unwrap();
    let mut step = migrate();
    assert_eq!(step.wait().await, Some(1));
    step.wait_for_line("lock timeout").await;
    reading.rollback().await.unwrap();
    assert_eq!(migrate().wait().await, Some(0));
}

async fn select<E: EntityTrait>(database: &TestDatabase) {
    E::find().limit(1).all(&database.db).await.unwrap();
}

#[tokio::test]
async fn every_entity_can_be_selected() {
    let database = TestDatabase::create().await;
    select::<models::api_key::Entity>(&database).await;
    select::<models::attachment::Entity>(&database).await;
    select::<models::call::Entity>(&database).await;
    select::<models::context_stamp::Entity>(&database).await;
    select::<models::conversation::Entity>(&database).await;
    select::<models::delivery::Entity>(&database).await;
    select::<models::delivery::attempt::Entity>(&database).await;
    select::<models::event::Entity>(&database).await;
    select::<models::export::Entity>(&database).await;
    select::<models::generation::Entity>(&database).await;
    select::<models::idempotency_key::Entity>(&database).await;
    select::<models::image::Entity>(&database).await;
    select::<models::image_variant::Entity>(&database).await;
    select::<models::job::Entity>(&database).await;
    select::<models::message::Entity>(&database).await;
    select::<models::notification::Entity>(&database).await;
    select::<models::pending_object::Entity>(&database).await;
    select::<models::project::Entity>(&database).await;
    select::<models::provider_key::Entity>(&database).await;
    select::<models::provider_key::retired::Entity>(&database).await;
    select::<models::queue_figure::Entity>(&database).await;
    select::<models::recognition::Entity>(&database).await;
    select::<models::session::Entity>(&database).await;
    select::<models::session::spent::Entity>(&database).await;
    select::<models::storage_view::Entity>(&database).await;
    select::<models::token_factor::Entity>(&database).await;
    select::<models::summary::Entity>(&database).await;
    select::<models::transcription::Entity>(&database).await;
    select::<models::usage::Entity>(&database).await;
    select::<models::user::Entity>(&database).await;
    select::<models::webhook::Entity>(&database).await;
    select::<models::webhook::recovery::Entity>(&database).await;
    select::<models::webhook::secrets::old::Entity>(&database).await;
    select::<models::webhook::state::Entity>(&database).await;
}

/// What is sealed in a column that is not in the list would be lost with its key.
#[tokio::test]
async fn every_column_of_bytes_is_known_as_sealed_or_not() {
    let database = TestDatabase::create().await;
    let columns: Vec<String> = sqlx::query_scalar(
        "SELECT (table_name || '.' || column_name)::text FROM information_schema.columns
          WHERE table_schema = 'public' AND udt_name IN ('bytea', '_bytea')",
    )
    .fetch_all(database.pool())
    .await
    .unwrap();
    let columns: BTreeSet<String> = columns.into_iter().collect();
    let sealed = sealed::ALL.iter().map(ToString::to_string);
    let others = NOT_SEALED.iter().map(|(column, _)| (*column).to_owned());
    let known: Vec<String> = sealed.chain(others).collect();
    assert_eq!(known.len(), columns.len(), "{columns:?}");
    assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), columns);
}

#[tokio::test]
async fn accounts_are_indexed_and_hold_known_words_only() {
    let app = TestApp::spawn().await;
    app.user("ana").await;
    let indexes: Vec<String> =
        sqlx::query_scalar("SELECT indexdef FROM pg_indexes WHERE tablename = 'users'")
            .fetch_all(app.database.pool())
            .await
            .unwrap();
    for column in ["role", "status", "created_at", "is_verified"] {
        assert!(
            indexes
                .iter()
                .any(|index| index.ends_with(&format!("({column})"))),
            "{column}: {indexes:?}"
        );
    }
    for column in ["role", "tier", "status", "presence_sharing"] {
        let sql = format!("UPDATE users SET {column} = 'other'");
        let error = sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(app.database.pool())
            .await
            .unwrap_err();
        let error = error.into_database_error().unwrap();
        assert_eq!(error.constraint(), Some(&*format!("users_{column}_check")));
    }
    app.finish().await;
}

/// Pages that finding the due rows read, from `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)`: all of the plan, but for what
/// follows when they are found.
fn pages_read(plan: &Value) -> i64 {
    fn find(node: &Value) -> Option<&Value> {
        if node["Subplan Name"] == "CTE due" {
            return Some(node);
        }
        node["Plans"].as_array()?.iter().find_map(find)
    }
    let plan = &plan[0]["Plan"];
    let due = find(plan).unwrap_or(plan);
    due["Shared Hit Blocks"].as_i64().unwrap() + due["Shared Read Blocks"].as_i64().unwrap()
}

#[tokio::test]
async fn dispatch_does_not_read_rows_that_wait_for_later_or_have_ended() {
    let app = TestApp::spawn().await;
    let mut connection = app.database.pool().acquire().await.unwrap();
    fill(
        &mut connection,
        &[
            ("queued", "1 day", 100_000),
            ("succeeded", "-1 day", 100_000),
            ("queued", "-1 minute", 100),
        ],
    )
    .await;
    for (statement, limit) in [
        (worker::runner::DISPATCH, 64i64),
        (worker::runner::PEEK, 64),
    ] {
        let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}");
        let mut tx = sqlx::Connection::begin(&mut *connection).await.unwrap();
        let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
            .bind("email")
            .bind(limit)
            .bind(i16::MAX)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        tx.rollback().await.unwrap();
        assert!(
            pages_read(&plan) < 200,
            "{} pages: {plan:#}",
            pages_read(&plan)
        );
    }
    sqlx::query("DELETE FROM jobs")
        .execute(&mut *connection)
        .await
        .unwrap();
    app.finish().await;
}

#[tokio::test]
async fn counting_the_queues_reads_no_rows_that_have_ended_and_not_all_of_a_deep_backlog() {
    let app = TestApp::spawn().await;
    let mut connection = app.database.pool().acquire().await.unwrap();
    fill(
        &mut connection,
        &[
            ("succeeded", "-1 day", 100_000),
            ("queued", "-1 minute", 10_000),
            ("dispatched", "-1 minute", 100),
        ],
    )
    .await;
    // Of each priority, at most so many.
    let most = 100i64;
    let queues: Vec<&str> = shared::queue::Queue::ALL
        .map(shared::queue::Queue::name)
        .into();
    let explain = format!(
        "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}",
        shared::queue::figures::SAMPLE
    );
    let plan: Value = sqlx::query_scalar(sqlx::AssertSqlSafe(explain))
        .bind(&queues)
        .bind(most)
        .fetch_one(&mut *connection)
        .await
        .unwrap();
    let pages = pages_read(&plan);
    assert!(pages < 1000, "{pages} pages: {plan:#}");
    let depths: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, depth FROM queue_figures WHERE depth > 0 ORDER BY state")
            .fetch_all(&mut *connection)
            .await
            .unwrap();
    assert_eq!(
        depths,
        [("dispatched".to_owned(), 100), ("queued".to_owned(), 300)]
    );
    sqlx::query("DELETE FROM jobs")
        .execute(&mut *connection)
        .await
        .unwrap();
    app.finish().await;
}

/// Makes jobs of a queue, and lets Postgres plan as the engine has it plan.
async fn fill(connection: &mut sqlx::PgConnection, jobs: &[(&str, &str, i32)]) {
    for (state, wait, rows) in jobs {
        sqlx::query(
            "INSERT INTO jobs (id, kind, queue, payload, state, timeout_ms, run_at, created_at, priority, finished_at)
             SELECT gen_random_uuid(), 'none', 'email', '{}', $1, 1000, job_now() + $2::interval, job_now(),
                    CASE n % 3 WHEN 0 THEN 10 WHEN 1 THEN 50 ELSE 90 END, CASE $1 WHEN 'succeeded' THEN job_now() END
               FROM generate_series(1, $3) n",
        )
        .bind(state)
        .bind(wait)
        .bind(rows)
        .execute(&mut *connection)
        .await
        .unwrap();
    }
    sqlx::query("VACUUM ANALYZE jobs")
        .execute(&mut *connection)
        .await
        .unwrap();
    for setting in worker::runner::SESSION_SETTINGS {
        sqlx::query(sqlx::AssertSqlSafe(format!(
            "SET {} = {}",
            setting.0, setting.1
        )))
        .execute(&mut *connection)
        .await
        .unwrap();
    }
}

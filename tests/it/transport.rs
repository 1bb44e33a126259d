//! How jobs reach workers: over Redis, without it, and through its accidents.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use shared::queue::{Enqueue, Job as _, Priority, Queue};
use tests::{
    Options, TestApp, eventually,
    process::RedisServer,
    work::{self, Act, Effect, What, numbers},
};
use worker::{
    jobs::Outcome,
    registry::Registry,
    runner::{Drained, Settings},
};

async fn spawn(redis: Option<&RedisServer>) -> TestApp {
    let options = Options {
        live: true,
        registry: Some(work::registry()),
        redis_url: redis.map(RedisServer::url),
        ..Options::default()
    };
    let app = TestApp::with(options).await;
    work::prepare(&app.database).await;
    app
}

fn slots(number: usize) -> impl FnOnce(&mut Settings) {
    move |settings| {
        settings.slots = BTreeMap::from([(Queue::Maintenance, number), (Queue::Analytics, 4)]);
    }
}

/// Makes many `Effect` jobs that are due, in one statement and without telling anybody.
async fn fill(app: &TestApp, jobs: i64, priority: Priority) {
    sqlx::query(
        "INSERT INTO jobs (id, kind, queue, payload, priority, timeout_ms, run_at, created_at)
         SELECT gen_random_uuid(), $1, $2, jsonb_build_object('number', n), $4, 30000, job_now(), job_now()
           FROM generate_series(1, $3) n",
    )
    .bind(Effect::NAME)
    .bind(Effect::QUEUE.name())
    .bind(jobs)
    .bind(priority.0)
    .execute(app.database.pool())
    .await
    .unwrap();
}

async fn count(app: &TestApp, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

async fn all_ended(app: &TestApp) {
    eventually("all jobs have ended", || async {
        app.count_live_jobs().await == 0
    })
    .await;
}

/// Every number from 1 to `jobs`, each once.
async fn assert_each_once(app: &TestApp, jobs: i64) {
    let mut numbers = numbers(&app.database, "effects").await;
    numbers.sort_unstable();
    assert!(
        numbers.iter().copied().eq(1..=jobs),
        "{} effects of {jobs} jobs",
        numbers.len()
    );
}

#[tokio::test]
async fn a_job_is_taken_over_redis_and_redis_is_empty_afterwards() {
    let mut redis = RedisServer::start().await;
    let app = spawn(Some(&redis)).await;
    let worker = app.start_worker_with(slots(4));
    for number in 1..=50 {
        app.enqueue(Effect { number }).await;
    }
    all_ended(&app).await;
    assert_each_once(&app, 50).await;
    assert_eq!(worker.shutdown().await, Drained::Whole);
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg("*")
        .query_async(&mut connection)
        .await
        .unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    app.finish().await;
    redis.stop().await;
}

#[tokio::test]
async fn a_flush_half_way_loses_and_repeats_nothing() {
    let redis = RedisServer::start().await;
    let app = spawn(Some(&redis)).await;
    fill(&app, 2_000, Priority::MEDIUM).await;
    let worker = app.start_worker_with(slots(4));
    eventually("half is done", || async {
        count(&app, "effects").await >= 700
    })
    .await;
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHALL")
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    all_ended(&app).await;
    assert_each_once(&app, 2_000).await;
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn while_redis_is_away_running_jobs_go_on_and_new_ones_start() {
    let mut redis = RedisServer::start().await;
    let app = spawn(Some(&redis)).await;
    let worker = app.start_worker_with(slots(4));
    app.enqueue(Act {
        number: 1,
        what: What::Gate,
    })
    .await;
    eventually("it runs", || async { count(&app, "starts").await == 1 }).await;

    redis.stop().await;
    app.enqueue(Effect { number: 2 }).await;
    eventually("a new job ran without redis", || async {
        count(&app, "effects").await == 1
    })
    .await;
    redis.restart().await;
    app.enqueue(Effect { number: 3 }).await;
    eventually("a new job ran with redis again", || async {
        count(&app, "effects").await == 2
    })
    .await;

    sqlx::query("INSERT INTO effects (number) VALUES (-1)")
        .execute(app.database.pool())
        .await
        .unwrap();
    all_ended(&app).await;
    assert_eq!(
        count(&app, "starts").await,
        1,
        "the running job was touched"
    );
    let mut done = numbers(&app.database, "effects").await;
    done.sort_unstable();
    assert_eq!(done, [-1, 1, 2, 3]);
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn the_product_starts_and_works_without_redis() {
    let options = Options {
        live: true,
        registry: Some(work::registry()),
        redis_url: Some("redis://127.0.0.1:1".to_owned()),
        ..Options::default()
    };
    let app = TestApp::with(options).await;
    work::prepare(&app.database).await;
    let worker = app.start_worker_with(slots(4));
    let ana = app.user("ana").await;
    let health = ana.get("/api/health").await.expect(200);
    assert_eq!(health["status"], "degraded");
    assert_eq!(health["services"]["redis"]["status"], "unhealthy");
    app.enqueue(Effect { number: 1 }).await;
    all_ended(&app).await;
    assert_each_once(&app, 1).await;
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn twenty_thousand_due_jobs_drain() {
    let app = spawn(None).await;
    let done = Arc::new(AtomicI64::new(0));
    fill(&app, 20_000, Priority::MEDIUM).await;
    let worker = app.start_worker_as(counting(&done), slots(50));
    all_ended(&app).await;
    assert_eq!(done.load(Ordering::SeqCst), 20_000);
    assert_eq!(app.count_jobs("succeeded").await, 20_000);
    worker.shutdown().await;
    app.finish().await;
}

/// Runs `Effect` jobs by counting them.
fn counting(done: &Arc<AtomicI64>) -> Registry {
    let done = done.clone();
    Registry::default().with_closure(Effect::NAME, move |_, _| {
        done.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(Outcome::Done(None))).boxed()
    })
}

#[tokio::test]
async fn urgent_jobs_overtake_a_backlog() {
    let app = spawn(None).await;
    fill(&app, 10_000, Priority::LOW).await;
    let worker = app.start_worker_with(slots(10));
    eventually("some are done", || async {
        count(&app, "effects").await >= 300
    })
    .await;
    let mut tx = app.begin().await;
    for number in 1..=10 {
        let request = Enqueue::new(Effect { number: -number }).priority(Priority::HIGH);
        shared::queue::enqueue(&mut tx, request).await.unwrap();
    }
    tx.commit().await.unwrap();
    eventually("the urgent ones are done", || async {
        numbers(&app.database, "effects")
            .await
            .iter()
            .filter(|&&number| number < 0)
            .count()
            == 10
    })
    .await;
    let between: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM effects WHERE number > 0
            AND at BETWEEN (SELECT min(at) FROM effects WHERE number < 0) AND (SELECT max(at) FROM effects WHERE number < 0)",
    )
    .fetch_one(app.database.pool())
    .await
    .unwrap();
    assert!(between <= 50, "{between} low jobs between ten urgent ones");
    assert!(
        count(&app, "effects").await < 10_000,
        "the backlog was gone before the urgent jobs came"
    );
    sqlx::query("DELETE FROM jobs WHERE state = 'queued'")
        .execute(app.database.pool())
        .await
        .unwrap();
    all_ended(&app).await;
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn two_workers_share_the_work() {
    let app = spawn(None).await;
    let (left, right) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    fill(&app, 3_000, Priority::MEDIUM).await;
    let workers = [
        app.start_worker_as(counting(&left), slots(5)),
        app.start_worker_as(counting(&right), slots(5)),
    ];
    all_ended(&app).await;
    let (left, right) = (left.load(Ordering::SeqCst), right.load(Ordering::SeqCst));
    assert_eq!(left + right, 3_000, "each job ran once");
    assert!(left > 300 && right > 300, "{left} and {right}");
    for worker in workers {
        worker.shutdown().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_job_whose_nudge_was_lost_starts_all_the_same() {
    let app = spawn(None).await;
    let worker = app.start_worker_with(slots(4));
    app.enqueue(Effect { number: 1 }).await;
    all_ended(&app).await;
    // What a process leaves behind that dies between commit and nudge.
    fill(&app, 1, Priority::MEDIUM).await;
    all_ended(&app).await;
    let waited: f64 = sqlx::query_scalar(
        "SELECT max(extract(epoch FROM started_at - created_at))::float8 FROM jobs",
    )
    .fetch_one(app.database.pool())
    .await
    .unwrap();
    assert!(waited <= 2.0, "{waited} s");
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_shutdown_gives_back_what_does_not_end_and_burns_no_attempt() {
    let app = spawn(None).await;
    let worker = app.start_worker_with(|settings| {
        slots(4)(settings);
        settings.shutdown_grace = Duration::from_millis(200);
    });
    let job = app
        .enqueue(Act {
            number: 1,
            what: What::Hold,
        })
        .await;
    eventually("it runs", || async { count(&app, "starts").await == 1 }).await;
    assert_eq!(worker.shutdown().await, Drained::Released(1));
    let (state, attempt): (String, i32) =
        sqlx::query_as("SELECT state, attempt FROM jobs WHERE id = $1")
            .bind(job.id.0)
            .fetch_one(app.database.pool())
            .await
            .unwrap();
    assert_eq!((state.as_str(), attempt), ("queued", 0));
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_claim_without_an_answer_goes_back_without_a_crash() {
    let app = spawn(None).await;
    let worker = app.start_worker_with(|settings| {
        slots(4)(settings);
        settings.worker_id = "forgetful".to_owned();
        settings.lease = Duration::from_secs(3);
    });
    app.enqueue(Effect { number: 1 }).await;
    all_ended(&app).await;
    sqlx::query(
        "INSERT INTO jobs (id, kind, queue, payload, timeout_ms, run_at, created_at, state, attempt, epoch, worker_id,
                           lease_until)
         VALUES (gen_random_uuid(), $1, $2, '{\"number\": 2}', 30000, now(), now(), 'running', 1, 1, 'forgetful',
                 now() + interval '1 hour')",
    )
    .bind(Effect::NAME)
    .bind(Effect::QUEUE.name())
    .execute(app.database.pool())
    .await
    .unwrap();
    all_ended(&app).await;
    let crashes: i64 = sqlx::query_scalar("SELECT sum(crash_count) FROM jobs")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(crashes, 0);
    assert_eq!(count(&app, "effects").await, 2);
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn each_queue_keeps_to_its_own_slots() {
    let app = spawn(None).await;
    for number in 1..=3 {
        app.enqueue(Act {
            number,
            what: What::Gate,
        })
        .await;
    }
    fill(&app, 200, Priority::MEDIUM).await;
    let worker = app.start_worker_with(|settings| {
        settings.slots = BTreeMap::from([(Queue::Maintenance, 8), (Queue::Analytics, 1)]);
    });
    eventually("the other queue is empty", || async {
        count(&app, "effects").await == 200
    })
    .await;
    assert_eq!(
        count(&app, "starts").await,
        1,
        "one slot ran more than one job"
    );
    sqlx::query("INSERT INTO effects (number) VALUES (-1)")
        .execute(app.database.pool())
        .await
        .unwrap();
    all_ended(&app).await;
    assert_eq!(count(&app, "starts").await, 3);
    worker.shutdown().await;
    app.finish().await;
}

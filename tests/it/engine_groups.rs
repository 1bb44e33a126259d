//! Groups of jobs: their bound, their pace, their order, and who they may not keep waiting.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use shared::queue::{Enqueue, Job as _, Queue, groups};
use tests::{
    Options, TestApp, eventually,
    process::RedisServer,
    work::{self, Act, Effect, What, numbers},
};
use worker::{jobs::Outcome, registry::Registry, runner::Settings};

use crate::engine::{act, look, spawn};

fn slots(settings: &mut Settings) {
    settings.slots = BTreeMap::from([(Queue::Maintenance, 16), (Queue::Analytics, 16)]);
}

fn of_group(number: i64, what: What, group: &str, limit: u16) -> Enqueue<Act> {
    Enqueue::new(act(number, what)).group(group, limit)
}

async fn states(app: &TestApp) -> BTreeMap<String, i64> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT state, count(*) FROM jobs GROUP BY state")
            .fetch_all(app.database.pool())
            .await
            .unwrap();
    rows.into_iter().collect()
}

/// How many `Effect`s run at once, at most, and how many have run.
#[derive(Default)]
struct Crowd {
    now: AtomicUsize,
    most: AtomicUsize,
    ran: AtomicUsize,
}

/// A registry whose `Effect`s count each other; each lets others run before it ends.
fn counting(crowd: &Arc<Crowd>) -> Registry {
    let crowd = crowd.clone();
    work::registry().with_closure(Effect::NAME, move |_, _| {
        let crowd = crowd.clone();
        async move {
            let now = crowd.now.fetch_add(1, Ordering::SeqCst) + 1;
            crowd.most.fetch_max(now, Ordering::SeqCst);
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            crowd.now.fetch_sub(1, Ordering::SeqCst);
            crowd.ran.fetch_add(1, Ordering::SeqCst);
            Ok(Outcome::Done(None))
        }
        .boxed()
    })
}

async fn live(redis: Option<&RedisServer>) -> TestApp {
    let app = TestApp::with(Options {
        live: true,
        registry: Some(work::registry()),
        redis_url: redis.map(RedisServer::url),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    app
}

/// Two hundred jobs of one group.
async fn fill(app: &TestApp, group: &str, limit: u16) {
    let mut tx = app.begin().await;
    for number in 0..200 {
        let job = Enqueue::new(Effect { number }).group(group, limit);
        shared::queue::enqueue(&mut tx, job).await.unwrap();
    }
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn two_workers_together_run_no_more_of_a_group_than_it_bears() {
    let app = live(None).await;
    let crowd = Arc::new(Crowd::default());
    fill(&app, "a", 4).await;
    let workers = [
        app.start_worker_as(counting(&crowd), slots),
        app.start_worker_as(counting(&crowd), slots),
    ];
    let all = || async { crowd.ran.load(Ordering::SeqCst) == 200 };
    eventually("all have run", all).await;
    let most = crowd.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} ran at once");
    for worker in workers {
        worker.shutdown().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn the_bound_holds_without_redis() {
    let mut redis = RedisServer::start().await;
    let app = live(Some(&redis)).await;
    redis.stop().await;
    let crowd = Arc::new(Crowd::default());
    fill(&app, "a", 4).await;
    let worker = app.start_worker_as(counting(&crowd), slots);
    let all = || async { crowd.ran.load(Ordering::SeqCst) == 200 };
    eventually("all have run", all).await;
    let most = crowd.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} ran at once");
    worker.shutdown().await;
    app.finish().await;
}

/// More groups than one look is for, and without Redis.
#[tokio::test]
async fn a_group_has_its_turn_behind_hundreds_that_wait() {
    let app = spawn().await;
    let day = Duration::from_hours(24);
    let mut tx = app.begin().await;
    for number in 0..1100 {
        let group = format!("g{number:04}");
        groups::hold(&mut tx, &group, day).await.unwrap();
        let job = Enqueue::new(Effect { number }).group(group, 1);
        shared::queue::enqueue(&mut tx, job).await.unwrap();
    }
    groups::hold(&mut tx, "last", Duration::from_mins(1))
        .await
        .unwrap();
    for number in [2000, 2001] {
        let job = Enqueue::new(Effect { number }).group("last", 1);
        shared::queue::enqueue(&mut tx, job).await.unwrap();
    }
    tx.commit().await.unwrap();
    app.run_due_jobs().await;
    assert_eq!(
        states(&app).await,
        BTreeMap::from([("parked".to_owned(), 1102)])
    );
    app.advance(Duration::from_mins(1)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await, [2000, 2001]);
    app.advance(day).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await.len(), 1102);
    app.finish().await;
}

#[tokio::test]
async fn a_full_group_keeps_no_other_waiting() {
    let app = live(None).await;
    for number in 0..300 {
        app.enqueue(of_group(number, What::Gate, "hangs", 4)).await;
    }
    let worker = app.start_worker_with(slots);
    let held = || async { numbers(&app.database, "starts").await.len() == 4 };
    eventually("four of them run", held).await;
    let gate = "INSERT INTO effects (number) VALUES (-1)";
    app.enqueue(of_group(1000, What::FailUntil(0), "healthy", 4))
        .await;
    app.enqueue(Effect { number: 1001 }).await;
    let done = || async { states(&app).await.get("succeeded") == Some(&2) };
    eventually("the others run", done).await;
    let starts = numbers(&app.database, "starts").await;
    assert_eq!(starts.len(), 5, "{starts:?}");
    sqlx::query(gate)
        .execute(app.database.pool())
        .await
        .unwrap();
    let done = || async { states(&app).await.get("succeeded") == Some(&302) };
    eventually("all run", done).await;
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn jobs_of_an_order_wait_for_the_end_of_those_before_them() {
    let app = spawn().await;
    let first = of_group(1, What::FailUntil(3), "a", 4).ordered("x");
    let first = app.enqueue(first).await;
    for number in 2..=5 {
        app.enqueue(of_group(number, What::FailUntil(0), "a", 4).ordered("x"))
            .await;
    }
    app.enqueue(of_group(9, What::FailUntil(0), "a", 4).ordered("y"))
        .await;
    app.run_due_jobs().await;
    let mut starts = numbers(&app.database, "starts").await;
    starts.sort_unstable();
    assert_eq!(starts, [1, 9]);
    assert_eq!(look(&app, first.id).await.0, "queued");
    assert_eq!(states(&app).await.get("parked"), Some(&4));
    app.run_jobs().await;
    let starts = numbers(&app.database, "starts").await;
    assert_eq!(starts[2..], [1, 1, 2, 3, 4, 5]);
    app.finish().await;
}

#[tokio::test]
async fn one_that_ends_for_good_makes_way_in_its_order() {
    let app = spawn().await;
    let dead = app
        .enqueue(of_group(1, What::FailForGood, "a", 1).ordered(""))
        .await;
    app.enqueue(of_group(2, What::FailUntil(0), "a", 1).ordered(""))
        .await;
    app.run_jobs().await;
    assert_eq!(look(&app, dead.id).await.0, "failed");
    assert_eq!(numbers(&app.database, "starts").await, [1, 2]);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn jobs_of_an_order_run_one_by_one_on_two_workers() {
    let app = live(None).await;
    for number in 0..60 {
        let what = What::FailUntil(0);
        app.enqueue(of_group(number, what, "a", 4).ordered(""))
            .await;
    }
    let workers = [app.start_worker_with(slots), app.start_worker_with(slots)];
    let done = || async { states(&app).await.get("succeeded") == Some(&60) };
    eventually("all have run", done).await;
    let starts: Vec<i64> = sqlx::query_scalar("SELECT number FROM starts ORDER BY at")
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    assert_eq!(starts, (0..60).collect::<Vec<_>>());
    for worker in workers {
        worker.shutdown().await;
    }
    app.finish().await;
}

#[tokio::test]
async fn a_held_group_waits_and_goes_on_by_itself() {
    let app = spawn().await;
    let mut tx = app.begin().await;
    groups::hold(&mut tx, "a", Duration::from_mins(5))
        .await
        .unwrap();
    // A shorter one takes nothing away.
    groups::hold(&mut tx, "a", Duration::from_mins(1))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    app.enqueue(of_group(1, What::FailUntil(0), "a", 4)).await;
    app.enqueue(of_group(2, What::FailUntil(0), "b", 4)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [2]);
    app.advance(Duration::from_secs(299)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [2]);
    app.advance(Duration::from_secs(1)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [2, 1]);

    let mut tx = app.begin().await;
    groups::hold(&mut tx, "a", Duration::from_hours(1))
        .await
        .unwrap();
    groups::release(&mut tx, "a").await.unwrap();
    tx.commit().await.unwrap();
    app.enqueue(of_group(3, What::FailUntil(0), "a", 4)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [2, 1, 3]);
    app.finish().await;
}

#[tokio::test]
async fn a_paced_group_begins_one_at_a_time() {
    let app = spawn().await;
    let mut tx = app.begin().await;
    groups::pace(&mut tx, "a", Some(Duration::from_secs(6)))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for number in 0..10 {
        app.enqueue(of_group(number, What::FailUntil(0), "a", 4))
            .await;
    }
    let began = app.clock.now();
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await.len(), 1);
    app.advance(Duration::from_secs(3)).await;
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await.len(), 1);
    app.run_jobs().await;
    assert_eq!(
        numbers(&app.database, "starts").await,
        (0..10).collect::<Vec<_>>()
    );
    // A quarter of a second may be caught up with.
    let took = (app.clock.now() - began).num_milliseconds();
    assert!((53_500..=54_000).contains(&took), "it took {took} ms");
    app.finish().await;
}

#[tokio::test]
async fn a_pace_is_kept_by_a_worker_that_nobody_wakes() {
    let app = live(None).await;
    let mut tx = app.begin().await;
    groups::pace(&mut tx, "a", Some(Duration::from_millis(100)))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for number in 0..20 {
        app.enqueue(of_group(number, What::FailUntil(0), "a", 4))
            .await;
    }
    let worker = app.start_worker_with(slots);
    let done = || async { states(&app).await.get("succeeded") == Some(&20) };
    eventually("all have run", done).await;
    let took: f64 = sqlx::query_scalar(
        "SELECT extract(epoch FROM max(dispatched_at) - min(dispatched_at))::float8 FROM jobs",
    )
    .fetch_one(app.database.pool())
    .await
    .unwrap();
    // Nineteen pauses; a quarter of a second may be caught up with.
    assert!(took >= 1.6, "they began within {took} s");
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_new_bound_counts_for_those_that_wait() {
    let app = spawn().await;
    for number in 0..4 {
        app.enqueue(of_group(number, What::FailUntil(2), "a", 1).ordered("x"))
            .await;
    }
    app.run_due_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [0]);
    let mut tx = app.begin().await;
    groups::rebound(&mut tx, "a", 4, false).await.unwrap();
    tx.commit().await.unwrap();
    app.run_due_jobs().await;
    let mut starts = numbers(&app.database, "starts").await;
    starts.sort_unstable();
    assert_eq!(starts, [0, 1, 2, 3], "three of them at once");
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_parked_job_is_cancelled_like_one_that_waits() {
    let app = spawn().await;
    let ana = app.user("ana").await;
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    app.enqueue(of_group(1, What::FailUntil(2), "a", 1).ordered(""))
        .await;
    let mut tx = app.begin().await;
    tx.origin.user = Some(shared::ids::UserId(id));
    let parked = of_group(2, What::FailUntil(0), "a", 1)
        .ordered("")
        .unique("only");
    let parked = shared::queue::enqueue(&mut tx, parked).await.unwrap();
    tx.commit().await.unwrap();
    app.run_due_jobs().await;
    assert_eq!(look(&app, parked.id).await.0, "parked");
    let path = format!("/api/v1/jobs/{}", parked.id);
    assert_eq!(ana.get(&path).await.expect(200)["status"], "queued");
    // Its key counts, too.
    let again = app
        .enqueue(of_group(2, What::FailUntil(0), "a", 1).unique("only"))
        .await;
    assert_eq!((again.id, again.new), (parked.id, false));
    ana.post(&format!("{path}/cancel")).await.expect(200);
    assert_eq!(look(&app, parked.id).await.0, "cancelled");
    app.run_jobs().await;
    assert_eq!(numbers(&app.database, "starts").await, [1, 1]);
    app.finish().await;
}

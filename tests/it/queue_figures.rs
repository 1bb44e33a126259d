//! Depth and age of the queues, as the metrics of both programs tell them.

use std::time::Duration;

use shared::queue::{Enqueue, figures};
use tests::{
    Actor, Options, TestApp, eventually,
    exposition::value,
    work::{self, Act, Effect, What},
};

async fn page(actor: &Actor) -> String {
    actor.get("/api/metrics").await.text
}

async fn worker_page(app: &TestApp) -> String {
    app.context.metrics.render(&app.context.db).await
}

#[tokio::test]
async fn a_worker_counts_the_queues_for_everybody() {
    let app = TestApp::with(Options {
        live: true,
        registry: Some(work::registry()),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    app.enqueue(Act {
        number: 1,
        what: What::Hold,
    })
    .await;
    app.enqueue(Enqueue::new(Effect { number: 2 }).delay(Duration::from_hours(1)))
        .await;
    let (one, two) = (app.start_worker(), app.start_worker());
    let nobody = app.anonymous();
    let depth = |page: &str, queue: &str, state: &str| {
        value(
            page,
            &format!(r#"queue_depth{{queue="{queue}",state="{state}"}}"#),
        )
    };
    eventually("both programs tell", || async {
        let pages = [page(&nobody).await, worker_page(&app).await];
        pages.iter().all(|page| {
            depth(page, "analytics", "running") == Some(1.0)
                && depth(page, "maintenance", "scheduled") == Some(1.0)
                && depth(page, "maintenance", "queued") == Some(0.0)
                && depth(page, "ocr", "dispatched") == Some(0.0)
                && value(page, "queue_sampled_timestamp_seconds") > Some(1.7e9)
        })
    })
    .await;
    // The act holds until its time limit; it is not what this is about.
    app.forget_jobs().await;
    one.shutdown().await;
    two.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn only_one_counts_the_queues_at_a_time() {
    let app = TestApp::spawn().await;
    let pool = app.database.pool();
    let turns = futures::future::join_all((0..4).map(|_| figures::sample(pool))).await;
    let taken = turns.into_iter().filter(|turn| *turn.as_ref().unwrap());
    assert_eq!(taken.count(), 1);
    app.advance(Duration::from_secs(4)).await;
    assert!(!figures::sample(pool).await.unwrap());
    app.advance(Duration::from_secs(1)).await;
    assert!(figures::sample(pool).await.unwrap());
    app.finish().await;
}

#[tokio::test]
async fn the_oldest_job_ages_also_when_every_worker_is_dead() {
    let app = TestApp::with(Options {
        registry: Some(work::registry()),
        ..Options::default()
    })
    .await;
    work::prepare(&app.database).await;
    let nobody = app.anonymous();
    let age = || async {
        let page = page(&nobody).await;
        value(
            &page,
            r#"queue_oldest_ready_age_seconds{queue="maintenance"}"#,
        )
    };
    let is_about = |age: Option<f64>, seconds: f64| {
        age.is_some_and(|age| (seconds..seconds + 5.0).contains(&age))
    };
    // Of the sample, while it is young.
    app.enqueue(Effect { number: 1 }).await;
    figures::sample(app.database.pool()).await.unwrap();
    app.advance(Duration::from_secs(10)).await;
    eventually("it ages since the sample", || async {
        is_about(age().await, 10.0)
    })
    .await;
    // Without a worker nobody samples, and yet it goes on; even for a job that came since.
    app.advance(Duration::from_mins(10)).await;
    eventually("it goes on", || async { is_about(age().await, 610.0) }).await;
    app.run_jobs().await;
    app.enqueue(Effect { number: 2 }).await;
    app.enqueue(Enqueue::new(Effect { number: 3 }).delay(Duration::from_hours(1)))
        .await;
    app.advance(Duration::from_mins(1)).await;
    eventually("a job without a sample ages", || async {
        is_about(age().await, 60.0)
    })
    .await;
    app.run_jobs().await;
    eventually("nothing waits", || async { age().await == Some(0.0) }).await;
    app.finish().await;
}

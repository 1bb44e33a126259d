//! Jobs with a key: one at a time, and once more where it is asked for meanwhile.

use shared::queue::{self, End, Enqueue, LiveJob};
use tests::work::{Effect, numbers};

use crate::{
    engine::{look, spawn},
    engine_deaths::claim_and_die,
};

#[tokio::test]
async fn a_live_job_with_a_key_is_not_made_twice() {
    let app = spawn().await;
    let first = app
        .enqueue(Enqueue::new(Effect { number: 1 }).unique("k"))
        .await;
    let second = app
        .enqueue(Enqueue::new(Effect { number: 2 }).unique("k"))
        .await;
    assert!(first.new && !second.new);
    assert_eq!(first.id, second.id);
    app.run_jobs().await;
    let third = app
        .enqueue(Enqueue::new(Effect { number: 3 }).unique("k"))
        .await;
    assert!(third.new, "an ended job leaves its key free");
    app.run_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await, [1, 3]);
    app.finish().await;
}

#[tokio::test]
async fn a_job_asked_for_while_it_runs_runs_once_more() {
    let app = spawn().await;
    let job = app
        .enqueue(Enqueue::new(Effect { number: 1 }).unique("k"))
        .await;
    claim_and_die(&app, job.id).await; // it runs, somewhere
    for _ in 0..3 {
        let again = app
            .enqueue(Enqueue::new(Effect { number: 1 }).unique("k"))
            .await;
        assert_eq!((again.id, again.new), (job.id, false));
    }
    let mut tx = app.begin().await;
    let run = LiveJob::lock_run(&tx, job.id, 1).await.unwrap().unwrap();
    run.succeed(&mut tx, None).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(look(&app, job.id).await, ("queued".to_owned(), 0, None, 0));
    app.run_jobs().await;
    assert_eq!(
        numbers(&app.database, "effects").await,
        [1],
        "once more, not three times more"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_job_asked_for_after_its_cancel_runs_again() {
    let app = spawn().await;
    let user = shared::ids::UserId::new();
    let ask = async || {
        let mut tx = app.begin().await;
        tx.origin.user = Some(user);
        let job = queue::enqueue(&mut tx, Enqueue::new(Effect { number: 1 }).unique("k"))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        job.id
    };
    let job = ask().await;
    claim_and_die(&app, job).await; // it runs, somewhere
    let mut tx = app.begin().await;
    queue::cancel(&mut tx, user, job).await.unwrap().unwrap();
    tx.commit().await.unwrap();
    assert_eq!(ask().await, job);
    let mut tx = app.begin().await;
    let run = LiveJob::lock_run(&tx, job, 1).await.unwrap().unwrap();
    queue::end(&mut tx, &run, &End::Cancelled, None)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(look(&app, job).await.0, "queued");
    app.run_jobs().await;
    assert_eq!(numbers(&app.database, "effects").await, [1]);
    app.finish().await;
}

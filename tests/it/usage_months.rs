//! Months of users, of which more than one transaction wants to know: nothing is counted twice or not at all, and who holds one
//! holds up nobody else.

use std::time::Duration;

use serde_json::json;
use shared::{
    config::{Problems, UsageLimits},
    database::Origin,
    ids::{ConversationId, JobId, MessageId, UserId},
    jobs::TitleConversation,
    models::{
        call,
        generation::{self, Attempts, NewUnkept},
        message::{Content, Ended, Status},
        turn::{self, EndedTurn, NewConversation, NewTurn},
        usage::{self, Attempt, Kind},
    },
    queue::{Enqueue, Wanted},
};
use tests::{TestApp, eventually, fakes::provider::Provider};
use uuid::Uuid;

use crate::{
    calls::{estimate, truth},
    usage_limits::{ANSWER, LIMITS, event, limited, limits, months, told},
};

/// Limits of tokens.
fn of_tokens(tokens: &str) -> UsageLimits {
    limits(Some(tokens), None).check(&mut Problems::default())
}

/// A row of the ledger that takes as much as an answer of one word.
fn row(app: &TestApp, user: UserId) -> usage::Model {
    usage::Model {
        user_id: Some(user),
        kind: Kind::Chat,
        input_tokens: ANSWER - 1,
        output_tokens: 1,
        created_at: app.clock.now(),
        ..truth(&estimate())
    }
}

/// Turns in so many conversations of a user, which were begun and are to be ended.
async fn begun(app: &TestApp, user: UserId, number: usize) -> Vec<EndedTurn> {
    let at = app.clock.now();
    let new = |_| NewTurn {
        conversation: ConversationId::new(),
        begun: Some(NewConversation {
            system_prompt: None,
            model: None,
        }),
        user,
        content: Content::of_text("Hi".to_owned()),
        token_count: 6,
        model: "gpt-4o-mini".to_owned(),
        provider: "openai".to_owned(),
        with_tools: false,
        instance: Uuid::new_v4(),
        attempts: Attempts::default(),
        at,
    };
    let new: Vec<NewTurn> = (0..number).map(new).collect();
    let mut db = app.database.pool().acquire().await.unwrap();
    let begun = turn::begin(&mut db, &new).await.unwrap();
    let ended = |begun: Option<turn::Begun>| {
        let begun = begun.expect("it is begun with others");
        EndedTurn {
            generation: begun.generation,
            answer: begun.answer,
            ended: Ended {
                status: Status::Completed,
                text: "Yes.".to_owned(),
                token_count: 6,
                provider: None,
                finish_reason: Some("stop".to_owned()),
                error: None,
                figures: None,
            },
            ledger: vec![row(app, user)],
            limits: of_tokens("1000"),
            jobs: Vec::new(),
            at,
        }
    };
    begun.into_iter().map(ended).collect()
}

/// Ends turns, and tells which were ended.
async fn end(app: &TestApp, turns: &[EndedTurn]) -> shared::database::Result<Vec<bool>> {
    let mut db = app.database.pool().acquire().await.unwrap();
    let ended = turn::end(&mut db, turns).await?;
    Ok(ended.iter().map(Option::is_some).collect())
}

#[tokio::test]
async fn turns_that_end_together_are_counted_and_leave_what_must_be_told_to_others() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("1000"), None)).await;
    let user = app.id_of(&ana).await;
    let tokens = async || months(&app.database, user).await[0].0;
    ana.chat(json!({ "message": "Hi" })).await.expect(200);

    let turns = begun(&app, user, 2).await;
    assert_eq!(end(&app, &turns).await.unwrap(), [true; 2]);
    assert_eq!(tokens().await, 3 * ANSWER);
    // Ended again, they are not counted again.
    assert_eq!(end(&app, &turns).await.unwrap(), [false; 2]);
    let mut turns = begun(&app, user, 2).await;
    let job = TitleConversation {
        conversation: turns[0].answer.conversation_id,
        answer: turns[0].answer.id,
    };
    let job = Enqueue::new(job).of_nobody();
    turns[0].jobs.push(Wanted::new(job, &Origin::default()));
    assert_eq!(end(&app, &turns).await.unwrap(), [true; 2]);
    assert_eq!(tokens().await, 5 * ANSWER);
    assert_eq!(app.count("SELECT count(*) FROM jobs").await, 1);

    // Four fifths of the limit would be passed by both, though by neither alone.
    let mut turns = begun(&app, user, 2).await;
    for turn in &mut turns {
        turn.limits = of_tokens("100");
    }
    assert_eq!(end(&app, &turns).await.unwrap(), [false; 2]);
    assert_eq!(tokens().await, 5 * ANSWER);
    let left = app.count("SELECT count(*) FROM generations").await;
    assert_eq!(
        (left, app.count("SELECT count(*) FROM usage").await),
        (2, 5)
    );

    // Somebody else who holds the month is waited for, but not for long.
    for turn in &mut turns {
        turn.limits = of_tokens("1000");
    }
    let mut held = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM usage_months FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let busy = end(&app, &turns).await.unwrap_err();
    assert!(!busy.is_away(), "{busy:?}");
    held.rollback().await.unwrap();
    assert_eq!(end(&app, &turns).await.unwrap(), [true; 2]);
    assert_eq!(tokens().await, 7 * ANSWER);
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn an_abandoned_answer_waits_for_a_month_that_is_held_and_nobody_waits_for_it() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("1000"), None)).await;
    let user = app.id_of(&ana).await;
    ana.chat(json!({ "message": "Hi" })).await.expect(200);
    let mut held = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM usage_months FOR UPDATE")
        .execute(&mut *held)
        .await
        .unwrap();
    let abandoned = NewUnkept {
        message: MessageId::new(),
        id: Uuid::new_v4(),
        user,
        instance: Uuid::new_v4(),
        kind: Kind::Chat,
        attempts: vec![Attempt {
            provider: "openai".to_owned(),
            model: "gpt-4o-mini".to_owned(),
            provider_model: "gpt-4o-mini".to_owned(),
            key_group: String::new(),
            price: None,
            input_tokens: 12,
            round: 0,
            begun_bytes: 0,
            started_at: app.clock.now(),
            spent: None,
        }],
    };
    generation::begin_unkept(&app.database.db, abandoned, app.clock.now())
        .await
        .unwrap();
    sqlx::query("UPDATE generations SET lease_until = job_now() - interval '1 second'")
        .execute(app.database.pool())
        .await
        .unwrap();
    // Before the longest time that a statement may take.
    let postponed = eventually("it is left for a minute", async || {
        let sql = "SELECT count(*) FROM generations WHERE lease_until > job_now() + interval '30 seconds'";
        app.count(sql).await == 1
    });
    tokio::time::timeout(Duration::from_secs(20), postponed)
        .await
        .unwrap();
    held.rollback().await.unwrap();
    app.advance(Duration::from_mins(2)).await;
    eventually("it is accounted for", async || {
        months(&app.database, user).await[0].0 == 2 * ANSWER
    })
    .await;
    app.finish().await;
}

#[tokio::test]
async fn a_limit_holds_and_is_told_of_though_nothing_was_counted_yet() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("12"), None)).await;
    let user = app.id_of(&ana).await;
    // As it was written by a program of before.
    call::settle(&app.database.db, &row(&app, user))
        .await
        .unwrap();
    sqlx::query("DELETE FROM usage_months")
        .execute(app.database.pool())
        .await
        .unwrap();
    let shown = ana.get(LIMITS).await.expect(200);
    assert_eq!(shown["data"][0]["used"], ANSWER);
    for _ in 0..2 {
        ana.chat(json!({ "message": "Hi" }))
            .await
            .expect_problem(429, "usage_limit_reached");
        eventually("the user is told, once", async || {
            told(&app).await == [event("reached", "tokens")]
        })
        .await;
    }
    assert_eq!(months(&app.database, user).await[0].0, ANSWER);
    assert!(provider.asked().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_a_lost_call_took_is_told_of_once() {
    let provider = Provider::saying(&["Yes."]).await;
    let (app, ana) = limited(&provider, limits(Some("12"), None)).await;
    let user = app.id_of(&ana).await;
    let lost = row(&app, user);
    call::note(&app.database.db, Some((JobId::new(), 1)), &lost)
        .await
        .unwrap();
    let found = app.sweep_calls(&[]).await;
    assert_eq!(found, [lost.id.0]);
    assert!(told(&app).await.is_empty(), "its row may be on its way");
    for _ in 0..2 {
        app.sweep_calls(&found).await;
        assert_eq!(told(&app).await, [event("reached", "tokens")]);
    }
    assert_eq!(months(&app.database, user).await[0].0, ANSWER);
    app.finish().await;
}

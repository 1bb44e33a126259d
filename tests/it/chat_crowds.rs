//! Turns that come at once, and conversations that go meanwhile: nothing is lost, and all counts stay exact.

use std::{collections::BTreeSet, ops::AsyncFnOnce, time::Duration};

use api::config::ApiArgs;
use serde_json::{Value, json};
use tests::{
    Actor, Options, Reply, TestApp, eventually,
    fakes::provider::{Asked, Provider, Script, Step, delta, end, stream},
};

use crate::{
    chat::{id, ledger},
    chat_alike::{Endpoint, user},
};

/// Says the question back, in pieces.
fn say_back(asked: &Asked) -> Script {
    let mut steps = vec![
        delta("You said "),
        Step::Pause(Duration::from_millis(3)),
        delta(&asked.question()),
    ];
    steps.extend(end("stop", 11, 3));
    stream(steps)
}

/// Users whose messages are told to nobody, and to endpoints that want to know of them or of something else.
async fn product() -> (Provider, TestApp, Vec<(Endpoint, Actor)>) {
    let provider = Provider::start(say_back).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let mut users = Vec::new();
    for (name, endpoint) in [
        ("ana", Endpoint::None),
        ("ben", Endpoint::OfMessages),
        ("eve", Endpoint::OfOthers),
    ] {
        // Nothing is delivered here.
        let user = user(&app, name, endpoint, "http://127.0.0.1:9/").await;
        users.push((endpoint, user));
    }
    (provider, app, users)
}

/// Waits until all answers have ended, and counts again what is counted of each conversation.
pub(crate) async fn expect_exact(app: &TestApp) {
    const SQL: &str = "
        WITH counted AS (
            SELECT c.id, c.message_count, c.token_count, c.last_message_id, c.last_message_at,
                   count(m.id) AS messages, coalesce(sum(m.token_count), 0) AS tokens,
                   (array_agg(m.id ORDER BY m.created_at DESC))[1] AS newest, max(m.created_at) AS newest_at,
                   count(DISTINCT m.created_at) AS moments,
                   count(m.id) FILTER (WHERE m.created_at <= p.created_at) AS before_parents,
                   count(m.id) FILTER (WHERE m.status = 'streaming') AS streaming
              FROM conversations c
              LEFT JOIN messages m ON m.conversation_id = c.id AND m.deleted_at IS NULL
              LEFT JOIN messages p ON p.id = m.parent_id
             -- Of one that is deleted nothing is counted any more.
             WHERE c.deleted_at IS NULL
             GROUP BY c.id)
        SELECT to_jsonb(counted) FROM counted
         WHERE message_count <> messages OR token_count <> tokens OR moments <> messages
            OR last_message_id IS DISTINCT FROM newest OR last_message_at IS DISTINCT FROM newest_at
            OR before_parents > 0 OR streaming > 0";
    eventually("all answers have ended", async || {
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        left == 0
    })
    .await;
    let wrong: Vec<Value> = sqlx::query_scalar(SQL)
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Each message is an event once, whoever is told of it.
async fn expect_told(app: &TestApp, users: &[(Endpoint, Actor)]) {
    const SQL: &str = "
        SELECT (SELECT count(*) FROM messages WHERE user_id = $1 AND role = 'user'),
               (SELECT count(*) FROM messages WHERE user_id = $1 AND role = 'assistant'),
               (SELECT count(*) FROM messages m JOIN conversations c ON c.id = m.conversation_id
                 WHERE m.user_id = $1 AND m.role = 'assistant' AND c.deleted_at IS NULL),
               (SELECT count(*) FROM events WHERE user_id = $1 AND kind = 'message.created'),
               (SELECT count(*) FROM events WHERE user_id = $1 AND kind IN ('message.completed', 'message.failed'))";
    for (endpoint, user) in users {
        let user = app.id_of(user).await;
        let (questions, answers, kept, created, ended): (i64, i64, i64, i64, i64) =
            sqlx::query_as(SQL)
                .bind(user.0)
                .fetch_one(app.database.pool())
                .await
                .unwrap();
        assert_eq!(created, questions, "{endpoint:?}");
        // Those that go with their conversation may be told or not.
        assert!(
            (kept..=answers).contains(&ended),
            "{endpoint:?}: {ended} of {kept} to {answers}"
        );
    }
}

/// What the turns asked for besides is not what is tested.
async fn finish(app: TestApp) {
    app.forget_jobs().await;
    app.finish().await;
}

async fn begin(user: &Actor) -> String {
    let body = json!({ "message": "Hello", "model": "gpt-4o-mini" });
    let answer = user.chat(body).await.expect(200);
    id(&answer["conversationId"]).to_owned()
}

#[tokio::test]
async fn two_turns_at_once_in_a_conversation_come_one_after_the_other() {
    let (provider, app, users) = product().await;
    for (endpoint, user) in &users {
        let conversation = begin(user).await;
        let ask = async |number: usize| {
            let body = json!({ "message": number.to_string(), "conversationId": conversation });
            let answer = user.chat(body).await.expect(200);
            let text = answer["message"]["content"][0]["text"].clone();
            assert_eq!(text, format!("You said {number}"));
        };
        for round in 0..5 {
            tokio::join!(ask(2 * round), ask(2 * round + 1));
        }
        let path = format!("/api/v1/conversations/{conversation}/messages?limit=100");
        let list = user.get(&path).await.expect(200);
        let messages = list["data"].as_array().unwrap();
        assert_eq!(messages.len(), 2 + 5 * 4, "{endpoint:?}");
        // Each follows another one, so that there is one branch.
        let parents: BTreeSet<Option<&str>> = messages
            .iter()
            .map(|message| message["parentId"].as_str())
            .collect();
        assert_eq!(parents.len(), messages.len(), "{endpoint:?}: {list:#}");
        let branch = user.get(&format!("{path}&branch=current")).await;
        let branch = branch.expect(200)["data"].as_array().unwrap().len();
        assert_eq!(branch, messages.len(), "{endpoint:?}");
    }
    expect_exact(&app).await;
    expect_told(&app, &users).await;
    assert_eq!(provider.asked().len(), users.len() * 11);
    assert_eq!(ledger(&app).await.len(), users.len() * 11);
    finish(app).await;
}

#[tokio::test]
async fn twenty_turns_at_once_begin_twenty_conversations() {
    let (provider, app, users) = product().await;
    // All of one user's, and then all users' together.
    for (endpoint, user) in &users {
        let turns = (0..20).map(|number| user.chat(json!({ "message": number.to_string() })));
        let mut begun = BTreeSet::new();
        for (number, reply) in futures::future::join_all(turns)
            .await
            .into_iter()
            .enumerate()
        {
            let answer = reply.expect(200);
            let text = answer["message"]["content"][0]["text"].clone();
            assert_eq!(text, format!("You said {number}"), "{endpoint:?}");
            begun.insert(id(&answer["conversationId"]).to_owned());
        }
        assert_eq!(begun.len(), 20, "{endpoint:?}");
        let list = user.get("/api/v1/conversations?limit=100").await;
        assert_eq!(list.expect(200)["data"].as_array().unwrap().len(), 20);
    }
    let all = users.iter().cycle().take(21);
    let turns = all.map(|(_, user)| user.chat(json!({ "message": "All" })));
    for reply in futures::future::join_all(turns).await {
        reply.expect(200);
    }
    expect_exact(&app).await;
    expect_told(&app, &users).await;
    assert_eq!(provider.asked().len(), 3 * 20 + 21);
    let rows = ledger(&app).await;
    assert_eq!(rows.len(), 3 * 20 + 21);
    for row in rows {
        assert_eq!(
            (&row["outcome"], &row["input_tokens"], &row["output_tokens"]),
            (&json!("completed"), &json!(11), &json!(3)),
            "{row}"
        );
    }
    finish(app).await;
}

#[tokio::test]
async fn of_the_same_message_sent_at_once_one_is_answered() {
    let (provider, app, users) = product().await;
    for (endpoint, user) in &users {
        let before = provider.asked().len();
        let conversation = begin(user).await;
        for conversation in [Value::Null, json!(conversation)] {
            let body =
                json!({ "message": "Once", "clientId": "c-1", "conversationId": conversation });
            let turns = (0..6).map(|_| user.chat(body.clone()));
            let replies = futures::future::join_all(turns).await;
            let answers: BTreeSet<String> = replies
                .into_iter()
                .map(|reply| id(&reply.expect(200)["message"]["id"]).to_owned())
                .collect();
            assert_eq!(answers.len(), 1, "{endpoint:?} {conversation}");
        }
        assert_eq!(provider.asked().len() - before, 3, "{endpoint:?}");
    }
    expect_exact(&app).await;
    expect_told(&app, &users).await;
    finish(app).await;
}

/// Asks in a conversation while something else is done with it, a little later in each round.
async fn meanwhile(user: &Actor, round: usize, other: impl AsyncFnOnce(String)) -> (String, Reply) {
    let conversation = begin(user).await;
    let path = format!("/api/v1/conversations/{conversation}");
    let body = json!({ "message": "And?", "conversationId": conversation });
    let other = async {
        for _ in 0..round {
            user.get(&path).await.expect(200);
        }
        other(path.clone()).await;
    };
    let (reply, ()) = tokio::join!(user.chat(body), other);
    (path, reply)
}

#[tokio::test]
async fn a_turn_while_its_conversation_is_deleted_is_answered_or_not_found() {
    let (provider, app, users) = product().await;
    for (endpoint, user) in &users {
        for round in 0..6 {
            let (path, reply) = meanwhile(user, round, async |path| {
                user.delete(&path).await.expect(204);
            })
            .await;
            if reply.status == 200 {
                let answer = reply.expect(200);
                let status = id(&answer["message"]["status"]);
                assert!(["completed", "cancelled"].contains(&status), "{answer}");
            } else {
                reply.expect_problem(404, "not_found");
            }
            user.get(&path).await.expect_problem(404, "not_found");
        }
        let list = user.get("/api/v1/conversations?archived=all").await;
        assert_eq!(list.expect(200)["data"], json!([]), "{endpoint:?}");
    }
    expect_exact(&app).await;
    expect_told(&app, &users).await;
    // What was stopped before it was sent is noted, too.
    let (rows, asked) = (ledger(&app).await.len(), provider.asked().len());
    assert!(rows >= asked, "{asked} asked, {rows} in the ledger");
    finish(app).await;
}

#[tokio::test]
async fn a_turn_while_its_conversation_is_archived_is_answered_or_refused() {
    let (provider, app, users) = product().await;
    for (endpoint, user) in &users {
        for round in 0..6 {
            let (path, reply) = meanwhile(user, round, async |path| {
                user.post(&format!("{path}/archive")).await.expect(200);
            })
            .await;
            let messages = if reply.status == 200 {
                let answer = reply.expect(200);
                assert_eq!(answer["message"]["content"][0]["text"], "You said And?");
                4
            } else {
                reply.expect_problem(409, "conversation_archived");
                2
            };
            let now = user.get(&path).await.expect(200);
            assert_eq!(
                (&now["archived"], &now["messageCount"]),
                (&json!(true), &json!(messages)),
                "{endpoint:?}"
            );
        }
    }
    expect_exact(&app).await;
    expect_told(&app, &users).await;
    assert_eq!(ledger(&app).await.len(), provider.asked().len());
    finish(app).await;
}

#[tokio::test]
async fn few_connections_are_enough_for_many_turns_and_all_else() {
    for most in ["1", "3"] {
        let provider = Provider::start(say_back).await;
        let app = TestApp::with(Options {
            providers: provider.args("sk-1"),
            api: ApiArgs {
                database_pool_max: Some(most.to_owned()),
                ..ApiArgs::default()
            },
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        // Nobody keeps a connection so long that others wait for one in vain.
        let turns = (0..40).map(async |number: usize| {
            let body =
                json!({ "message": format!("Hi {number}"), "stream": number.is_multiple_of(2) });
            ana.post_json("/api/v1/chat/completions", body).await.status
        });
        let lists = (0..40).map(async |_| ana.get("/api/v1/conversations").await.status);
        let (turns, lists) = tokio::join!(
            futures::future::join_all(turns),
            futures::future::join_all(lists)
        );
        assert!(turns.iter().all(|status| *status == 200), "{turns:?}");
        assert!(lists.iter().all(|status| *status == 200), "{lists:?}");
        expect_exact(&app).await;
        app.finish().await;
    }
}

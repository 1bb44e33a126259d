//! What is left of a deleted account in the end: nothing but the ledger and the event that tells of it.

use std::{collections::BTreeMap, time::Duration};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use shared::{
    ids::{ConversationId, UserId},
    models::conversation,
};
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        provider::{Provider, refusal, words_of},
        receiver::Receiver,
    },
    picture,
};
use wiremock::ResponseTemplate;

use crate::{
    account_deletion::{PASSWORD, delete},
    deletions::objects,
    exports,
    sessions::{log_in, refresh},
};

/// The user's own word, which stands in everything that is theirs.
const WORD: &str = "zanzibar";

/// How many rows each table has that has a column for users.
async fn rows_of(app: &TestApp, user: UserId) -> BTreeMap<String, i64> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.columns
          WHERE table_schema = 'public' AND column_name = 'user_id'",
    )
    .fetch_all(app.database.pool())
    .await
    .unwrap();
    let mut rows = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*) FROM {table} WHERE user_id = $1");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(user.0)
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        rows.insert(table, count);
    }
    rows
}

/// What is kept of a user who is gone. A table that is not here has to be removed by `PurgeUser`.
fn kept(ledger: i64) -> BTreeMap<String, i64> {
    [("events", 1), ("usage", ledger)]
        .into_iter()
        .filter(|(_, rows)| *rows > 0)
        .map(|(table, rows)| (table.to_owned(), rows))
        .collect()
}

async fn left(app: &TestApp, user: UserId) -> BTreeMap<String, i64> {
    let mut rows = rows_of(app, user).await;
    rows.retain(|_, rows| *rows > 0);
    rows
}

/// The tables in which a word stands anywhere.
async fn tables_with(app: &TestApp, word: &str) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables
          WHERE table_schema = 'public' AND table_type = 'BASE TABLE' ORDER BY 1",
    )
    .fetch_all(app.database.pool())
    .await
    .unwrap();
    let mut found = Vec::new();
    for table in tables {
        let sql = format!("SELECT EXISTS (SELECT FROM {table} t WHERE t::text ILIKE $1)");
        let is_there: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(format!("%{word}%"))
            .fetch_one(app.database.pool())
            .await
            .unwrap();
        if is_there {
            found.push(table);
        }
    }
    found
}

async fn number(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql)
        .fetch_one(app.database.pool())
        .await
        .unwrap()
}

async fn keys(app: &TestApp) -> Vec<String> {
    let mut keys = objects(app).await;
    keys.sort();
    keys
}

/// Lets a user have some of everything, with their word in it.
async fn fill(app: &TestApp, user: &Actor, word: &str, receiver: &Receiver) {
    let webhook = json!({ "url": receiver.url(), "events": ["*"], "description": word });
    user.post_json("/api/v1/webhooks", webhook)
        .await
        .expect(201);
    let project = json!({ "name": word, "instructions": word });
    let project = user.post_json("/api/v1/projects", project).await;
    let body = json!({ "title": word, "projectId": project.expect(201)["id"] });
    let conversation = user.post_json("/api/v1/conversations", body).await;
    let conversation = conversation.expect(201)["id"].clone();
    let ask = async |message: String| {
        user.chat(json!({
            "message": message, "conversationId": conversation, "model": "gpt-4o-mini",
        }))
        .await
    };
    ask(format!("What of {word}?")).await.expect(200);
    assert_ne!(ask(format!("Refuse {word}!")).await.status, 200);
    let scan = picture("english-scan.png");
    user.upload(&format!("{word}.png"), scan, &[])
        .await
        .expect(201);
    let export = json!({ "format": "markdown" });
    exports::ask(user, conversation.as_str().unwrap(), export).await;
    let key = json!({ "name": word, "scopes": ["read"] });
    let request = user
        .request(Method::POST, "/api/v1/api-keys")
        .header("idempotency-key", "k")
        .json(&key);
    user.send(request).await.expect(201);
    let session = log_in(user).await;
    refresh(user, &session).await.expect(200);
    app.trouble(user).await;
    app.run_jobs().await;
}

#[tokio::test]
async fn nothing_is_left_but_the_ledger_and_the_event() {
    let provider = Provider::start(|asked| {
        let question = asked.question();
        if question.starts_with("Refuse") {
            refusal(400, &format!("{question} is not answered"))
        } else {
            words_of(&["Of", " that."])
        }
    })
    .await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        ..Options::default()
    })
    .await;
    let receiver = Receiver::start().await;
    let (ana, ben) = (app.user(WORD).await, app.user("ben").await);
    let (ana_id, ben_id) = (app.id_of(&ana).await, app.id_of(&ben).await);
    fill(&app, &ben, "bengal", &receiver).await;
    let (bens_rows, bens_keys) = (rows_of(&app, ben_id).await, keys(&app).await);
    fill(&app, &ana, WORD, &receiver).await;
    // Some of it is under way: a deletion, a reading, and a delivery.
    let gone = ana.conversation(WORD).await;
    ana.delete(&format!("/api/v1/conversations/{gone}"))
        .await
        .expect(204);
    let scan = picture("english-scan.png");
    ana.upload("more.png", scan, &[]).await.expect(201);
    app.ocr_completed(&ana, WORD).await;
    let former = ana.webhook(&receiver.url()).await;
    app.ocr_completed(&ana, WORD).await;
    let former = format!("/api/v1/webhooks/{}", former["id"].as_str().unwrap());
    ana.delete(&former).await.expect(204);

    let before = rows_of(&app, ana_id).await;
    for (table, rows) in &before {
        let proves = *rows > 0 || table == "generations";
        assert!(
            proves,
            "{table} has nothing of hers, so this proves nothing"
        );
    }
    let told = tables_with(&app, WORD).await;
    for table in ["attachments", "events", "messages", "usage", "users"] {
        assert!(told.contains(&table.to_owned()), "{table}: {told:?}");
    }
    let cost = "SELECT coalesce(sum(cost_microusd), 0)::bigint FROM usage";
    let (money, sent) = (number(&app, cost).await, receiver.requests().await.len());

    delete(&ana, PASSWORD).await.expect(204);
    app.run_jobs().await;
    assert_eq!(left(&app, ana_id).await, kept(before["usage"]));
    assert_eq!(tables_with(&app, WORD).await, Vec::<String>::new());
    let event: (String, Value) = sqlx::query_as("SELECT kind, data FROM events WHERE user_id = $1")
        .bind(ana_id.0)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let expected = json!({ "userId": ana_id });
    assert_eq!(event, ("user.deleted".to_owned(), expected));
    assert_eq!(number(&app, cost).await, money);
    assert_eq!(
        receiver.requests().await.len(),
        sent,
        "nothing more is sent"
    );
    let purged =
        "SELECT count(*) FROM users WHERE deleted_at IS NOT NULL AND purged_at IS NOT NULL";
    assert_eq!(number(&app, purged).await, 1);
    let groups = "SELECT count(*) FROM job_groups WHERE key LIKE 'webhook:%'
                     AND key NOT IN (SELECT 'webhook:' || id FROM webhooks)";
    assert_eq!(number(&app, groups).await, 0);

    assert_eq!(rows_of(&app, ben_id).await, bens_rows);
    assert_eq!(keys(&app).await, bens_keys, "and no object");
    app.finish().await;
}

#[tokio::test]
async fn what_a_killed_worker_has_left_is_removed_by_the_next() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let id = app.id_of(&ana).await;
    for _ in 0..20 {
        let conversation = ana.conversation("Plans").await;
        ana.say(&conversation, "When?").await;
    }
    let project = json!({ "name": "Thesis" });
    ana.post_json("/api/v1/projects", project).await.expect(201);
    // Projects go after conversations.
    let mut holder = app.database.pool().begin().await.unwrap();
    sqlx::query("SELECT FROM projects FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    delete(&ana, PASSWORD).await.expect(204);

    let short = [("JOB_LEASE_SECONDS", "3")];
    let mut victim = app.start_program("baatcheet-worker", &short);
    eventually("its conversations are gone", || async {
        number(&app, "SELECT count(*) FROM conversations").await == 0
    })
    .await;
    app.database.somebody_waits().await;
    victim.signal(Signal::KILL);
    assert_eq!(victim.wait().await, None);
    holder.rollback().await.unwrap();
    let rest = left(&app, id).await;
    assert_eq!(rest["projects"], 1, "{rest:?}");
    assert!(rest["events"] > 1, "{rest:?}");

    let mut heir = app.start_program("baatcheet-worker", &short);
    eventually("nothing is left", || async {
        left(&app, id).await == kept(0)
    })
    .await;
    let crashes: i16 = sqlx::query_scalar("SELECT crash_count FROM jobs WHERE kind = 'purge_user'")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(crashes, 1, "it was killed at work");
    heir.signal(Signal::TERM);
    assert_eq!(heir.wait().await, Some(0));
    // It looks once more in a quarter of an hour.
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn what_a_late_request_writes_goes_too() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = app.id_of(&ana).await;
    delete(&ana, PASSWORD).await.expect(204);
    app.run_due_jobs().await;
    assert_eq!(left(&app, id).await, kept(0));
    sqlx::query(
        "INSERT INTO projects (id, user_id, name, version, created_at, updated_at)
         VALUES (gen_random_uuid(), $1, 'late', 1, job_now(), job_now())",
    )
    .bind(id.0)
    .execute(app.database.pool())
    .await
    .unwrap();
    app.advance(Duration::from_mins(14)).await;
    assert_eq!(app.run_due_jobs().await, 0, "it is not looked yet");
    app.run_jobs().await;
    assert_eq!(left(&app, id).await, kept(0));
    app.finish().await;
}

/// What waits for a later try would keep all that follows waiting, for something that has gone.
#[tokio::test]
async fn what_administrators_were_to_be_sent_keeps_nothing_waiting() {
    let app = TestApp::spawn().await;
    let (root, ana) = (app.user("root").await, app.user("ana").await);
    let root = app.promote(&root).await;
    let refused = ResponseTemplate::new(500);
    let receiver = Receiver::scripted(vec![refused, ResponseTemplate::new(204)]).await;
    let all = json!({
        "url": receiver.url(), "events": ["user.updated", "user.deleted"], "scope": "all", "ordering": "endpoint",
    });
    root.post_json("/api/v1/webhooks", all).await.expect(201);
    let name = json!({ "displayName": WORD });
    ana.patch_json("/api/v1/users/me", name).await.expect(200);
    app.run_due_jobs().await;
    let waiting = "SELECT count(*) FROM deliveries WHERE status = 'pending'";
    assert_eq!(number(&app, waiting).await, 1, "it is tried again later");

    delete(&ana, PASSWORD).await.expect(204);
    app.run_due_jobs().await;
    let orphans = "SELECT count(*) FROM jobs j WHERE j.kind = 'deliver_webhook'
                      AND j.state IN ('queued', 'parked', 'dispatched', 'running')
                      AND NOT EXISTS (SELECT FROM deliveries d WHERE d.job_id = j.id)";
    assert_eq!(number(&app, orphans).await, 0);
    app.run_jobs().await;
    let told = receiver.bodies().await;
    let told: Vec<&Value> = told.iter().map(|body| &body["type"]).collect();
    assert_eq!(told, ["user.updated", "user.deleted"]);
    app.finish().await;
}

/// Else the rest would go along with the conversation, in one statement.
#[tokio::test]
async fn two_runs_on_a_conversation_leave_nothing_to_its_end() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let plans = ana.conversation("Plans").await;
    for _ in 0..4 {
        ana.say(&plans, "When?").await;
    }
    ana.delete(&format!("/api/v1/conversations/{plans}"))
        .await
        .expect(204);
    let id: ConversationId = plans.parse().unwrap();
    let (mut one, mut other) = (app.begin().await, app.begin().await);
    let gone = conversation::purge_messages(&mut one, id, 2).await.unwrap();
    let committed = async {
        app.database.somebody_waits().await;
        one.commit().await.unwrap();
    };
    let (rest, ()) = tokio::join!(conversation::purge_messages(&mut other, id, 2), committed);
    assert_eq!((gone, rest.unwrap()), (2, 2));
    other.commit().await.unwrap();
    app.run_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn a_removal_that_is_lost_is_asked_for_again() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = app.id_of(&ana).await;
    ana.conversation("Plans").await;
    delete(&ana, PASSWORD).await.expect(204);
    app.forget_jobs().await;
    let tidy = || worker::housekeeping::tidy(&app.context);
    tidy().await.unwrap();
    assert_eq!(app.count_live_jobs().await, 0, "it may be under way");
    app.advance(Duration::from_mins(61)).await;
    for _ in 0..2 {
        tidy().await.unwrap();
        assert_eq!(app.count_live_jobs().await, 1);
    }
    app.run_jobs().await;
    assert_eq!(left(&app, id).await, kept(0));
    tidy().await.unwrap();
    assert_eq!(app.count_live_jobs().await, 0, "nothing is left to remove");
    app.finish().await;
}

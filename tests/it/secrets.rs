//! `baatcheet-worker secrets rotate`: what is encrypted when `SECRET_KEY` is another one.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use sea_orm::EntityTrait as _;
use serde_json::{Value, json};
use shared::{
    keyring::{self, Keyring},
    models::{
        idempotency_key,
        sealed::{self, Column},
    },
};
use standardwebhooks::Webhook;
use tests::{
    Actor, Reply, SECRET_KEY, TestApp,
    fakes::{provider::Provider, receiver::Receiver},
    process::program,
    secret_keys,
};
use tokio::process::Command;
use uuid::Uuid;
use worker::secrets::{Counts, News, rotate};

use crate::chat_keys;

const NEW: &str = "another key for tests that is thirty-two bytes and more";
/// Of the examples of Standard Webhooks.
const FORMER_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Ended {
    code: Option<i32>,
    out: String,
}

impl Ended {
    /// What the last line says, and of each column.
    fn summary(&self) -> (Value, BTreeMap<String, Value>) {
        let last = self.out.lines().last().expect("a line");
        let summary: Value = serde_json::from_str(last).expect("JSON");
        let columns = summary["columns"].as_array().expect("a list").iter();
        let name = |column: &Value| {
            let part = |name: &str| column[name].as_str().unwrap().to_owned();
            format!("{}.{}", part("table"), part("column"))
        };
        let columns = columns.map(|column| (name(column), column.clone()));
        (summary.clone(), columns.collect())
    }
}

/// Runs the real program with the new key, and these before it.
async fn run(app: &TestApp, previous: &str, args: &[&str]) -> Ended {
    let ended = Command::new(program("baatcheet-worker"))
        .args(["secrets", "rotate"])
        .args(args)
        .env_clear()
        .envs(app.environment())
        .env("SECRET_KEY", NEW)
        .env("SECRET_KEY_PREVIOUS", previous)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    Ended {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).unwrap(),
    }
}

/// Rotates in this process, and gives what came of a column, and which rows could not be opened.
async fn rotate_here(app: &TestApp, of: Column) -> (Counts, Vec<String>) {
    let keyring = secret_keys(NEW, &[SECRET_KEY]).keyring();
    let mut unreadable = Vec::new();
    let mut hear = |news: News| -> anyhow::Result<()> {
        if let News::Unreadable(column, key, error) = news {
            unreadable.push(format!("{column} of {key}: {error}"));
        }
        Ok(())
    };
    let counts = rotate(&app.context.db, &keyring, false, &mut hear).await;
    let counts: Vec<(Column, Counts)> = counts.unwrap();
    let (_, counts) = counts.iter().find(|(column, _)| *column == of).unwrap();
    (*counts, unreadable)
}

fn id(row: &Value) -> Uuid {
    row["id"].as_str().unwrap().parse().unwrap()
}

/// Somebody with the address of the API as it is now.
fn at(app: &TestApp, actor: &Actor) -> Actor {
    Actor {
        base: app.base.clone(),
        ..actor.clone()
    }
}

/// The same request each time.
async fn begin(actor: &Actor) -> Reply {
    let request = actor.request(Method::POST, "/api/v1/conversations");
    let request = request.json(&json!({ "title": "Plans" }));
    actor.send(request.header("idempotency-key", "k-1")).await
}

async fn set_secret(app: &TestApp, webhook: Uuid, sealed: &[u8]) {
    sqlx::query("UPDATE webhooks SET secret = $1 WHERE id = $2")
        .bind(sealed)
        .bind(webhook)
        .execute(app.database.pool())
        .await
        .unwrap();
}

/// The secret of an endpoint, as the new key alone opens it.
async fn secret(app: &TestApp, webhook: Uuid) -> Result<String, keyring::Error> {
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT secret FROM webhooks WHERE id = $1")
        .bind(webhook)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let place = sealed::WEBHOOK_SECRETS.place(webhook);
    let secret = secret_keys(NEW, &[]).keyring().open(&place, &sealed)?;
    Ok(String::from_utf8(secret).unwrap())
}

/// Gives an endpoint what only some have, sealed as the product does.
async fn complete(app: &TestApp, keyring: &Keyring, webhook: Uuid) {
    let headers = sealed::WEBHOOK_HEADERS.place(webhook);
    let seed = sealed::WEBHOOK_SIGNING_KEYS.place(webhook);
    sqlx::query(
        "UPDATE webhooks SET sealed_headers = $1, header_names = '{x-team}', signing_key = $2,
                signing_key_id = $3, public_key = '', old_secrets_until = '2030-01-01' WHERE id = $3",
    )
    .bind(keyring.seal(&headers, br#"{"x-team":"blue"}"#))
    .bind(keyring.seal(&seed, &[7; 32]))
    .bind(webhook)
    .execute(app.database.pool())
    .await
    .unwrap();
    let former = Uuid::new_v4();
    let place = sealed::OLD_WEBHOOK_SECRETS.place(former);
    sqlx::query(
        "INSERT INTO webhook_old_secrets (id, webhook_id, kind, secret, expires_at, created_at)
         VALUES ($1, $2, 'v1', $3, '2030-01-01', '2026-01-01')",
    )
    .bind(former)
    .bind(webhook)
    .bind(keyring.seal(&place, FORMER_SECRET.as_bytes()))
    .execute(app.database.pool())
    .await
    .unwrap();
}

#[tokio::test]
async fn all_goes_on_with_the_new_key_alone() {
    let provider = Provider::saying(&["Yes."]).await;
    let (mut app, ana) = chat_keys::app(provider.args("k1-secret-key")).await;
    let receiver = Receiver::start().await;
    let webhook = ana.webhook(&receiver.url()).await;
    complete(&app, &app.context.keyring, id(&webhook)).await;
    let first = begin(&ana).await.expect(201);
    let eve = app.user("eve").await;
    let eve = app.promote(&eve).await;
    let put = eve.request(Method::PUT, "/api/v1/admin/providers/openai/keys");
    let put = put.json(&json!({ "keys": ["k9-secret-key"] }));
    eve.send(put).await.expect(200);

    app.restart_with_keys(NEW, &[SECRET_KEY]).await;
    let ana = at(&app, &ana);
    let dry = run(&app, SECRET_KEY, &["--dry-run", "--json"]).await;
    let (summary, columns) = dry.summary();
    assert_eq!(dry.code, Some(0), "{}", dry.out);
    assert_eq!(summary["opensWithCurrentKeyAlone"], false);
    assert_eq!(columns.len(), sealed::ALL.len());
    for (name, column) in &columns {
        assert_eq!(
            (&column["older"], &column["rotated"]),
            (&json!(1), &json!(0)),
            "{name}"
        );
    }

    let done = run(&app, SECRET_KEY, &["--json"]).await;
    let (summary, columns) = done.summary();
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert_eq!(summary["opensWithCurrentKeyAlone"], true);
    for (name, column) in &columns {
        assert_eq!(
            (&column["rotated"], &column["alreadyCurrent"]),
            (&json!(1), &json!(0)),
            "{name}"
        );
    }
    let again = run(&app, SECRET_KEY, &["--json"]).await;
    let (_, columns) = again.summary();
    for (name, column) in &columns {
        assert_eq!(
            (&column["rotated"], &column["alreadyCurrent"]),
            (&json!(0), &json!(1)),
            "{name}"
        );
    }
    let repeated = begin(&ana).await;
    assert_eq!(repeated.headers["idempotent-replayed"], "true");
    assert_eq!(repeated.expect(201), first);

    app.restart_with_keys(NEW, &[]).await;
    let ana = at(&app, &ana);
    app.ocr_completed(&ana, "text").await;
    app.run_jobs().await;
    let requests = receiver.requests().await;
    assert_eq!(requests.len(), 1);
    let request = &requests[0];
    let header = |name: &str| request.headers[name].to_str().unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signatures: Vec<&str> = header("webhook-signature").split(' ').collect();
    for secret in [webhook["secret"].as_str().unwrap(), FORMER_SECRET] {
        let by = Webhook::new(secret).unwrap();
        let expected = by.sign(header("webhook-id"), timestamp, &request.body);
        let expected = expected.unwrap();
        assert!(signatures.contains(&&*expected), "{signatures:?}");
    }
    assert_eq!(header("x-team"), "blue");
    chat_keys::ask(&ana).await.expect(200);
    let asked = provider.asked().pop().expect("a question");
    assert_eq!(asked.key, "k9-secret-key");
    let kept = idempotency_key::Entity::find().one(&app.context.db).await;
    let kept = kept.unwrap().expect("an answer");
    let key = idempotency_key::Key {
        user: kept.user_id,
        hash: kept.key_hash.clone().try_into().unwrap(),
    };
    let body = kept.open_body(&app.context.keyring, &key).unwrap();
    let body: Value = serde_json::from_slice(&body.expect("a body")).unwrap();
    assert_eq!(body, first);
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_told_and_the_others_go_on() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let mut webhooks = Vec::new();
    for _ in 0..3 {
        webhooks.push(ana.webhook("http://127.0.0.1:9/").await);
    }
    let damaged = id(&webhooks[1]);
    // Its last byte is of its seal.
    sqlx::query(
        "UPDATE webhooks SET secret = set_byte(secret, length(secret) - 1, get_byte(secret, length(secret) - 1) # 1)
          WHERE id = $1",
    )
    .bind(damaged)
    .execute(app.database.pool())
    .await
    .unwrap();

    // Without the key that all have, none is opened.
    let blind = run(&app, "", &[]).await;
    assert_eq!(blind.code, Some(1), "{}", blind.out);
    for webhook in &webhooks {
        let told = format!(
            "unreadable: webhooks.secret of {}: no configured",
            id(webhook)
        );
        assert!(blind.out.contains(&told), "{}", blind.out);
    }
    assert!(blind.out.contains("3 cannot be opened"), "{}", blind.out);

    let done = run(&app, SECRET_KEY, &[]).await;
    assert_eq!(done.code, Some(1), "{}", done.out);
    let told = format!("unreadable: webhooks.secret of {damaged}: the ciphertext is damaged");
    assert!(done.out.contains(&told), "{}", done.out);
    assert_eq!(done.out.matches("unreadable: ").count(), 1);
    assert!(!done.out.contains("may be emptied"), "{}", done.out);
    for webhook in [&webhooks[0], &webhooks[2]] {
        assert_eq!(secret(&app, id(webhook)).await.unwrap(), webhook["secret"]);
    }

    // Made anew, or gone, nothing is in the way.
    ana.delete(&format!("/api/v1/webhooks/{damaged}")).await;
    app.run_jobs().await;
    let done = run(&app, SECRET_KEY, &[]).await;
    assert_eq!(done.code, Some(0), "{}", done.out);
    assert!(done.out.contains("may be emptied"), "{}", done.out);
    app.finish().await;
}

#[tokio::test]
async fn what_somebody_changes_meanwhile_is_not_lost() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let webhook = id(&ana.webhook("http://127.0.0.1:9/").await);
    let place = sealed::WEBHOOK_SECRETS.place(webhook);
    let old = app.context.keyring.clone();
    let new = secret_keys(NEW, &[SECRET_KEY]).keyring();
    // By a program that has the new key, and by one that has not.
    for (changed_by, rotated) in [(&new, 0), (&old, 1)] {
        set_secret(&app, webhook, &old.seal(&place, b"the first")).await;
        let mut change = app.database.pool().begin().await.unwrap();
        sqlx::query("UPDATE webhooks SET secret = $1 WHERE id = $2")
            .bind(changed_by.seal(&place, b"the second"))
            .bind(webhook)
            .execute(&mut *change)
            .await
            .unwrap();
        let changing = async {
            app.database.somebody_waits().await;
            change.commit().await.unwrap();
        };
        let rotating = rotate_here(&app, sealed::WEBHOOK_SECRETS);
        let ((counts, unreadable), ()) = tokio::join!(rotating, changing);
        assert_eq!((counts.found, counts.older), (1, 0), "{counts:?}");
        assert_eq!(counts.rotated, rotated);
        assert!(unreadable.is_empty(), "{unreadable:?}");
        assert_eq!(secret(&app, webhook).await.unwrap(), "the second");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_rotation_that_broke_off_goes_on_and_two_at_once_share_the_work() {
    const ANSWERS: usize = 700;
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let user = app.id_of(&ana).await;
    let now = app.clock.now();
    let mut tx = app.begin().await;
    for number in 0..ANSWERS {
        let key = idempotency_key::Key {
            user,
            hash: keyring::sha256(&number.to_be_bytes()),
        };
        let answer = idempotency_key::Answer {
            status: 200,
            version: None,
            body: Some(number.to_string().into_bytes()),
        };
        idempotency_key::keep(&mut tx, &app.context.keyring, &key, [0; 32], answer, now)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();

    let both = secret_keys(NEW, &[SECRET_KEY]).keyring();
    let mut looked = 0;
    let mut hear = |news: News| -> anyhow::Result<()> {
        if let News::Looked(_, rows) = news {
            looked += rows;
        }
        anyhow::ensure!(looked <= 250, "the terminal is closed");
        Ok(())
    };
    let broken = rotate(&app.context.db, &both, false, &mut hear).await;
    let broken = format!("{:#}", broken.unwrap_err());
    assert!(broken.contains("the terminal is closed"), "{broken}");

    let one = rotate_here(&app, sealed::ANSWERS);
    let other = rotate_here(&app, sealed::ANSWERS);
    let ((one, _), (other, _)) = tokio::join!(one, other);
    assert_eq!(one.rotated + other.rotated, 450, "{one:?} {other:?}");
    for counts in [one, other] {
        assert_eq!(counts.found, 700);
        assert_eq!((counts.older, counts.unreadable), (0, 0), "{counts:?}");
    }
    let alone = secret_keys(NEW, &[]).keyring();
    let kept = idempotency_key::Entity::find().all(&app.context.db).await;
    let mut bodies = BTreeSet::new();
    for kept in kept.unwrap() {
        let key = idempotency_key::Key {
            user,
            hash: kept.key_hash.clone().try_into().unwrap(),
        };
        bodies.insert(kept.open_body(&alone, &key).unwrap().expect("a body"));
    }
    assert_eq!(bodies.len(), ANSWERS);
    app.finish().await;
}

//! What transcription takes: a row of the ledger for each call, whatever becomes of the sound.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Options, TestApp, eventually,
    fakes::transcriber::{TranscriptionServer, refusal, verbose},
    process::{PostgresServer, Process, free_port},
    sound::{say, sound},
};
use wiremock::ResponseTemplate;

use crate::{
    chat::{id, ledger},
    transcriptions::{SAID, get, transcribed, upload},
};

/// Longer than any test waits.
const HELD: Duration = Duration::from_mins(5);
/// The shortest one of a product.
const LEASE: Duration = Duration::from_secs(3);

fn keys(groq: &TranscriptionServer) -> ProviderArgs {
    ProviderArgs {
        groq_api_keys: Some("acme:gsk_1".to_owned()),
        groq_base_url: Some(groq.base_url()),
        ..ProviderArgs::default()
    }
}

/// A product that asks this server; workers are started by the test.
async fn live(groq: &TranscriptionServer) -> TestApp {
    TestApp::with(Options {
        live: true,
        providers: keys(groq),
        ..Options::default()
    })
    .await
}

/// A sound that is heard in two parts.
fn two_parts() -> Vec<u8> {
    let tone = "sine=frequency=440:sample_rate=16000:duration=620";
    sound("mp3", &["-f", "lavfi", "-i", tone, "-b:a", "16k"])
}

async fn is_asked(groq: &TranscriptionServer, times: usize) {
    eventually("the server is asked", async || {
        groq.requests().await.len() == times
    })
    .await;
}

/// The ledger, once it has so many rows.
async fn rows(app: &TestApp, number: usize) -> Vec<Value> {
    eventually("the rows are there", async || {
        ledger(app).await.len() == number
    })
    .await;
    ledger(app).await
}

/// What Groq's usual model costs: 0.04 dollars an hour, ten seconds at least.
fn price(row: &Value) -> i64 {
    let millis = row["audio_ms"].as_i64().expect("a length");
    (millis.max(10_000) * 667 + 30_000) / 60_000
}

/// Starts a worker as a program of its own.
fn start_program(app: &TestApp, groq: &TranscriptionServer) -> Process {
    let base = groq.base_url();
    let variables = [
        ("GROQ_API_KEYS", "acme:gsk_1"),
        ("GROQ_BASE_URL", base.as_str()),
        ("JOB_SHUTDOWN_GRACE_SECONDS", "0"),
        ("JOB_LEASE_SECONDS", "3"),
    ];
    app.start_program("baatcheet-worker", &variables)
}

/// Has two workers take over the only job, and checks that the call at which the worker before was, is accounted for once, as
/// the one that they make.
async fn take_over(app: &TestApp, groq: &TranscriptionServer) -> Vec<Value> {
    let heirs = [(); 2].map(|()| app.start_worker_with(|settings| settings.lease = LEASE));
    eventually("it is heard", async || {
        app.count_jobs("succeeded").await == 1
    })
    .await;
    let both = rows(app, 2).await;
    for heir in heirs {
        heir.shutdown().await;
    }
    assert_eq!(
        attempts(&both),
        [
            json!([1, "interrupted", true]),
            json!([1, "completed", false])
        ]
    );
    for row in &both {
        assert_eq!(row["cost_microusd"], price(row), "{row}");
        for field in ["audio_ms", "attachment_id", "user_id", "key_group", "model"] {
            assert_eq!(row[field], both[1][field], "{field}");
            assert!(!row[field].is_null(), "{field}");
        }
    }
    assert_eq!(groq.requests().await.len(), 2);
    let notes: i64 = sqlx::query_scalar("SELECT count(*) FROM calls")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!((ledger(app).await.len(), notes), (2, 0));
    both
}

fn attempts(rows: &[Value]) -> Vec<Value> {
    let shown = |row: &Value| json!([row["attempt"], row["outcome"], row["is_estimated"]]);
    rows.iter().map(shown).collect()
}

#[tokio::test]
async fn a_sound_that_is_cancelled_is_accounted_for_as_far_as_it_was_heard() {
    let held = verbose("english", "nobody waits for it").set_delay(HELD);
    let groq = TranscriptionServer::scripted(vec![verbose("english", "one"), held]).await;
    let app = live(&groq).await;
    let worker = app.start_worker();
    let ana = app.user("ana").await;
    let created = ana.upload("voice", two_parts(), &[]).await.expect(201);
    is_asked(&groq, 2).await;
    // While the other part is still heard.
    let first = rows(&app, 1).await.remove(0);
    assert_eq!(
        (&first["outcome"], &first["attachment_id"]),
        (&json!("completed"), &created["attachment"]["id"])
    );
    let path = format!("/api/v1/jobs/{}", id(&created["job"]["id"]));
    ana.post(&format!("{path}/cancel")).await.expect(200);
    eventually("it is cancelled", async || {
        ana.get(&path).await.expect(200)["status"] == "cancelled"
    })
    .await;
    let both = rows(&app, 2).await;
    assert_eq!(
        attempts(&both),
        [
            json!([1, "completed", false]),
            json!([2, "interrupted", true])
        ]
    );
    for row in &both {
        assert_eq!(row["cost_microusd"], price(row), "{row}");
        assert_eq!(row["key_group"], "acme");
    }
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_sound_whose_worker_is_stopped_has_a_row_for_each_call_of_both_runs() {
    let held = verbose("english", "nobody waits for it").set_delay(HELD);
    let heard = || verbose("english", "one");
    let groq = TranscriptionServer::scripted(vec![heard(), held, heard()]).await;
    let app = live(&groq).await;
    let ana = app.user("ana").await;
    let base = groq.base_url();
    let mut program = app.start_program(
        "baatcheet-worker",
        &[
            ("GROQ_API_KEYS", "acme:gsk_1"),
            ("GROQ_BASE_URL", &base),
            ("JOB_SHUTDOWN_GRACE_SECONDS", "0"),
        ],
    );
    let id = upload(&ana, two_parts(), &[]).await;
    is_asked(&groq, 2).await;
    program.signal(Signal::TERM);
    assert_eq!(program.wait().await, Some(1), "{}", program.output());
    let first = [
        json!([1, "completed", false]),
        json!([2, "interrupted", true]),
    ];
    assert_eq!(attempts(&ledger(&app).await), first);

    let worker = app.start_worker();
    eventually("it is heard", async || {
        get(&ana, &id).await["transcription"]["status"] == "succeeded"
    })
    .await;
    let both = rows(&app, 4).await;
    assert_eq!(attempts(&both[..2]), first);
    assert_eq!(
        attempts(&both[2..]),
        [
            json!([1, "completed", false]),
            json!([2, "completed", false])
        ]
    );
    worker.shutdown().await;
    app.finish().await;
}

#[tokio::test]
async fn a_sound_whose_worker_is_killed_has_a_row_for_the_call_that_it_was_at() {
    let held = verbose("english", "nobody hears of it").set_delay(HELD);
    let groq = TranscriptionServer::scripted(vec![held, verbose("english", "at last")]).await;
    let app = live(&groq).await;
    let ana = app.user("ana").await;
    let mut program = start_program(&app, &groq);
    let id = upload(&ana, say(SAID), &[]).await;
    is_asked(&groq, 1).await;
    program.signal(Signal::KILL);
    program.wait().await;
    assert_eq!(ledger(&app).await.len(), 0);
    let rows = take_over(&app, &groq).await;
    // Within seconds after the lease has run out.
    let millis = rows[0]["latency_ms"].as_i64().unwrap();
    assert!((0..20_000).contains(&millis), "{millis} ms");
    assert_eq!(get(&ana, &id).await["transcription"]["text"], "at last");
    app.finish().await;
}

#[tokio::test]
async fn a_sound_whose_worker_is_stopped_while_postgres_is_away_has_a_row_for_the_call_that_it_was_at()
 {
    let postgres = PostgresServer::start().await;
    let held = verbose("english", "nobody hears of it").set_delay(HELD);
    let groq = TranscriptionServer::scripted(vec![held, verbose("english", "at last")]).await;
    let app = TestApp::with(Options {
        live: true,
        providers: keys(&groq),
        postgres_url: Some(postgres.url()),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let mut program = start_program(&app, &groq);
    upload(&ana, say(SAID), &[]).await;
    is_asked(&groq, 1).await;
    postgres.stop().await;
    program.signal(Signal::TERM);
    assert_eq!(program.wait().await, Some(1), "{}", program.output());
    program.wait_for_line("which will estimate it").await;
    postgres.restart().await;
    take_over(&app, &groq).await;
    app.finish().await;
}

#[tokio::test]
async fn only_what_is_refused_is_known_to_cost_nothing() {
    let late = verbose("english", "too late").set_delay(HELD);
    let unreadable = ResponseTemplate::new(200).set_body_string("<html>");
    let answers = vec![late, unreadable, refusal(503, "overloaded")];
    let groq = TranscriptionServer::scripted(answers).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            // Nobody is there, so nobody is asked.
            openai_api_keys: Some("sk-1".to_owned()),
            openai_base_url: Some(format!("http://127.0.0.1:{}/v1", free_port())),
            ..keys(&groq)
        },
        transcription_timeout: Some(Duration::from_secs(3)),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let attachment = transcribed(&app, &ana, say(SAID), &[]).await;
    assert_eq!(
        attachment["transcription"]["engine"], "pocketsphinx",
        "{attachment}"
    );
    let rows = rows(&app, 3).await;
    assert_eq!(
        attempts(&rows),
        [
            json!([1, "failed", true]),
            json!([2, "failed", true]),
            json!([3, "failed", false])
        ]
    );
    let costs: Vec<&Value> = rows.iter().map(|row| &row["cost_microusd"]).collect();
    assert_eq!(costs, [&json!(111), &json!(111), &json!(0)]);
    assert_eq!(rows[0]["error"], "it takes too long");
    assert!(rows.iter().all(|row| row["provider"] == "groq"));
    app.finish().await;
}

#[tokio::test]
async fn a_transcript_does_not_wait_for_its_row_which_is_written_once() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "at once")]).await;
    let app = TestApp::with(Options {
        providers: keys(&groq),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let mut held = app.database.pool().begin().await.unwrap();
    sqlx::query("LOCK TABLE usage IN SHARE MODE")
        .execute(&mut *held)
        .await
        .unwrap();
    let attachment = transcribed(&app, &ana, say(SAID), &[]).await;
    assert_eq!(
        attachment["transcription"]["text"], "at once",
        "{attachment}"
    );
    // It is tried again.
    eventually("its connection is cut", async || {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                    WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let cut: Vec<bool> = sqlx::query_scalar(sql)
            .fetch_all(app.database.pool())
            .await
            .unwrap();
        cut == [true]
    })
    .await;
    app.database.somebody_waits().await;
    assert_eq!(ledger(&app).await.len(), 0);
    held.rollback().await.unwrap();
    assert_eq!(
        attempts(&rows(&app, 1).await),
        [json!([1, "completed", false])]
    );
    app.finish().await;
}

#[tokio::test]
async fn keys_that_an_administrator_sets_are_used_for_sounds_at_once() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "by the new key")]).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: None,
            ..keys(&groq)
        },
        ..Options::default()
    })
    .await;
    let (ana, eve) = (app.user("ana").await, app.user("eve").await);
    let eve = app.promote(&eve).await;
    let engine = async || {
        // What a worker does when it hears of it.
        app.context.providers.refresh().await.unwrap();
        let attachment = transcribed(&app, &ana, say(SAID), &[]).await;
        attachment["transcription"]["engine"].clone()
    };
    assert_eq!(engine().await, "pocketsphinx");
    let path = "/api/v1/admin/providers/groq/keys";
    let keys = json!({ "keys": ["new:gsk_9"] });
    let put = eve.request(reqwest::Method::PUT, path).json(&keys);
    eve.send(put).await.expect(200);
    assert_eq!(engine().await, "groq");
    assert_eq!(groq.keys().await, ["Bearer gsk_9"]);
    eve.delete(path).await.expect(204);
    assert_eq!(engine().await, "pocketsphinx");
    assert_eq!(groq.requests().await.len(), 1);
    app.finish().await;
}

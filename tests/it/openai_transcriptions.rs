//! The surface that speaks like `OpenAI`'s API: what is said in sounds.

use std::time::Duration;

use api::config::ApiArgs;
use reqwest::{Method, multipart};
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, Reply, TestApp, eventually,
    fakes::transcriber::{TranscriptionServer, refusal, verbose},
};
use wiremock::ResponseTemplate;

use crate::{chat::ledger, openai_chat::error};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";
/// Nobody decodes it here.
pub(crate) const SOUND: &[u8] = b"RIFF....WAVEfmt not really a sound";

pub(crate) fn keys(groq: &TranscriptionServer) -> ProviderArgs {
    ProviderArgs {
        groq_api_keys: Some("acme:gsk_1".to_owned()),
        groq_base_url: Some(groq.base_url()),
        ..ProviderArgs::default()
    }
}

pub(crate) async fn product(groq: &TranscriptionServer) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: keys(groq),
        api: ApiArgs {
            max_audio_bytes: Some("100000".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

pub(crate) fn request(
    actor: &Actor,
    bytes: Vec<u8>,
    fields: &[(&str, &str)],
) -> reqwest::RequestBuilder {
    let part = multipart::Part::bytes(bytes).file_name("Speech.WAV");
    let part = part.mime_str("audio/wav").unwrap();
    let mut form = multipart::Form::new().part("file", part);
    for (name, value) in fields {
        form = form.text((*name).to_owned(), (*value).to_owned());
    }
    actor.request(Method::POST, TRANSCRIPTIONS).multipart(form)
}

async fn transcribe(actor: &Actor, fields: &[(&str, &str)]) -> Reply {
    let mut all = vec![("model", "whisper-large-v3-turbo")];
    all.extend_from_slice(fields);
    actor.send(request(actor, SOUND.to_vec(), &all)).await
}

async fn rows(app: &TestApp, number: usize) -> Vec<Value> {
    eventually("the rows are there", async || {
        ledger(app).await.len() == number
    })
    .await;
    ledger(app).await
}

#[tokio::test]
async fn a_sound_is_written_down_in_every_form() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "The library opens.")]).await;
    let (app, ana) = product(&groq).await;
    let reply = transcribe(
        &ana,
        &[
            ("language", "en"),
            ("prompt", "BaatCheet"),
            ("temperature", "0.2"),
        ],
    )
    .await;
    assert_eq!(reply.headers["x-baatcheet-provider"], "groq");
    assert_eq!(reply.headers["x-baatcheet-attempts"], "1");
    let answer = reply.expect(200);
    assert_eq!(
        answer,
        json!({ "text": "The library opens.", "usage": { "type": "duration", "seconds": 2 } })
    );
    let sent = String::from_utf8_lossy(&groq.requests().await[0].body).into_owned();
    for piece in [
        "whisper-large-v3-turbo",
        "verbose_json",
        "BaatCheet",
        "0.2",
        "filename=\"sound.wav\"",
        "not really a sound",
    ] {
        assert!(sent.contains(piece), "{piece}: {sent}");
    }
    let text = async |format: &str| {
        let reply = transcribe(&ana, &[("response_format", format)]).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        assert_eq!(reply.headers["content-type"], "text/plain; charset=utf-8");
        reply.text
    };
    assert_eq!(text("text").await, "The library opens.\n");
    assert_eq!(
        text("srt").await,
        "1\n00:00:00,000 --> 00:00:02,000\nThe library opens.\n\n"
    );
    assert_eq!(
        text("vtt").await,
        "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nThe library opens.\n"
    );
    let whole = transcribe(&ana, &[("response_format", "verbose_json")])
        .await
        .expect(200);
    for (field, value) in [
        ("task", json!("transcribe")),
        ("language", json!("english")),
        ("duration", json!(2.0)),
    ] {
        assert_eq!(whole[field], value, "{field}");
    }
    assert_eq!(whole["segments"][0]["avg_logprob"], -0.223_143_551);
    assert!(whole.get("words").is_none());
    let words = [
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
    ];
    let whole = transcribe(&ana, &words).await.expect(200);
    assert_eq!(whole["words"].as_array().unwrap().len(), 3);
    assert!(whole.get("segments").is_none());
    let rows = rows(&app, 6).await;
    for row in &rows {
        for (field, value) in [
            ("kind", json!("transcription")),
            ("outcome", json!("completed")),
            ("provider", json!("groq")),
            ("audio_ms", json!(2000)),
            ("is_estimated", json!(false)),
            ("user_id", json!(app.id_of(&ana).await)),
            ("attachment_id", Value::Null),
        ] {
            assert_eq!(row[field], value, "{field}");
        }
        // Ten seconds at least, at 667 millionths a minute.
        assert_eq!(row["cost_microusd"], 111);
    }
    app.finish().await;
}

#[tokio::test]
async fn what_is_no_such_form_is_refused() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "Yes.")]).await;
    let (app, ana) = product(&groq).await;
    for (fields, param, code) in [
        (
            &[("response_format", "xml")][..],
            "response_format",
            "invalid_value",
        ),
        (&[("temperature", "hot")], "temperature", "invalid_value"),
        (&[("language", "english")], "language", "invalid_value"),
        (
            &[("timestamp_granularities[]", "word")],
            "timestamp_granularities",
            "invalid_value",
        ),
        (&[("stream", "true")], "stream", "unsupported_value"),
        (&[("frobnicate", "1")], "frobnicate", "unknown_parameter"),
        (
            &[("chunking_strategy[type]", "server_vad")],
            "chunking_strategy",
            "unsupported_value",
        ),
        (&[("include[]", "logprobs")], "include", "unsupported_value"),
        (
            &[("known_speaker_names[]", "Ana")],
            "known_speaker_names",
            "unsupported_value",
        ),
    ] {
        let told = error(transcribe(&ana, fields).await, 400, code);
        assert_eq!(told["param"], param, "{told}");
    }
    let told = error(
        ana.send(request(&ana, SOUND.to_vec(), &[])).await,
        400,
        "missing_required_parameter",
    );
    assert_eq!(told["param"], "model");
    let form = multipart::Form::new().text("model", "whisper-large-v3");
    let empty = ana.request(Method::POST, TRANSCRIPTIONS).multipart(form);
    let told = error(ana.send(empty).await, 400, "missing_required_parameter");
    assert_eq!(told["param"], "file");
    error(
        ana.post_json(TRANSCRIPTIONS, json!({})).await,
        415,
        "unsupported_media_type",
    );
    let text = request(
        &ana,
        b"no sound at all".to_vec(),
        &[("model", "whisper-large-v3")],
    );
    let told = error(ana.send(text).await, 400, "invalid_value");
    assert_eq!(told["param"], "file");
    let large = request(&ana, vec![0; 100_001], &[("model", "whisper-large-v3")]);
    error(ana.send(large).await, 413, "payload_too_large");
    let unknown = request(&ana, SOUND.to_vec(), &[("model", "whisper-2")]);
    error(ana.send(unknown).await, 404, "model_not_found");
    let of_nobody = request(&ana, SOUND.to_vec(), &[("model", "whisper-1")]);
    error(ana.send(of_nobody).await, 503, "no_provider");
    assert!(groq.requests().await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_openai_knows_and_changes_nothing_is_taken() {
    let groq = TranscriptionServer::scripted(vec![verbose("english", "Yes.")]).await;
    let (app, ana) = product(&groq).await;
    let usual = [
        ("stream", "false"),
        ("chunking_strategy", "auto"),
        ("include[]", ""),
        ("languages", ""),
    ];
    transcribe(&ana, &usual).await.expect(200);
    let sent = String::from_utf8_lossy(&groq.requests().await[0].body).into_owned();
    assert!(!sent.contains("chunking_strategy"), "{sent}");
    app.finish().await;
}

#[tokio::test]
async fn of_two_failures_the_one_is_told_after_which_asking_again_helps_sooner() {
    let models = tempfile::NamedTempFile::new().unwrap();
    let both = r#"{ "version": "1", "providers": [
        { "name": "openai", "title": "OpenAI", "baseUrl": "https://api.openai.com/v1",
          "transcription": [{ "model": "whisper-large-v3" }] }
    ] }"#;
    std::fs::write(models.path(), both).unwrap();
    let busy = refusal(429, "Rate limit reached").insert_header("retry-after", "30");
    let busy = TranscriptionServer::scripted(vec![busy]).await;
    let strict = TranscriptionServer::scripted(vec![refusal(401, "Invalid API Key")]).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            models_file: Some(models.path().display().to_string()),
            openai_api_keys: Some("sk-1".to_owned()),
            openai_base_url: Some(busy.base_url()),
            ..keys(&strict)
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let model = [("model", "whisper-large-v3")];
    let reply = ana.send(request(&ana, SOUND.to_vec(), &model)).await;
    assert_eq!(reply.headers["retry-after"], "30");
    error(reply, 429, "rate_limit_exceeded");
    assert_eq!(
        (busy.requests().await.len(), strict.requests().await.len()),
        (1, 1)
    );
    app.finish().await;
}

#[tokio::test]
async fn what_a_provider_says_against_it_is_told_and_costs_nothing() {
    let groq = TranscriptionServer::scripted(vec![
        refusal(400, "file must be one of the following types"),
        refusal(429, "Rate limit reached").insert_header("retry-after", "60"),
    ])
    .await;
    let (app, ana) = product(&groq).await;
    let told = error(transcribe(&ana, &[]).await, 400, "invalid_value");
    assert_eq!(told["param"], "file");
    assert!(
        told["message"]
            .as_str()
            .unwrap()
            .contains("following types")
    );
    let reply = transcribe(&ana, &[]).await;
    assert_eq!(reply.headers["retry-after"], "60");
    error(reply, 429, "rate_limit_exceeded");
    for row in rows(&app, 2).await {
        assert_eq!(
            (&row["outcome"], &row["cost_microusd"]),
            (&json!("failed"), &json!(0))
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn a_call_that_its_client_leaves_is_accounted_for() {
    let held = verbose("english", "Late.").set_delay(Duration::from_mins(5));
    let groq = TranscriptionServer::scripted(vec![held, ResponseTemplate::new(500)]).await;
    let (app, ana) = product(&groq).await;
    let sending = request(&ana, SOUND.to_vec(), &[("model", "whisper-large-v3")]).send();
    let waiting = tokio::time::timeout(Duration::from_secs(1), sending);
    assert!(waiting.await.is_err());
    let rows = rows(&app, 1).await;
    assert_eq!(
        (&rows[0]["outcome"], &rows[0]["is_estimated"]),
        (&json!("cancelled"), &json!(true))
    );
    app.finish().await;
}

#[tokio::test]
async fn a_length_that_nobody_tells_or_believes_is_a_guess() {
    let groq = TranscriptionServer::scripted(vec![
        ResponseTemplate::new(200).set_body_json(json!({ "text": "Yes." })),
        ResponseTemplate::new(200).set_body_json(json!({ "text": "Yes.", "duration": 1e300 })),
        ResponseTemplate::new(200).set_body_json(json!({ "text": "Yes.", "duration": "2.5" })),
    ])
    .await;
    let (app, ana) = product(&groq).await;
    for _ in 0..3 {
        transcribe(&ana, &[]).await.expect(200);
    }
    let rows = rows(&app, 3).await;
    let told = rows
        .iter()
        .map(|row| (row["is_estimated"].as_bool(), row["audio_ms"].as_i64()));
    let mut told: Vec<_> = told.collect();
    told.sort_unstable();
    // Of its bytes, as one that is not compressed.
    let guess = (Some(true), Some(i64::try_from(SOUND.len()).unwrap() / 32));
    assert_eq!(told, [(Some(false), Some(2_500)), guess, guess]);
    for row in &rows {
        assert_eq!(row["cost_microusd"], 111);
    }
    app.advance(Duration::from_secs(1)).await;
    let usage = ana.get("/api/v1/usage").await.expect(200);
    assert_eq!(
        (
            &usage["total"]["estimated"],
            &usage["total"]["costMicrousd"]
        ),
        (&json!(2), &json!(333))
    );
    app.finish().await;
}

//! Who hears a sound: providers, one after the other, and what this machine has.

use serde_json::json;
use tests::{
    eventually,
    fakes::transcriber::{TranscriptionServer, refusal, verbose},
    sound::{convert, say},
};

use crate::chat::ledger;
use crate::transcriptions::{SAID, app, get, transcribed, upload};

#[tokio::test]
async fn a_provider_gets_the_sound_alone_and_its_words_are_kept() {
    let groq = TranscriptionServer::scripted(vec![verbose("Hindi", "नमस्ते दुनिया")]).await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    // What the recorder wrote about itself goes to nobody.
    let options = ["-c:a", "aac", "-metadata", "location=+48.8577+002.295/"];
    let bytes = convert(&say(SAID), "m4a", &options);
    let attachment = transcribed(&app, &ana, bytes.clone(), &[("language", "hi")]).await;
    let heard = &attachment["transcription"];
    assert_eq!(heard["text"], "नमस्ते दुनिया", "{attachment}");
    assert_eq!(
        (
            heard["language"].as_str(),
            heard["engine"].as_str(),
            heard["model"].as_str()
        ),
        (Some("hi"), Some("groq"), Some("whisper-large-v3-turbo"))
    );
    assert_eq!(heard["confidence"], 0.8);
    assert_eq!(
        heard["words"][1],
        json!({ "text": "दुनिया", "start": 0.5, "end": 0.9, "confidence": null })
    );
    assert_eq!(
        heard["segments"],
        json!([{ "text": "नमस्ते दुनिया", "start": 0.0, "end": 2.0, "confidence": 0.8 }])
    );

    transcribed(&app, &ana, bytes, &[("language", "en+hi")]).await;
    let keys = groq.keys().await;
    assert_eq!(keys, ["Bearer gsk_1", "Bearer gsk_2"], "they take turns");
    let requests = groq.requests().await;
    let form = String::from_utf8_lossy(&requests[0].body);
    for (name, value) in [
        ("model", "whisper-large-v3-turbo"),
        ("response_format", "verbose_json"),
        ("timestamp_granularities[]", "word"),
        ("timestamp_granularities[]", "segment"),
        ("language", "hi"),
    ] {
        let field = format!("name=\"{name}\"\r\n\r\n{value}\r\n");
        assert!(form.contains(&field), "{name}={value}");
    }
    assert!(form.contains("audio/flac") && form.contains("fLaC"));
    assert!(!form.contains("48.8577"));
    let form = String::from_utf8_lossy(&requests[1].body);
    assert!(
        !form.contains("name=\"language\""),
        "two languages are none"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_provider_that_is_busy_is_asked_again_and_then_the_next_one() {
    let away = || refusal(502, "bad gateway").insert_header("retry-after", "0");
    let groq = TranscriptionServer::scripted(vec![
        refusal(429, "slow down").insert_header("retry-after", "0"),
        away(),
        verbose("english", "third time lucky"),
        away(),
    ])
    .await;
    let openai = TranscriptionServer::scripted(vec![verbose("english", "from the other")]).await;
    let app = app(Some(&groq), Some(&openai)).await;
    let ana = app.user("ana").await;
    let lucky = transcribed(&app, &ana, say(SAID), &[]).await;
    assert_eq!(
        lucky["transcription"]["text"], "third time lucky",
        "{lucky}"
    );
    assert_eq!(groq.requests().await.len(), 3);
    let other = transcribed(&app, &ana, say(SAID), &[]).await;
    let heard = &other["transcription"];
    assert_eq!(
        (
            heard["text"].as_str(),
            heard["engine"].as_str(),
            heard["model"].as_str()
        ),
        (Some("from the other"), Some("openai"), Some("whisper-1"))
    );
    assert_eq!(groq.requests().await.len(), 3 + 3, "thrice");
    app.finish().await;
}

#[tokio::test]
async fn an_account_without_quota_makes_room_for_another_one() {
    let used_up = || refusal(429, "daily limit").insert_header("retry-after", "3600");
    let groq = TranscriptionServer::by_key(vec![
        ("gsk_1", used_up()),
        ("gsk_2", verbose("english", "from the other account")),
    ])
    .await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    for _ in 0..3 {
        let attachment = transcribed(&app, &ana, say(SAID), &[("language", "hi")]).await;
        assert_eq!(
            attachment["transcription"]["text"], "from the other account",
            "{attachment}"
        );
    }
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_stored_is_left_out_of_words_and_segments_too() {
    let said = verbose("english", "zero\u{0} here");
    let groq = TranscriptionServer::scripted(vec![said]).await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    let attachment = transcribed(&app, &ana, say(SAID), &[]).await;
    let heard = &attachment["transcription"];
    assert_eq!(heard["text"], "zero here", "{attachment}");
    assert_eq!(heard["words"][0]["text"], "zero");
    assert_eq!(heard["segments"][0]["text"], "zero here");
    app.finish().await;
}

#[tokio::test]
async fn keys_that_are_refused_and_sounds_that_are_not_taken_go_to_the_next_one() {
    let groq = TranscriptionServer::scripted(vec![refusal(401, "invalid key")]).await;
    let openai = TranscriptionServer::scripted(vec![refusal(400, "could not decode")]).await;
    let app = app(Some(&groq), Some(&openai)).await;
    let ana = app.user("ana").await;
    let english = transcribed(&app, &ana, say(SAID), &[("language", "en")]).await;
    assert_eq!(
        english["transcription"]["engine"], "pocketsphinx",
        "{english}"
    );
    assert_eq!(groq.requests().await.len(), 2, "each key once");
    assert_eq!(openai.requests().await.len(), 1);

    let hindi = transcribed(&app, &ana, say(SAID), &[("language", "hi")]).await;
    let heard = &hindi["transcription"];
    assert_eq!(heard["status"], "failed");
    assert_eq!(
        heard["error"],
        "transcription_unavailable: groq and openai could not transcribe the sound"
    );
    assert_eq!(hindi["jobs"][0]["attempt"], 1);
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn when_all_are_away_it_is_tried_again_later() {
    let away = refusal(503, "overloaded").insert_header("retry-after", "60");
    let groq = TranscriptionServer::scripted(vec![away, verbose("urdu", "السلام علیکم")]).await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    let id = upload(&ana, say(SAID), &[("language", "ur")]).await;
    let before = app.clock.now();
    app.run_due_jobs().await;
    let waiting = get(&ana, &id).await;
    assert_eq!(waiting["jobs"][0]["status"], "retrying", "{waiting}");
    assert_eq!(waiting["transcription"]["status"], "processing");
    app.run_jobs().await;
    assert!(app.clock.now() - before >= chrono::TimeDelta::seconds(60));
    let heard = &get(&ana, &id).await["transcription"];
    assert_eq!(
        (heard["text"].as_str(), heard["language"].as_str()),
        (Some("السلام علیکم"), Some("ur"))
    );
    app.finish().await;
}

#[tokio::test]
async fn sounds_and_answers_draw_on_the_same_keys_and_the_same_ledger() {
    let groq = TranscriptionServer::by_key(vec![
        ("gsk_1", refusal(401, "invalid key")),
        ("gsk_2", verbose("english", "by the other key")),
    ])
    .await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    for _ in 0..2 {
        transcribed(&app, &ana, say(SAID), &[]).await;
    }
    // Once, and never again: not even for an answer.
    let refused = groq.keys().await;
    let first = refused.iter().filter(|key| *key == "Bearer gsk_1").count();
    assert_eq!(first, 1, "{refused:?}");
    eventually("all is in the ledger", async || {
        ledger(&app).await.len() == 3
    })
    .await;
    let rows = ledger(&app).await;
    let outcomes: Vec<(&str, &str)> = rows
        .iter()
        .map(|row| {
            let text = |field: &str| row[field].as_str().unwrap_or_default();
            (text("outcome"), text("key_group"))
        })
        .collect();
    assert_eq!(outcomes[0], ("failed", "acme"));
    assert_eq!(
        (outcomes.len(), outcomes[1].0, outcomes[2].0),
        (3, "completed", "completed")
    );
    let heard = &rows[1];
    assert_eq!(heard["kind"], "transcription");
    assert!(heard["attachment_id"].is_string() && heard["audio_ms"].as_i64() > Some(1_000));
    // Groq takes 0.04 dollars for an hour and ten seconds at least; a refusal costs nothing.
    assert!(heard["cost_microusd"] == 111 && rows[0]["cost_microusd"] == 0);
    let retired: Vec<String> = sqlx::query_scalar("SELECT provider FROM retired_keys")
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    assert_eq!(retired, ["groq"]);
    app.finish().await;
}

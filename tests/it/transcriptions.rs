//! From a sound to what is said in it.

use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp,
    fakes::{
        receiver::Receiver,
        transcriber::{TranscriptionServer, refusal, verbose},
    },
    fixture,
    sound::{convert, say, sound},
};
use worker::config::{SpeechArgs, WorkerArgs};

pub(crate) const SAID: &str =
    "The library opens on Saturday morning. Please bring your paper and a pen.";

/// A product that asks these servers before it hears by itself.
pub(crate) async fn app(
    groq: Option<&TranscriptionServer>,
    openai: Option<&TranscriptionServer>,
) -> TestApp {
    let providers = ProviderArgs {
        groq_api_keys: groq.map(|_| "acme:gsk_1,gsk_2".to_owned()),
        groq_base_url: groq.map(TranscriptionServer::base_url),
        openai_api_key: openai.map(|_| "sk-1".to_owned()),
        openai_base_url: openai.map(TranscriptionServer::base_url),
        ..ProviderArgs::default()
    };
    let speech = SpeechArgs {
        max_audio_seconds: Some("60".to_owned()),
        ..SpeechArgs::default()
    };
    let worker = WorkerArgs {
        speech,
        ..WorkerArgs::default()
    };
    TestApp::with(Options {
        worker,
        providers,
        ..Options::default()
    })
    .await
}

pub(crate) async fn upload(user: &Actor, bytes: Vec<u8>, fields: &[(&str, &str)]) -> String {
    let created = user.upload("voice", bytes, fields).await.expect(201);
    created["attachment"]["id"].as_str().unwrap().to_owned()
}

pub(crate) async fn get(user: &Actor, id: &str) -> Value {
    let attachment = user.get(&format!("/api/v1/attachments/{id}")).await;
    attachment.expect(200)
}

/// Uploads a sound, lets the jobs run, and gives the attachment.
pub(crate) async fn transcribed(
    app: &TestApp,
    user: &Actor,
    bytes: Vec<u8>,
    fields: &[(&str, &str)],
) -> Value {
    let id = upload(user, bytes, fields).await;
    app.run_jobs().await;
    get(user, &id).await
}

#[tokio::test]
async fn what_is_said_is_written_down_without_any_key() {
    let app = app(None, None).await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let hook = json!({ "url": receiver.url(), "events": ["audio.transcription_completed"] });
    ana.post_json("/api/v1/webhooks", hook).await.expect(201);
    let bytes = convert(&say(SAID), "mp3", &["-b:a", "64k"]);
    let created = ana.upload("note.mp3", bytes, &[]).await.expect(201);
    assert_eq!(created["message"], "Transcription in background");
    assert_eq!(
        (
            created["job"]["kind"].as_str(),
            created["job"]["queue"].as_str()
        ),
        (Some("transcribe_audio"), Some("audio"))
    );
    assert_eq!(
        created["attachment"]["transcription"]["status"],
        "processing"
    );
    assert_eq!(created["attachment"]["jobs"][0]["id"], created["job"]["id"]);

    app.run_jobs().await;
    let id = created["attachment"]["id"].as_str().unwrap();
    let attachment = get(&ana, id).await;
    let heard = &attachment["transcription"];
    assert_eq!(heard["status"], "succeeded", "{attachment}");
    let text = heard["text"].as_str().unwrap();
    for word in ["library", "morning", "paper"] {
        assert!(text.contains(word), "{text}");
    }
    assert_eq!(attachment["extractedText"], heard["text"]);
    assert_eq!(
        (
            heard["language"].as_str(),
            heard["engine"].as_str(),
            heard["model"].as_str()
        ),
        (Some("en"), Some("pocketsphinx"), Some("en-us"))
    );
    let confidence = heard["confidence"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&confidence));
    let duration = heard["durationSeconds"].as_f64().unwrap();
    assert!((3.0..8.0).contains(&duration), "{duration}");
    let words = heard["words"].as_array().unwrap();
    assert_eq!(words.len(), text.split_whitespace().count());
    assert!(heard["segments"][0]["end"].as_f64().unwrap() <= duration);
    let job = &attachment["jobs"][0];
    assert_eq!(
        (job["status"].as_str(), job["progress"].as_i64()),
        (Some("succeeded"), Some(100))
    );
    assert_eq!(job["result"]["engine"], "pocketsphinx");

    let list = ana
        .get("/api/v1/attachments?kind=audio&status=succeeded")
        .await
        .expect(200);
    let listed = &list["data"][0]["transcription"];
    assert_eq!(listed["text"], heard["text"]);
    assert!(listed["words"].is_null() && listed["segments"].is_null());

    let [event] = &receiver.bodies().await[..] else {
        panic!("one event comes")
    };
    assert_eq!(event["type"], "audio.transcription_completed");
    assert_eq!(event["data"]["attachmentId"], id);
    assert_eq!(event["data"]["text"], heard["text"]);
    assert_eq!(event["data"]["durationSeconds"], heard["durationSeconds"]);
    app.finish().await;
}

#[tokio::test]
async fn a_bad_sound_says_why_and_is_not_tried_again() {
    let app = app(None, None).await;
    let ana = app.user("ana").await;
    let receiver = Receiver::start().await;
    let hook = json!({ "url": receiver.url(), "events": ["audio.transcription_failed"] });
    ana.post_json("/api/v1/webhooks", hook).await.expect(201);
    let silence = ["-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "1"];
    let long = [
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=440:duration=61",
        "-b:a",
        "16k",
    ];
    let mut broken = say(SAID);
    broken.truncate(60);
    let mut playlist = b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0".to_vec();
    playlist.extend(b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n");
    let bad = [
        (
            sound("ogg", &[&silence[..], &["-c:a", "libopus"]].concat()),
            "the sound is silent",
        ),
        (fixture("tone.mp3"), "no speech was recognized in the sound"),
        (sound("mp3", &long), "longer than 1 minutes"),
        (broken, "the sound is"),
        (playlist, "the sound is damaged"),
    ];
    for (bytes, reason) in bad {
        let attachment = transcribed(&app, &ana, bytes, &[]).await;
        let heard = &attachment["transcription"];
        assert_eq!(heard["status"], "failed", "{attachment}");
        let told = heard["error"].as_str().unwrap();
        assert!(told.contains(reason), "{told}");
        let job = &attachment["jobs"][0];
        assert_eq!(
            (job["status"].as_str(), job["attempt"].as_i64()),
            (Some("failed"), Some(1))
        );
        assert_eq!(job["error"], heard["error"]);
        let subtitles = format!(
            "/api/v1/attachments/{}/subtitles",
            attachment["id"].as_str().unwrap()
        );
        ana.get(&subtitles)
            .await
            .expect_problem(409, "not_transcribed");
    }
    let events = receiver.bodies().await;
    assert_eq!(events.len(), 5);
    assert_eq!(events[0]["data"]["error"], "the sound is silent");
    app.expect_failed(5);
    app.finish().await;
}

#[tokio::test]
async fn a_sound_is_transcribed_again_in_another_language() {
    let groq = TranscriptionServer::scripted(vec![
        verbose("english", "as it was first"),
        refusal(400, "not now"),
        verbose("bengali", "শুভ সকাল"),
    ])
    .await;
    let app = app(Some(&groq), None).await;
    let ana = app.user("ana").await;
    let first = transcribed(&app, &ana, say(SAID), &[]).await;
    let id = first["id"].as_str().unwrap();
    let path = format!("/api/v1/attachments/{id}/transcription");
    let again = ana
        .post_json(&path, json!({ "language": "bn-IN" }))
        .await
        .expect(202);
    assert_eq!(again["job"]["kind"], "transcribe_audio");
    assert_eq!(again["attachment"]["transcription"]["status"], "processing");
    assert_eq!(
        again["attachment"]["transcription"]["text"],
        "as it was first"
    );
    app.run_jobs().await;
    // It failed, and what was heard before stays.
    let failed = get(&ana, id).await;
    assert_eq!(failed["transcription"]["status"], "failed");
    assert_eq!(failed["transcription"]["text"], "as it was first");
    ana.post_json(&path, json!({ "language": "bn" }))
        .await
        .expect(202);
    app.run_jobs().await;
    let heard = get(&ana, id).await;
    assert_eq!(heard["transcription"]["text"], "শুভ সকাল");
    assert_eq!(heard["extractedText"], "শুভ সকাল");
    assert_eq!(heard["transcription"]["language"], "bn");
    assert!(heard["transcription"]["error"].is_null());
    assert_eq!(heard["jobs"].as_array().unwrap().len(), 3);

    for (body, pointer) in [
        (json!({ "language": "xx" }), "/language"),
        (json!({ "language": "en+hi" }), "/language"),
        (json!({ "language": "Devanagari" }), "/language"),
        (json!({ "voice": "low" }), "/voice"),
    ] {
        let bad = ana.post_json(&path, body).await;
        assert_eq!(bad.expect_bad_fields(), [pointer]);
    }
    let picture = ana
        .upload("x", fixture("two-lines.jpg"), &[])
        .await
        .expect(201);
    let picture = picture["attachment"]["id"].as_str().unwrap();
    ana.post(&format!("/api/v1/attachments/{picture}/transcription"))
        .await
        .expect_problem(409, "not_transcribable");
    app.run_jobs().await;
    app.expect_failed(1);
    app.finish().await;
}

#[tokio::test]
async fn subtitles_show_what_is_said_and_when() {
    let text = "Ten <b>bold</b> & brave --> sailors went to sea";
    let groq = TranscriptionServer::scripted(vec![verbose("english", text)]).await;
    let app = app(Some(&groq), None).await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let attachment = transcribed(&app, &ana, say(SAID), &[]).await;
    let path = format!(
        "/api/v1/attachments/{}/subtitles",
        attachment["id"].as_str().unwrap()
    );
    let vtt = ana.get(&path).await;
    assert_eq!(
        (
            vtt.status.as_u16(),
            vtt.headers["content-type"].to_str().unwrap()
        ),
        (200, "text/vtt; charset=utf-8")
    );
    assert_eq!(
        vtt.text,
        "WEBVTT\n\n00:00:00.000 --> 00:00:04.400\nTen &lt;b&gt;bold&lt;/b&gt; &amp; brave --&gt; sailors went\nto sea\n"
    );
    let srt = ana.get(&format!("{path}?format=srt")).await;
    assert!(srt.text.starts_with("1\n00:00:00,000 --> "), "{}", srt.text);
    let bad = ana.get(&format!("{path}?format=ass")).await;
    assert_eq!(bad.expect_bad_fields(), ["/format"]);
    ben.get(&path).await.expect_problem(404, "not_found");
    app.finish().await;
}

#[tokio::test]
async fn a_deleted_sound_leaves_nothing_to_be_heard() {
    let app = app(None, None).await;
    let ana = app.user("ana").await;
    let id = upload(&ana, say(SAID), &[]).await;
    ana.delete(&format!("/api/v1/attachments/{id}"))
        .await
        .expect(204);
    app.run_jobs().await;
    assert_eq!(app.count_jobs("cancelled").await, 1);
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM transcriptions")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(rows, 0);
    app.finish().await;
}

//! The main job, as a client of the API sees it: a user registers, uploads pictures and a spoken note, follows how they are
//! read and heard, gets a signed webhook for each picture, asks a model about one of them, and exports a conversation. Ends
//! with success only if every text and every signature is right.
#![expect(clippy::print_stdout, reason = "it shows what happens")]

mod client;
mod talk;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use axum::{body::Bytes, extract::State, http::HeaderMap, routing::post};
use clap::Parser as _;
use futures::future::try_join_all;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Deserialize;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use tests::text::error_rate;
use tokio::sync::mpsc;

use crate::client::{Client, follow};

/// Share of wrong characters that is still right: the photo is a photo.
const RIGHT: f64 = 0.05;
/// Words of the note that every engine gets right.
const HEARD: [&str; 3] = ["library", "morning", "paper"];
/// What is said in the conversation that is exported.
const SAID: [&str; 5] = [
    "When does the **library** open? 📚",
    "کتب خانہ ہفتے کی صبح نو بجے کھلتا ہے۔ Please bring your card.",
    "यह पुस्तकालय शनिवार को नौ बजे खुलता है; श्रीमान् क्षत्रिय वहाँ होंगे।",
    "গ্রন্থাগার শনিবার সকাল নয়টায় খোলে।",
    "| day | hours |\n|---|---|\n| Saturday | 9 to 5 |\n\n```rust\nfn is_open(hour: u8) -> bool {\n    (9..17).contains(&hour)\n}\n```",
];
/// Longest wait for a text or a webhook.
const PATIENCE: Duration = Duration::from_mins(2);

#[derive(clap::Parser)]
#[command(
    name = "baatcheet-demo",
    about = "Shows the main job on pictures whose text is known"
)]
struct Args {
    /// Where the API is
    #[arg(long)]
    api: String,
    /// Folder with `expected.json` and its pictures
    #[arg(long)]
    pictures: PathBuf,
    /// A spoken note
    #[arg(long)]
    sound: PathBuf,
    /// Where the exported conversation is put
    #[arg(long)]
    export: PathBuf,
}

/// A picture whose text is known.
#[derive(Debug, Clone, Deserialize)]
struct Picture {
    file: String,
    language: String,
    text: String,
}

/// What came of a picture.
struct Shown {
    picture: Picture,
    id: String,
    text: String,
    confidence: Option<f64>,
    answered: Duration,
    read: Duration,
    told: Duration,
}

struct Received {
    headers: HeaderMap,
    body: Bytes,
    at: Instant,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let expected =
        std::fs::read(args.pictures.join("expected.json")).context("no expected.json")?;
    let pictures: Vec<Picture> = serde_json::from_slice(&expected)?;

    let (hook, mut received) = receiver().await?;
    let (client, email) = Client::register(&args.api).await?;
    println!("registered {email}");
    let body = json!({ "url": hook, "events": ["image.ocr_completed", "image.ocr_failed"] });
    let webhook = client.post("/api/v1/webhooks", &body).await?;
    let secret = webhook["secret"]
        .as_str()
        .context("the webhook's secret")?
        .to_owned();
    println!("made a webhook to {hook}");

    let bars = MultiProgress::new();
    let began = Instant::now();
    let uploads = pictures.into_iter().map(|picture| {
        let bar = bars.add(bar(&picture.file));
        show(&client, &args.pictures, picture, bar)
    });
    let mut shown = try_join_all(uploads).await?;
    for _ in 0..shown.len() {
        let request = tokio::time::timeout(PATIENCE, received.recv())
            .await
            .context("no webhook came")?;
        verify(
            &request.context("the receiver ended")?,
            &secret,
            &mut shown,
            began,
        )?;
    }

    let mut wrong = 0;
    for picture in &shown {
        let rate = error_rate(&picture.text, &picture.picture.text);
        let is_right = rate <= RIGHT;
        wrong += usize::from(!is_right);
        println!(
            "\n── {} ({}) ──\n{}",
            picture.picture.file,
            picture.picture.language,
            picture.text.trim()
        );
        println!(
            "── {}: {:.1} % of the characters differ; confidence {:.0}",
            if is_right { "right" } else { "WRONG" },
            rate * 100.0,
            picture.confidence.unwrap_or_default()
        );
    }
    println!(
        "\n{:<20} {:>12} {:>12} {:>14}",
        "milliseconds to", "the answer", "the text", "the webhook"
    );
    for Shown {
        picture,
        answered,
        read,
        told,
        ..
    } in &shown
    {
        println!(
            "{:<20} {:>12} {:>12} {:>14}",
            picture.file,
            answered.as_millis(),
            read.as_millis(),
            told.as_millis()
        );
    }
    println!(
        "\n{} webhooks came, each with a good signature",
        shown.len()
    );
    ensure!(wrong == 0, "{wrong} texts are wrong");
    let shown = shown.first().context("there is a picture")?;
    talk::talk(&client, &shown.id, &shown.text).await?;
    hear(&client, &args.sound).await?;
    export(&client, &args.export).await
}

/// Says something in several scripts, and saves the conversation as a PDF.
async fn export(client: &Client, target: &std::path::Path) -> anyhow::Result<()> {
    let body = json!({ "title": "The library · کتب خانہ · पुस्तकालय · গ্রন্থাগার" });
    let conversation = client.post("/api/v1/conversations", &body).await?;
    let path = format!(
        "/api/v1/conversations/{}",
        conversation["id"].as_str().context("a conversation")?
    );
    for text in SAID {
        let body = json!({ "content": text });
        client.post(&format!("{path}/messages"), &body).await?;
    }
    let bar = bar("conversation.pdf");
    let began = Instant::now();
    let body = json!({ "format": "pdf" });
    let asked = client.post(&format!("{path}/exports"), &body).await?;
    let job = asked["job"]["id"].as_str().context("a job")?;
    follow(client, job, &bar).await?;
    let took = began.elapsed().as_millis();
    let id = asked["export"]["id"].as_str().context("an export")?;
    let export = client.get(&format!("/api/v1/exports/{id}")).await?;
    let url = export["url"].as_str().context("its URL")?;
    let content = client.http.get(url).send().await?.error_for_status()?;
    let content = content.bytes().await?;
    ensure!(content.starts_with(b"%PDF-"), "the export is no PDF");
    if let Some(folder) = target.parent() {
        tokio::fs::create_dir_all(folder).await?;
    }
    tokio::fs::write(target, &content).await?;
    println!(
        "exported {} messages in {took} ms: {}",
        SAID.len(),
        std::path::absolute(target)?.display()
    );
    Ok(())
}

/// Uploads a spoken note, follows its transcription, and prints it as subtitles.
async fn hear(client: &Client, sound: &std::path::Path) -> anyhow::Result<()> {
    let name = sound.file_name().unwrap_or_default().to_string_lossy();
    let bar = bar(&name);
    let began = Instant::now();
    let created = client.upload(sound, "en").await?;
    let job = created["job"]["id"].as_str().context("a job")?;
    follow(client, job, &bar).await?;
    let took = began.elapsed().as_millis();
    let id = created["attachment"]["id"]
        .as_str()
        .context("an attachment")?;
    let attachment = client.get(&format!("/api/v1/attachments/{id}")).await?;
    let heard = &attachment["transcription"];
    let text = heard["text"].as_str().context("a transcript")?;
    println!(
        "\n── {name} ({}) ──\n{text}\n── heard by {} in {took} ms; confidence {}",
        heard["language"].as_str().unwrap_or("?"),
        heard["engine"].as_str().unwrap_or("?"),
        heard["confidence"]
    );
    let subtitles = client
        .text(&format!("/api/v1/attachments/{id}/subtitles"))
        .await?;
    println!("{subtitles}");
    for word in HEARD {
        ensure!(text.contains(word), "nobody heard {word:?}");
    }
    Ok(())
}

/// A client's server: takes webhooks, and gives them to the demo.
async fn receiver() -> anyhow::Result<(String, mpsc::UnboundedReceiver<Received>)> {
    async fn take(
        State(sender): State<mpsc::UnboundedSender<Received>>,
        headers: HeaderMap,
        body: Bytes,
    ) {
        let _ = sender.send(Received {
            headers,
            body,
            at: Instant::now(),
        });
    }
    let (sender, received) = mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hooks/baatcheet", listener.local_addr()?);
    let router = axum::Router::new()
        .route("/hooks/baatcheet", post(take))
        .with_state(sender);
    #[expect(clippy::disallowed_methods, reason = "it serves until the demo ends")]
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok((url, received))
}

fn bar(file: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:20} {bar:30} {pos:>3} % {msg}");
    let bar = ProgressBar::new(100).with_prefix(file.to_owned());
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Uploads a picture and follows its job to the end.
async fn show(
    client: &Client,
    folder: &std::path::Path,
    picture: Picture,
    bar: ProgressBar,
) -> anyhow::Result<Shown> {
    let began = Instant::now();
    let created = client
        .upload(&folder.join(&picture.file), &picture.language)
        .await?;
    let answered = began.elapsed();
    let job = created["job"]["id"].as_str().context("a job")?;
    follow(client, job, &bar)
        .await
        .with_context(|| picture.file.clone())?;
    let read = began.elapsed();

    let id = created["attachment"]["id"]
        .as_str()
        .context("an attachment")?
        .to_owned();
    let attachment = client.get(&format!("/api/v1/attachments/{id}")).await?;
    let text = attachment["extractedText"]
        .as_str()
        .context("a text")?
        .to_owned();
    let confidence = attachment["ocr"]["confidence"].as_f64();
    Ok(Shown {
        picture,
        id,
        text,
        confidence,
        answered,
        read,
        told: Duration::ZERO,
    })
}

/// Checks a webhook as its receiver should: with the official library, and by the plain signature.
fn verify(
    request: &Received,
    secret: &str,
    shown: &mut [Shown],
    began: Instant,
) -> anyhow::Result<()> {
    Webhook::new(secret)?
        .verify(&request.body, &request.headers)
        .context("the Standard Webhooks signature is wrong")?;
    let plain = hex::encode(shared::keyring::hmac_sha256(
        secret.as_bytes(),
        &request.body,
    ));
    ensure!(
        request.headers["x-baatcheet-signature"] == plain,
        "the plain signature is wrong"
    );
    let event: Value = serde_json::from_slice(&request.body)?;
    ensure!(
        event["type"] == "image.ocr_completed",
        "an event of type {} came",
        event["type"]
    );
    let told = shown
        .iter_mut()
        .find(|shown| event["data"]["attachmentId"] == shown.id.as_str());
    let told = told.context("a webhook of an unknown attachment came")?;
    ensure!(
        event["data"]["extractedText"] == told.text.as_str(),
        "the webhook tells another text"
    );
    told.told = request.at - began;
    Ok(())
}

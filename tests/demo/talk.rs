//! A turn with a model about a picture, as a chat app shows it: word by word.

use std::{io::Write as _, time::Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use serde_json::{Value, json};

use crate::client::Client;

/// Asks what a picture says, and prints the answer while it comes. The model that only echoes must have seen `text`.
pub(crate) async fn talk(client: &Client, attachment: &str, text: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let question = "What does this picture say?";
    println!("\n── {question} ──");
    let body = json!({ "message": question, "attachmentIds": [attachment], "stream": true });
    let response = client.stream("/api/v1/chat/completions", &body).await?;
    let mut pieces = response.bytes_stream();
    let (mut read, mut first, mut last) = (Vec::new(), None, None);
    while let Some(piece) = pieces.next().await {
        read.extend_from_slice(&piece?);
        while let Some(length) = read.windows(2).position(|two| two == b"\n\n") {
            let event: Vec<u8> = read.drain(..length + 2).collect();
            let event = String::from_utf8(event)?;
            let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else {
                continue;
            };
            let data: Value = serde_json::from_str(data)?;
            if let Some(words) = data["delta"].as_str() {
                first.get_or_insert_with(|| began.elapsed());
                print!("{words}");
                std::io::stdout().flush()?;
            }
            last = Some(data);
        }
    }
    let last = last.context("nothing was answered")?;
    let message = &last["message"];
    let answer = message["content"][0]["text"].as_str().unwrap_or_default();
    ensure!(message["status"] == "completed", "no answer: {last}");
    let model = message["model"].as_str().unwrap_or("?");
    println!(
        "\n── answered by {model} in {} ms, the first word after {}; {} and {} tokens, {} microdollars",
        began.elapsed().as_millis(),
        first.unwrap_or_default().as_millis(),
        last["usage"]["inputTokens"],
        last["usage"]["outputTokens"],
        last["usage"]["costMicrousd"],
    );
    let word = text.split_whitespace().next().unwrap_or_default();
    ensure!(
        model != "echo" || answer.contains(word),
        "the model did not get the text of the picture"
    );
    Ok(())
}

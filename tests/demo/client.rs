//! A client of the API.

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use indicatif::ProgressBar;
use serde_json::{Value, json};

use crate::PATIENCE;

/// Somebody with an account.
pub(crate) struct Client {
    pub(crate) http: reqwest::Client,
    api: String,
    token: String,
}

impl Client {
    pub(crate) async fn register(api: &str) -> anyhow::Result<(Self, String)> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let mut client = Self {
            http,
            api: api.trim_end_matches('/').to_owned(),
            token: String::new(),
        };
        let email = format!("demo-{}@example.com", uuid::Uuid::new_v4().simple());
        let body =
            json!({ "email": email, "password": "correct horse battery", "displayName": "Demo" });
        let session = client.post("/api/v1/auth/register", &body).await?;
        session["accessToken"]
            .as_str()
            .context("an access token")?
            .clone_into(&mut client.token);
        Ok((client, email))
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self
            .http
            .post(format!("{}{path}", self.api))
            .bearer_auth(&self.token)
            .json(body);
        answer(request.send().await?).await
    }

    /// Asks for an answer that comes in pieces.
    pub(crate) async fn stream(
        &self,
        path: &str,
        body: &Value,
    ) -> anyhow::Result<reqwest::Response> {
        let request = self
            .http
            .post(format!("{}{path}", self.api))
            .bearer_auth(&self.token)
            .json(body);
        Ok(request.send().await?.error_for_status()?)
    }

    pub(crate) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        Ok(serde_json::from_str(&self.text(path).await?)?)
    }

    pub(crate) async fn text(&self, path: &str) -> anyhow::Result<String> {
        let request = self
            .http
            .get(format!("{}{path}", self.api))
            .bearer_auth(&self.token);
        text_of(request.send().await?).await
    }

    pub(crate) async fn upload(
        &self,
        file: &std::path::Path,
        language: &str,
    ) -> anyhow::Result<Value> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let bytes = tokio::fs::read(file).await?;
        let part = reqwest::multipart::Part::bytes(bytes).file_name(name.into_owned());
        let form = reqwest::multipart::Form::new()
            .text("language", language.to_owned())
            .part("file", part);
        let request = self
            .http
            .post(format!("{}/api/v1/attachments", self.api))
            .bearer_auth(&self.token);
        answer(request.multipart(form).send().await?).await
    }
}

async fn answer(response: reqwest::Response) -> anyhow::Result<Value> {
    Ok(serde_json::from_str(&text_of(response).await?)?)
}

async fn text_of(response: reqwest::Response) -> anyhow::Result<String> {
    let (status, text) = (response.status(), response.text().await?);
    ensure!(status.is_success(), "the API answered {status}: {text}");
    Ok(text)
}

/// Reads the job's events until its end.
pub(crate) async fn follow(client: &Client, job: &str, bar: &ProgressBar) -> anyhow::Result<()> {
    let url = format!("{}/api/v1/jobs/{job}/events", client.api);
    let mut stream = client
        .http
        .get(url)
        .bearer_auth(&client.token)
        .send()
        .await?
        .error_for_status()?
        .bytes_stream();
    let mut text = String::new();
    while let Some(chunk) = stream.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let job: Option<Value> = data.and_then(|data| serde_json::from_str(data).ok());
            text = rest.to_owned();
            let Some(job) = job else { continue };
            bar.set_position(job["progress"].as_u64().unwrap_or(0));
            bar.set_message(job["progressNote"].as_str().unwrap_or_default().to_owned());
            match job["status"].as_str() {
                Some("succeeded") => {
                    bar.finish_with_message("done");
                    return Ok(());
                }
                Some("failed" | "cancelled" | "quarantined") => {
                    bail!("the job failed: {}", job["error"])
                }
                _ => {}
            }
        }
    }
    bail!("the stream of events ended early")
}

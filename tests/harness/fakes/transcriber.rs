//! A provider's `POST /audio/transcriptions`: answers as it is told, and shows what it was sent.

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{bearer_token, method, path},
};

/// The server.
pub struct TranscriptionServer(MockServer);

impl TranscriptionServer {
    /// Starts one that answers one after the other, and the last for ever.
    pub async fn scripted(answers: Vec<ResponseTemplate>) -> Self {
        let server = MockServer::start().await;
        let last = answers.len().saturating_sub(1);
        for (index, answer) in answers.into_iter().enumerate() {
            let mock = Mock::given(method("POST"))
                .and(path("/v1/audio/transcriptions"))
                .respond_with(answer);
            let mock = if index < last {
                mock.up_to_n_times(1)
            } else {
                mock
            };
            mock.mount(&server).await;
        }
        Self(server)
    }

    /// Starts one that answers to each key in its own way.
    pub async fn by_key(answers: Vec<(&str, ResponseTemplate)>) -> Self {
        let server = MockServer::start().await;
        for (key, answer) in answers {
            let mock = Mock::given(method("POST"))
                .and(path("/v1/audio/transcriptions"))
                .and(bearer_token(key));
            mock.respond_with(answer).mount(&server).await;
        }
        Self(server)
    }

    /// What `*_BASE_URL` is set to.
    pub fn base_url(&self) -> String {
        format!("{}/v1", self.0.uri())
    }

    /// The key of each request, as it was sent.
    pub async fn keys(&self) -> Vec<String> {
        let requests = self.requests().await;
        let key = |request: &Request| request.headers["authorization"].to_str().map(str::to_owned);
        requests
            .iter()
            .map(key)
            .collect::<Result<_, _>>()
            .expect("plain keys")
    }

    /// What has arrived.
    pub async fn requests(&self) -> Vec<Request> {
        let requests = self.0.received_requests().await;
        let mut requests = requests.expect("requests are recorded");
        // The API looks now and then whether a provider is there.
        requests.retain(|request| request.method != "GET");
        requests
    }
}

/// An answer as Whisper gives it at `OpenAI`: in one segment, words of half a second.
pub fn verbose(language: &str, text: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(verbose_body(language, text))
}

/// The body of that answer.
pub fn verbose_body(language: &str, text: &str) -> Value {
    let words: Vec<Value> = text
        .split(' ')
        .enumerate()
        .map(|(at, word)| {
            let start = f64::from(u32::try_from(at).expect("a short text")) / 2.0;
            json!({ "word": word, "start": start, "end": start + 0.4 })
        })
        .collect();
    json!({
        "task": "transcribe",
        "language": language,
        "duration": 2.0,
        "text": text,
        "segments": [{
            "id": 0, "seek": 0, "start": 0.0, "end": 2.0, "text": format!(" {text}"), "tokens": [50364], "temperature": 0.0,
            "avg_logprob": -0.223_143_551, "compression_ratio": 1.0, "no_speech_prob": 0.01,
        }],
        "words": words,
    })
}

/// An error as providers give it.
pub fn refusal(status: u16, message: &str) -> ResponseTemplate {
    let error =
        json!({ "error": { "message": message, "type": "error", "param": null, "code": null } });
    ResponseTemplate::new(status).set_body_json(error)
}

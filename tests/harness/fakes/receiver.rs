//! A client's server that receives webhooks.

use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::method};

/// The server.
pub struct Receiver(pub MockServer);

impl Receiver {
    /// Starts one that takes everything.
    pub async fn start() -> Self {
        Self::answering(ResponseTemplate::new(204)).await
    }

    /// Starts one that always answers so.
    pub async fn answering(answer: ResponseTemplate) -> Self {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .respond_with(answer)
            .mount(&server)
            .await;
        Self(server)
    }

    /// Starts one that answers one after the other, and the last for ever.
    pub async fn scripted(answers: Vec<ResponseTemplate>) -> Self {
        let server = MockServer::start().await;
        let last = answers.len().saturating_sub(1);
        for (index, answer) in answers.into_iter().enumerate() {
            let mock = Mock::given(method("POST")).respond_with(answer);
            let mock = if index < last {
                mock.up_to_n_times(1)
            } else {
                mock
            };
            mock.mount(&server).await;
        }
        Self(server)
    }

    pub fn url(&self) -> String {
        format!("{}/hook", self.0.uri())
    }

    /// What has arrived.
    pub async fn requests(&self) -> Vec<Request> {
        self.0
            .received_requests()
            .await
            .expect("requests are recorded")
    }

    /// The bodies of what has arrived.
    pub async fn bodies(&self) -> Vec<serde_json::Value> {
        let requests = self.requests().await;
        let bodies = requests.iter().map(Request::body_json);
        bodies.collect::<Result<_, _>>().expect("JSON bodies")
    }
}

//! A client's server that answers when the test says so.

use axum::{Router, extract::State, http::StatusCode, routing::post};
use tokio::sync::{Mutex, mpsc};

/// The server. It holds every request until it is told what to answer.
pub struct HeldReceiver {
    pub url: String,
    arrived: mpsc::UnboundedReceiver<()>,
    answers: mpsc::UnboundedSender<StatusCode>,
    serving: tokio::task::JoinHandle<()>,
}

struct Held {
    arrived: mpsc::UnboundedSender<()>,
    answers: Mutex<mpsc::UnboundedReceiver<StatusCode>>,
}

async fn hold(State(held): State<std::sync::Arc<Held>>) -> StatusCode {
    held.arrived.send(()).expect("the test waits");
    let answer = held.answers.lock().await.recv().await;
    answer.expect("the test answers")
}

impl HeldReceiver {
    pub async fn start() -> Self {
        let ((arrived, told), (answers, wanted)) =
            (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let held = Held {
            arrived,
            answers: Mutex::new(wanted),
        };
        let router = Router::new()
            .route("/hook", post(hold))
            .with_state(std::sync::Arc::new(held));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        let url = format!(
            "http://{}/hook",
            listener.local_addr().expect("its address")
        );
        #[expect(clippy::disallowed_methods, reason = "the receiver owns it")]
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        Self {
            url,
            arrived: told,
            answers,
            serving,
        }
    }

    /// Waits for a request.
    pub async fn arrived(&mut self) {
        tokio::time::timeout(crate::process::PATIENCE, self.arrived.recv())
            .await
            .expect("a request arrives")
            .expect("it serves");
    }

    /// Answers a request that waits, or the next one.
    pub fn answer(&self, status: u16) {
        let status = StatusCode::from_u16(status).expect("a status");
        self.answers.send(status).expect("it serves");
    }
}

impl Drop for HeldReceiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

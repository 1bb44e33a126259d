//! Events without what usually causes them.

use serde_json::json;
use shared::{
    events::{self, Event, OcrResult},
    ids::{AttachmentId, UserId},
    models::notification::{self, Failure},
};

use crate::{Actor, TestApp};

impl TestApp {
    /// Who somebody is.
    pub async fn id_of(&self, actor: &Actor) -> UserId {
        let me = actor.get("/api/v1/users/me").await.expect(200);
        me["id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id")
    }

    /// Lets `image.ocr_completed` happen to somebody, with this text.
    pub async fn ocr_completed(&self, actor: &Actor, text: &str) {
        self.emit(actor, text, Event::ImageOcrCompleted).await;
    }

    /// Lets `image.ocr_failed` happen to somebody, for this reason.
    pub async fn ocr_failed(&self, actor: &Actor, reason: &str) {
        self.emit(actor, reason, Event::ImageOcrFailed).await;
    }

    async fn emit(&self, actor: &Actor, text: &str, event: fn(OcrResult) -> Event) {
        let user = self.id_of(actor).await;
        let mut tx = self.begin().await;
        tx.origin.user = Some(user);
        let event = event(OcrResult {
            attachment_id: AttachmentId::new(),
            conversation_id: None,
            message_id: None,
            extracted_text: Some(text.to_owned()),
            low_confidence: false,
            truncated: false,
            language: None,
            confidence: Some(95.3),
            pages: None,
            error: None,
        });
        events::emit(&mut tx, user, &event, self.clock.now())
            .await
            .expect("an event");
        tx.commit().await.expect("a commit");
    }

    /// Tells somebody that something went wrong, each time about something else.
    pub async fn trouble(&self, actor: &Actor) {
        let failure = Failure {
            user: self.id_of(actor).await,
            kind: "test.failed",
            topic: uuid::Uuid::new_v4().to_string(),
            title: "It failed",
            body: "It failed once more.".to_owned(),
            data: json!({}),
        };
        let mut tx = self.begin().await;
        notification::tell_failure(&mut tx, failure, self.clock.now())
            .await
            .expect("a notification");
        tx.commit().await.expect("a commit");
    }
}

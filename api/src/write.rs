//! A caller's transaction: what it does, what it answers and, for a repetition, that it did, are committed together.

use std::ops::{Deref, DerefMut};

use axum::http::StatusCode;
use serde::Serialize;
use shared::database::Tx;

use crate::{answer::Answer, app::App, error::Result, idempotency::Once};

/// A transaction that ends with an answer. Dropped before, it rolls back.
pub(crate) struct Write {
    app: App,
    tx: Tx,
    once: Option<Once>,
}

impl Write {
    /// Goes on in a transaction that has begun; `once` where the request may come again.
    pub(crate) fn new(app: &App, tx: Tx, once: Option<Once>) -> Self {
        Self {
            app: app.clone(),
            tx,
            once,
        }
    }

    /// Commits, and answers with a body.
    ///
    /// # Errors
    /// As the database fails; then nothing was done.
    pub(crate) async fn answer(self, status: StatusCode, body: &impl Serialize) -> Result<Answer> {
        let answer = Answer::new(status, None, body)?;
        self.end(answer).await
    }

    /// Commits, and answers with a thing of a version.
    ///
    /// # Errors
    /// As the database fails; then nothing was done.
    pub(crate) async fn answer_version(
        self,
        status: StatusCode,
        version: i32,
        body: &impl Serialize,
    ) -> Result<Answer> {
        let answer = Answer::new(status, Some(version), body)?;
        self.end(answer).await
    }

    /// Commits, and answers that it is done.
    ///
    /// # Errors
    /// As the database fails; then nothing was done.
    pub(crate) async fn no_content(self) -> Result<Answer> {
        self.end(Answer::empty(StatusCode::NO_CONTENT)).await
    }

    async fn end(mut self, answer: Answer) -> Result<Answer> {
        if let Some(once) = self.once.take() {
            let now = self.app.clock.now();
            once.keep(&mut self.tx, &self.app.keyring, &answer, now)
                .await?;
        }
        self.tx.commit().await?;
        Ok(answer)
    }
}

impl Deref for Write {
    type Target = Tx;

    fn deref(&self) -> &Tx {
        &self.tx
    }
}

impl DerefMut for Write {
    fn deref_mut(&mut self) -> &mut Tx {
        &mut self.tx
    }
}

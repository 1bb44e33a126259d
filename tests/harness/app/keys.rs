//! Programs that start again with other values of `SECRET_KEY`.

use shared::config::SecretConfig;
use tokio_util::sync::CancellationToken;
use worker::runner::Inline;

use super::{TestApp, serve};

/// The keys of a product with this `SECRET_KEY`, and these before it.
pub fn secret_keys(current: &str, previous: &[&str]) -> SecretConfig {
    SecretConfig {
        current: current.into(),
        previous: previous.iter().map(|&key| key.into()).collect(),
    }
}

impl TestApp {
    /// Starts the product's programs again, with other keys. The API has another address then.
    pub async fn restart_with_keys(&mut self, current: &str, previous: &[&str]) {
        self.stop_api().await;
        let keys = secret_keys(current, previous);
        self.config.common.secret = keys.clone();
        self.worker.common.secret = keys;
        self.stop = CancellationToken::new();
        let (base, api) = Box::pin(serve(&self.config, &self.clock, &self.stop)).await;
        self.base = base;
        self.api = api;
        self.context = Box::pin(worker::context(&self.worker, self.clock.clone()))
            .await
            .expect("a worker's context");
        let inline = Inline::new(
            self.worker.settings.clone(),
            self.context.clone(),
            self.registry.clone(),
            &self.worker.common.database.direct,
            &self.worker.common.redis,
        );
        self.inline = tokio::sync::Mutex::new(inline.expect("an engine"));
    }
}

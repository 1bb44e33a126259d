//! Channels: what is told to all who listen.

use std::time::Duration;

use fred::{
    clients::SubscriberClient,
    interfaces::{ClientLike as _, EventInterface as _, PubsubInterface as _},
    types::Message,
};
use tokio::sync::broadcast;

use super::Redis;

/// Longest wait for a message to be published: the commit it follows is done, the caller waits for an answer.
const PUBLISH_TIMEOUT: Duration = Duration::from_millis(50);

impl Redis {
    /// Tells a channel something, within 50 ms. A message that is lost costs its receivers a second, so an error
    /// is not told.
    pub async fn publish(&self, channel: String, message: String) {
        let publish = Box::pin(self.client.publish::<(), _, _>(channel, message));
        if let Err(error) = self.bounded(PUBLISH_TIMEOUT, publish).await {
            tracing::debug!(error = %error, "could not publish");
        }
    }

    /// Listens to channels, again after each reconnect.
    ///
    /// # Errors
    /// When the client cannot be built.
    pub fn subscribe(&self, channels: &[String]) -> anyhow::Result<Subscription> {
        let client = self.builder.build_subscriber_client()?;
        let messages = client.message_rx();
        let resubscribing = client.manage_subscriptions();
        let _connecting = client.connect();
        let (subscriber, channels) = (client.clone(), channels.to_vec());
        // Before the first connection the command waits in the client; after it, `manage_subscriptions` takes over.
        #[expect(
            clippy::disallowed_methods,
            reason = "the task is owned by the Subscription, which aborts it"
        )]
        let subscribing = tokio::spawn(async move {
            while let Err(error) = subscriber.subscribe(channels.clone()).await {
                tracing::debug!(error = %error, "could not subscribe yet");
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        });
        Ok(Subscription {
            client,
            messages,
            tasks: [resubscribing, subscribing],
        })
    }
}

/// Messages of some channels.
pub struct Subscription {
    client: SubscriberClient,
    messages: broadcast::Receiver<Message>,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

/// What a [`Subscription`] hears.
pub enum Heard {
    /// Channel and text.
    Message(String, String),
    /// Messages were lost, by a reconnect or because they came too fast: look at everything.
    Gap,
}

impl Subscription {
    /// Waits for the next message. It never ends: while Redis is away there is silence.
    pub async fn next(&mut self) -> Heard {
        match self.messages.recv().await {
            Ok(message) => Heard::Message(
                message.channel.to_string(),
                message.value.as_string().unwrap_or_default(),
            ),
            Err(broadcast::error::RecvError::Lagged(_)) => Heard::Gap,
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
        let client = self.client.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.quit().await });
        }
    }
}

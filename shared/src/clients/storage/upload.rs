//! An object on its way to the store.

use bytes::Bytes;

use super::{Error, Storage};

/// How a store takes an object, piece by piece.
#[async_trait::async_trait]
pub(super) trait Writer: Send {
    /// Adds bytes.
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error>;

    /// Makes the object visible.
    async fn finish(&mut self) -> Result<(), Error>;

    /// Takes back what was written. Fails where that is not certain: then the object is to be discarded.
    async fn abort(&mut self) -> Result<(), Error>;
}

/// An object being written. Dropped before [`Upload::finish`], it leaves nothing behind.
pub struct Upload {
    storage: Storage,
    key: String,
    writer: Option<Box<dyn Writer>>,
}

impl Upload {
    pub(super) fn new(storage: Storage, key: String, writer: Box<dyn Writer>) -> Self {
        Self {
            storage,
            key,
            writer: Some(writer),
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes).await,
            None => Err(Error::NotFound),
        }
    }

    /// Makes the object visible.
    ///
    /// # Errors
    /// As the store fails; then what was written is removed.
    pub async fn finish(mut self) -> Result<Unclaimed, Error> {
        if let Some(writer) = &mut self.writer {
            writer.finish().await?;
        }
        self.writer = None;
        Ok(Unclaimed {
            storage: self.storage.clone(),
            key: std::mem::take(&mut self.key),
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(mut writer) = self.writer.take() else {
            return;
        };
        let (storage, key) = (self.storage.clone(), std::mem::take(&mut self.key));
        in_background(async move {
            // A writer that was dropped while it waited for the store cannot abort any more.
            match writer.abort().await {
                Ok(()) => Ok(()),
                Err(_) => storage.discard(&key).await,
            }
        });
    }
}

/// An object that no row names yet. Dropped before [`Unclaimed::keep`], it is deleted.
#[must_use = "dropped, it is deleted"]
#[derive(Debug)]
pub struct Unclaimed {
    storage: Storage,
    key: String,
}

impl Unclaimed {
    /// Its key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// From now on a row names the object, or is about to: it stays, whatever happens.
    pub fn keep(mut self) {
        self.key.clear();
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if self.key.is_empty() {
            return;
        }
        let (storage, key) = (self.storage.clone(), std::mem::take(&mut self.key));
        in_background(async move { storage.delete(&key).await });
    }
}

/// Tidies up behind a request that is gone already. What fails here is found later by its row of `pending_objects`.
fn in_background(tidy: impl Future<Output = Result<(), Error>> + Send + 'static) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        if let Err(error) = tidy.await {
            let error = anyhow::Error::from(error);
            tracing::warn!(error = %format!("{error:#}"), "an object without a row could not be removed yet");
        }
    });
}

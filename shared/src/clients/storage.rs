//! Where uploads are kept.

use anyhow::Context as _;
use bytes::Bytes;
use futures::Stream;
use opendal::{ErrorKind, Operator, services::Fs};

use crate::{config::StorageConfig, keyring::random};

/// Bytes read at once.
const STREAM_CHUNK: usize = 256 * 1024;

/// An object store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage {
    operator: Operator,
}

/// Why an object could not be stored or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The store failed.
    #[error("the storage failed")]
    Failed(#[source] opendal::Error),
}

impl From<opendal::Error> for Error {
    fn from(error: opendal::Error) -> Self {
        if error.kind() == ErrorKind::NotFound {
            Self::NotFound
        } else {
            Self::Failed(error)
        }
    }
}

impl Storage {
    /// Opens the configured store, making its folder if there is none.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub fn open(config: &StorageConfig) -> anyhow::Result<Self> {
        let StorageConfig::Folder(folder) = config;
        let unfinished = folder.join("unfinished");
        std::fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot make {}", unfinished.display()))?;
        // Without a folder for unfinished writes, an upload that breaks off leaves its part behind.
        let service = Fs::default()
            .root(&folder.to_string_lossy())
            .atomic_write_dir(&unfinished.to_string_lossy());
        Ok(Self {
            operator: Operator::new(service)?,
        })
    }

    /// Makes a key that nobody can guess, and that says nothing about its file.
    pub fn random_key() -> String {
        let name = hex::encode(random::<16>());
        format!("objects/{}/{name}", &name[..2])
    }

    /// Begins an object; it exists once [`Upload::finish`] returned.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn upload(&self, key: &str) -> Result<Upload, Error> {
        Ok(Upload {
            storage: self.clone(),
            key: key.to_owned(),
            writer: Some(self.operator.writer(key).await?),
        })
    }

    /// Loads an object whole.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as the store fails.
    pub async fn read(&self, key: &str) -> Result<Bytes, Error> {
        Ok(self.operator.read(key).await?.to_bytes())
    }

    /// Loads an object piece by piece.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as the store fails.
    pub async fn stream(
        &self,
        key: &str,
    ) -> Result<impl Stream<Item = std::io::Result<Bytes>> + use<>, Error> {
        self.operator.stat(key).await?;
        let reader = self.operator.reader_with(key).chunk(STREAM_CHUNK).await?;
        Ok(reader.into_bytes_stream(..).await?)
    }

    /// Deletes an object; one that is gone already is fine.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(self.operator.delete(key).await?)
    }
}

/// An object being written. Dropped before [`Upload::finish`], it leaves nothing behind.
pub struct Upload {
    storage: Storage,
    key: String,
    writer: Option<opendal::Writer>,
}

impl Upload {
    /// Adds bytes.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.writer {
            Some(writer) => Ok(writer.write(bytes).await?),
            None => Err(Error::NotFound),
        }
    }

    /// Makes the object visible.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn finish(mut self) -> Result<Unclaimed, Error> {
        if let Some(mut writer) = self.writer.take() {
            writer.close().await?;
        }
        Ok(Unclaimed {
            storage: self.storage.clone(),
            key: std::mem::take(&mut self.key),
        })
    }
}

/// An object that no row names yet. Dropped before [`Unclaimed::keep`], it is deleted.
#[must_use = "dropped, it is deleted"]
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

/// Tidies up behind a request that is gone already.
fn in_background(tidy: impl Future<Output = Result<(), Error>> + Send + 'static) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        if let Err(error) = tidy.await {
            tracing::warn!(error = %error, "an object without a row could not be removed");
        }
    });
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(mut writer) = self.writer.take() {
            in_background(async move { Ok(writer.abort().await?) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage() -> (tempfile::TempDir, Storage) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&StorageConfig::Folder(folder.path().to_owned())).unwrap();
        (folder, storage)
    }

    #[tokio::test]
    async fn an_object_comes_back_until_it_is_deleted() {
        let (_folder, storage) = storage();
        let key = Storage::random_key();
        let mut upload = storage.upload(&key).await.unwrap();
        upload.write(Bytes::from_static(b"one ")).await.unwrap();
        upload.write(Bytes::from_static(b"two")).await.unwrap();
        assert!(
            matches!(storage.read(&key).await, Err(Error::NotFound)),
            "it is visible before its end"
        );
        upload.finish().await.unwrap().keep();
        assert_eq!(storage.read(&key).await.unwrap(), "one two");
        storage.delete(&key).await.unwrap();
        storage.delete(&key).await.unwrap();
        assert!(matches!(storage.read(&key).await, Err(Error::NotFound)));
    }

    #[tokio::test]
    async fn an_object_that_nobody_keeps_goes() {
        let (folder, storage) = storage();
        let key = Storage::random_key();
        let mut upload = storage.upload(&key).await.unwrap();
        upload.write(Bytes::from_static(b"one")).await.unwrap();
        let unclaimed = upload.finish().await.unwrap();
        assert_eq!(unclaimed.key(), key);
        assert!(folder.path().join(&key).exists());
        drop(unclaimed);
        while folder.path().join(&key).exists() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn no_key_leaves_the_folder() {
        let (_folder, storage) = storage();
        for key in ["../escaped", "objects/../../escaped", "/../../etc/hostname"] {
            let read = storage.read(key).await;
            assert!(read.is_err(), "{key}: {read:?}");
        }
    }
}

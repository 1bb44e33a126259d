//! Where uploads are kept: a folder of this machine, a bucket of a store that speaks S3, or an account at Cloudinary.
//!
//! What they do differently is `Store`. The first two are driven by opendal.

mod bucket;
mod cloudinary;
mod folder;
mod operated;
mod unfinished;
mod upload;

use std::{io, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, stream::BoxStream};

pub use self::upload::{Unclaimed, Upload};
use self::{bucket::Bucket, cloudinary::Cloudinary, folder::Folder, upload::Writer};
use crate::config::StorageConfig;

/// Where all objects are, as the beginning of their keys.
const OBJECTS: &str = "objects/";

/// An object store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Storage(Arc<dyn Store>);

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// The store knows neither our key nor our right to do this; trying again does not help.
    #[error(
        "the storage refuses our credentials: they must be right, and may read, write, delete and list objects"
    )]
    Denied(#[source] anyhow::Error),
    /// The store does not take this object, now or later.
    #[error("the storage does not take this object")]
    Refused(#[source] anyhow::Error),
    /// The store failed, or cannot be reached.
    #[error("the storage failed")]
    Failed(#[source] anyhow::Error),
}

/// How a browser is to take an object that it gets from the store itself.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// `Content-Type`.
    pub media_type: &'a str,
    /// `Content-Disposition`.
    pub disposition: &'a str,
    /// What that calls the file, for a store that makes one itself.
    pub file_name: &'a str,
}

/// An object, as a list tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its length.
    pub size_bytes: u64,
    /// When it was finished.
    pub modified: Option<DateTime<Utc>>,
}

/// What an object is. Some stores keep each kind in a place of its own, so the key tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Audio,
    /// A document.
    Document,
    /// What we made of somebody's data.
    Export,
    /// A picture.
    Image,
    /// A film.
    Video,
}

/// What stores do differently.
#[async_trait::async_trait]
trait Store: std::fmt::Debug + Send + Sync {
    /// See [`Storage::random_key`].
    fn random_key(&self, kind: Kind) -> String;

    /// Begins an object.
    async fn writer(&self, key: &str, media_type: &str) -> Result<Box<dyn Writer>, Error>;

    /// Loads an object whole.
    async fn read(&self, key: &str) -> Result<Bytes, Error>;

    /// Loads some of an object's bytes; there is an object when it returns.
    async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Error>;

    /// Whether there is such an object.
    async fn exists(&self, key: &str) -> Result<bool, Error>;

    /// Deletes an object; one that is gone already is fine.
    async fn delete(&self, key: &str) -> Result<(), Error>;

    /// A URL at which the store itself gives out an object; none where it has no such.
    async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error>;

    /// See [`Storage::preview_url`].
    async fn preview_url(&self, _: &str, _: Duration) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// What no other store is called; the store itself must answer for it.
    async fn identity(&self) -> Result<String, Error>;

    /// Removes the parts of an object whose writer died.
    async fn clear_unfinished(&self, key: &str) -> Result<(), Error>;

    /// All objects, in the order of their keys' bytes.
    fn list(&self) -> BoxStream<'static, Result<Object, Error>>;
}

impl Storage {
    /// Opens the configured store. A folder is made if there is none; nobody asks another store yet, as it may be away.
    ///
    /// # Errors
    /// When the folder or the client cannot be used.
    pub fn open(config: &StorageConfig) -> anyhow::Result<Self> {
        Ok(Self(match config {
            StorageConfig::Folder(folder) => Arc::new(Folder::open(folder)?),
            StorageConfig::Bucket(bucket) => Arc::new(Bucket::open(bucket)?),
            StorageConfig::Cloudinary(account) => Arc::new(Cloudinary::open(account)?),
        }))
    }

    /// Makes a key that nobody can guess, and that says nothing about its file but its kind.
    pub fn random_key(&self, kind: Kind) -> String {
        self.0.random_key(kind)
    }

    /// Begins an object; it exists once [`Upload::finish`] returned. `media_type` is kept with it where the store can.
    ///
    /// Nothing here survives the death of the process, so the key is best noted before
    /// (`models::pending_object`): what is found by it later is removed by [`Storage::discard`].
    ///
    /// # Errors
    /// As the store fails.
    pub async fn upload(&self, key: &str, media_type: &str) -> Result<Upload, Error> {
        let writer = self.0.writer(key, media_type).await?;
        Ok(Upload::new(self.clone(), key.to_owned(), writer))
    }

    /// Loads an object whole.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as the store fails.
    pub async fn read(&self, key: &str) -> Result<Bytes, Error> {
        self.0.read(key).await
    }

    /// Loads some of an object's bytes, piece by piece. All of them must be there.
    ///
    /// # Errors
    /// [`Error::NotFound`], or as the store fails; what fails later ends the stream.
    pub async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + use<>, Error> {
        self.0.stream(key, range).await
    }

    /// Whether there is such an object.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        self.0.exists(key).await
    }

    /// Deletes an object; one that is gone already is fine.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        self.0.delete(key).await
    }

    /// Removes whatever is there of an upload that came to nothing: the object, and parts of it that nobody finished.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn discard(&self, key: &str) -> Result<(), Error> {
        self.0.clear_unfinished(key).await?;
        self.delete(key).await
    }

    /// Tells which store it is: two processes that are told the same see the same objects. Asks the store, so it also
    /// shows whether that is there.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn identity(&self) -> Result<String, Error> {
        self.0.identity().await
    }

    /// Makes a URL at which the store itself gives out an object for `lifetime`, as `shown`. None where the store has
    /// no such: then we must serve it.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        self.0.url(key, shown, lifetime).await
    }

    /// Makes a URL at which the store itself shows a picture for `lifetime`, at most 1920×1920 pixels large. None where
    /// it makes no such, and of what is no picture.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub async fn preview_url(
        &self,
        key: &str,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        self.0.preview_url(key, lifetime).await
    }

    /// Lists all objects in the order of their keys' bytes, a few thousand at a time.
    pub fn list(&self) -> BoxStream<'static, Result<Object, Error>> {
        self.0.list()
    }
}

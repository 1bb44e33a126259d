//! What stores have in common that opendal drives.

use std::{io, ops::Range, time::Duration};

use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use opendal::{
    Entry, ErrorKind, Operator,
    options::{ReaderOptions, WriteOptions},
};

use super::{Error, Kind, OBJECTS, Object, Shown, Store, upload::Writer};
use crate::{keyring::random, telemetry::report_step};

impl From<opendal::Error> for Error {
    /// All trouble comes by here, so it is noted here. The kind alone: the rest names objects.
    fn from(error: opendal::Error) -> Self {
        report_step("storage", true, || error.kind().to_string());
        match error.kind() {
            ErrorKind::NotFound => Self::NotFound,
            ErrorKind::PermissionDenied => Self::Denied(error.into()),
            _ => Self::Failed(error.into()),
        }
    }
}

impl From<Entry> for Object {
    fn from(entry: Entry) -> Self {
        let (key, metadata) = entry.into_parts();
        let modified = metadata
            .last_modified()
            .and_then(|at| DateTime::from_timestamp_micros(at.into_inner().as_microsecond()));
        Self {
            key,
            size_bytes: metadata.content_length(),
            modified,
        }
    }
}

/// A store that opendal drives, and what is its own.
#[async_trait::async_trait]
pub(super) trait Operated: std::fmt::Debug + Send + Sync {
    /// Reads, writes and deletes.
    fn operator(&self) -> &Operator;

    /// How an object of a type is written.
    fn writing(&self, media_type: &str) -> WriteOptions;

    /// How an object is read piece by piece.
    fn reading(&self) -> ReaderOptions;

    /// See [`Store::url`].
    async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error>;

    /// See [`Store::identity`].
    async fn identity(&self) -> Result<String, Error>;

    /// See [`Store::clear_unfinished`].
    async fn clear_unfinished(&self, key: &str) -> Result<(), Error>;

    /// See [`Store::list`].
    fn list(&self) -> BoxStream<'static, Result<Object, Error>>;
}

#[async_trait::async_trait]
impl<T: Operated> Store for T {
    /// The kind does not matter: all objects are in one place.
    fn random_key(&self, _: Kind) -> String {
        let name = hex::encode(random::<16>());
        format!("{OBJECTS}{}/{name}", &name[..2])
    }

    async fn writer(&self, key: &str, media_type: &str) -> Result<Box<dyn Writer>, Error> {
        let options = self.writing(media_type);
        let writer = self.operator().writer_options(key, options).await?;
        Ok(Box::new(writer))
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        Ok(self.operator().read(key).await?.to_bytes())
    }

    async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
        let reader = self.operator().reader_options(key, self.reading()).await?;
        let mut pieces = reader.into_stream(range).await?.boxed();
        // Only the first piece shows whether there is such an object.
        let first = pieces.try_next().await?;
        let pieces = stream::iter(first.map(Ok)).chain(pieces);
        let pieces = pieces.map(|piece| Ok(piece.map_err(io::Error::from)?.to_bytes()));
        Ok(pieces.boxed())
    }

    async fn exists(&self, key: &str) -> Result<bool, Error> {
        Ok(self.operator().exists(key).await?)
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        Ok(self.operator().delete(key).await?)
    }

    async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        Operated::url(self, key, shown, lifetime).await
    }

    async fn identity(&self) -> Result<String, Error> {
        Operated::identity(self).await
    }

    async fn clear_unfinished(&self, key: &str) -> Result<(), Error> {
        Operated::clear_unfinished(self, key).await
    }

    fn list(&self) -> BoxStream<'static, Result<Object, Error>> {
        Operated::list(self)
    }
}

#[async_trait::async_trait]
impl Writer for opendal::Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), Error> {
        Ok(opendal::Writer::write(self, bytes).await?)
    }

    async fn finish(&mut self) -> Result<(), Error> {
        self.close().await?;
        Ok(())
    }

    async fn abort(&mut self) -> Result<(), Error> {
        Ok(opendal::Writer::abort(self).await?)
    }
}

//! A folder of this machine.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};
use opendal::{
    Entry, EntryMode, Operator,
    options::{ListOptions, ReaderOptions, WriteOptions},
    services::Fs,
};

use super::{Error, OBJECTS, Object, Shown, operated::Operated};
use crate::keyring::random;

/// Bytes read at once.
const PIECE_BYTES: usize = 256 * 1024;
/// The file that holds the folder's name.
const IDENTITY: &str = "storage-id";

#[derive(Debug)]
pub(super) struct Folder {
    operator: Operator,
    unfinished: PathBuf,
    identity: PathBuf,
}

impl Folder {
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let unfinished = folder.join("unfinished");
        std::fs::create_dir_all(&unfinished)
            .with_context(|| format!("cannot make {}", unfinished.display()))?;
        // Without a folder for unfinished writes, an upload that breaks off leaves its part behind.
        let service = Fs::default()
            .root(&folder.to_string_lossy())
            .atomic_write_dir(&unfinished.to_string_lossy());
        Ok(Self {
            operator: Operator::new(service)?,
            unfinished,
            identity: folder.join(IDENTITY),
        })
    }

    /// Gives the folder a name. Of two that do it at once the last wins, so the name is read again each time.
    async fn name(&self) -> io::Result<()> {
        let name = hex::encode(random::<16>());
        let unfinished = self.unfinished.join(format!("{IDENTITY}.{name}"));
        tokio::fs::write(&unfinished, &name).await?;
        tokio::fs::rename(&unfinished, &self.identity).await
    }
}

#[async_trait::async_trait]
impl Operated for Folder {
    fn operator(&self) -> &Operator {
        &self.operator
    }

    fn writing(&self, _media_type: &str) -> WriteOptions {
        WriteOptions::default()
    }

    fn reading(&self) -> ReaderOptions {
        ReaderOptions {
            chunk: Some(PIECE_BYTES),
            ..ReaderOptions::default()
        }
    }

    async fn url(&self, _: &str, _: Shown<'_>, _: Duration) -> Result<Option<String>, Error> {
        Ok(None)
    }

    async fn identity(&self) -> Result<String, Error> {
        let read = async || match tokio::fs::read_to_string(&self.identity).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.name().await?;
                tokio::fs::read_to_string(&self.identity).await
            }
            read => read,
        };
        read().await.map_err(|error| {
            Error::Failed(anyhow::Error::new(error).context("cannot read the folder's name"))
        })
    }

    /// opendal calls an unfinished file by the last segment of its key, a dot and random letters.
    async fn clear_unfinished(&self, key: &str) -> Result<(), Error> {
        let name = key.rsplit('/').next().unwrap_or_default();
        let clear = async || {
            let mut files = tokio::fs::read_dir(&self.unfinished).await?;
            while let Some(file) = files.next_entry().await? {
                let is_ours = file
                    .file_name()
                    .to_str()
                    .and_then(|file| file.strip_prefix(name))
                    .is_some_and(|rest| rest.starts_with('.'));
                if is_ours {
                    remove(&file.path()).await?;
                }
            }
            io::Result::Ok(())
        };
        clear().await.map_err(|error| {
            Error::Failed(anyhow::Error::new(error).context("cannot clear unfinished uploads"))
        })
    }

    /// A folder has no order, so each of its 256 parts is sorted by itself.
    fn list(&self) -> BoxStream<'static, Result<Object, Error>> {
        let operator = self.operator.clone();
        stream::once(async move {
            let parts = list_sorted(&operator, OBJECTS, false).await?;
            let objects = stream::iter(parts).map(move |part| list_part(operator.clone(), part));
            Ok::<_, Error>(objects.then(|part| part).map_ok(stream::iter).try_flatten())
        })
        .try_flatten()
        .boxed()
    }
}

async fn list_part(operator: Operator, part: Entry) -> Result<Vec<Result<Object, Error>>, Error> {
    let entries = match part.metadata().mode() {
        EntryMode::DIR => list_sorted(&operator, part.path(), true).await?,
        _ => vec![part],
    };
    let objects = entries
        .into_iter()
        .filter(|entry| entry.metadata().mode() != EntryMode::DIR);
    Ok(objects.map(|entry| Ok(entry.into())).collect())
}

/// What is in a folder, but for the folder itself.
async fn list_sorted(
    operator: &Operator,
    path: &str,
    recursive: bool,
) -> Result<Vec<Entry>, Error> {
    let options = ListOptions {
        recursive,
        ..ListOptions::default()
    };
    let mut entries = operator.list_options(path, options).await?;
    entries.retain(|entry| entry.path() != path);
    entries.sort_unstable_by(|one, other| one.path().cmp(other.path()));
    Ok(entries)
}

async fn remove(file: &Path) -> io::Result<()> {
    match tokio::fs::remove_file(file).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Kind, Storage};
    use super::*;
    use crate::config::StorageConfig;

    fn storage() -> (tempfile::TempDir, Storage) {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open(&StorageConfig::Folder(folder.path().to_owned())).unwrap();
        (folder, storage)
    }

    async fn put(storage: &Storage, key: &str, bytes: &'static [u8]) {
        let mut upload = storage.upload(key, "image/png").await.unwrap();
        upload.write(Bytes::from_static(bytes)).await.unwrap();
        upload.finish().await.unwrap().keep();
    }

    async fn read(storage: &Storage, key: &str, range: std::ops::Range<u64>) -> Vec<u8> {
        let pieces = storage.stream(key, range).await.unwrap();
        let pieces: Vec<Bytes> = pieces.try_collect().await.unwrap();
        pieces.concat()
    }

    fn unfinished(folder: &tempfile::TempDir) -> usize {
        std::fs::read_dir(folder.path().join("unfinished"))
            .unwrap()
            .count()
    }

    #[tokio::test]
    async fn an_object_comes_back_until_it_is_deleted() {
        let (_folder, storage) = storage();
        let key = storage.random_key(Kind::Image);
        let mut upload = storage.upload(&key, "image/png").await.unwrap();
        upload.write(Bytes::from_static(b"one ")).await.unwrap();
        upload.write(Bytes::from_static(b"two")).await.unwrap();
        assert!(
            matches!(storage.read(&key).await, Err(Error::NotFound)),
            "it is visible before its end"
        );
        upload.finish().await.unwrap().keep();
        assert_eq!(storage.read(&key).await.unwrap(), "one two");
        assert_eq!(read(&storage, &key, 0..7).await, b"one two");
        assert_eq!(read(&storage, &key, 2..5).await, b"e t");
        assert!(storage.exists(&key).await.unwrap());
        storage.delete(&key).await.unwrap();
        storage.delete(&key).await.unwrap();
        assert!(matches!(storage.read(&key).await, Err(Error::NotFound)));
        assert!(matches!(
            storage.stream(&key, 0..7).await.err(),
            Some(Error::NotFound)
        ));
        assert!(!storage.exists(&key).await.unwrap());
    }

    #[tokio::test]
    async fn an_object_that_nobody_keeps_goes() {
        let (folder, storage) = storage();
        let key = storage.random_key(Kind::Image);
        let mut upload = storage.upload(&key, "image/png").await.unwrap();
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
    async fn what_a_dead_process_left_is_discarded_and_nothing_else() {
        let (folder, storage) = storage();
        let (dead, alive) = (
            storage.random_key(Kind::Image),
            storage.random_key(Kind::Image),
        );
        let mut uploads = Vec::new();
        for key in [&dead, &alive] {
            let mut upload = storage.upload(key, "image/png").await.unwrap();
            for _ in 0..3 {
                upload.write(Bytes::from_static(b"some")).await.unwrap();
            }
            uploads.push(upload);
        }
        assert_eq!(unfinished(&folder), 2);
        // A process that dies drops nothing.
        std::mem::forget(uploads.remove(0));
        storage.discard(&dead).await.unwrap();
        storage.discard(&dead).await.unwrap();
        assert_eq!(unfinished(&folder), 1);
        uploads.remove(0).finish().await.unwrap().keep();
        assert!(storage.exists(&alive).await.unwrap());
        storage.discard(&alive).await.unwrap();
        assert!(!storage.exists(&alive).await.unwrap());
    }

    #[tokio::test]
    async fn a_list_has_every_object_in_the_order_of_keys() {
        let (_folder, storage) = storage();
        assert!(storage.list().next().await.is_none());
        let mut keys: Vec<String> = (0..40).map(|_| storage.random_key(Kind::Image)).collect();
        for key in &keys {
            put(&storage, key, b"four").await;
        }
        keys.sort();
        let listed: Vec<Object> = storage.list().try_collect().await.unwrap();
        assert!(
            listed
                .iter()
                .all(|object| object.size_bytes == 4 && object.modified.is_some())
        );
        let listed: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        assert_eq!(listed, keys);
    }

    #[tokio::test]
    async fn a_folder_keeps_its_name() {
        let (folder, storage) = storage();
        let name = storage.identity().await.unwrap();
        assert_eq!(storage.identity().await.unwrap(), name);
        let again = Storage::open(&StorageConfig::Folder(folder.path().to_owned())).unwrap();
        assert_eq!(again.identity().await.unwrap(), name);
        let (_other, other) = self::storage();
        assert_ne!(other.identity().await.unwrap(), name);
        assert_eq!(unfinished(&folder), 0);
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

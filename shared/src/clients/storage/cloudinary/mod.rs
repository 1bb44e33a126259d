//! An account at Cloudinary.
//!
//! The `cloudinary` crate (0.8) is not used: it knows pictures only, loads them whole, cannot be pointed at another
//! host, and takes every answer for a success. What it does right, the form and the signature of an upload, is short.
//!
//! - Objects are stored as they come. An incoming transformation would shrink what is read later, and change the bytes
//!   whose hash and length we have told; so what is limited to 1920×1920 pixels is made beside the object, and goes
//!   with it.
//! - Their type is `authenticated`: nobody gets one without a signature, of whatever size.
//! - A signed delivery URL (`s--…--`) is good until its object is deleted, and for some time after that where a cache
//!   has it. So it is given to nobody: we read with it. Clients get a URL of the `download` call, which Cloudinary
//!   refuses after its `expires_at`.
//! - Calls of the Admin API are few an hour (500 on the free plan), so only lists use it. Whether an object is there is
//!   asked at its delivery URL, with a version that no cache knows; whether the account is there, by deleting what
//!   never was.

mod account;
mod api;
mod place;
mod reader;
mod signature;
mod writer;

use std::{collections::BTreeMap, io, ops::Range, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream, stream::BoxStream};

use self::{
    account::Account,
    place::{FOLDERS, Type},
    writer::PartWriter,
};
use super::{Error, Kind, Object, Shown, Store, upload::Writer};
use crate::config::CloudinaryConfig;

/// What is made of each picture, for showing it.
const LIMITED: &str = "c_limit,h_1920,w_1920";
/// A key that is deleted to see whether the account answers. No object is called so: there is no hex in it.
const NO_OBJECT: &str = "baatcheet/images/none";

#[derive(Debug)]
pub(super) struct Cloudinary {
    account: Account,
}

impl Cloudinary {
    pub(super) fn open(config: &CloudinaryConfig) -> anyhow::Result<Self> {
        let account = Account::open(config)?;
        Ok(Self { account })
    }
}

#[async_trait::async_trait]
impl Store for Cloudinary {
    fn random_key(&self, kind: Kind) -> String {
        place::random_key(kind)
    }

    /// The type is not kept: Cloudinary finds out itself what an object is.
    async fn writer(&self, key: &str, _: &str) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(PartWriter::new(self.account.clone(), key)))
    }

    async fn read(&self, key: &str) -> Result<Bytes, Error> {
        let url = self.account.delivery_url(key);
        let response = api::ask(|| self.account.http.get(&url)).await?;
        api::bytes(response).await
    }

    async fn stream(
        &self,
        key: &str,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, Error> {
        reader::read(self.account.clone(), key, range).await
    }

    async fn exists(&self, key: &str) -> Result<bool, Error> {
        let url = self.account.delivery_url(key);
        match api::ask(|| self.account.http.head(&url)).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Error> {
        self.account.destroy(Type::of(key), key).await
    }

    /// Cloudinary chooses the `Content-Type`, and makes the `Content-Disposition` of the file's name.
    async fn url(
        &self,
        key: &str,
        shown: Shown<'_>,
        lifetime: Duration,
    ) -> Result<Option<String>, Error> {
        // The letter on which versions of the signature differ, and those that make a path.
        let name = shown.file_name.replace(['&', '/', '\\'], "_");
        let parameters =
            BTreeMap::from([("attachment", "true".to_owned()), ("target_filename", name)]);
        self.account
            .download_url(key, lifetime, parameters)
            .map(Some)
    }

    async fn preview_url(&self, key: &str, lifetime: Duration) -> Result<Option<String>, Error> {
        if Type::of(key) != Type::Image {
            return Ok(None);
        }
        let parameters = BTreeMap::from([("transformation", LIMITED.to_owned())]);
        self.account
            .download_url(key, lifetime, parameters)
            .map(Some)
    }

    async fn identity(&self) -> Result<String, Error> {
        self.account.destroy(Type::of(NO_OBJECT), NO_OBJECT).await?;
        Ok(self.account.base.clone())
    }

    /// There is nothing to be found: Cloudinary neither lists nor ends uploads that nobody finished, but drops them.
    async fn clear_unfinished(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// With a prefix, Cloudinary lists in the order of public ids.
    fn list(&self) -> BoxStream<'static, Result<Object, Error>> {
        let account = self.account.clone();
        let folders = stream::iter(FOLDERS).map(move |(folder, kept)| {
            let first = Some((account.clone(), None));
            let pages = stream::try_unfold(
                first,
                move |state: Option<(Account, Option<String>)>| async move {
                    let Some((account, cursor)) = state else {
                        return Ok(None);
                    };
                    let page = account.page(folder, kept, cursor.as_deref()).await?;
                    let next = page.next_cursor.map(|cursor| (account, Some(cursor)));
                    Ok::<_, Error>(Some((page.resources, next)))
                },
            );
            pages.map_ok(|resources| stream::iter(resources.into_iter().map(Ok)))
        });
        folders
            .flatten()
            .try_flatten()
            .try_filter(|resource| std::future::ready(!resource.placeholder))
            .map_ok(|resource| Object {
                key: resource.public_id,
                size_bytes: resource.bytes,
                modified: resource.created_at,
            })
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use url::Url;

    use super::*;

    fn cloudinary() -> Cloudinary {
        let account = account::tests::account();
        Cloudinary { account }
    }

    #[tokio::test]
    async fn a_url_ends_and_names_the_file_and_no_secret() {
        let shown = Shown {
            media_type: "image/png",
            disposition: "",
            file_name: "a b&c.png",
        };
        let hour = Duration::from_hours(1);
        let url = cloudinary().url("baatcheet/images/ab", shown, hour).await;
        let url: Url = url.unwrap().unwrap().parse().unwrap();
        assert_eq!(
            (url.host_str(), url.path()),
            (Some("api.cloudinary.com"), "/v1_1/demo/image/download")
        );
        let query: HashMap<_, _> = url.query_pairs().collect();
        for (name, value) in [
            ("api_key", "1234"),
            ("attachment", "true"),
            ("expires_at", "1315064110"),
            ("public_id", "baatcheet/images/ab"),
            ("target_filename", "a b_c.png"),
            ("timestamp", "1315060510"),
            ("type", "authenticated"),
        ] {
            assert_eq!(query[name], value, "{name}");
        }
        // sha1sum of the rest, sorted, and of the secret.
        assert_eq!(
            query["signature"],
            "9d1493afb62fb266453784281835e1737a867b1e"
        );
        assert!(!url.as_str().contains("hush"), "{url}");
    }

    #[tokio::test]
    async fn only_a_picture_has_a_preview() {
        let cloudinary = cloudinary();
        let preview = async |key: &str| {
            let url = cloudinary.preview_url(key, Duration::from_mins(1)).await;
            url.unwrap()
        };
        let url = preview("baatcheet/images/ab").await.unwrap();
        assert!(
            url.contains("transformation=c_limit%2Ch_1920%2Cw_1920"),
            "{url}"
        );
        assert!(url.contains("expires_at=1315060570"), "{url}");
        assert_eq!(preview("baatcheet/documents/ab").await, None);
    }
}

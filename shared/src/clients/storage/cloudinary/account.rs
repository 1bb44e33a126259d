//! Whose objects they are, and what is asked of Cloudinary.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use anyhow::anyhow;
use chrono::{DateTime, Utc};
use reqwest::multipart::Form;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use url::Url;

use super::{super::Error, api, place::Type, signature::Signer};
use crate::{clock::Clock, config::CloudinaryConfig, keyring::random};

/// The object itself, whatever an account does to all that it delivers.
const ORIGINAL: &str = "fl_original";
/// Who may have an object: whoever has a signature.
const DELIVERY_TYPE: &str = "authenticated";
/// Objects of a page; there are no larger ones.
const PAGE: usize = 500;

/// Whose objects they are, and how they are asked for; cheap to clone.
#[derive(Clone)]
pub(super) struct Account {
    pub(super) http: reqwest::Client,
    /// What the URLs of all calls begin with.
    pub(super) base: String,
    /// What the URLs of all objects begin with.
    delivery: String,
    api_key: String,
    api_secret: SecretString,
    signer: Arc<Signer>,
    /// Cloudinary knows no other: it refuses what is an hour old.
    clock: Clock,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Account({})", self.base)
    }
}

/// What it says when something is to be deleted.
#[derive(Debug, Deserialize)]
struct Destroyed {
    result: String,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) resources: Vec<Resource>,
    pub(super) next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resource {
    pub(super) public_id: String,
    pub(super) bytes: u64,
    pub(super) created_at: Option<DateTime<Utc>>,
    /// It was deleted, and a backup of it is kept.
    #[serde(default)]
    pub(super) placeholder: bool,
}

impl Account {
    pub(super) fn open(config: &CloudinaryConfig) -> anyhow::Result<Self> {
        let CloudinaryConfig {
            cloud_name,
            api_key,
            api_secret,
            base_url,
            delivery_url,
            signature_algorithm,
        } = config;
        let base_url = base_url.as_str().trim_end_matches('/');
        let delivery = delivery_url.as_str().trim_end_matches('/');
        Ok(Self {
            http: api::client()?,
            base: format!("{base_url}/v1_1/{cloud_name}"),
            delivery: delivery.to_owned(),
            api_key: api_key.clone(),
            api_secret: api_secret.clone(),
            signer: Arc::new(Signer::new(api_secret.clone(), *signature_algorithm)),
            clock: Clock::System,
        })
    }

    pub(super) fn call_url(&self, kept: Type, call: &str) -> String {
        format!("{}/{}/{call}", self.base, kept.segment())
    }

    /// Adds to the parameters of a call what every call has, its signature among that.
    fn signed(
        &self,
        mut parameters: BTreeMap<&'static str, String>,
    ) -> Vec<(&'static str, String)> {
        let now = self.clock.now().timestamp();
        parameters.insert("timestamp", now.to_string());
        parameters.insert("type", DELIVERY_TYPE.to_owned());
        let mut parameters: Vec<_> = parameters.into_iter().collect();
        let signature = self.signer.call(&parameters);
        parameters.push(("signature", signature));
        parameters.push(("api_key", self.api_key.clone()));
        parameters
    }

    pub(super) fn form(&self, parameters: BTreeMap<&'static str, String>) -> Form {
        let parameters = self.signed(parameters).into_iter();
        parameters.fold(Form::new(), |form, (name, value)| form.text(name, value))
    }

    /// Where an object is delivered as it was stored. The version is one that nobody has asked for, so that no cache
    /// answers for the store.
    pub(super) fn delivery_url(&self, key: &str) -> String {
        let kept = Type::of(key);
        let transformation = match kept {
            Type::Image | Type::Video => format!("{ORIGINAL}/"),
            Type::Raw => String::new(),
        };
        let signature = self.signer.delivery(&format!("{transformation}{key}"));
        let (delivery, segment) = (&self.delivery, kept.segment());
        let version = u32::from_be_bytes(random());
        format!("{delivery}/{segment}/{DELIVERY_TYPE}/{signature}/{transformation}v{version}/{key}")
    }

    /// Where anybody gets an object until `lifetime` is over.
    pub(super) fn download_url(
        &self,
        key: &str,
        lifetime: Duration,
        mut parameters: BTreeMap<&'static str, String>,
    ) -> Result<String, Error> {
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let expires = self.clock.now().timestamp().saturating_add(lifetime);
        parameters.insert("expires_at", expires.to_string());
        parameters.insert("public_id", key.to_owned());
        let url = self.call_url(Type::of(key), "download");
        let url = Url::parse_with_params(&url, self.signed(parameters));
        Ok(url.map_err(|error| Error::Failed(error.into()))?.into())
    }

    pub(super) async fn destroy(&self, kept: Type, public_id: &str) -> Result<(), Error> {
        let url = self.call_url(kept, "destroy");
        let response = api::ask(|| {
            let form = self.form(BTreeMap::from([
                ("invalidate", "true".to_owned()),
                ("public_id", public_id.to_owned()),
            ]));
            self.http.post(&url).multipart(form)
        });
        let Destroyed { result } = api::json(response.await?).await?;
        match result.as_str() {
            "ok" | "not found" => Ok(()),
            other => Err(api::failed(anyhow!("it was not deleted: {other}"))),
        }
    }

    pub(super) async fn page(
        &self,
        folder: &str,
        kept: Type,
        cursor: Option<&str>,
    ) -> Result<Page, Error> {
        let url = format!("{}/resources/{}/{DELIVERY_TYPE}", self.base, kept.segment());
        let mut url = Url::parse(&url).map_err(|error| Error::Failed(error.into()))?;
        url.query_pairs_mut()
            .append_pair("prefix", folder)
            .append_pair("max_results", &PAGE.to_string())
            .extend_pairs(cursor.map(|cursor| ("next_cursor", cursor)));
        let secret = self.api_secret.expose_secret();
        let ask = || {
            let request = self.http.get(url.clone());
            request.basic_auth(&self.api_key, Some(secret))
        };
        api::json(api::ask(ask).await?).await
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::SignatureAlgorithm;

    /// An account in 2011.
    pub(in super::super) fn account() -> Account {
        let config = CloudinaryConfig {
            cloud_name: "demo".to_owned(),
            api_key: "1234".to_owned(),
            api_secret: "hush".into(),
            base_url: "https://api.cloudinary.com".parse().unwrap(),
            delivery_url: "https://res.cloudinary.com/demo".parse().unwrap(),
            signature_algorithm: SignatureAlgorithm::Sha1,
        };
        let mut account = Account::open(&config).unwrap();
        let at = DateTime::from_timestamp(1_315_060_510, 0).unwrap();
        account.clock = Clock::frozen(at);
        account
    }

    #[test]
    fn an_object_is_delivered_as_it_is_and_past_all_caches() {
        let account = account();
        let url = account.delivery_url("baatcheet/images/ab");
        let signature = account.signer.delivery("fl_original/baatcheet/images/ab");
        let begins = format!(
            "https://res.cloudinary.com/demo/image/authenticated/{signature}/fl_original/v"
        );
        assert!(url.starts_with(&begins), "{url}");
        assert!(url.ends_with("/baatcheet/images/ab"), "{url}");
        assert_ne!(account.delivery_url("baatcheet/images/ab"), url);
        let url = account.delivery_url("baatcheet/audio/ab");
        let signature = account.signer.delivery("baatcheet/audio/ab");
        let begins = format!("https://res.cloudinary.com/demo/raw/authenticated/{signature}/v");
        assert!(url.starts_with(&begins), "{url}");
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", account());
        assert!(
            !shown.contains("hush") && !shown.contains("1234"),
            "{shown}"
        );
    }
}

//! An account at Cloudinary: a `cloudinary://` URL, or its parts.

use std::{collections::BTreeMap, fmt};

use secrecy::SecretString;
use url::Url;

use super::{
    CommonArgs, Problems, given,
    storage::{Setting, check_server},
};

/// Options of a `cloudinary://` URL.
const OPTIONS: [&str; 3] = ["base_url", "delivery_url", "signature_algorithm"];
const DEFAULT_BASE_URL: &str = "https://api.cloudinary.com";
const DEFAULT_DELIVERY_URL: &str = "https://res.cloudinary.com";

/// An account at Cloudinary.
#[derive(Clone)]
pub struct CloudinaryConfig {
    /// Its name.
    pub cloud_name: String,
    /// Whose key signs.
    pub api_key: String,
    /// Signs.
    pub api_secret: SecretString,
    /// Where it is asked to do something.
    pub base_url: Url,
    /// Where it delivers: all before the `/image/` of a URL.
    pub delivery_url: Url,
    /// How it is signed.
    pub signature_algorithm: SignatureAlgorithm,
}

/// How calls and URLs are signed. Accounts take both, unless they are told to take the newer one only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// The default, as it is in Cloudinary's own libraries.
    Sha1,
    /// For accounts that take no other.
    Sha256,
}

impl fmt::Debug for CloudinaryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CloudinaryConfig({} at {})",
            self.cloud_name, self.base_url
        )
    }
}

impl CommonArgs {
    /// Whether there is an account without a URL.
    pub(super) fn names_cloudinary(&self) -> bool {
        let parts = [
            &self.cloudinary_cloud_name,
            &self.cloudinary_api_key,
            &self.cloudinary_api_secret,
        ];
        parts.into_iter().any(|part| given(part).is_some())
    }

    /// Values of the URL are never repeated in a problem: any of them may be a misplaced secret.
    pub(super) fn check_cloudinary(
        &self,
        url: Option<&Url>,
        problems: &mut Problems,
    ) -> Option<CloudinaryConfig> {
        let mut options = url.map_or_else(BTreeMap::new, |url| options(url, problems));
        let part = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let cloud_name = Setting {
            option: "the name after the @",
            in_url: url.and_then(Url::host_str).and_then(part),
            variable: "CLOUDINARY_CLOUD_NAME",
            in_variable: given(&self.cloudinary_cloud_name),
        };
        let api_key = Setting {
            option: "the key before the @",
            in_url: url.map(Url::username).and_then(part),
            variable: "CLOUDINARY_API_KEY",
            in_variable: given(&self.cloudinary_api_key),
        };
        let api_secret = Setting {
            option: "the secret before the @",
            in_url: url.and_then(Url::password).and_then(part),
            variable: "CLOUDINARY_API_SECRET",
            in_variable: given(&self.cloudinary_api_secret),
        };
        let base_url = Setting {
            option: "base_url",
            in_url: options.remove("base_url"),
            variable: "CLOUDINARY_BASE_URL",
            in_variable: given(&self.cloudinary_base_url),
        };
        let delivery_url = Setting {
            option: "delivery_url",
            in_url: options.remove("delivery_url"),
            variable: "CLOUDINARY_DELIVERY_URL",
            in_variable: given(&self.cloudinary_delivery_url),
        };
        let signature_algorithm = match options.remove("signature_algorithm").as_deref() {
            None | Some("sha1") => Some(SignatureAlgorithm::Sha1),
            Some("sha256") => Some(SignatureAlgorithm::Sha256),
            Some(_) => {
                let problem = "has a signature_algorithm that is neither sha1 nor sha256";
                problems.add("STORAGE_URL", problem);
                None
            }
        };
        let (cloud_name, api_key, api_secret) = (
            cloud_name.take(None, problems).filter(|name| {
                let is_name = is_cloud_name(name);
                if !is_name {
                    let problem = "is no name of an account: letters, digits, - and _";
                    problems.add("CLOUDINARY_CLOUD_NAME", problem);
                }
                is_name
            }),
            api_key.take(None, problems),
            api_secret.take(None, problems),
        );
        let shared = cloud_name.as_deref().unwrap_or_default();
        let shared = format!("{DEFAULT_DELIVERY_URL}/{shared}");
        let mut server = |setting: Setting<'_>, default: &str| {
            let variable = setting.variable;
            let text = setting.take(Some(default), problems)?;
            check_server(variable, "is", &text, problems)
        };
        let base_url = server(base_url, DEFAULT_BASE_URL);
        let delivery_url = server(delivery_url, &shared);
        Some(CloudinaryConfig {
            cloud_name: cloud_name?,
            api_key: api_key?,
            api_secret: api_secret?.into(),
            base_url: base_url?,
            delivery_url: delivery_url?,
            signature_algorithm: signature_algorithm?,
        })
    }
}

fn options(url: &Url, problems: &mut Problems) -> BTreeMap<&'static str, String> {
    let password = url.password().unwrap_or_default();
    if url.username().contains('%') || password.contains('%') {
        problems.add(
            "STORAGE_URL",
            "has a key or a secret with a letter that belongs in no URL; set CLOUDINARY_API_KEY and CLOUDINARY_API_SECRET",
        );
    }
    if url.port().is_some() || !matches!(url.path(), "" | "/") {
        let problem = "has more than a key, a secret and a name before its options";
        problems.add("STORAGE_URL", problem);
    }
    let mut options = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        let Some(option) = OPTIONS.into_iter().find(|option| *option == name) else {
            let known = OPTIONS.join(", ");
            problems.add(
                "STORAGE_URL",
                format!("has an option that is not understood; there are {known}"),
            );
            continue;
        };
        if !value.is_empty() {
            options.insert(option, value.into_owned());
        }
    }
    options
}

fn is_cloud_name(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::{super::StorageConfig, *};

    fn check(
        url: Option<&str>,
        change: impl FnOnce(&mut CommonArgs),
    ) -> Result<StorageConfig, String> {
        let mut args = CommonArgs {
            storage_url: url.map(str::to_owned),
            ..CommonArgs::default()
        };
        change(&mut args);
        let mut problems = Problems::default();
        let config = args.check_storage(&mut problems);
        problems.finish(config).map_err(|told| told.to_string())
    }

    fn account(url: Option<&str>, change: impl FnOnce(&mut CommonArgs)) -> CloudinaryConfig {
        match check(url, change).unwrap() {
            StorageConfig::Cloudinary(account) => account,
            other => panic!("{other:?}"),
        }
    }

    fn parts(args: &mut CommonArgs) {
        args.cloudinary_cloud_name = Some("demo".to_owned());
        args.cloudinary_api_key = Some("1234".to_owned());
        args.cloudinary_api_secret = Some("hush-_hush".to_owned());
    }

    #[test]
    fn an_account_is_described_by_its_url_or_by_its_parts() {
        for account in [
            account(Some("cloudinary://1234:hush-_hush@demo"), |_| {}),
            account(None, parts),
            account(Some("cloudinary://demo"), parts),
            account(Some("cloudinary://1234:hush-_hush@demo"), parts),
        ] {
            assert_eq!(
                (account.cloud_name.as_str(), account.api_key.as_str()),
                ("demo", "1234")
            );
            assert_eq!(account.api_secret.expose_secret(), "hush-_hush");
            assert_eq!(account.base_url.as_str(), "https://api.cloudinary.com/");
            let delivery = account.delivery_url.as_str();
            assert_eq!(delivery, "https://res.cloudinary.com/demo");
            assert_eq!(account.signature_algorithm, SignatureAlgorithm::Sha1);
        }
    }

    #[test]
    fn an_account_may_be_elsewhere() {
        let url = "cloudinary://1:s@demo?base_url=http://127.0.0.1:9000&delivery_url=https://demo-res.cloudinary.com&signature_algorithm=sha256";
        let found = account(Some(url), |_| {});
        assert_eq!(found.base_url.as_str(), "http://127.0.0.1:9000/");
        let delivery = found.delivery_url.as_str();
        assert_eq!(delivery, "https://demo-res.cloudinary.com/");
        assert_eq!(found.signature_algorithm, SignatureAlgorithm::Sha256);
        let found = account(Some("cloudinary://1:s@demo"), |args| {
            args.cloudinary_base_url = Some("https://api-eu.cloudinary.com".to_owned());
        });
        assert_eq!(found.base_url.as_str(), "https://api-eu.cloudinary.com/");
    }

    #[test]
    fn two_forms_must_not_differ() {
        let told = check(Some("cloudinary://1:other@else"), parts).unwrap_err();
        for problem in [
            "CLOUDINARY_CLOUD_NAME",
            "CLOUDINARY_API_KEY",
            "CLOUDINARY_API_SECRET",
        ] {
            assert!(told.contains(problem), "{problem} is missing in: {told}");
        }
        for secret in ["other", "hush"] {
            assert!(!told.contains(secret), "a secret is repeated: {told}");
        }
        let told = check(Some("file:///var/lib/x"), parts).unwrap_err();
        assert!(told.contains("names another store"), "{told}");
    }

    #[test]
    fn all_problems_are_told_at_once_and_no_secret() {
        let told = check(
            Some("cloudinary://hush%20:hush@de.mo:80/x?hush=1&base_url=hush&signature_algorithm=hush"),
            |_| {},
        )
        .unwrap_err();
        for problem in [
            "letter that belongs in no URL",
            "before its options",
            "not understood",
            "CLOUDINARY_BASE_URL",
            "neither sha1 nor sha256",
            "no name of an account",
        ] {
            assert!(told.contains(problem), "{problem} is missing in: {told}");
        }
        assert!(!told.contains("hush"), "a secret is repeated: {told}");
        let told = check(Some("cloudinary://"), |_| {}).unwrap_err();
        for problem in [
            "CLOUDINARY_CLOUD_NAME",
            "CLOUDINARY_API_KEY",
            "CLOUDINARY_API_SECRET",
        ] {
            assert!(told.contains(problem), "{problem} is missing in: {told}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", account(None, parts));
        assert!(
            !shown.contains("hush") && !shown.contains("1234"),
            "{shown}"
        );
    }
}

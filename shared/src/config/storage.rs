//! Where uploads are kept: `STORAGE_URL`, and the variables that stand in for parts of it.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use secrecy::SecretString;
use url::Url;

use super::{CloudinaryConfig, CommonArgs, Problems, given};

/// Options of an `s3://` URL.
const OPTIONS: [&str; 4] = ["region", "endpoint", "access_key_id", "secret_access_key"];
/// What stores of one's own take for their region, unless told otherwise.
const DEFAULT_REGION: &str = "us-east-1";

/// Where uploads are kept.
#[derive(Debug, Clone)]
pub enum StorageConfig {
    /// A folder of this machine.
    Folder(PathBuf),
    /// A bucket of a store that speaks S3.
    Bucket(BucketConfig),
    /// An account at Cloudinary.
    Cloudinary(CloudinaryConfig),
}

/// A bucket of a store that speaks S3.
#[derive(Clone)]
pub struct BucketConfig {
    /// Its name.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The store; none is Amazon's.
    pub endpoint: Option<Url>,
    /// Whose key signs.
    pub access_key_id: String,
    /// Signs.
    pub secret_access_key: SecretString,
}

impl fmt::Debug for BucketConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.as_ref().map_or("amazon", Url::as_str);
        write!(
            f,
            "BucketConfig({} in {} at {endpoint})",
            self.bucket, self.region
        )
    }
}

impl CommonArgs {
    pub(super) fn check_storage(&self, problems: &mut Problems) -> Option<StorageConfig> {
        let Some(text) = given(&self.storage_url) else {
            if self.names_cloudinary() {
                let account = self.check_cloudinary(None, problems);
                return account.map(StorageConfig::Cloudinary);
            }
            return std::path::absolute("data/storage")
                .map(StorageConfig::Folder)
                .map_err(|error| {
                    problems.add(
                        "STORAGE_URL",
                        format!("is not set, and ./data/storage has no path: {error}"),
                    );
                })
                .ok();
        };
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => {
                problems.add("STORAGE_URL", format!("is not a URL: {error}"));
                return None;
            }
        };
        if url.scheme() != "cloudinary" && self.names_cloudinary() {
            problems.add(
                "CLOUDINARY_CLOUD_NAME",
                "or its key or secret is set, but STORAGE_URL names another store; set one of them",
            );
        }
        match url.scheme() {
            "file" => {
                let path = url.to_file_path().ok();
                if path.is_none() {
                    problems.add("STORAGE_URL", "is not a file:///absolute/path URL");
                }
                path.map(StorageConfig::Folder)
            }
            "s3" => self.check_bucket(&url, problems).map(StorageConfig::Bucket),
            "cloudinary" => self
                .check_cloudinary(Some(&url), problems)
                .map(StorageConfig::Cloudinary),
            scheme => {
                problems.add(
                    "STORAGE_URL",
                    format!(
                        "has the scheme {scheme:?}; it must be file://, s3:// or cloudinary://"
                    ),
                );
                None
            }
        }
    }

    /// Values of the URL are never repeated in a problem: any of them may be a misplaced secret.
    fn check_bucket(&self, url: &Url, problems: &mut Problems) -> Option<BucketConfig> {
        let bucket = url.host_str().unwrap_or_default();
        if !is_bucket_name(bucket) {
            problems.add("STORAGE_URL", "has no bucket's name after s3://");
        }
        if !url.username().is_empty() || url.password().is_some() || url.port().is_some() {
            problems.add(
                "STORAGE_URL",
                "has more than a bucket's name before its options; keys are access_key_id and secret_access_key",
            );
        }
        if !matches!(url.path(), "" | "/") {
            problems.add("STORAGE_URL", "has a path; a bucket has none");
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
            // None of them may hold a space, and half of all secret keys hold a plus, which a query turns into one.
            options.insert(option, value.replace(' ', "+"));
        }
        let mut part =
            |option: &'static str| options.remove(option).filter(|text| !text.is_empty());

        let endpoint = part("endpoint")
            .map(|text| check_server("STORAGE_URL", "has an endpoint that is", &text, problems));
        let default_region = endpoint.as_ref().map(|_| DEFAULT_REGION);
        let region = Setting {
            option: "region",
            in_url: part("region"),
            variable: "AWS_REGION",
            in_variable: given(&self.aws_region),
        };
        let access_key_id = Setting {
            option: "access_key_id",
            in_url: part("access_key_id"),
            variable: "AWS_ACCESS_KEY_ID",
            in_variable: given(&self.aws_access_key_id),
        };
        let secret_access_key = Setting {
            option: "secret_access_key",
            in_url: part("secret_access_key"),
            variable: "AWS_SECRET_ACCESS_KEY",
            in_variable: given(&self.aws_secret_access_key),
        };
        let (region, access_key_id, secret_access_key) = (
            region.take(default_region, problems),
            access_key_id.take(None, problems),
            secret_access_key.take(None, problems),
        );
        Some(BucketConfig {
            bucket: bucket.to_owned(),
            region: region?,
            endpoint: endpoint.map_or(Some(None), |endpoint| endpoint.map(Some))?,
            access_key_id: access_key_id?,
            secret_access_key: secret_access_key?.into(),
        })
    }
}

/// One setting in two forms.
pub(super) struct Setting<'a> {
    pub(super) option: &'static str,
    pub(super) in_url: Option<String>,
    pub(super) variable: &'static str,
    pub(super) in_variable: Option<&'a str>,
}

impl Setting<'_> {
    pub(super) fn take(self, default: Option<&str>, problems: &mut Problems) -> Option<String> {
        let Self {
            option,
            in_url,
            variable,
            in_variable,
        } = self;
        if let (Some(one), Some(other)) = (&in_url, in_variable)
            && one != other
        {
            problems.add(
                variable,
                format!("and {option} of STORAGE_URL differ; set one of them"),
            );
            return None;
        }
        let value = in_url.or_else(|| in_variable.or(default).map(str::to_owned));
        if value.is_none() {
            problems.add(
                variable,
                format!("is not set, nor is {option} of STORAGE_URL"),
            );
        }
        value
    }
}

/// Checks the URL of a server; `what` begins the sentence that says it is none.
pub(super) fn check_server(
    variable: &'static str,
    what: &str,
    text: &str,
    problems: &mut Problems,
) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    if url.is_none() {
        problems.add(
            variable,
            format!("{what} not an http:// or https:// URL of a server"),
        );
    }
    url
}

/// What stores take in common; their own rules are stricter.
fn is_bucket_name(text: &str) -> bool {
    (3..=63).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, change: impl FnOnce(&mut CommonArgs)) -> Result<StorageConfig, Problems> {
        let mut args = CommonArgs {
            storage_url: Some(url.to_owned()),
            ..CommonArgs::default()
        };
        change(&mut args);
        let mut problems = Problems::default();
        let config = args.check_storage(&mut problems);
        problems.finish(config)
    }

    fn bucket(url: &str, change: impl FnOnce(&mut CommonArgs)) -> BucketConfig {
        match check(url, change).unwrap() {
            StorageConfig::Bucket(bucket) => bucket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_folder_has_an_absolute_path() {
        let config = check("file:///var/lib/x%20y", |_| {}).unwrap();
        assert!(
            matches!(config, StorageConfig::Folder(path) if path == std::path::Path::new("/var/lib/x y"))
        );
        for bad in ["file://server/path", "ftp://x", "folder", ""] {
            let told = check(bad, |_| {});
            assert_eq!(told.is_err(), !bad.is_empty(), "{bad}");
        }
    }

    #[test]
    fn a_bucket_is_described_by_its_url_alone() {
        let bucket = bucket(
            "s3://talks?region=eu-west-1&endpoint=http://127.0.0.1:9000&access_key_id=ak&secret_access_key=s+e/c%2Br",
            |_| {},
        );
        assert_eq!(
            (bucket.bucket.as_str(), bucket.region.as_str()),
            ("talks", "eu-west-1")
        );
        assert_eq!(bucket.endpoint.unwrap().as_str(), "http://127.0.0.1:9000/");
        let secret = secrecy::ExposeSecret::expose_secret(&bucket.secret_access_key).to_owned();
        assert_eq!(
            (bucket.access_key_id.as_str(), secret.as_str()),
            ("ak", "s+e/c+r")
        );
    }

    #[test]
    fn variables_stand_in_and_must_not_differ() {
        let keys = |args: &mut CommonArgs| {
            args.aws_access_key_id = Some("ak".to_owned());
            args.aws_secret_access_key = Some("sk".to_owned());
            args.aws_region = Some("eu-west-1".to_owned());
        };
        let found = bucket("s3://talks", keys);
        assert_eq!((found.region.as_str(), found.endpoint), ("eu-west-1", None));
        assert_eq!(
            bucket("s3://talks?access_key_id=ak", keys).region,
            "eu-west-1"
        );
        let told = check("s3://talks?access_key_id=other&region=x", keys)
            .unwrap_err()
            .to_string();
        assert!(
            told.contains("AWS_ACCESS_KEY_ID") && told.contains("AWS_REGION"),
            "{told}"
        );
        let local = |args: &mut CommonArgs| {
            keys(args);
            args.aws_region = None;
        };
        assert_eq!(
            bucket("s3://talks?endpoint=http://localhost:9000", local).region,
            DEFAULT_REGION
        );
    }

    #[test]
    fn all_problems_of_a_bucket_are_told_at_once_and_no_secret() {
        let told = check(
            "s3://x?endpoint=ftp://y&hush=1&secret_access_key=hush",
            |_| {},
        )
        .unwrap_err()
        .to_string();
        for problem in [
            "bucket's name",
            "endpoint",
            "not understood",
            "AWS_ACCESS_KEY_ID",
        ] {
            assert!(told.contains(problem), "{problem} is missing in: {told}");
        }
        assert!(!told.contains("hush"), "a secret is repeated: {told}");
        let told = check("s3://key:hush@talks/prefix", |_| {})
            .unwrap_err()
            .to_string();
        for problem in [
            "before its options",
            "has a path",
            "AWS_REGION",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(told.contains(problem), "{problem} is missing in: {told}");
        }
        assert!(!told.contains("hush"), "a secret is repeated: {told}");
    }

    #[test]
    fn debug_shows_no_key() {
        let bucket = bucket(
            "s3://talks?region=r&access_key_id=whose&secret_access_key=hush",
            |_| {},
        );
        let shown = format!("{bucket:?}");
        assert!(
            !shown.contains("hush") && !shown.contains("whose"),
            "{shown}"
        );
    }
}

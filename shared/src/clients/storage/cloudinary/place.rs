//! Where Cloudinary keeps an object: its key tells all.

use super::super::{Kind, OBJECTS};
use crate::keyring::random;

/// Where objects are, each kind in a folder of its own, in the order of their names' bytes.
pub(super) const FOLDERS: [(&str, Type); 6] = [
    ("baatcheet/audio/", Type::Raw),
    ("baatcheet/documents/", Type::Raw),
    ("baatcheet/exports/", Type::Raw),
    ("baatcheet/images/", Type::Image),
    ("baatcheet/videos/", Type::Video),
    // As a folder or a bucket has them: whoever moves here from there copies them so.
    (OBJECTS, Type::Raw),
];

/// How Cloudinary takes an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    /// It must be able to read it, and can make others of it.
    Image,
    /// Bytes.
    Raw,
    /// As [`Type::Image`].
    Video,
}

impl Type {
    /// Of the object with this key.
    pub(super) fn of(key: &str) -> Self {
        FOLDERS
            .into_iter()
            .find(|(folder, _)| key.starts_with(folder))
            .map_or(Self::Raw, |(_, kept)| kept)
    }

    /// As URLs name it.
    pub(super) fn segment(self) -> &'static str {
        match self {
            Self::Image => "image",
            Self::Raw => "raw",
            Self::Video => "video",
        }
    }
}

/// Makes a key, which is Cloudinary's public id too. Sound is kept as bytes: as a film it could be played, but not
/// come back as it was sent for sure.
pub(super) fn random_key(kind: Kind) -> String {
    let folder = match kind {
        Kind::Audio => "baatcheet/audio/",
        Kind::Document => "baatcheet/documents/",
        Kind::Export => "baatcheet/exports/",
        Kind::Image => "baatcheet/images/",
        Kind::Video => "baatcheet/videos/",
    };
    format!("{folder}{}", hex::encode(random::<16>()))
}

/// The folder of a key, without a slash at its end.
pub(super) fn folder(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_where_its_object_is() {
        for (kind, begins, kept) in [
            (Kind::Audio, "baatcheet/audio/", Type::Raw),
            (Kind::Document, "baatcheet/documents/", Type::Raw),
            (Kind::Export, "baatcheet/exports/", Type::Raw),
            (Kind::Image, "baatcheet/images/", Type::Image),
            (Kind::Video, "baatcheet/videos/", Type::Video),
        ] {
            let key = random_key(kind);
            assert!(key.starts_with(begins), "{key}");
            assert_eq!(Type::of(&key), kept);
            assert_eq!(format!("{}/", folder(&key)), begins);
            assert_ne!(random_key(kind), key);
        }
        assert_eq!(Type::of("objects/ab/abc"), Type::Raw);
    }

    #[test]
    fn the_folders_are_in_order() {
        assert!(FOLDERS.is_sorted_by_key(|(folder, _)| folder));
    }
}

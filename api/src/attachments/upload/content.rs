//! What a file is, by its content: names and what clients say prove nothing.

use shared::{
    models::attachment::Kind,
    picture::{MAX_PIXELS, MAX_SIDE, is_too_large},
};

use super::sound::{self, NoSound, Rest};
use crate::error::{Error, Result};

/// What is taken, for people.
const TAKEN: &str =
    "PNG, JPEG, WebP, GIF, PDF, MP3, WAV, Ogg, WebM and M4A are taken, films are not";

/// Where the first tag of a drawing is looked for, in bytes: comments may stand before it.
const SVG_SEARCHED: usize = 4_096;

/// What the beginning of a file says.
#[derive(Debug)]
pub(super) struct Content {
    /// What it is.
    pub(super) kind: Kind,
    /// Its type.
    pub(super) media_type: &'static str,
    /// Width and height of a picture in pixels, where its header can be read.
    pub(super) size: Option<(u32, u32)>,
    rest: Rest,
}

impl Content {
    /// Recognizes a file by its first bytes, which must be given to [`Content::look`] too.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`] when it is nothing that we take, or not what the client says;
    /// [`Error::ImageTooLarge`] for pictures that are too large to decode.
    pub(super) fn recognize(head: &[u8], declared: Option<&str>) -> Result<Self> {
        let content = Self::by_bytes(head)?;
        if is_declared(content.media_type, declared) {
            Ok(content)
        } else {
            Err(Error::UnsupportedMediaType(format!(
                "the file is {}, not {}",
                content.media_type,
                declared.unwrap_or_default()
            )))
        }
    }

    fn by_bytes(head: &[u8]) -> Result<Self> {
        let still = |kind, media_type, size| Self {
            kind,
            media_type,
            size,
            rest: Rest::Known,
        };
        let found = infer::get(head).map(|kind| kind.mime_type());
        let pictures = ["image/png", "image/jpeg", "image/webp", "image/gif"];
        let picture = pictures.into_iter().find(|&kind| found == Some(kind));
        // The library looks at the second half of WebP's signature only.
        let is_whole = picture != Some("image/webp") || head.starts_with(b"RIFF");
        if let Some(media_type) = picture.filter(|_| is_whole) {
            return Ok(still(Kind::Image, media_type, pixels(head)?));
        }
        // ISO 32000-2, 7.5.2: at the very start. Readers that look further let other formats hide a PDF.
        if head.starts_with(b"%PDF-") {
            return Ok(still(Kind::Document, "application/pdf", None));
        }
        match sound::recognize(head) {
            Some(Ok(sound)) => Ok(Self {
                kind: Kind::Audio,
                media_type: sound.media_type,
                size: None,
                rest: sound.rest,
            }),
            Some(Err(error)) => Err(refused(error)),
            None => {
                let found = svg(head).or(found).unwrap_or("of an unknown type");
                Err(Error::UnsupportedMediaType(format!(
                    "the file is {found}; {TAKEN}"
                )))
            }
        }
    }

    /// Looks at the next piece of the file.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`] as soon as it is a film.
    pub(super) fn look(&mut self, piece: &[u8]) -> Result<()> {
        self.rest.look(piece).map_err(refused)
    }

    /// Judges the file at its end.
    ///
    /// # Errors
    /// [`Error::UnsupportedMediaType`] when there was no sound in it.
    pub(super) fn finish(self) -> Result<()> {
        self.rest.finish().map_err(refused)
    }
}

fn refused(error: NoSound) -> Error {
    Error::UnsupportedMediaType(format!("the file {error}; {TAKEN}"))
}

/// Whether a client's word for a type is one for this type. Browsers go by the name, and call sound in a container of
/// films a film.
fn is_declared(media_type: &str, declared: Option<&str>) -> bool {
    let others: &[&str] = match media_type {
        "image/jpeg" => &["image/jpg", "image/pjpeg"],
        "application/pdf" => &["application/x-pdf"],
        "audio/mpeg" => &["audio/mp3", "audio/mpeg3", "audio/x-mpeg", "audio/x-mp3"],
        "audio/wav" => &["audio/wave", "audio/x-wav", "audio/vnd.wave"],
        "audio/ogg" => &["application/ogg", "audio/opus", "audio/vorbis", "video/ogg"],
        "audio/webm" => &["video/webm"],
        "audio/mp4" => &["audio/m4a", "audio/x-m4a", "audio/aac", "video/mp4"],
        _ => &[],
    };
    let declared = declared.map(|declared| declared.split(';').next().unwrap_or_default().trim());
    match declared {
        None | Some("" | "application/octet-stream") => true,
        Some(declared) => declared == media_type || others.contains(&declared),
    }
}

/// The type of a drawing in XML, which is named where it is refused: it may hold scripts and links, and is no picture until a
/// program has drawn it.
fn svg(head: &[u8]) -> Option<&'static str> {
    let begin = String::from_utf8_lossy(&head[..head.len().min(SVG_SEARCHED)]);
    let text = begin.trim_start_matches('\u{feff}').trim_start();
    (text.starts_with('<') && text.contains("<svg")).then_some("image/svg+xml")
}

/// Width and height from the header. A header that cannot be read is left to the worker, which says why.
fn pixels(head: &[u8]) -> Result<Option<(u32, u32)>> {
    let Ok(size) = imagesize::blob_size(head) else {
        return Ok(None);
    };
    let counted = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (width, height) = (counted(size.width), counted(size.height));
    if is_too_large(width, height) {
        let message = format!(
            "the picture has {width}×{height} pixels; at most {} million, and {MAX_SIDE} on a side, are read",
            MAX_PIXELS / 1_000_000
        );
        return Err(Error::ImageTooLarge(message));
    }
    Ok(Some((width, height)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(head: &[u8], declared: Option<&str>) -> Option<(Kind, &'static str)> {
        let content = Content::recognize(head, declared).ok()?;
        Some((content.kind, content.media_type))
    }

    #[test]
    fn content_decides_and_must_be_what_it_says() {
        let png = b"\x89PNG\r\n\x1a\n0000";
        assert_eq!(taken(png, None), Some((Kind::Image, "image/png")));
        assert!(taken(png, Some("application/octet-stream")).is_some());
        assert!(taken(png, Some("image/png; charset=binary")).is_some());
        assert!(taken(png, Some("image/jpeg")).is_none());
        let pdf = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n";
        assert_eq!(taken(pdf, None), Some((Kind::Document, "application/pdf")));
        assert!(taken(pdf, Some("application/x-pdf")).is_some());
        assert!(taken(pdf, Some("image/png")).is_none());
        let sound = b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0";
        assert_eq!(
            taken(sound, Some("audio/mp3")),
            Some((Kind::Audio, "audio/mpeg"))
        );
    }

    #[test]
    fn pictures_are_limited_in_area_and_side() {
        let png = |width: u32, height: u32| {
            let begin = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR";
            let head = [&begin[..], &width.to_be_bytes(), &height.to_be_bytes()].concat();
            Content::recognize(&head, None).map(|content| content.size)
        };
        assert_eq!(png(32_000, 1_000).unwrap(), Some((32_000, 1_000)));
        for (width, height) in [(8_000, 5_001), (32_001, 10), (10, 32_001)] {
            let refused = png(width, height);
            assert!(
                matches!(refused, Err(Error::ImageTooLarge(_))),
                "{width}×{height}"
            );
        }
    }

    #[test]
    fn a_gif_is_measured_too() {
        let head = b"GIF89a\x40\x01\xf0\0\x80\0\0";
        let content = Content::recognize(head, Some("image/gif")).unwrap();
        assert_eq!(
            (content.media_type, content.size),
            ("image/gif", Some((320, 240)))
        );
        let large = Content::recognize(b"GIF89a\xff\xff\xff\xff\x80\0\0", None);
        assert!(matches!(large, Err(Error::ImageTooLarge(_))));
    }

    #[test]
    fn a_drawing_is_named_where_it_is_refused() {
        for drawing in [
            &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>"[..],
            b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<!-- hello -->\n<svg onload=\"alert(1)\"/>",
        ] {
            let error = Content::recognize(drawing, Some("image/svg+xml")).unwrap_err();
            assert!(
                error.to_string().contains("the file is image/svg+xml; PNG"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_something_else_is_refused() {
        for head in [
            &b""[..],
            b"/etc/passwd",
            b"\n%PDF-1.7",
            b"<html>%PDF-1.7",
            b"PK\x03\x04",
            b"fLaC\0\0\0\x22",
            b"\0\0\0\x18ftyp",
            b"RIFF\0\0\0\0AVI LIST",
        ] {
            // An MP4 shows its tracks only later.
            let seen = Content::recognize(head, None).and_then(Content::finish);
            assert!(
                matches!(seen, Err(Error::UnsupportedMediaType(_))),
                "{head:?}"
            );
        }
    }

    #[test]
    fn browsers_names_for_sound_are_understood() {
        for (media_type, declared) in [
            ("audio/webm", "audio/webm;codecs=opus"),
            ("audio/webm", "video/webm"),
            ("audio/mp4", "audio/x-m4a"),
            ("audio/wav", "audio/x-wav"),
            ("audio/ogg", "application/ogg"),
        ] {
            assert!(is_declared(media_type, Some(declared)), "{declared}");
        }
        assert!(!is_declared("audio/webm", Some("audio/ogg")));
    }
}

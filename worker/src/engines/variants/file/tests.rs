//! Files put together block by block.

use image::{ImageFormat, metadata::Orientation};
use proptest::prelude::*;

use super::*;
use crate::engines::variants::drawn::{apng, gif, webp};

fn clean(file: &[u8], format: ImageFormat) -> (u32, Vec<u8>) {
    let blocks = Blocks::of(file, format, Orientation::NoTransforms).unwrap();
    (blocks.frames, blocks.cleaned(file))
}

fn has(file: &[u8], text: &str) -> bool {
    file.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn animations_keep_their_frames_and_lose_the_rest() {
    for (file, format) in [
        (gif(3), ImageFormat::Gif),
        (apng(3), ImageFormat::Png),
        (webp(3), ImageFormat::WebP),
    ] {
        assert!(has(&file, "a secret place"), "{format:?}");
        let (frames, cleaned) = clean(&file, format);
        assert_eq!(frames, 3, "{format:?}");
        assert!(!has(&cleaned, "a secret place"), "{format:?}");
        // Nothing is left to be cleaned, and all frames are there.
        assert_eq!(clean(&cleaned, format), (3, cleaned.clone()), "{format:?}");
        let first = |file: &[u8]| image::load_from_memory_with_format(file, format).unwrap();
        assert_eq!(first(&file), first(&cleaned), "{format:?}");
        let size = |file: &[u8]| file.len();
        assert!(size(&cleaned) < size(&file), "{format:?}");
    }
    let (_, cleaned) = clean(&gif(2), ImageFormat::Gif);
    assert!(has(&cleaned, "NETSCAPE2.0"), "it goes on being repeated");
}

#[test]
fn a_turned_animation_stays_turned() {
    for (file, format) in [(apng(2), ImageFormat::Png), (webp(2), ImageFormat::WebP)] {
        let blocks = Blocks::of(&file, format, Orientation::Rotate90).unwrap();
        let cleaned = blocks.cleaned(&file);
        let mut reader = image::ImageReader::with_format(std::io::Cursor::new(&cleaned), format)
            .into_decoder()
            .unwrap();
        let orientation = image::ImageDecoder::orientation(&mut reader).unwrap();
        assert_eq!(orientation, Orientation::Rotate90, "{format:?}");
        assert!(!has(&cleaned, "a secret place"), "{format:?}");
    }
}

#[test]
fn still_pictures_have_one_frame() {
    assert_eq!(clean(&gif(1), ImageFormat::Gif).0, 1);
    let still = Blocks::of(b"", ImageFormat::Jpeg, Orientation::NoTransforms).unwrap();
    assert_eq!(still.frames, 1);
}

#[test]
fn a_gif_may_lack_its_trailer() {
    let mut file = gif(2);
    assert_eq!(file.pop(), Some(0x3b));
    let (frames, cleaned) = clean(&file, ImageFormat::Gif);
    assert_eq!((frames, cleaned.last()), (2, Some(&0x3b)));
    let nothing = &file[..13];
    assert!(Blocks::of(nothing, ImageFormat::Gif, Orientation::NoTransforms).is_err());
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(cut in 0usize..600, at in 0usize..600, byte: u8) {
        for (mut file, format) in [
            (gif(2), ImageFormat::Gif), (apng(2), ImageFormat::Png), (webp(2), ImageFormat::WebP),
        ] {
            if let Some(there) = file.get_mut(at) {
                *there = byte;
            }
            file.truncate(cut);
            if let Ok(blocks) = Blocks::of(&file, format, Orientation::Rotate90) {
                prop_assert!(blocks.cleaned(&file).len() <= file.len() + 100);
            }
        }
    }
}

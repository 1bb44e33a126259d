//! Pictures for tests, with what a picture should not tell.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage, codecs::gif::GifEncoder};
use shared::picture::Format;

use super::{encode::encode, pixels::Pixels};

pub(super) const SECRET: &str = "a secret place";

/// Frames of an animation: one colour each, the first one red.
fn frames(count: u32) -> impl Iterator<Item = RgbaImage> {
    (0..count).map(|frame| {
        let green = u8::try_from(40 * frame).unwrap();
        RgbaImage::from_pixel(40, 20, Rgba([200, green, 0, 255]))
    })
}

/// With a comment.
pub(super) fn gif(count: u32) -> Vec<u8> {
    let mut file = Vec::new();
    {
        let mut encoder = GifEncoder::new(&mut file);
        encoder
            .set_repeat(image::codecs::gif::Repeat::Infinite)
            .unwrap();
        for frame in frames(count) {
            encoder.encode_frame(image::Frame::new(frame)).unwrap();
        }
    }
    assert_eq!(file.pop(), Some(0x3b));
    file.extend(b"\x21\xfe");
    file.push(u8::try_from(SECRET.len()).unwrap());
    file.extend(SECRET.as_bytes());
    file.extend([0, 0x3b]);
    file
}

/// With a text.
pub(super) fn apng(count: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 40, 20);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_animated(count, 0).unwrap();
    encoder
        .add_text_chunk("Location".to_owned(), SECRET.to_owned())
        .unwrap();
    let mut writer = encoder.write_header().unwrap();
    for frame in frames(count) {
        writer.write_image_data(frame.as_raw()).unwrap();
    }
    writer.finish().unwrap();
    file
}

fn chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap();
    let mut chunk = [&kind[..], &length.to_le_bytes(), data].concat();
    if data.len() % 2 == 1 {
        chunk.push(0);
    }
    chunk
}

/// With XMP data.
pub(super) fn webp(count: u32) -> Vec<u8> {
    let three = |number: u32| number.to_le_bytes()[..3].to_vec();
    let mut body = chunk(
        *b"VP8X",
        &[vec![0x06, 0, 0, 0], three(39), three(19)].concat(),
    );
    body.extend(chunk(*b"ANIM", &[0; 6]));
    for frame in frames(count) {
        let mut still = Cursor::new(Vec::new());
        frame.write_to(&mut still, ImageFormat::WebP).unwrap();
        let head = [
            three(0),
            three(0),
            three(39),
            three(19),
            three(100),
            vec![0],
        ]
        .concat();
        body.extend(chunk(*b"ANMF", &[&head, &still.get_ref()[12..]].concat()));
    }
    body.extend(chunk(*b"XMP ", SECRET.as_bytes()));
    let length = u32::try_from(body.len() + 4).unwrap();
    [b"RIFF", &length.to_le_bytes()[..], b"WEBP", &body].concat()
}

/// Shades that no two pixels share.
pub(super) fn shades(width: u32, height: u32) -> RgbImage {
    let mut seed = 7_u32;
    RgbImage::from_fn(width, height, |x, y| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let part = |at: u32, of: u32| u8::try_from(at * 200 / of).unwrap();
        let noise = seed.to_be_bytes()[0] / 8;
        Rgb([part(x, width) + noise, part(y, height) + noise, 90])
    })
}

pub(super) fn png_of(image: impl Into<DynamicImage>) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.into().write_to(&mut file, ImageFormat::Png).unwrap();
    file.into_inner()
}

/// A photo as a phone stores it: on its side, with the place.
pub(super) fn photo(width: u32, height: u32) -> Vec<u8> {
    let pixels = Pixels {
        width,
        height,
        has_alpha: false,
        bytes: shades(width, height).into_raw(),
    };
    let plain = encode(&pixels, Format::Jpeg, 90).unwrap();
    let mut exif =
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
    exif.extend(SECRET.as_bytes());
    let length = u16::try_from(exif.len() + 2).unwrap();
    [
        &plain[..2],
        b"\xff\xe1",
        &length.to_be_bytes(),
        &exif,
        &plain[2..],
    ]
    .concat()
}

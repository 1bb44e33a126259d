//! Pictures as they come, made here.

use std::{fs, io::Cursor};

use image::{ImageEncoder as _, ImageFormat, Rgba, RgbaImage, codecs::png::PngEncoder};
use proptest::prelude::*;

use super::*;

/// Writes the picture as it would be read, and says what became of it.
fn prepared(bytes: &[u8]) -> Result<(Prepared, GrayImage), PictureError> {
    let folder = tempfile::tempdir().unwrap();
    let prepared = prepare(bytes, &folder.path().join("page.pgm"))?;
    let file = fs::read(&prepared.path).unwrap();
    let head = format!("P5\n{} {}\n255\n", prepared.width, prepared.height);
    let pixels = file.strip_prefix(head.as_bytes()).unwrap().to_vec();
    let picture = GrayImage::from_raw(prepared.width, prepared.height, pixels).unwrap();
    Ok((prepared, picture))
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// White with a black square in the top left quarter.
fn marked(width: u32, height: u32) -> GrayImage {
    GrayImage::from_fn(width, height, |x, y| {
        Luma([if x < width / 2 && y < height / 2 {
            0
        } else {
            255
        }])
    })
}

/// A PNG whose header claims a size that its content does not have.
fn claiming(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(marked(4, 4), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let sum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The checksum of PNG chunks (PNG specification, annex D).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            sum >> 1 ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    })
}

#[test]
fn every_format_and_colour_is_read() {
    let grey = marked(2000, 1000);
    let colour = DynamicImage::ImageLuma8(grey.clone());
    for (name, bytes) in [
        ("png", encoded(grey.clone(), ImageFormat::Png)),
        ("jpeg", encoded(grey.clone(), ImageFormat::Jpeg)),
        ("colour jpeg", encoded(colour.to_rgb8(), ImageFormat::Jpeg)),
        ("webp", encoded(colour.to_rgb8(), ImageFormat::WebP)),
        ("16-bit png", encoded(colour.to_luma16(), ImageFormat::Png)),
        (
            "16-bit colour png",
            encoded(colour.to_rgba16(), ImageFormat::Png),
        ),
    ] {
        let (prepared, read) = prepared(&bytes).unwrap();
        assert_eq!((prepared.width, prepared.height), (2000, 1000), "{name}");
        assert_eq!(
            (prepared.upright_width, prepared.upright_height),
            (2000, 1000),
            "{name}"
        );
        assert!((prepared.scale - 1.0).abs() < f64::EPSILON, "{name}");
        for (x, y) in [(10, 10), (990, 490), (1010, 10), (10, 510), (1990, 990)] {
            let (is, was) = (read.get_pixel(x, y)[0], grey.get_pixel(x, y)[0]);
            assert!(
                is.abs_diff(was) < 8,
                "{name}: {is} instead of {was} at {x}, {y}"
            );
        }
    }
}

#[test]
fn transparency_becomes_white() {
    let picture = RgbaImage::from_fn(2000, 100, |x, _| match x {
        0..500 => Rgba([0, 0, 0, 0]),
        500..1000 => Rgba([0, 0, 0, 255]),
        1000..1500 => Rgba([0, 0, 0, 128]),
        _ => Rgba([255, 255, 255, 128]),
    });
    let (_, read) = prepared(&encoded(picture, ImageFormat::Png)).unwrap();
    assert_eq!(
        [250, 750, 1250, 1750].map(|x| read.get_pixel(x, 50)[0]),
        [255, 0, 127, 255]
    );
}

#[test]
fn what_is_not_a_picture_is_refused_by_content() {
    for bytes in [
        &b""[..],
        b"/etc/passwd\n",
        b"https://example.com/picture.png\n",
        b"BM\x00\x00",
        b"P5\n1 1\n255\n\x00",
        b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>",
        b"%PDF-1.7\n",
        b"II*\x00\x08\x00\x00\x00",
    ] {
        let error = prepared(bytes).unwrap_err();
        assert!(matches!(error, PictureError::NotAPicture), "{error}");
    }
}

#[test]
fn of_an_animation_the_first_frame_is_read() {
    let mut file = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut file);
    for grey in [200, 20] {
        let frame = RgbaImage::from_pixel(300, 200, Rgba([grey, grey, grey, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let (_, read) = prepared(&file).unwrap();
    assert!(read.get_pixel(50, 50)[0] > 190);
}

#[test]
fn a_drawn_page_is_read_if_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("page.pgm");
    let mut page = b"P5\n2000 1000\n255\n".to_vec();
    page.extend_from_slice(marked(2_000, 1_000).as_raw());
    let prepared = prepare_page(&page, &target).unwrap();
    assert_eq!((prepared.width, prepared.height), (2_000, 1_000));
    assert_eq!(fs::read(&prepared.path).unwrap(), page);

    for bytes in [
        &b""[..],
        b"P5",
        b"P6\n1 1\n255\n\x00\x00\x00",
        b"P5\n1 1\n255",
        b"P5\n2 1\n255\n\x00",
        b"P5\n1 1\n255\n\x00\x00",
        b"P5\n1 1\n65535\n\x00\x00",
        b"P5\n0 0\n255\n",
        b"P5\n-1 1\n255\n\x00",
        b"P5\n99999999999 1\n255\n\x00",
        b"/etc/passwd\n",
    ] {
        let error = prepare_page(bytes, &target).unwrap_err();
        assert_eq!(error.code(), Some("image_damaged"), "{bytes:?}: {error}");
    }
    let large = prepare_page(b"P5\n32001 1\n255\n\x00", &target).unwrap_err();
    assert_eq!(large.code(), Some("image_too_large"));
}

#[test]
fn damaged_pictures_say_so() {
    let png = encoded(marked(300, 300), ImageFormat::Png);
    let webp = encoded(
        DynamicImage::ImageLuma8(marked(300, 300)).to_rgb8(),
        ImageFormat::WebP,
    );
    let jpeg = encoded(marked(300, 300), ImageFormat::Jpeg);
    for bytes in [
        &png[..png.len() / 2],
        &png[..20],
        &webp[..webp.len() / 2],
        &jpeg[..30],
        &jpeg[..jpeg.len() / 2],
        &jpeg[..jpeg.len() - 1],
        &claiming(0, 5),
    ] {
        let error = prepared(bytes).unwrap_err();
        assert_eq!(error.code(), Some("image_damaged"), "{error}");
        assert!(
            error.to_string().starts_with("the file is damaged: "),
            "{error}"
        );
    }
}

#[test]
fn the_size_is_judged_before_decoding() {
    for (width, height) in [
        (6_325, 6_325),
        (40_000_001, 1),
        (32_001, 10),
        (u32::MAX >> 1, u32::MAX >> 1),
    ] {
        let error = prepared(&claiming(width, height)).unwrap_err();
        assert_eq!(error.code(), Some("image_too_large"), "{error}");
    }
    // Small enough, and then the content is missing.
    let error = prepared(&claiming(6_324, 6_324)).unwrap_err();
    assert_eq!(error.code(), Some("image_damaged"), "{error}");
}

#[test]
fn small_pictures_are_enlarged_and_tiny_ones_padded() {
    for (size, expected) in [
        ((1_000, 500), (2_000, 1_000)),
        ((500, 1_000), (1_000, 2_000)),
        ((100, 60), (300, 180)),
        ((1_999, 10), (2_000, 16)),
        ((2_001, 1_500), (2_001, 1_500)),
        ((1, 1), (16, 16)),
        ((1, 3_000), (16, 3_000)),
    ] {
        let (prepared, _) = prepared(&encoded(marked(size.0, size.1), ImageFormat::Png)).unwrap();
        assert_eq!((prepared.width, prepared.height), expected, "{size:?}");
        assert_eq!((prepared.upright_width, prepared.upright_height), size);
    }
}

#[test]
fn the_exif_orientation_is_applied() {
    // Where the black quarter of the stored picture is when it is upright: (right, bottom).
    let corners = [
        (false, false),
        (true, false),
        (true, true),
        (false, true),
        (false, false),
        (true, false),
        (true, true),
        (false, true),
    ];
    for (orientation, (right, bottom)) in (1..=8).zip(corners) {
        let mut bytes = Vec::new();
        let mut encoder = PngEncoder::new(&mut bytes);
        let mut exif =
            b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        encoder.set_exif_metadata(exif).unwrap();
        let stored = marked(2_000, 1_000);
        encoder
            .write_image(&stored, 2_000, 1_000, image::ExtendedColorType::L8)
            .unwrap();

        let (prepared, read) = prepared(&bytes).unwrap();
        let turned = orientation > 4;
        let size = if turned {
            (1_000, 2_000)
        } else {
            (2_000, 1_000)
        };
        assert_eq!(prepared.orientation, orientation);
        assert_eq!(
            (prepared.upright_width, prepared.upright_height),
            size,
            "{orientation}"
        );
        let x = if right { size.0 - 10 } else { 10 };
        let y = if bottom { size.1 - 10 } else { 10 };
        assert_eq!(read.get_pixel(x, y)[0], 0, "{orientation}");
    }
}

#[test]
fn areas_are_mapped_back_to_the_upright_picture() {
    let prepared = |skew_degrees, upright_width, upright_height| Prepared {
        path: PathBuf::new(),
        width: 2_000,
        height: 2_000,
        upright_width,
        upright_height,
        orientation: 1,
        scale: 2.0,
        skew_degrees,
    };
    let area = |x, y, width, height| Area {
        x,
        y,
        width,
        height,
    };

    assert_eq!(
        prepared(0.0, 1_000, 500).upright(area(100, 200, 50, 20)),
        area(50, 100, 25, 10)
    );
    assert_eq!(
        prepared(0.0, 3_000, 500).upright(area(100, 200, 50, 20)),
        area(100, 200, 50, 20)
    );
    // Around the middle a turn moves nothing, but the rectangle around the turned one is larger.
    let middle = prepared(2.0, 2_000, 1_000).upright(area(985, 520, 100, 20));
    assert!(
        middle.x.abs_diff(967) < 20
            && middle.width.abs_diff(101) < 3
            && middle.height.abs_diff(24) < 3,
        "{middle:?}"
    );
}

proptest! {
    #[test]
    fn mapped_areas_stay_inside(
        (width, height) in (1_u32..5_000, 1_u32..5_000),
        skew_degrees in -10.0_f32..10.0,
        (x, y, w, h) in (0_u32..9_000, 0_u32..9_000, 0_u32..9_000, 0_u32..9_000),
    ) {
        let prepared = Prepared {
            path: PathBuf::new(),
            width,
            height,
            upright_width: width,
            upright_height: height,
            orientation: 1,
            scale: 1.0,
            skew_degrees,
        };
        let area = prepared.upright(Area { x, y, width: w, height: h });
        prop_assert!(area.width >= 1 && area.x + area.width <= width, "{:?}", area);
        prop_assert!(area.height >= 1 && area.y + area.height <= height, "{:?}", area);
    }

    #[test]
    fn broken_bytes_never_panic(position in 0_usize..2_000, byte: u8, format in 0..3) {
        let format = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::WebP][usize::try_from(format).unwrap()];
        let mut bytes = encoded(DynamicImage::ImageLuma8(marked(40, 30)).to_rgb8(), format);
        let position = position % bytes.len();
        bytes[position] = byte;
        let _ = prepared(&bytes);
    }
}

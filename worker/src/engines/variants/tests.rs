//! Pictures drawn here, and what becomes of them.

use image::{DynamicImage, Rgb, RgbImage, Rgba, RgbaImage};
use moxcms::ColorProfile;
use shared::picture::{Crop, Fit, Format, Recipe, Resize};

use super::{
    drawn::{SECRET, apng, gif, photo, png_of, shades, webp},
    make::{Files, standard},
    *,
};

fn one(upload: &[u8], recipe: &Recipe) -> Result<(Option<Picture>, Files), Refused> {
    make::one(upload, recipe, Path::new("/usr/share/fonts"))
}

fn described((picture, files): (Option<Picture>, Files)) -> (Picture, Files) {
    for (variant, file) in &files {
        assert!(
            !file
                .windows(SECRET.len())
                .any(|part| part == SECRET.as_bytes())
        );
        assert!(!file.windows(4).any(|part| part == b"Exif"));
        let shown = image::load_from_memory(file).unwrap();
        assert_eq!(
            (shown.width(), shown.height()),
            (variant.width, variant.height)
        );
    }
    (picture.unwrap(), files)
}

fn sizes(files: &Files) -> Vec<(&str, &str, u32, u32)> {
    files
        .iter()
        .map(|(variant, _)| {
            let (name, kind) = (variant.name.as_str(), variant.media_type.as_str());
            (name, kind, variant.width, variant.height)
        })
        .collect()
}

#[test]
fn a_photo_is_upright_small_and_says_nothing_of_its_making() {
    let (picture, files) = described(standard(&photo(4_000, 3_000)).unwrap());
    assert_eq!((picture.width, picture.height), (3_000, 4_000));
    assert_eq!(picture.frames, 1);
    assert!(picture.blur_hash.is_some());
    assert_eq!(
        sizes(&files),
        [
            ("display", "image/jpeg", 1_440, 1_920),
            ("thumbnail256", "image/webp", 192, 256),
            ("thumbnail768", "image/webp", 576, 768),
        ]
    );
    // Red grows to the right where it is stored, so downwards when upright; green from right to left.
    for (_, file) in &files {
        let shown = image::load_from_memory(file).unwrap().into_rgb8();
        let (width, height) = shown.dimensions();
        let near = |x: u32, y: u32| shown.get_pixel(x, y).0;
        let (top, bottom) = (near(width / 2, 2), near(width / 2, height - 3));
        let (left, right) = (near(2, height / 2), near(width - 3, height / 2));
        assert!(top[0] + 100 < bottom[0] && right[1] + 100 < left[1]);
    }
}

#[test]
fn opacity_is_kept_and_photos_without_losses_become_jpegs() {
    let half = RgbaImage::from_fn(2_000, 1_000, |x, _| {
        Rgba([10, 200, 30, if x < 1_000 { 0 } else { 255 }])
    });
    let (picture, files) = described(standard(&png_of(half)).unwrap());
    assert_eq!(picture.dominant_color, "#0ac81e");
    assert_eq!(sizes(&files)[0], ("display", "image/png", 1_920, 960));
    for (variant, file) in &files {
        let shown = image::load_from_memory(file).unwrap().into_rgba8();
        let alpha = |x: u32| shown.get_pixel(x, 5).0[3];
        let name = &variant.name;
        assert_eq!((alpha(2), alpha(variant.width - 3)), (0, 255), "{name}");
    }
    let (_, files) = described(standard(&png_of(shades(900, 700))).unwrap());
    assert_eq!(sizes(&files)[0], ("display", "image/jpeg", 900, 700));
    let drawing = RgbImage::from_fn(900, 700, |x, y| {
        if (x / 50 + y / 50) % 2 == 0 {
            Rgb([255; 3])
        } else {
            Rgb([20, 20, 90])
        }
    });
    let (_, files) = described(standard(&png_of(drawing)).unwrap());
    assert_eq!(sizes(&files)[0].1, "image/png");
}

#[test]
fn animations_go_on_moving_but_their_thumbnails_stand_still() {
    for (file, kind) in [
        (gif(4), "image/gif"),
        (apng(4), "image/png"),
        (webp(4), "image/webp"),
    ] {
        let (picture, files) = described(standard(&file).unwrap());
        assert_eq!((picture.frames, picture.width), (4, 40), "{kind}");
        assert_eq!(sizes(&files)[0], ("display", kind, 40, 20));
        assert_eq!(sizes(&files)[1], ("thumbnail256", "image/webp", 40, 20));
        let red = u8::from_str_radix(&picture.dominant_color[1..3], 16).unwrap();
        assert!(red.abs_diff(200) < 3, "{kind}: {}", picture.dominant_color);
        let still = image::load_from_memory(&files[1].1).unwrap().into_rgb8();
        assert!(still.get_pixel(20, 10).0[1] < 20, "{kind}: the first frame");
    }
}

#[test]
fn every_kind_of_png_is_decoded() {
    let grey = shades(300, 200);
    let grey = DynamicImage::ImageRgb8(grey).to_luma8();
    let deep = DynamicImage::ImageLuma8(grey.clone()).to_rgba16();
    for image in [
        DynamicImage::ImageLuma8(grey.clone()),
        DynamicImage::ImageLuma8(grey.clone())
            .to_luma_alpha8()
            .into(),
        deep.into(),
    ] {
        let (_, files) = one(&png_of(image), &cropped(0, 0, 300, 200, Format::Png)).unwrap();
        let shown = image::load_from_memory(&files[0].1).unwrap();
        assert_eq!(shown.to_luma8(), grey);
    }
}

fn cropped(x: u32, y: u32, width: u32, height: u32, format: Format) -> Recipe {
    Recipe {
        crop: Some(Crop {
            x,
            y,
            width,
            height,
        }),
        resize: None,
        watermark: None,
        format,
        quality: Some(90),
    }
}

#[test]
fn a_crop_is_of_the_upright_picture() {
    let photo = photo(400, 300);
    let upright = image::load_from_memory(&photo).unwrap().rotate90();
    let (_, files) = one(&photo, &cropped(30, 250, 100, 140, Format::Png)).unwrap();
    let shown = image::load_from_memory(&files[0].1).unwrap().into_rgb8();
    let expected = upright.crop_imm(30, 250, 100, 140).into_rgb8();
    assert_eq!(shown.dimensions(), (100, 140));
    let differ = shown
        .as_raw()
        .iter()
        .zip(expected.as_raw())
        .map(|(one, other)| u64::from(one.abs_diff(*other)))
        .sum::<u64>();
    // Two decoders need not agree to the last bit.
    assert!(differ < 3 * shown.as_raw().len() as u64, "{differ}");
    let beyond = one(&photo, &cropped(250, 0, 100, 100, Format::Png)).unwrap_err();
    assert!(beyond.to_string().contains("300×400 pixels"), "{beyond}");
}

#[test]
fn every_format_is_made() {
    let source = png_of(shades(320, 240));
    for (format, start) in [
        (Format::Jpeg, &b"\xff\xd8\xff"[..]),
        (Format::Png, b"\x89PNG"),
        (Format::Webp, b"RIFF"),
        (Format::Avif, b"\0\0\0"),
    ] {
        let mut recipe = Recipe::fitting(160, format, 50);
        recipe.resize = Some(Resize {
            width: Some(100),
            height: Some(100),
            fit: Fit::Cover,
        });
        let (picture, files) = one(&source, &recipe).unwrap();
        assert_eq!(picture, None);
        let (variant, file) = &files[0];
        assert_eq!(
            (variant.media_type.as_str(), variant.width, variant.height),
            (format.media_type(), 100, 100)
        );
        assert!(file.starts_with(start), "{format:?}");
        assert!(format != Format::Avif || &file[4..12] == b"ftypavif");
    }
}

#[test]
fn quality_is_what_a_file_costs() {
    let source = png_of(shades(400, 300));
    for format in [Format::Jpeg, Format::Webp, Format::Avif] {
        let size = |quality| {
            let recipe = Recipe::fitting(400, format, quality);
            one(&source, &recipe).unwrap().1[0].1.len()
        };
        assert!(size(20) * 2 < size(90), "{format:?}");
    }
}

#[test]
fn colours_of_other_profiles_become_those_of_srgb() {
    let profile = ColorProfile::new_display_p3().encode().unwrap();
    let file = |with_profile: bool| {
        let mut file = Vec::new();
        let mut info = png::Info::with_size(8, 8);
        info.color_type = png::ColorType::Rgb;
        info.bit_depth = png::BitDepth::Eight;
        info.icc_profile = with_profile.then(|| profile.clone().into());
        let encoder = png::Encoder::with_info(&mut file, info).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[200, 60, 60].repeat(64)).unwrap();
        writer.finish().unwrap();
        file
    };
    let shown = |with_profile: bool| {
        let (_, files) = one(&file(with_profile), &cropped(0, 0, 8, 8, Format::Png)).unwrap();
        assert!(!files[0].1.windows(4).any(|part| part == b"iCCP"));
        let shown = image::load_from_memory(&files[0].1).unwrap().into_rgb8();
        shown.get_pixel(4, 4).0
    };
    assert_eq!(shown(false), [200, 60, 60]);
    let [red, green, _] = shown(true);
    assert!(red > 210 && green < 55, "{red} {green}");
}

#[test]
fn what_is_too_large_is_refused_by_its_header() {
    let png = |width: u32, height: u32| {
        let mut file = png_of(RgbImage::new(1, 1));
        file[16..24].copy_from_slice(&[width.to_be_bytes(), height.to_be_bytes()].concat());
        // The checksum that goes with it.
        let checksum = file::crc(&file[12..29]);
        file[29..33].copy_from_slice(&checksum.to_be_bytes());
        file
    };
    assert_eq!(
        standard(&png(30_000, 30_000)).unwrap_err(),
        Refused::TooLarge
    );
    let mut large = gif(4);
    large[6..10].copy_from_slice(&[0xff, 0x1f, 0x00, 0x20]);
    assert_eq!(standard(&large).unwrap_err(), Refused::TooLarge);
    // Frame after frame of a picture of 38 megapixels, each of them a few bytes long.
    large[6..10].copy_from_slice(&[0x00, 0x18, 0x00, 0x18]);
    let comment = large.len() - SECRET.len() - 5;
    assert_eq!(&large[comment..comment + 2], b"\x21\xfe");
    let control = large.windows(3).position(|part| part == b"\x21\xf9\x04");
    let frames = large[control.unwrap()..comment].repeat(8);
    let long = [&large[..comment], &frames, b"\x3b"].concat();
    assert_eq!(standard(&long).unwrap_err(), Refused::TooLong);
}

#[test]
fn what_is_damaged_or_something_else_is_refused() {
    let photo = photo(400, 300);
    let half = standard(&photo[..photo.len() / 2]).unwrap_err();
    assert_eq!(half.to_string(), "the file is damaged: it ends too early");
    let png = png_of(shades(400, 300));
    assert!(matches!(
        standard(&png[..png.len() / 2]),
        Err(Refused::Damaged(_))
    ));
    for other in [
        &b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script/></svg>"[..],
        b"BM\0\0",
        b"",
    ] {
        assert_eq!(standard(other).unwrap_err(), Refused::NotAPicture);
    }
}

/// A helper that ends so.
async fn ends(how: &str) -> VariantError {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("helper");
    std::fs::write(&program, format!("#!/bin/sh\n{how}\n")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let order = Order {
        upload: folder.path().join("upload"),
        folder: folder.path().to_owned(),
        fonts: folder.path().to_owned(),
        wanted: Wanted::Standard,
    };
    let helper = Helper::new(program, Isolation::None);
    make(&helper, &order).await.unwrap_err()
}

#[tokio::test]
async fn a_crash_is_the_pictures_fault_but_being_killed_is_not() {
    for crash in ["kill -SEGV $$", "kill -ABRT $$", "exit 101"] {
        let error = ends(crash).await;
        assert!(
            matches!(error, VariantError::Refused(Refused::Crashed)),
            "{crash}: {error}"
        );
    }
    for other in ["kill -KILL $$", "exit 1", "exit 127"] {
        let error = ends(other).await;
        assert!(
            matches!(error, VariantError::Process(_)),
            "{other}: {error}"
        );
    }
    assert!(matches!(
        ends("kill -XCPU $$").await,
        VariantError::TooSlow(_)
    ));
    assert!(matches!(ends("echo nonsense").await, VariantError::Io(_)));
}

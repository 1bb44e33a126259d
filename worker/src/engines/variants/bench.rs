//! What the engine costs without the process around it: `bin/bench images` runs it beside another library.

use std::{fs, io::Write as _, path::PathBuf, time::Instant};

use anyhow::{Context as _, anyhow};
use image::ImageFormat;
use serde_json::json;
use shared::picture::{Format, Recipe, Standard};

use super::{QUALITY, encode::encode, make::cook, pixels::Pixels, source::Source};

/// Sides of the photo: 12 megapixels, as phones take them.
const PHOTO: (u32, u32) = (4_000, 3_000);
/// Quality of the photo, as phones store it.
const PHOTO_QUALITY: u8 = 90;
/// Turned by a quarter, as phones store an upright photo.
const PHOTO_ORIENTATION: u8 = 6;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// A JPEG photo
    pub file: PathBuf,
    /// Draws such a photo first
    #[arg(long)]
    pub draw: bool,
    /// How often
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub iterations: u32,
}

/// Runs it on this thread, and prints the figures as JSON.
///
/// # Errors
/// When there is no such photo.
pub fn bench(args: &BenchArgs) -> anyhow::Result<()> {
    if args.draw {
        fs::write(&args.file, draw()?)?;
    }
    let photo = fs::read(&args.file).with_context(|| format!("{}", args.file.display()))?;
    let mut results = Vec::new();
    for thumbnail in [Format::Jpeg, Format::Webp] {
        let mut times = Vec::new();
        let mut bytes = (0, 0);
        // The first one warms caches up.
        for turn in 0..=args.iterations {
            let began = Instant::now();
            bytes = both(&photo, thumbnail)?;
            let took = began.elapsed().as_secs_f64() * 1_000.0;
            if turn > 0 {
                times.push(took);
            }
        }
        times.sort_by(f64::total_cmp);
        results.push(json!({
            "what": format!("1920 JPEG + 256 {thumbnail:?}"),
            "medianMs": times[times.len() / 2],
            "bestMs": times[0],
            "displayBytes": bytes.0,
            "thumbnailBytes": bytes.1,
        }));
    }
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&results)?)?;
    Ok(())
}

/// The variant to look at and the small thumbnail; lengths of their files.
fn both(photo: &[u8], thumbnail: Format) -> anyhow::Result<(usize, usize)> {
    let source = Source::open(photo)?;
    let recipe = Recipe::fitting(Standard::Display.side(), Format::Jpeg, QUALITY);
    let large = cook(&source, &recipe)?;
    let display = encode(&large, Format::Jpeg, QUALITY)?;
    let recipe = Recipe::fitting(Standard::Thumbnail256.side(), thumbnail, QUALITY);
    let plan = recipe.plan(large.width, large.height)?;
    let small = large.fitted(plan.width, plan.height);
    Ok((display.len(), encode(&small, thumbnail, QUALITY)?.len()))
}

/// A photo of nothing: shades of several sizes, some edges and the noise of a sensor.
fn draw() -> anyhow::Result<Vec<u8>> {
    let (width, height) = PHOTO;
    let mut seed = 1_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed.to_be_bytes()[0]
    };
    let mut all = vec![0_u16; 3 * width as usize * height as usize];
    // Coarse to fine, each half as strong as the one before.
    for (cells, strength) in [(5_u32, 96_u16), (20, 64), (80, 40), (320, 24), (1_280, 12)] {
        let rows = cells * height / width;
        let cell = (0..3 * cells * rows).map(|_| random());
        let cells = Pixels {
            width: cells,
            height: rows,
            has_alpha: false,
            bytes: cell.collect(),
        };
        let shades = cells.fitted(width, height);
        for (sum, shade) in all.iter_mut().zip(&shades.bytes) {
            *sum += u16::from(*shade) * strength / 255;
        }
    }
    let bytes = all.iter().map(|sum| {
        let noise = u16::from(random() % 12);
        u8::try_from((sum + noise).min(255)).unwrap_or(u8::MAX)
    });
    let photo = Pixels {
        width,
        height,
        has_alpha: false,
        bytes: bytes.collect(),
    };
    let plain = encode(&photo, Format::Jpeg, PHOTO_QUALITY)?;
    turned(&plain).ok_or_else(|| anyhow!("{:?} was not drawn", ImageFormat::Jpeg))
}

/// The file with an orientation (EXIF 2.32 §4.5.4), behind its start marker.
fn turned(jpeg: &[u8]) -> Option<Vec<u8>> {
    let exif = b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
    let value = [PHOTO_ORIENTATION, 0, 0, 0, 0, 0, 0, 0];
    let (start, rest) = jpeg.split_at_checked(2)?;
    Some([start, exif, &value, rest].concat())
}

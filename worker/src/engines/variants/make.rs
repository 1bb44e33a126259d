//! The helper's side: one order, carried out.

use std::{fs, io::Write as _, path::Path};

use anyhow::Context as _;
use image::ImageFormat;
use shared::picture::{Format, Recipe, Standard};

use super::{
    Made, Order, Picture, QUALITY, Refused, Report, Variant, Wanted,
    colour::{blur_hash, dominant},
    encode::encode,
    path,
    pixels::{Part, Pixels, swaps_sides},
    source::Source,
    watermark::mark,
};

/// An opaque picture without losses is replaced by a JPEG of less than a quarter of its size: it is a photo then, and not
/// a drawing or a screenshot, whose letters a JPEG would blur.
const PHOTO_FACTOR: usize = 4;
/// How thumbnails are encoded: with opacity, and of a photo in 8.1 KB where JPEG takes 9.5.
const THUMBNAIL_FORMAT: Format = Format::Webp;

/// The name of a variant that is made alone.
const ONE: &str = "one";

/// Carries out the order in the file `paper`, and says on standard output what came of it.
///
/// # Errors
/// As files cannot be read or written.
pub fn work(paper: &Path) -> anyhow::Result<()> {
    let order: Order = serde_json::from_slice(&fs::read(paper)?).context("no order")?;
    let upload = fs::read(&order.upload)?;
    let report = match make(&order, &upload)? {
        Ok(made) => Report::Made(made),
        Err(refused) => Report::Refused(refused),
    };
    serde_json::to_writer(std::io::stdout().lock(), &report)?;
    std::io::stdout().flush()?;
    Ok(())
}

fn make(order: &Order, upload: &[u8]) -> anyhow::Result<Result<Made, Refused>> {
    let made = match &order.wanted {
        Wanted::Standard => standard(upload),
        Wanted::One(recipe) => one(upload, recipe, &order.fonts),
    };
    let (picture, files) = match made {
        Ok(made) => made,
        Err(refused) => return Ok(Err(refused)),
    };
    let mut variants = Vec::with_capacity(files.len());
    for (variant, file) in files {
        fs::write(path(&order.folder, &variant.name), file)?;
        variants.push(variant);
    }
    Ok(Ok(Made { picture, variants }))
}

/// What was made, with its file.
pub(super) type Files = Vec<(Variant, Vec<u8>)>;

/// What every picture has: one to look at, and two thumbnails. An animation is looked at as it is, but its thumbnails
/// stand still.
pub(super) fn standard(upload: &[u8]) -> Result<(Option<Picture>, Files), Refused> {
    let source = Source::open(upload)?;
    let (width, height) = source.upright_size();
    let fitted = |standard: Standard, of: &Pixels| -> Result<Pixels, Refused> {
        let plan =
            Recipe::fitting(standard.side(), THUMBNAIL_FORMAT, QUALITY).plan(width, height)?;
        Ok(of.fitted(plan.width, plan.height))
    };
    // Each is made of the next larger one.
    let large = cook(
        &source,
        &Recipe::fitting(Standard::Display.side(), Format::Png, QUALITY),
    )?;
    let medium = fitted(Standard::Thumbnail768, &large)?;
    let small = fitted(Standard::Thumbnail256, &medium)?;
    let picture = Picture {
        width,
        height,
        frames: source.blocks.frames,
        dominant_color: dominant(&small),
        blur_hash: blur_hash(&small),
    };
    let thumbnail = |standard: Standard, pixels: &Pixels| -> Result<_, Refused> {
        let file = encode(pixels, THUMBNAIL_FORMAT, QUALITY)?;
        let media_type = THUMBNAIL_FORMAT.media_type();
        Ok((
            variant(standard.name(), media_type, pixels.width, pixels.height),
            file,
        ))
    };
    let files = vec![
        display(&source, &large)?,
        thumbnail(Standard::Thumbnail256, &small)?,
        thumbnail(Standard::Thumbnail768, &medium)?,
    ];
    Ok((Some(picture), files))
}

fn display(source: &Source<'_>, large: &Pixels) -> Result<(Variant, Vec<u8>), Refused> {
    let name = Standard::Display.name();
    if source.blocks.frames > 1 {
        let (width, height) = source.upright_size();
        let variant = variant(name, source.format().to_mime_type(), width, height);
        return Ok((variant, source.cleaned()));
    }
    let (format, file) = match source.format() {
        ImageFormat::Jpeg => (Format::Jpeg, encode(large, Format::Jpeg, QUALITY)?),
        ImageFormat::WebP => (Format::Webp, encode(large, Format::Webp, QUALITY)?),
        _ => lossless_or_photo(large)?,
    };
    let variant = variant(name, format.media_type(), large.width, large.height);
    Ok((variant, file))
}

fn lossless_or_photo(pixels: &Pixels) -> Result<(Format, Vec<u8>), Refused> {
    let lossless = encode(pixels, Format::Png, QUALITY)?;
    if !pixels.has_alpha {
        let photo = encode(pixels, Format::Jpeg, QUALITY)?;
        if photo.len() * PHOTO_FACTOR < lossless.len() {
            return Ok((Format::Jpeg, photo));
        }
    }
    Ok((Format::Png, lossless))
}

/// One variant by its recipe.
pub(super) fn one(
    upload: &[u8],
    recipe: &Recipe,
    fonts: &Path,
) -> Result<(Option<Picture>, Files), Refused> {
    let source = Source::open(upload)?;
    let mut pixels = cook(&source, recipe)?;
    if let Some(watermark) = &recipe.watermark {
        mark(&mut pixels, watermark, fonts)?;
    }
    let file = encode(&pixels, recipe.format, recipe.quality.unwrap_or(QUALITY))?;
    let variant = variant(ONE, recipe.format.media_type(), pixels.width, pixels.height);
    Ok((None, vec![(variant, file)]))
}

fn variant(name: &str, media_type: &str, width: u32, height: u32) -> Variant {
    Variant {
        name: name.to_owned(),
        media_type: media_type.to_owned(),
        width,
        height,
    }
}

/// Decodes, crops, resizes and turns a picture, and brings its colours to sRGB.
pub(super) fn cook(source: &Source<'_>, recipe: &Recipe) -> Result<Pixels, Refused> {
    let (upright_width, upright_height) = source.upright_size();
    let plan = recipe.plan(upright_width, upright_height)?;
    let (upright_width, upright_height) = (f64::from(upright_width), f64::from(upright_height));
    let part = Part {
        left: plan.left,
        top: plan.top,
        width: plan.taken_width,
        height: plan.taken_height,
    };
    let part = part.as_stored(source.orientation, upright_width, upright_height);
    let (mut width, mut height) = (plan.width, plan.height);
    let (mut stored_width, mut stored_height) = (upright_width, upright_height);
    if swaps_sides(source.orientation) {
        std::mem::swap(&mut width, &mut height);
        std::mem::swap(&mut stored_width, &mut stored_height);
    }
    // So many pixels of the whole that none of the part are missing.
    let needed = |made: u32, part: f64, whole: f64| f64::from(made) * whole / part;
    let decoded = source.decode(
        needed(width, part.width, stored_width),
        needed(height, part.height, stored_height),
    )?;
    let across = f64::from(decoded.width) / stored_width;
    let down = f64::from(decoded.height) / stored_height;
    let part = if (across, down) == (1.0, 1.0) {
        part
    } else {
        part.scaled(across, down)
    };
    let mut pixels = decoded.into_resized(part, width, height);
    pixels.divide();
    source.correct(&mut pixels);
    Ok(pixels.upright(source.orientation).without_needless_alpha())
}

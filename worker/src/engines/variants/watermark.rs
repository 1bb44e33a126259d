//! Text over a picture, in any script: shaped and ordered as its readers write it, with the fonts of this machine.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cosmic_text::{
    Attrs, Buffer, Color, Family, FontSystem, Metrics, Shaping, SwashCache, Wrap, fontdb::Database,
};
use shared::picture::{Position, Watermark};

use super::{error::Refused, pixels::Pixels};

/// The fonts that are looked through; Debian's package of Noto has 280 files.
const MAX_FONTS: usize = 5_000;
/// Folders within folders.
const MAX_DEPTH: u32 = 8;
/// The family that is looked in first; what it lacks is looked for in all others.
const FAMILY: &str = "Noto Sans";
/// Longest line, in parts of the picture's width.
const WIDEST: f32 = 0.96;
/// Smallest letters, in pixels; a line that is too long even so is cut by the picture's edge.
const SMALLEST: f32 = 5.0;
/// From one line to the next, in heights of letters. Stacked letters of some scripts are higher than that.
const LINE: f32 = 1.5;

/// How much of each pixel the letters cover.
struct Mask {
    width: usize,
    height: usize,
    cover: Vec<u8>,
}

/// Draws a watermark.
///
/// # Errors
/// [`Refused::NoFont`] when some letters are in no font.
pub(super) fn mark(
    pixels: &mut Pixels,
    watermark: &Watermark,
    fonts: &Path,
) -> Result<(), Refused> {
    let database = load(fonts);
    if database.is_empty() {
        return Err(Refused::NoFont(watermark.text.clone()));
    }
    let mut system = FontSystem::new_with_locale_and_db("en".to_owned(), database);
    let (across, shorter) = (
        length(pixels.width),
        length(pixels.width.min(pixels.height)),
    );
    let mut size = (shorter * f32::from(watermark.size) / 100.0).max(SMALLEST);
    let (mut buffer, mut width) = lay_out(&mut system, &watermark.text, size)?;
    if width > across * WIDEST {
        size = (size * across * WIDEST / width).max(SMALLEST);
        (buffer, width) = lay_out(&mut system, &watermark.text, size)?;
    }
    let mask = draw(&mut system, &mut buffer, size, width);
    let (left, top) = place(pixels, &mask, watermark.position, size);
    let colour = watermark.color;
    let is_light = colour.iter().map(|value| u32::from(*value)).sum::<u32>() > 3 * 128;
    let behind = if is_light { [0; 3] } else { [255; 3] };
    // On what is as light as the letters, their edge is what shows them.
    let shift = pixel((size / 16.0).max(1.0));
    blend(
        pixels,
        &mask,
        (left + shift, top + shift),
        behind,
        watermark.opacity / 2,
    );
    blend(pixels, &mask, (left, top), colour, watermark.opacity);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "sides of pictures are small")]
fn length(pixels: u32) -> f32 {
    pixels as f32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "lengths within a picture are small"
)]
fn pixel(length: f32) -> i64 {
    length.round() as i64
}

fn load(folder: &Path) -> Database {
    let mut files = Vec::new();
    collect(folder, 0, &mut files);
    files.sort();
    let mut database = Database::new();
    for file in files {
        // What is no font has none.
        let _ = database.load_font_file(file);
    }
    database.set_sans_serif_family(FAMILY);
    database
}

fn collect(folder: &Path, depth: u32, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_font = path.extension().is_some_and(|end| {
            ["ttf", "otf", "ttc", "otc"]
                .iter()
                .any(|known| end.eq_ignore_ascii_case(known))
        });
        if files.len() >= MAX_FONTS {
            return;
        }
        if is_font {
            files.push(path);
        } else if depth < MAX_DEPTH && path.is_dir() {
            collect(&path, depth + 1, files);
        }
    }
}

/// Shapes a line, and tells how long it is.
fn lay_out(system: &mut FontSystem, text: &str, size: f32) -> Result<(Buffer, f32), Refused> {
    let mut buffer = Buffer::new(system, Metrics::new(size, size * LINE));
    buffer.set_wrap(Wrap::None);
    buffer.set_size(None, None);
    let attributes = Attrs::new().family(Family::SansSerif);
    buffer.set_text(text, &attributes, Shaping::Advanced, None);
    buffer.shape_until_scroll(system, false);
    let (mut width, mut missing) = (0.0_f32, String::new());
    for run in buffer.layout_runs() {
        width = width.max(run.line_w);
        for glyph in run.glyphs.iter().filter(|glyph| glyph.glyph_id == 0) {
            missing.push_str(run.text.get(glyph.start..glyph.end).unwrap_or_default());
        }
    }
    if missing.is_empty() {
        Ok((buffer, width))
    } else {
        Err(Refused::NoFont(missing))
    }
}

/// Letters may reach over their neighbours, so each pixel is covered once, however many of them do.
fn draw(system: &mut FontSystem, buffer: &mut Buffer, size: f32, width: f32) -> Mask {
    let pixels = |length: f32| usize::try_from(pixel(length.ceil())).unwrap_or_default();
    let mut mask = Mask {
        width: pixels(width + size),
        height: pixels(2.0 * LINE * size),
        cover: Vec::new(),
    };
    mask.cover = vec![0; mask.width * mask.height];
    let (right, down) = (pixel(size / 2.0), pixel(size * LINE / 2.0));
    let mut cache = SwashCache::new();
    let black = Color::rgb(0, 0, 0);
    buffer.draw(system, &mut cache, black, |x, y, width, height, colour| {
        for row in i64::from(y)..i64::from(y) + i64::from(height) {
            for column in i64::from(x)..i64::from(x) + i64::from(width) {
                if let Some(cover) = mask.at(column + right, row + down) {
                    *cover = (*cover).max(colour.a());
                }
            }
        }
    });
    mask
}

impl Mask {
    fn at(&mut self, x: i64, y: i64) -> Option<&mut u8> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        if x >= self.width || y >= self.height {
            return None;
        }
        self.cover.get_mut(y * self.width + x)
    }
}

/// Where the mask's top left corner stands. It has room around the letters: half their height on the left and right, and
/// three quarters above and below.
fn place(pixels: &Pixels, mask: &Mask, position: Position, size: f32) -> (i64, i64) {
    use Position::{Bottom, BottomLeft, BottomRight, Center, Left, Right, Top, TopLeft, TopRight};

    let signed = |length: usize| i64::try_from(length).unwrap_or_default();
    let free_across = i64::from(pixels.width) - signed(mask.width);
    let free_down = i64::from(pixels.height) - signed(mask.height);
    let over = pixel(size / 2.0);
    let left = match position {
        TopLeft | Left | BottomLeft => 0,
        Top | Center | Bottom => free_across / 2,
        TopRight | Right | BottomRight => free_across,
    };
    let top = match position {
        TopLeft | Top | TopRight => -over,
        Left | Center | Right => free_down / 2,
        BottomLeft | Bottom | BottomRight => free_down + over,
    };
    (left, top)
}

/// Lays a colour over a picture where the mask covers it; opacity in percent.
fn blend(pixels: &mut Pixels, mask: &Mask, (left, top): (i64, i64), colour: [u8; 3], opacity: u8) {
    let channels = pixels.channels();
    let inside = |at: i64, length: u32| usize::try_from(at).ok().filter(|at| *at < length as usize);
    let rows = mask.cover.chunks_exact(mask.width.max(1));
    for (y, row) in (top..).zip(rows) {
        let Some(y) = inside(y, pixels.height) else {
            continue;
        };
        for (x, cover) in (left..).zip(row) {
            let Some(x) = inside(x, pixels.width).filter(|_| *cover > 0) else {
                continue;
            };
            let at = (y * pixels.width as usize + x) * channels;
            let over = u32::from(*cover) * u32::from(opacity) / 100;
            lay_over(&mut pixels.bytes[at..at + channels], colour, over);
        }
    }
}

/// One pixel, from colours that are not multiplied by their opacity; `over` is 0 to 255.
fn lay_over(pixel: &mut [u8], colour: [u8; 3], over: u32) {
    let below = pixel.get(3).map_or(255, |alpha| u32::from(*alpha)) * (255 - over) / 255;
    let whole = (over + below).max(1);
    for (value, new) in pixel.iter_mut().zip(colour) {
        let mixed = (u32::from(new) * over + u32::from(*value) * below + whole / 2) / whole;
        *value = u8::try_from(mixed).unwrap_or(u8::MAX);
    }
    if let Some(alpha) = pixel.get_mut(3) {
        *alpha = u8::try_from(over + below).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FONTS: &str = "/usr/share/fonts";

    fn white(width: u32, height: u32, has_alpha: bool) -> Pixels {
        let channels = if has_alpha { 4 } else { 3 };
        Pixels {
            width,
            height,
            has_alpha,
            bytes: vec![255; channels * width as usize * height as usize],
        }
    }

    fn watermark(text: &str, position: Position) -> Watermark {
        Watermark {
            text: text.to_owned(),
            position,
            opacity: 100,
            size: 10,
            color: [0; 3],
        }
    }

    /// First and last row and column with ink.
    fn ink(pixels: &Pixels) -> Option<[usize; 4]> {
        let dark = pixels
            .bytes
            .chunks_exact(pixels.channels())
            .enumerate()
            .filter(|(_, pixel)| pixel[0] < 100)
            .map(|(at, _)| (at % pixels.width as usize, at / pixels.width as usize));
        dark.fold(None, |found: Option<[usize; 4]>, (x, y)| {
            let [left, top, right, bottom] = found.unwrap_or([x, y, x, y]);
            Some([left.min(x), top.min(y), right.max(x), bottom.max(y)])
        })
    }

    #[test]
    fn it_stands_where_it_was_asked_for_and_within_the_picture() {
        for (position, right, down) in [
            (Position::TopLeft, false, false),
            (Position::TopRight, true, false),
            (Position::BottomLeft, false, true),
            (Position::BottomRight, true, true),
        ] {
            let mut pixels = white(600, 400, false);
            mark(
                &mut pixels,
                &watermark("gÅ4711", position),
                Path::new(FONTS),
            )
            .unwrap();
            let [left, top, to_right, bottom] = ink(&pixels).unwrap();
            assert_eq!((left > 300, to_right > 300), (right, right), "{position:?}");
            assert_eq!((top > 200, bottom > 200), (down, down), "{position:?}");
            assert!(
                left > 3 && to_right < 596 && top > 3 && bottom < 396,
                "{position:?}"
            );
        }
        let long = "a line that is far too long ".repeat(7);
        let mut pixels = white(600, 400, true);
        mark(
            &mut pixels,
            &watermark(long.trim(), Position::Center),
            Path::new(FONTS),
        )
        .unwrap();
        let [left, top, right, bottom] = ink(&pixels).unwrap();
        assert!(left > 2 && right < 598 && right - left > 500);
        assert!(top > 180 && bottom < 220);
    }

    #[test]
    fn letters_are_joined_and_ordered() {
        let width = |text: &str| {
            let mut system =
                FontSystem::new_with_locale_and_db("en".to_owned(), load(Path::new(FONTS)));
            let (buffer, width) = lay_out(&mut system, text, 100.0).unwrap();
            let glyphs: usize = buffer.layout_runs().map(|run| run.glyphs.len()).sum();
            (width, glyphs)
        };
        // Joined letters of Arabic are narrower than those that stand alone.
        let (joined, _) = width("ببب");
        let (apart, _) = width("ب\u{200c}ب\u{200c}ب");
        assert!(joined < apart, "{joined} {apart}");
        // Two consonants of Devanagari become one sign.
        assert!(width("क्ष").1 < 3);
        assert!(width("ক্ষ").1 < 3);
    }

    #[test]
    fn a_letter_that_no_font_has_is_told() {
        let mut pixels = white(100, 100, false);
        let unknown = watermark("ok \u{10ffff}", Position::Center);
        let refused = mark(&mut pixels, &unknown, Path::new(FONTS)).unwrap_err();
        assert_eq!(refused, Refused::NoFont("\u{10ffff}".to_owned()));
        let nothing = tempfile::tempdir().unwrap();
        let refused = mark(&mut pixels, &watermark("a", Position::Top), nothing.path());
        assert_eq!(refused, Err(Refused::NoFont("a".to_owned())));
    }

    #[test]
    fn it_covers_what_is_transparent() {
        let mut pixel = [255, 0, 0, 0];
        lay_over(&mut pixel, [10, 20, 30], 128);
        assert_eq!(pixel, [10, 20, 30, 128]);
        let mut pixel = [255, 255, 255];
        lay_over(&mut pixel, [0, 0, 0], 128);
        assert_eq!(pixel, [127; 3]);
    }
}

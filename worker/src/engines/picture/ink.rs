//! Tells ink from paper by what surrounds it, on a small copy: shade, tint and camera light do not matter.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "sides of the copy are below 2^11 and values below 2^8"
)]

use image::{GrayImage, imageops};

/// Long side of the copy: a tenth of a degree moves its ends by two pixels.
const SIDE: u32 = 1200;

/// Half the side of the square that counts as surroundings, in pixels of the copy.
const NEIGHBOURHOOD: usize = 12;

/// How dark ink is at most, in percent of the mean around it.
const INK_PERCENT: u64 = 80;

/// How much stronger light strokes must be than dark ones before a picture counts as light on dark.
const LIGHT_FACTOR: f64 = 2.0;

/// A small copy of a picture that knows the surroundings of each pixel.
pub(super) struct Sample {
    copy: GrayImage,
    /// For each point the sum of all pixels above and left, so that the sum of any rectangle takes four look-ups.
    sums: Vec<u64>,
}

impl Sample {
    pub(super) fn of(picture: &GrayImage) -> Self {
        let long = picture.width().max(picture.height());
        let side = |length: u32| {
            if long > SIDE {
                (length * SIDE / long).max(1)
            } else {
                length
            }
        };
        let copy = imageops::thumbnail(picture, side(picture.width()), side(picture.height()));
        let (width, height) = (copy.width() as usize, copy.height() as usize);
        let mut sums = vec![0; (width + 1) * (height + 1)];
        for (y, row) in copy.as_raw().chunks_exact(width).enumerate() {
            let mut sum = 0;
            for (x, value) in row.iter().enumerate() {
                sum += u64::from(*value);
                sums[(y + 1) * (width + 1) + x + 1] = sums[y * (width + 1) + x + 1] + sum;
            }
        }
        Self { copy, sums }
    }

    pub(super) fn dimensions(&self) -> (u32, u32) {
        self.copy.dimensions()
    }

    /// Each row's pixels, with the sum and number of pixels around each.
    fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = (u8, u64, u64)>> {
        let (width, height) = (self.copy.width() as usize, self.copy.height() as usize);
        self.copy
            .as_raw()
            .chunks_exact(width)
            .enumerate()
            .map(move |(y, row)| {
                let (top, bottom) = (
                    y.saturating_sub(NEIGHBOURHOOD),
                    (y + NEIGHBOURHOOD + 1).min(height),
                );
                let upper = &self.sums[top * (width + 1)..][..=width];
                let lower = &self.sums[bottom * (width + 1)..][..=width];
                row.iter().enumerate().map(move |(x, value)| {
                    let (left, right) = (
                        x.saturating_sub(NEIGHBOURHOOD),
                        (x + NEIGHBOURHOOD + 1).min(width),
                    );
                    let sum = lower[right] + upper[left] - lower[left] - upper[right];
                    (*value, sum, ((right - left) * (bottom - top)) as u64)
                })
            })
    }

    /// Lower ends of ink, as coordinates: along lines of text they pile up on the baseline.
    pub(super) fn lower_edges(&self) -> Vec<(f32, f32)> {
        let mut edges = Vec::new();
        let mut above = vec![false; self.copy.width() as usize];
        for (y, row) in self.rows().enumerate() {
            for (x, ((value, sum, area), above)) in row.zip(&mut above).enumerate() {
                let ink = u64::from(value) * area * 100 < sum * INK_PERCENT;
                if *above && !ink {
                    edges.push((x as f32, y as f32));
                }
                *above = ink;
            }
        }
        edges
    }

    /// Whether text is lighter than what surrounds it. Strokes are thin, so they are what differs most from the mean.
    pub(super) fn is_light_on_dark(&self) -> bool {
        let (mut light, mut dark) = (0.0, 0.0);
        for (value, sum, area) in self.rows().flatten() {
            let difference = i32::from(value) - (sum / area) as i32;
            let weight = f64::from(difference.pow(2)) * f64::from(difference.abs());
            *(if difference > 0 {
                &mut light
            } else {
                &mut dark
            }) += weight;
        }
        light > dark * LIGHT_FACTOR
    }
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    #[test]
    fn light_text_is_told_from_dark_text() {
        for (paper, ink) in [(255, 0), (120, 20), (200, 90)] {
            // Strokes as thin as those of text, on paper that darkens to one side.
            let page = GrayImage::from_fn(900, 700, |x, y| {
                let value = if y % 24 < 12 && x % 8 < 3 { ink } else { paper };
                Luma([u8::try_from(value * (1200 - x) / 1200).unwrap()])
            });
            assert!(!Sample::of(&page).is_light_on_dark(), "{ink} on {paper}");
            let mut negative = page;
            imageops::invert(&mut negative);
            assert!(
                Sample::of(&negative).is_light_on_dark(),
                "{ink} on {paper}, inverted"
            );
        }
        for value in [0, 128, 255] {
            let blank = GrayImage::from_pixel(300, 1, Luma([value]));
            assert!(!Sample::of(&blank).is_light_on_dark());
        }
    }
}

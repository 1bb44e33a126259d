//! What stands in for a picture until it is there: its main colour, and a blur of a few letters.

use super::pixels::{Pixels, on_white};

/// Blocks of the blur, across and down.
const BLUR: (u32, u32) = (4, 3);
/// Longest side of the copy that the blur is made of: it has no more details than that shows.
const BLUR_SIDE: u32 = 32;
/// Colours that count as one share the first bits of red, green and blue.
const SHARED_BITS: u32 = 4;

/// The colour that most pixels have, or nearly have, as `#rrggbb`: the mean of the fullest of 4,096 bins. Pixels that one
/// can hardly see do not count; white where there are no others.
pub(super) fn dominant(pixels: &Pixels) -> String {
    let mut bins = vec![(0_u64, [0_u64; 3]); 1 << (3 * SHARED_BITS)];
    let seen = pixels
        .bytes
        .chunks_exact(pixels.channels())
        .filter(|pixel| pixel.get(3).is_none_or(|alpha| *alpha >= 128));
    for pixel in seen {
        let bin = pixel[..3].iter().fold(0, |bin, value| {
            (bin << SHARED_BITS) | usize::from(value >> (8 - SHARED_BITS))
        });
        let (count, sums) = &mut bins[bin];
        *count += 1;
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += u64::from(*value);
        }
    }
    let fullest = bins.iter().max_by_key(|(count, _)| *count);
    let [red, green, blue] = match fullest {
        Some((count @ 1.., sums)) => sums.map(|sum| (sum + count / 2) / count),
        _ => [255; 3],
    };
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// A [BlurHash](https://blurha.sh) of four by three blocks, transparency on white.
pub(super) fn blur_hash(pixels: &Pixels) -> Option<String> {
    let longest = pixels.width.max(pixels.height).max(1);
    let side = |length: u32| (length * BLUR_SIDE / longest).clamp(1, length.max(1));
    let small = if longest > BLUR_SIDE {
        pixels.fitted(side(pixels.width), side(pixels.height))
    } else {
        pixels.clone()
    };
    let opaque = on_white(&small.bytes, small.has_alpha);
    let with_alpha: Vec<u8> = opaque
        .chunks_exact(3)
        .flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255])
        .collect();
    blurhash::encode(BLUR.0, BLUR.1, small.width, small.height, &with_alpha).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(colours: &[[u8; 3]], width: u32) -> Pixels {
        let bytes = colours
            .iter()
            .flat_map(|colour| colour.repeat(width as usize));
        Pixels {
            width,
            height: u32::try_from(colours.len()).unwrap(),
            has_alpha: false,
            bytes: bytes.collect(),
        }
    }

    #[test]
    fn the_colour_of_most_pixels_is_dominant() {
        let (sand, sea) = ([200, 180, 120], [10, 60, 150]);
        assert_eq!(dominant(&rows(&[sand, sea, sea], 9)), "#0a3c96");
        let nearly = [201, 181, 121];
        assert_eq!(dominant(&rows(&[sand, sea, nearly], 9)), "#c9b579");
        let mut invisible = rows(&[sea], 3);
        invisible.has_alpha = true;
        invisible.bytes = vec![10, 60, 150, 0, 10, 60, 150, 0, 1, 2, 3, 255];
        assert_eq!(dominant(&invisible), "#010203");
        invisible.bytes.fill(0);
        assert_eq!(dominant(&invisible), "#ffffff");
    }

    #[test]
    fn a_blur_shows_where_it_is_dark() {
        let dark_below: Vec<[u8; 3]> = (0..100)
            .map(|row| if row < 50 { [255; 3] } else { [0; 3] })
            .collect();
        let hash = blur_hash(&rows(&dark_below, 150)).unwrap();
        // One letter of size, one of the greatest, four of the mean and two for each other block.
        assert_eq!(hash.len(), 6 + 2 * (4 * 3 - 1));
        let shown = blurhash::decode(&hash, 3, 4, 1.0).unwrap();
        assert!(shown[0] > shown[3 * 3 * 4] + 100, "{shown:?}");
        assert!(blur_hash(&rows(&[[9, 9, 9]], 1)).is_some());
    }
}

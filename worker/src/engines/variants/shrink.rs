//! Making a picture smaller by a whole number while its rows come in.

use super::pixels::Pixels;

/// Rows are added up until a block is whole; then its mean is a pixel.
pub(super) struct Shrink {
    by: u32,
    channels: usize,
    source: (u32, u32),
    size: (u32, u32),
    sums: Vec<u64>,
    /// Rows taken of the present block.
    rows: u32,
    bytes: Vec<u8>,
}

impl Shrink {
    /// The largest number by which a picture can be made smaller and still have so many pixels across and down.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a ratio of sides is far below 2^32"
    )]
    pub(super) fn factor(source: (u32, u32), needed: (f64, f64)) -> u32 {
        let ratio = |there: u32, needed: f64| f64::from(there) / needed.max(1.0);
        let most = ratio(source.0, needed.0).min(ratio(source.1, needed.1));
        // A block at an edge may be smaller: what is left must still be enough.
        let mut by = most.max(1.0) as u32;
        while by > 1
            && (f64::from(source.0.div_ceil(by)) < needed.0
                || f64::from(source.1.div_ceil(by)) < needed.1)
        {
            by -= 1;
        }
        by
    }

    /// Begins.
    pub(super) fn new(source: (u32, u32), by: u32, has_alpha: bool) -> Self {
        let channels = if has_alpha { 4 } else { 3 };
        let size = (source.0.div_ceil(by), source.1.div_ceil(by));
        let row = channels * size.0 as usize;
        Self {
            by,
            channels,
            source,
            size,
            sums: if by == 1 { Vec::new() } else { vec![0; row] },
            rows: 0,
            bytes: Vec::with_capacity(row * size.1 as usize),
        }
    }

    /// Adds the next row.
    pub(super) fn take(&mut self, row: &[u8]) {
        if self.by == 1 {
            self.bytes.extend_from_slice(row);
            return;
        }
        let block = self.channels * self.by as usize;
        for (sums, block) in self
            .sums
            .chunks_exact_mut(self.channels)
            .zip(row.chunks(block))
        {
            for pixel in block.chunks_exact(self.channels) {
                if let &[red, green, blue, alpha] = pixel {
                    // An invisible pixel has no colour to add.
                    let alpha = u64::from(alpha);
                    sums[0] += u64::from(red) * alpha;
                    sums[1] += u64::from(green) * alpha;
                    sums[2] += u64::from(blue) * alpha;
                    sums[3] += alpha;
                } else {
                    for (sum, value) in sums.iter_mut().zip(pixel) {
                        *sum += u64::from(*value);
                    }
                }
            }
        }
        self.rows += 1;
        if self.rows == self.by {
            self.end_block();
        }
    }

    fn end_block(&mut self) {
        let rows = u64::from(self.rows);
        for (at, sums) in (0_u32..).zip(self.sums.chunks_exact_mut(self.channels)) {
            let columns = self.by.min(self.source.0 - at * self.by);
            let count = rows * u64::from(columns);
            let mean = |sum: u64, count: u64| {
                let mean = (sum + count / 2).checked_div(count).unwrap_or_default();
                u8::try_from(mean).unwrap_or(u8::MAX)
            };
            if let &mut [red, green, blue, alpha] = sums {
                let colours = [red, green, blue].map(|sum| mean(sum, alpha));
                self.bytes.extend(colours);
                self.bytes.push(mean(alpha, count));
            } else {
                self.bytes.extend(sums.iter().map(|sum| mean(*sum, count)));
            }
            sums.fill(0);
        }
        self.rows = 0;
    }

    /// The picture, whose missing rows are black.
    pub(super) fn finish(mut self) -> Pixels {
        if self.rows > 0 {
            self.end_block();
        }
        let (width, height) = self.size;
        self.bytes
            .resize(self.channels * width as usize * height as usize, 0);
        Pixels {
            width,
            height,
            has_alpha: self.channels == 4,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_is_left() {
        for (source, needed, by) in [
            ((8_000, 5_000), (1_920.0, 1_200.0), 4),
            ((3_839, 2_160), (1_920.0, 1_080.0), 1),
            ((3_840, 2_160), (1_920.0, 1_080.0), 2),
            ((100, 100), (1_920.0, 1_920.0), 1),
            ((6_000, 6_000), (1.0, 1.0), 6_000),
        ] {
            assert_eq!(Shrink::factor(source, needed), by, "{source:?}");
        }
    }

    #[test]
    fn a_block_becomes_its_mean() {
        let mut shrink = Shrink::new((3, 3), 2, false);
        shrink.take(&[10, 0, 0, 20, 0, 0, 99, 1, 2]);
        shrink.take(&[30, 0, 0, 40, 0, 0, 97, 1, 2]);
        shrink.take(&[7, 8, 9, 9, 8, 9, 5, 5, 5]);
        let small = shrink.finish();
        assert_eq!((small.width, small.height), (2, 2));
        assert_eq!(small.bytes, [25, 0, 0, 98, 1, 2, 8, 8, 9, 5, 5, 5]);
    }

    #[test]
    fn invisible_pixels_colour_nothing() {
        let mut shrink = Shrink::new((2, 1), 2, true);
        shrink.take(&[255, 255, 255, 0, 10, 20, 30, 200]);
        assert_eq!(shrink.finish().bytes, [10, 20, 30, 100]);
    }
}

//! How right a text is that was read.

/// Share of characters that are wrong: the edit distance (insert, delete, change) over the truth's length. White space
/// counts as one space.
pub fn error_rate(read: &str, truth: &str) -> f64 {
    let letters = |text: &str| {
        text.split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .collect::<Vec<_>>()
    };
    let (read, truth) = (letters(read), letters(truth));
    let mut row: Vec<usize> = (0..=truth.len()).collect();
    for (i, a) in read.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in truth.iter().enumerate() {
            let change = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "the length of a page")]
    let rate = row[truth.len()] as f64 / truth.len().max(1) as f64;
    rate
}

#[cfg(test)]
mod tests {
    use super::error_rate;

    #[test]
    fn errors_are_counted_as_changes() {
        let close = |left: f64, right: f64| (left - right).abs() < 1e-9;
        assert!(close(error_rate("a\n b", "a b"), 0.0));
        assert!(close(error_rate("abcd", "abxd"), 0.25));
        assert!(close(error_rate("", "abcd"), 1.0));
        assert!(close(error_rate("abcde", "abcd"), 0.25));
    }
}

//! Showing what was measured.

use std::{
    fmt::Write as _,
    fs,
    io::{self, BufRead as _},
    path::Path,
};

use crate::Measured;

/// What is to be reached, in millions of bytes a second.
const GOALS: [(&str, f64); 2] = [("english", 50.0), ("urdu", 40.0)];

/// Reads what was measured, a line each; of what was measured several times the fastest counts.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<Measured>> {
    let mut all: Vec<Measured> = Vec::new();
    for line in io::BufReader::new(fs::File::open(file)?).lines() {
        let measured: Measured = serde_json::from_str(&line?)?;
        match all.iter().position(|known| known.name == measured.name) {
            Some(known) if all[known].seconds <= measured.seconds => {}
            Some(known) => all[known] = measured,
            None => all.push(measured),
        }
    }
    Ok(all)
}

/// Both side by side.
pub(crate) fn table(ours: &[Measured], theirs: &[Measured]) -> String {
    let mut table = String::new();
    for measured in ours {
        let here = speed(measured);
        let mut line = format!("{:<32} {here:>7.1} MB/s", measured.name);
        let goal = GOALS.iter().find(|(name, _)| *name == measured.name);
        if let Some((_, goal)) = goal {
            let came = if here >= *goal { "reached" } else { "missed" };
            _ = write!(line, "  (goal {goal:.0}: {came})");
        }
        let other = theirs.iter().find(|other| other.name == measured.name);
        if let Some(other) = other {
            let there = speed(other);
            let ratio = here / there;
            _ = write!(line, "  tiktoken {there:>6.1} MB/s, ratio {ratio:.1}");
            if other.tokens != measured.tokens {
                let (one, two) = (measured.tokens, other.tokens);
                _ = write!(line, "  BUT {one} tokens here and {two} there");
            }
        }
        table.push_str(&line);
        table.push('\n');
    }
    table
}

/// Millions of bytes a second.
#[expect(clippy::cast_precision_loss, reason = "some millions of bytes")]
fn speed(measured: &Measured) -> f64 {
    measured.bytes as f64 / 1e6 / measured.seconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_shown_with_their_ratio() {
        let of = |name: &str, tokens, seconds| Measured {
            name: name.to_owned(),
            bytes: 10_000_000,
            tokens,
            seconds,
        };
        let ours = [of("english", 7, 0.1), of("urdu", 8, 0.5)];
        let shown = table(&ours, &[of("english", 7, 1.0), of("urdu", 9, 1.0)]);
        assert!(shown.contains("100.0 MB/s  (goal 50: reached)"), "{shown}");
        assert!(shown.contains("ratio 10.0"), "{shown}");
        assert!(shown.contains("(goal 40: missed)"), "{shown}");
        assert!(shown.contains("8 tokens here and 9 there"), "{shown}");
        assert!(!table(&ours, &[]).contains("tiktoken"));
    }
}

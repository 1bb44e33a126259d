//! Counting texts, and how long that takes.

use std::{hint::black_box, time::Instant};

use shared::tokens::Encoding;

use crate::Measured;

/// How long an ordinary message is, in bytes.
const MESSAGE: usize = 2_000;

/// Counts a text as one, and the same cut into messages.
pub(crate) fn measure(name: &str, text: &str, turns: u32) -> [Measured; 2] {
    let mut messages = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (message, after) = rest.split_at(rest.floor_char_boundary(MESSAGE));
        messages.push(message);
        rest = after;
    }
    [
        timed(name.to_owned(), &[text], turns),
        timed(format!("{name}, messages of 2 kB"), &messages, turns),
    ]
}

fn timed(name: String, texts: &[&str], turns: u32) -> Measured {
    let count = || -> usize {
        let counts = texts
            .iter()
            .map(|text| Encoding::O200k.count(black_box(*text)));
        counts.sum()
    };
    // The tables are made before the time runs.
    let tokens = count();
    let seconds = (0..turns.max(1)).map(|_| {
        let began = Instant::now();
        black_box(count());
        began.elapsed().as_secs_f64()
    });
    Measured {
        name,
        bytes: texts.iter().map(|text| text.len()).sum(),
        tokens,
        seconds: seconds.fold(f64::INFINITY, f64::min),
    }
}

//! Cutting blocks into pieces that can be laid out together in little memory and time.
//!
//! Typst lays out a block of code in a time that grows with the square of its lines: 90,000 lines took more than a minute,
//! and 1.7 s in blocks of 500.

use super::{Block, Inline, plain};

/// Most lines of a block of code.
const MAX_LINES: usize = 500;

/// Most weight of a piece, but for a few.
const MAX_WEIGHT: usize = 96 << 10;

/// Longest text that stands by itself, in bytes.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// What a block weighs beside its text, and what a piece of a line and a link do: about as many bytes of text need the
/// same memory.
const BLOCK_WEIGHT: usize = 64;
const INLINE_WEIGHT: usize = 16;
const LINK_WEIGHT: usize = 128;

/// A block that is small enough, and what it weighs: bytes of text, and something for each thing in it.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Piece {
    pub(in super::super) block: Block,
    pub(in super::super) weight: usize,
}

/// Cuts blocks into pieces.
pub(in super::super) fn pieces(blocks: Vec<Block>) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(blocks.len());
    for block in blocks {
        cut(block, &mut pieces);
    }
    pieces
}

fn cut(block: Block, pieces: &mut Vec<Piece>) {
    let weight = weigh(&block);
    match block {
        Block::Code { lang, s } => {
            for s in lines(&s) {
                push(
                    Block::Code {
                        lang: lang.clone(),
                        s,
                    },
                    pieces,
                );
            }
        }
        Block::Table { align, rtl, rows } if rows.len() > MAX_LINES || weight > MAX_WEIGHT => {
            cut_table(&align, rtl, rows, pieces);
        }
        block if weight <= MAX_WEIGHT => pieces.push(Piece { block, weight }),
        Block::Par { rtl, c } | Block::Heading { rtl, c, .. } => {
            for c in cut_inlines(c) {
                push(Block::Par { rtl, c }, pieces);
            }
        }
        Block::List { start, rtl, items } => cut_list(start, rtl, items, pieces),
        Block::Quote { b } => {
            for b in groups(self::pieces(b)) {
                push(Block::Quote { b }, pieces);
            }
        }
        Block::Table { .. } | Block::Rule => {}
    }
}

fn push(block: Block, pieces: &mut Vec<Piece>) {
    let weight = weigh(&block);
    pieces.push(Piece { block, weight });
}

/// Puts pieces together again, as many as are not too many.
fn groups(pieces: Vec<Piece>) -> Vec<Vec<Block>> {
    let (mut groups, mut weight) = (Vec::<Vec<Block>>::new(), usize::MAX);
    for piece in pieces {
        if weight.saturating_add(piece.weight) > MAX_WEIGHT {
            groups.push(Vec::new());
            weight = 0;
        }
        weight += piece.weight;
        if let Some(group) = groups.last_mut() {
            group.push(piece.block);
        }
    }
    groups
}

/// An item that is too large for a list of its own goes on in items of the same number.
fn cut_list(start: Option<u64>, rtl: bool, items: Vec<Vec<Block>>, pieces: &mut Vec<Piece>) {
    let numbered = |index: usize| start.map(|first| first.saturating_add(index as u64));
    let (mut open, mut weight, mut from) = (Vec::new(), 0, 0);
    let close = |open: &mut Vec<Vec<Block>>, from: usize, pieces: &mut Vec<Piece>| {
        if !open.is_empty() {
            let items = std::mem::take(open);
            push(
                Block::List {
                    start: numbered(from),
                    rtl,
                    items,
                },
                pieces,
            );
        }
    };
    for (index, item) in items.into_iter().enumerate() {
        for part in groups(self::pieces(item)) {
            let of_part: usize = BLOCK_WEIGHT + part.iter().map(weigh).sum::<usize>();
            if weight + of_part > MAX_WEIGHT {
                close(&mut open, from, pieces);
                weight = 0;
            }
            if open.is_empty() {
                from = index;
            }
            weight += of_part;
            open.push(part);
        }
    }
    close(&mut open, from, pieces);
}

/// Each part has the head again. A table with a row that is too large is shown as it is written.
fn cut_table(
    align: &[super::Align],
    rtl: bool,
    rows: Vec<Vec<Vec<Inline>>>,
    pieces: &mut Vec<Piece>,
) {
    let of_row = |row: &Vec<Vec<Inline>>| -> usize {
        row.iter().map(|cell| BLOCK_WEIGHT + weigh_all(cell)).sum()
    };
    let is_too_large = |row| of_row(row) > MAX_WEIGHT / 3;
    if rows.iter().any(is_too_large) {
        let text = rows.iter().map(|row| {
            let cells: Vec<String> = row.iter().map(|cell| plain(cell)).collect();
            cells.join(" | ")
        });
        let s = text.collect::<Vec<_>>().join("\n");
        cut(Block::Code { lang: None, s }, pieces);
        return;
    }
    let mut rows = rows.into_iter();
    let Some(head) = rows.next() else { return };
    let begun = || (vec![head.clone()], of_row(&head));
    let (mut part, mut weight) = begun();
    for row in rows {
        let more = of_row(&row);
        if part.len() >= MAX_LINES || weight + more > MAX_WEIGHT {
            let (fresh, light) = begun();
            let rows = std::mem::replace(&mut part, fresh);
            push(
                Block::Table {
                    align: align.to_vec(),
                    rtl,
                    rows,
                },
                pieces,
            );
            weight = light;
        }
        weight += more;
        part.push(row);
    }
    push(
        Block::Table {
            align: align.to_vec(),
            rtl,
            rows: part,
        },
        pieces,
    );
}

/// Texts of few lines, none of them too long.
fn lines(code: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut count = 0;
    for line in code.split_inclusive('\n') {
        for line in cut_text(line) {
            let part = parts.last().map_or(0, String::len);
            if count >= MAX_LINES || part + line.len() > MAX_TEXT_BYTES {
                parts.push(String::new());
                count = 0;
            }
            count += 1;
            if let Some(part) = parts.last_mut() {
                part.push_str(line);
            }
        }
    }
    parts
}

/// Pieces of a line that is too long. What is too long inside of others loses its form.
fn cut_inlines(inlines: Vec<Inline>) -> Vec<Vec<Inline>> {
    let (mut parts, mut weight) = (vec![Vec::new()], 0);
    let mut add = |inline: Inline, heavy: usize| {
        if weight + heavy > MAX_WEIGHT && weight > 0 {
            parts.push(Vec::new());
            weight = 0;
        }
        weight += heavy;
        if let Some(part) = parts.last_mut() {
            part.push(inline);
        }
    };
    for inline in inlines {
        let heavy = weigh_inline(&inline);
        if heavy <= MAX_TEXT_BYTES {
            add(inline, heavy);
            continue;
        }
        let text = plain(std::slice::from_ref(&inline));
        for s in cut_text(&text) {
            add(Inline::Text { s: s.to_owned() }, s.len() + INLINE_WEIGHT);
        }
    }
    parts
}

/// Pieces of a text, between words where there are any.
fn cut_text(mut text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    while text.len() > MAX_TEXT_BYTES {
        let end = text.floor_char_boundary(MAX_TEXT_BYTES);
        let space = text[..end].rfind(' ').map(|space| space + 1);
        let (part, rest) = text.split_at(space.filter(|space| *space > end / 2).unwrap_or(end));
        parts.push(part);
        text = rest;
    }
    parts.push(text);
    parts
}

fn weigh(block: &Block) -> usize {
    BLOCK_WEIGHT
        + match block {
            Block::Par { c, .. } | Block::Heading { c, .. } => weigh_all(c),
            Block::Code { s, .. } => s.len() + INLINE_WEIGHT * s.lines().count(),
            Block::List { items, .. } => items
                .iter()
                .map(|item| BLOCK_WEIGHT + item.iter().map(weigh).sum::<usize>())
                .sum(),
            Block::Quote { b } => b.iter().map(weigh).sum(),
            Block::Table { rows, .. } => rows
                .iter()
                .flatten()
                .map(|cell| BLOCK_WEIGHT + weigh_all(cell))
                .sum(),
            Block::Rule => 0,
        }
}

fn weigh_all(inlines: &[Inline]) -> usize {
    inlines.iter().map(weigh_inline).sum()
}

fn weigh_inline(inline: &Inline) -> usize {
    INLINE_WEIGHT
        + match inline {
            Inline::Text { s } | Inline::Code { s } => s.len(),
            Inline::Strong { c } | Inline::Emph { c } | Inline::Strike { c } => weigh_all(c),
            Inline::Link { url, c } => LINK_WEIGHT + url.len() + weigh_all(c),
            Inline::Break => 0,
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engines::render::markup::parse;

    fn letters(blocks: &[Block]) -> usize {
        let json = serde_json::to_string(blocks).unwrap();
        json.matches("xy").count()
    }

    #[test]
    fn pieces_are_small_and_hold_everything() {
        let many = |piece: &str, count: usize| piece.repeat(count);
        for (text, tables) in [
            (many("xy ", 200_000), false),
            (many("xy", 300_000), false),
            (format!("**{}**", many("xy ", 100_000)), false),
            (many("- xy\n", 20_000), false),
            (many("> xy\n>\n", 20_000), false),
            (format!("- {}", many("xy\n\n  ", 20_000)), false),
            (format!("```\n{}```", many("xy\n", 90_000)), false),
            (
                format!("| a | b |\n|---|---|\n{}", many("| xy | c |\n", 5_000)),
                true,
            ),
            (
                format!(
                    "{}\n{}\n{}",
                    many("|xy", 100),
                    many("|-", 100),
                    many("|xy", 100)
                ),
                false,
            ),
        ] {
            let blocks = parse(&text);
            let all = letters(&blocks);
            let pieces = pieces(blocks);
            let heaviest = pieces.iter().map(|piece| piece.weight).max().unwrap();
            assert!(heaviest <= 2 * MAX_WEIGHT, "{heaviest}");
            let blocks: Vec<Block> = pieces.into_iter().map(|piece| piece.block).collect();
            assert_eq!(letters(&blocks), all, "{}", &text[..20]);
            assert_eq!(
                tables,
                blocks
                    .iter()
                    .any(|block| matches!(block, Block::Table { .. }))
            );
            assert!(blocks.len() < 500);
        }
    }

    #[test]
    fn code_is_cut_between_lines_and_lists_go_on_counting() {
        let code = format!("```\n{}```", "ab\n".repeat(1_200));
        let lines: Vec<usize> = pieces(parse(&code))
            .iter()
            .map(|piece| match &piece.block {
                Block::Code { s, .. } => s.lines().count(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(lines, [500, 500, 200]);

        let mut next = 1;
        for piece in pieces(parse(&"1. ab\n".repeat(5_000))) {
            let Block::List {
                start: Some(start),
                items,
                ..
            } = piece.block
            else {
                panic!("no list")
            };
            assert_eq!(start, next);
            next += items.len() as u64;
        }
        assert_eq!(next, 5_001);
    }
}

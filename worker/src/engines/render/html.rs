//! HTML: one page that needs nothing from elsewhere and runs nothing.
//!
//! Messages are Markdown; HTML in them is shown as it is written. Of links only those stay that lead somewhere, pictures
//! from elsewhere become links, and a strict policy forbids the rest. Each paragraph has the direction of its own text.

use std::{fs, io::Write};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use pulldown_cmark::{CowStr, Event, Parser, Tag, TagEnd, html::push_html};

use super::{
    RenderError,
    markup::{MAX_DEPTH, OPTIONS, safe_url},
    pictures::Pictures,
    source::{Entries, Entry, Head, Piece, Shown, shown_time},
};

const STYLE: &str = include_str!("html.css");

/// Writes the page.
pub(super) fn write(
    head: &Head,
    entries: Entries,
    pictures: &mut Pictures,
    out: &mut impl Write,
) -> Result<u64, RenderError> {
    let title = escaped(head.title());
    // The policy stands before all that it is about.
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; \
         style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<header>\n<h1 dir=\"auto\">{title}</h1>\n<p>Begun {}, exported {}</p>\n",
        shown_time(head.conversation.created_at),
        shown_time(head.exported_at),
    )?;
    if let Some(model) = &head.conversation.model {
        writeln!(out, "<p>Model: {}</p>", escaped(model))?;
    }
    if !head.conversation.tags.is_empty() {
        let tags = escaped(&head.conversation.tags.join(", "));
        writeln!(out, "<p dir=\"auto\">Tags: {tags}</p>")?;
    }
    if let Some(prompt) = &head.conversation.system_prompt {
        writeln!(
            out,
            "<div class=\"text\" dir=\"auto\">\n{}</div>",
            rendered(prompt)
        )?;
    }
    writeln!(out, "</header>\n<main>")?;
    let mut count = 0;
    for entry in entries {
        write_entry(&entry?, pictures, out)?;
        count += 1;
    }
    writeln!(out, "</main>\n</body>\n</html>")?;
    Ok(count)
}

fn write_entry(
    entry: &Entry,
    pictures: &mut Pictures,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    writeln!(
        out,
        "<article class=\"{}\" id=\"{}\">\n<h2>{} <time datetime=\"{}\">{}</time></h2>",
        escaped(&entry.role),
        escaped(&entry.id),
        escaped(entry.speaker()),
        entry.created_at.to_rfc3339(),
        entry.time(),
    )?;
    for piece in &entry.content {
        match piece {
            Piece::Attachment(shown) => write_attachment(shown, pictures, out)?,
            said => writeln!(
                out,
                "<div class=\"text\" dir=\"auto\">\n{}</div>",
                rendered(&said.markdown())
            )?,
        }
    }
    writeln!(out, "</article>")?;
    Ok(())
}

fn write_attachment(
    shown: &Shown,
    pictures: &mut Pictures,
    out: &mut impl Write,
) -> Result<(), RenderError> {
    let line = escaped(&shown.line());
    writeln!(out, "<figure>")?;
    if let Some(picture) = pictures.of(shown) {
        let data = BASE64_STANDARD.encode(fs::read(&picture.path)?);
        let (width, height) = (picture.width, picture.height);
        writeln!(
            out,
            "<img src=\"data:image/jpeg;base64,{data}\" alt=\"{line}\" width=\"{width}\" height=\"{height}\">"
        )?;
    }
    writeln!(out, "<figcaption dir=\"auto\">{line}</figcaption>")?;
    if let Some(text) = &shown.extracted_text {
        let cut = if shown.truncated {
            " (its beginning)"
        } else {
            ""
        };
        writeln!(
            out,
            "<details><summary>Its text{cut}</summary><pre dir=\"auto\">{}</pre></details>",
            escaped(text)
        )?;
    }
    writeln!(out, "</figure>")?;
    Ok(())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

/// A message as HTML.
fn rendered(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 4);
    push_html(&mut html, harmless(text));
    html
}

/// Without HTML, without addresses that do anything but lead somewhere, and without what is nested too deeply.
fn harmless(text: &str) -> impl Iterator<Item = Event<'_>> {
    // Of all that is open, whether it is written.
    let mut open: Vec<bool> = Vec::new();
    let mut depth = 0;
    Parser::new_ext(text, OPTIONS).filter_map(move |event| match event {
        Event::Start(tag) => {
            let tag = match tag {
                Tag::Image {
                    link_type,
                    dest_url,
                    title,
                    id,
                } => Tag::Link {
                    link_type,
                    dest_url,
                    title,
                    id,
                },
                tag => tag,
            };
            let is_kept = match &tag {
                Tag::Link { dest_url, .. } => safe_url(dest_url).is_some(),
                Tag::HtmlBlock => false,
                Tag::Item => open.last() == Some(&true),
                Tag::List(_) | Tag::BlockQuote(_) => depth < MAX_DEPTH,
                _ => true,
            };
            depth += usize::from(matches!(tag, Tag::List(_) | Tag::BlockQuote(_)));
            open.push(is_kept);
            is_kept.then_some(Event::Start(tag))
        }
        Event::End(tag) => {
            depth -= usize::from(matches!(tag, TagEnd::List(_) | TagEnd::BlockQuote(_)));
            let tag = if tag == TagEnd::Image {
                TagEnd::Link
            } else {
                tag
            };
            open.pop().unwrap_or(true).then_some(Event::End(tag))
        }
        Event::Html(html) | Event::InlineHtml(html) => Some(Event::Text(html)),
        Event::Text(text) => Some(Event::Text(CowStr::from(text.replace('\0', "")))),
        event => Some(event),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_markdown() {
        let html = rendered("**b** `c`\n\n- d\n\n| e |\n|---|\n| f |\n");
        for part in [
            "<strong>b</strong>",
            "<code>c</code>",
            "<li>d</li>",
            "<td>f</td>",
        ] {
            assert!(html.contains(part), "{html}");
        }
    }

    #[test]
    fn nothing_runs_and_nothing_is_fetched() {
        for hostile in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[x](javascript:alert(1))",
            "<javascript:alert(1)>",
            "[x](data:text/html,<script>alert(1)</script>)",
            "![x](https://evil.example/pixel.png)",
            "```\"><script>\nx\n```",
            "[x](https://a \"\\\" onclick=alert(1)\")",
            "</div></article><script>",
            "<!-- x --><style>*{}</style>",
        ] {
            let html = rendered(hostile);
            for tag in [
                "<script",
                "<img",
                "<style",
                "<!--",
                "</div",
                "<javascript",
                "=\"javascript",
                "=\"data",
            ] {
                assert!(!html.contains(tag), "{hostile}: {html}");
            }
            assert!(!html.contains("\" onclick="), "{html}");
        }
        let html = rendered("![a cat](https://a.example/cat.png)");
        assert!(
            html.contains("<a href=\"https://a.example/cat.png\">a cat</a>"),
            "{html}"
        );
    }

    #[test]
    fn deep_nesting_is_laid_flat() {
        let html = rendered(&format!("{} end", ">".repeat(10_000)));
        assert_eq!(html.matches("<blockquote>").count(), MAX_DEPTH);
        assert_eq!(html.matches("</blockquote>").count(), MAX_DEPTH);
        assert!(html.contains("end"));
    }
}

//! What is rendered, as it lies in the folder that the worker filled: one line of JSON for the conversation, and one for
//! each message, oldest first.

use std::{
    borrow::Cow,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::markdown::escaped;

/// The file with the lines.
const LINES: &str = "conversation.jsonl";
/// The folder with the pictures.
const PICTURES: &str = "pictures";
/// The file that is made.
const RESULT: &str = "result";

/// The file that says how many messages are laid out already.
const PROGRESS: &str = "progress";

/// The folder of one export.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// Takes a folder, which is there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the pictures are.
    pub fn pictures(&self) -> PathBuf {
        self.0.join(PICTURES)
    }

    /// The picture of a name.
    pub fn picture(&self, name: &str) -> PathBuf {
        self.pictures().join(name)
    }

    /// Where the result is written to.
    pub fn result(&self) -> PathBuf {
        self.0.join(RESULT)
    }

    /// Notes how many messages are laid out already, for the worker to tell.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn note_progress(&self, messages: u64) -> io::Result<()> {
        fs::write(self.0.join(PROGRESS), messages.to_string())
    }

    /// How many messages are laid out already, if anything was noted.
    pub fn progress(&self) -> Option<u64> {
        fs::read_to_string(self.0.join(PROGRESS)).ok()?.parse().ok()
    }

    /// Begins to write what is to be rendered.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn begin(&self, head: &Head) -> io::Result<Lines> {
        let mut lines = Lines(BufWriter::new(File::create(self.0.join(LINES))?));
        lines.write(head)?;
        Ok(lines)
    }

    /// Reads what is to be rendered; the messages one by one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(&self) -> io::Result<(Head, Entries)> {
        let mut lines = Entries(BufReader::new(File::open(self.0.join(LINES))?));
        let head = lines.read()?;
        let head = head.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        Ok((head, lines))
    }
}

/// What is to be rendered, while it is written.
#[derive(Debug)]
pub struct Lines(BufWriter<File>);

impl Lines {
    /// Adds a message.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn push(&mut self, entry: &Entry) -> io::Result<()> {
        self.write(entry)
    }

    /// Writes what is left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, line)?;
        self.0.write_all(b"\n")
    }
}

/// The messages, one by one.
#[derive(Debug)]
pub struct Entries(BufReader<File>);

impl Entries {
    fn read<T: for<'a> Deserialize<'a>>(&mut self) -> io::Result<Option<T>> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line)?))
    }
}

impl Iterator for Entries {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// The conversation, and what of it is exported. In this form it is in JSON exports, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// When the export was asked for.
    pub exported_at: DateTime<Utc>,
    /// The conversation.
    pub conversation: Conversation,
    /// Only messages from this time on.
    pub from: Option<DateTime<Utc>>,
    /// Only messages before this time.
    pub to: Option<DateTime<Utc>>,
    /// `all`, or the id of the message with which the branch ends.
    pub branch: Option<String>,
    /// Whether the text of attachments is there, and pictures are shown.
    pub include_attachments: bool,
}

impl Head {
    /// What the conversation is called.
    pub fn title(&self) -> &str {
        self.conversation.title.as_deref().unwrap_or("Conversation")
    }
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// For people.
    pub title: Option<String>,
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// The model that answers.
    pub model: Option<String>,
    /// ISO 639-1 codes, joined by `+`.
    pub language: Option<String>,
    /// For people.
    pub tags: Vec<String>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// What it follows.
    pub parent_id: Option<String>,
    /// `system`, `user`, `assistant` or `tool`.
    pub role: String,
    /// When it was said.
    pub created_at: DateTime<Utc>,
    /// Its tokens.
    pub token_count: i32,
    /// What was said and shown, in order.
    pub content: Vec<Piece>,
}

impl Entry {
    /// Who speaks, for people.
    pub fn speaker(&self) -> &str {
        match self.role.as_str() {
            "user" => "User",
            "assistant" => "Assistant",
            "system" => "System",
            "tool" => "Tool",
            other => other,
        }
    }

    /// When it was said, for people.
    pub fn time(&self) -> String {
        shown_time(self.created_at)
    }
}

/// A time as people read it.
pub fn shown_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "type",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Piece {
    /// What was said.
    Text {
        /// Markdown, more or less.
        text: String,
    },
    /// A call of a tool that the model asked for.
    ToolCall {
        /// By which its result is known.
        call_id: String,
        /// The tool.
        name: String,
        /// JSON, as the model wrote it.
        arguments: String,
    },
    /// What came of a call.
    ToolResult {
        /// Of the call.
        call_id: String,
        /// The tool.
        name: String,
        /// `completed`, `failed`, `invalid` or `unavailable`.
        status: String,
        /// What the model was told.
        output: String,
    },
    /// What was shown.
    Attachment(Shown),
}

impl Piece {
    /// What a tool was asked or said, for people: a line about it, and the words themselves.
    pub fn of_tools(&self) -> Option<(String, &str)> {
        match self {
            Self::ToolCall {
                name, arguments, ..
            } => Some((format!("Call of {name}"), arguments)),
            Self::ToolResult {
                name,
                status,
                output,
                ..
            } => Some((format!("Result of {name} ({status})"), output)),
            Self::Text { .. } | Self::Attachment(_) => None,
        }
    }

    /// What was said, or what a tool was asked or said, as Markdown. Words of tools are code: nothing of them is markup.
    pub fn markdown(&self) -> Cow<'_, str> {
        if let Self::Text { text } = self {
            return text.into();
        }
        let Some((line, words)) = self.of_tools() else {
            return Cow::default();
        };
        let fence = fence(words);
        format!("{}:\n\n{fence}\n{words}\n{fence}\n", escaped(&line)).into()
    }
}

/// A line that begins and ends code, and is not in it.
fn fence(code: &str) -> String {
    let (mut longest, mut run) = (2, 0);
    for letter in code.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    "`".repeat(longest + 1)
}

/// An attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// It is not there any more, so only its id is known.
    #[serde(default)]
    pub deleted: bool,
    /// As the client named it.
    pub file_name: Option<String>,
    /// By content.
    pub media_type: Option<String>,
    /// Its length.
    pub size_bytes: Option<i64>,
    /// Of the content, in hex.
    pub sha256: Option<String>,
    /// Pixels of a picture.
    pub width: Option<i32>,
    /// Pixels of a picture.
    pub height: Option<i32>,
    /// The text that was read in it, or its beginning.
    pub extracted_text: Option<String>,
    /// There was more text.
    #[serde(default)]
    pub truncated: bool,
    /// The name of the picture in the folder, where it is to be shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

impl Shown {
    /// In a line, for people: its name, type and length.
    pub fn line(&self) -> String {
        let name = self.file_name.as_deref().unwrap_or("deleted attachment");
        match (&self.media_type, self.size_bytes) {
            (Some(media_type), Some(bytes)) => {
                format!("{name} ({media_type}, {})", shown_size(bytes))
            }
            _ => name.to_owned(),
        }
    }
}

/// A length as people read it.
fn shown_size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{}.{} kB", bytes / 1_000, bytes % 1_000 / 100),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use pulldown_cmark::{Event, Parser};

    use super::*;

    #[test]
    fn words_of_tools_are_code_whatever_they_are() {
        for words in [
            "{\"location\":\"Lahore\"}",
            "",
            "```\n# not a heading\n````\n<script>",
            "`a` ``b``",
            "नमस्ते\n\n- no list",
        ] {
            let result = Piece::ToolResult {
                call_id: "a".to_owned(),
                name: "web_search*".to_owned(),
                status: "completed".to_owned(),
                output: words.to_owned(),
            };
            let markdown = result.markdown();
            let texts: Vec<String> = Parser::new(&markdown)
                .filter_map(|event| match event {
                    Event::Text(text) => Some(text.into_string()),
                    Event::Start(_) | Event::End(_) => None,
                    other => panic!("{other:?} in {markdown}"),
                })
                .collect();
            let said = texts.concat();
            let expected = format!("Result of web_search* (completed):{words}");
            assert_eq!(said.trim_end(), expected.trim_end());
        }
    }

    #[test]
    fn lengths_are_shown_in_powers_of_ten() {
        let shown = [0, 999, 1_000, 48_213, 999_999, 10_485_760].map(shown_size);
        assert_eq!(
            shown,
            ["0 B", "999 B", "1.0 kB", "48.2 kB", "999.9 kB", "10.4 MB"]
        );
    }
}

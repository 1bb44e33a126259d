//! How fast tokens are counted, beside the library `tiktoken` on the same texts.
//!
//! `write` makes the texts, and the table that `tiktoken` would fetch from the network; `measure` counts them; `compare` shows
//! what was measured of both.
#![expect(clippy::print_stdout, reason = "a command line tells its result")]

mod compare;
mod measure;
mod texts;

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

/// Where `tiktoken` has its table from: it keeps what it has fetched under the hash of that.
const TABLE: &str = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken";

#[derive(Debug, Parser)]
#[command(
    name = "baatcheet-tokens",
    about = "Measures how fast tokens are counted"
)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Writes the texts, and the table of the encoding, into a folder
    Write {
        /// Which folder
        folder: PathBuf,
    },
    /// Counts each text of a folder, and tells how fast
    Measure {
        /// Which folder
        folder: PathBuf,
        /// How often; the fastest time counts
        #[arg(long, default_value_t = 5)]
        turns: u32,
    },
    /// Shows what was measured here, beside the same of somebody else
    Compare {
        /// What `measure` told
        ours: PathBuf,
        /// The same of the other; nothing where it could not run
        theirs: Option<PathBuf>,
    },
}

/// How fast a text was counted.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Measured {
    name: String,
    bytes: usize,
    tokens: usize,
    seconds: f64,
}

fn main() -> anyhow::Result<()> {
    match Args::parse().command {
        Command::Write { folder } => {
            for (name, text) in texts::all()? {
                fs::write(folder.join(format!("{name}.txt")), text)?;
            }
            let cached = hex::encode(Sha1::digest(TABLE.as_bytes()));
            fs::write(folder.join(cached), table()?)?;
        }
        Command::Measure { folder, turns } => {
            let mut files: Vec<PathBuf> = fs::read_dir(&folder)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<_, _>>()?;
            files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
            files.sort();
            for file in files {
                let name = file.file_stem().and_then(|name| name.to_str());
                let name = name.context("a file without a name")?;
                let text = fs::read_to_string(&file)?;
                for measured in measure::measure(name, &text, turns) {
                    println!("{}", serde_json::to_string(&measured)?);
                }
            }
        }
        Command::Compare { ours, theirs } => {
            let ours = compare::read(&ours)?;
            let theirs = theirs.map(|file| compare::read(&file)).transpose()?;
            print!("{}", compare::table(&ours, &theirs.unwrap_or_default()));
        }
    }
    Ok(())
}

/// The table as it is published: a token and its number a line.
fn table() -> anyhow::Result<String> {
    let tables = &bpe_openai::o200k_base().bpe;
    let mut table = String::new();
    for number in 0..u32::try_from(tables.num_tokens())? {
        let token = BASE64_STANDARD.encode(tables.token_bytes(number));
        writeln!(table, "{token} {number}")?;
    }
    Ok(table)
}

//! What is made of a picture for people to look at: the standard variants of every upload, and those asked for.
//!
//! Decoders and encoders in C, and whatever somebody uploads to break them, stay out of the worker: a hidden subcommand
//! of our own program does the work, one picture per process, bounded in memory and time ([`Helper`]). Orders and pictures
//! are files in the job's folder; what came of it is JSON on standard output.
//!
//! Nothing of the upload's metadata is in what is made: neither where nor by whom it was taken. Colours are those of
//! sRGB.

mod bench;
mod colour;
#[cfg(test)]
mod drawn;
mod encode;
mod error;
mod file;
mod make;
mod pixels;
mod shrink;
mod source;
#[cfg(test)]
mod tests;
mod watermark;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use shared::picture::Recipe;

pub use self::{
    bench::{BenchArgs, bench},
    error::{Refused, VariantError},
    make::work,
};
use super::{
    helper::Helper,
    process::{Isolation, Limits},
};

/// Quality of all standard variants, 1 to 100, and of others unless told otherwise.
pub const QUALITY: u8 = 80;

/// The subcommand of our own program.
pub const SUBCOMMAND: &str = "make-variants";

/// What the work on one picture may use. Address space is more than memory: the largest pictures take up to 400 MB.
const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_mins(1),
    file_bytes: 256 << 20,
    timeout: Duration::from_secs(90),
    isolation: Isolation::None,
};

/// What is to be made of a picture.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    /// The upload.
    pub upload: PathBuf,
    /// Where the variants go, by their names.
    pub folder: PathBuf,
    /// The folder of fonts, for watermarks.
    pub fonts: PathBuf,
    /// Which ones.
    pub wanted: Wanted,
}

/// Which variants are to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Wanted {
    /// Those of every upload, and what is said of it.
    Standard,
    /// One.
    One(Recipe),
}

/// What was made of a picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// What the picture is; only with the standard variants.
    pub picture: Option<Picture>,
    /// The variants.
    pub variants: Vec<Variant>,
}

/// What a picture is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Pixels of the upright picture.
    pub width: u32,
    /// Pixels of the upright picture.
    pub height: u32,
    /// Pictures of an animation; else 1.
    pub frames: u32,
    /// As `#rrggbb`.
    pub dominant_color: String,
    /// A few letters that stand for a blur of it.
    pub blur_hash: Option<String>,
}

/// A variant that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variant {
    /// Its file, and for the standard ones its name.
    pub name: String,
    /// What is in the file.
    pub media_type: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
enum Report {
    Made(Made),
    Refused(Refused),
}

/// Makes variants, by a process of its own. Dropping the future ends it.
///
/// # Errors
/// See [`VariantError`].
pub async fn make(helper: &Helper, order: &Order) -> Result<Made, VariantError> {
    let paper = order.folder.join("order.json");
    let text = serde_json::to_vec(order).expect("an order is plain data");
    tokio::fs::write(&paper, text).await?;
    let output = helper
        .run(SUBCOMMAND, [&paper], &order.folder, &LIMITS)
        .await?;
    match serde_json::from_slice(&output.stdout) {
        Ok(Report::Made(made)) => Ok(made),
        Ok(Report::Refused(refused)) => Err(refused.into()),
        Err(error) => Err(VariantError::Io(error.into())),
    }
}

/// The path of a variant's file.
pub fn file_of(order: &Order, variant: &Variant) -> PathBuf {
    path(&order.folder, &variant.name)
}

fn path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("variant-{name}"))
}

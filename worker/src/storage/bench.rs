//! What the store does, and how much memory it takes: an object is streamed to it and back.

use std::{io::Write as _, time::Instant};

use anyhow::{Context as _, anyhow, ensure};
use bytes::Bytes;
use futures::TryStreamExt as _;
use serde::Serialize;
use shared::{
    clients::storage::{Kind, Storage},
    keyring::{Sha256, random},
};
use tokio_util::sync::CancellationToken;

/// As much as an upload gives at once.
const PIECE_BYTES: usize = 64 * 1024;
const MEBIBYTE: u64 = 1024 * 1024;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchArgs {
    /// Size of the object, in MiB
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub mebibytes: u64,
    /// Prints the figures as JSON
    #[arg(long)]
    pub json: bool,
}

/// What a run gave.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    mebibytes: u64,
    written_mebibytes_per_second: f64,
    read_mebibytes_per_second: f64,
    /// Resident memory of the process before.
    memory_before_bytes: u64,
    /// The most there was at any time.
    memory_peak_bytes: u64,
}

/// Runs it. Nothing is left in the store, also when it is interrupted.
///
/// # Errors
/// When the store fails, or gives back something else.
pub(super) async fn run(
    storage: &Storage,
    args: &BenchArgs,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let key = storage.random_key(Kind::Document);
    let figures = tokio::select! {
        figures = measure(storage, &key, args) => figures,
        () = stop.cancelled() => Err(anyhow!("interrupted")),
    };
    storage
        .discard(&key)
        .await
        .context("cannot delete the object")?;
    print(&figures?, args.json)
}

async fn measure(storage: &Storage, key: &str, args: &BenchArgs) -> anyhow::Result<Figures> {
    let length = args.mebibytes * MEBIBYTE;
    let memory_before_bytes = memory("VmRSS")?;
    let began = Instant::now();
    let mut written = Sha256::default();
    let mut upload = storage.upload(key, "application/octet-stream").await?;
    let noise = random::<PIECE_BYTES>().to_vec();
    for _ in 0..length / PIECE_BYTES as u64 {
        // A piece of its own, as each that comes from a client.
        let piece = Bytes::copy_from_slice(&noise);
        written.update(&piece);
        upload.write(piece).await?;
    }
    upload.finish().await?.keep();
    let write_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let mut read = Sha256::default();
    let mut pieces = std::pin::pin!(storage.stream(key, 0..length).await?);
    while let Some(piece) = pieces.try_next().await? {
        read.update(&piece);
    }
    ensure!(
        read.finish() == written.finish(),
        "the store gives back something else"
    );
    #[expect(clippy::cast_precision_loss, reason = "at most 100,000")]
    let mebibytes = args.mebibytes as f64;
    Ok(Figures {
        mebibytes: args.mebibytes,
        written_mebibytes_per_second: mebibytes / write_seconds,
        read_mebibytes_per_second: mebibytes / began.elapsed().as_secs_f64(),
        memory_before_bytes,
        memory_peak_bytes: memory("VmHWM")?,
    })
}

/// A line of `/proc/self/status` (proc(5)), which counts in KiB.
fn memory(line: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("no memory is told here")?;
    let kibibytes = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .and_then(|text| text.trim().strip_suffix(" kB")?.parse::<u64>().ok())
        .with_context(|| format!("there is no {line} in /proc/self/status"))?;
    Ok(kibibytes * 1024)
}

fn print(figures: &Figures, json: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string(figures)?)?;
        return Ok(());
    }
    let Figures {
        mebibytes,
        written_mebibytes_per_second,
        read_mebibytes_per_second,
        memory_before_bytes,
        memory_peak_bytes,
    } = figures;
    writeln!(
        out,
        "{mebibytes} MiB: written with {written_mebibytes_per_second:.0} MiB/s, read with \
         {read_mebibytes_per_second:.0} MiB/s"
    )?;
    writeln!(
        out,
        "memory: {} MiB before, {} MiB at most",
        memory_before_bytes / MEBIBYTE,
        memory_peak_bytes.div_ceil(MEBIBYTE)
    )?;
    Ok(())
}

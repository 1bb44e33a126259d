//! What is measured, and how it is told.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::ensure;
use tokio::task::JoinSet;

use crate::{
    client::{Asked, Client},
    upstream::{DELAYS, PACED, SIZES, WORDS, model, word},
};

/// Clients that ask without a pause, to find out how many answers there are in a second.
const CLIENTS: [usize; 7] = [2, 4, 8, 16, 24, 32, 48];
/// The time within which 99 of 100 answers must be there, in milliseconds.
const IN_TIME: f64 = 10.0;
/// Turns in which the provider and the API are asked, so that what else goes on is shared out.
const TURNS: u64 = 4;
const WARM_UP: Range<u32> = 0..300;

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where the API is
    #[arg(long)]
    api: String,
    /// Where the provider is
    #[arg(long)]
    upstream: String,
    /// Access token or API key
    #[arg(long)]
    token: String,
    /// Seconds for each figure
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Streams at once
    #[arg(long, default_value_t = 500)]
    streams: usize,
    /// What is measured; everything unless told otherwise
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The time that the API adds
    Added,
    /// Answers in a second
    Rate,
    /// The time that the API adds to the first word
    First,
    /// Streams at once
    Streams,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let provider = Client::new(&args.upstream, &args.token, Asked::Provider)?;
    let api = Client::new(&args.api, &args.token, Asked::Api)?;
    for _ in WARM_UP {
        api.ask(&model(0, SIZES[0])).await?;
        provider.ask(&model(0, SIZES[0])).await?;
    }
    let is_asked = |part| args.only.is_none_or(|only| only == part);
    if is_asked(Part::Added) {
        added(&args, &provider, &api).await?;
    }
    if is_asked(Part::Rate) {
        rate(&args, &provider, &api).await?;
    }
    if is_asked(Part::First) {
        first_word(&args, &provider, &api).await?;
    }
    if is_asked(Part::Streams) {
        streams(&args, &api).await?;
    }
    Ok(())
}

/// Times of answers, in milliseconds.
#[derive(Debug, Default)]
struct Times(Vec<f64>);

impl Times {
    fn percentile(&mut self, percent: usize) -> f64 {
        self.0.sort_unstable_by(f64::total_cmp);
        let index = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(index).copied().unwrap_or(f64::NAN)
    }

    fn push(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64() * 1_000.0);
    }
}

/// Asks with so many clients without a pause.
async fn load(
    client: &Client,
    model: &str,
    clients: usize,
    time: Duration,
) -> anyhow::Result<Times> {
    let until = Instant::now() + time;
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (client, model) = (client.clone(), model.to_owned());
        tasks.spawn(async move {
            let mut times = Times::default();
            while Instant::now() < until {
                times.push(client.ask(&model).await?);
            }
            anyhow::Ok(times)
        });
    }
    let mut all = Times::default();
    while let Some(times) = tasks.join_next().await {
        all.0.append(&mut times??.0);
    }
    Ok(all)
}

/// Asks both in turns.
async fn both(
    args: &Args,
    provider: &Client,
    api: &Client,
    model: &str,
    clients: usize,
) -> anyhow::Result<[Times; 2]> {
    let time = Duration::from_secs(args.seconds) / u32::try_from(TURNS)?;
    let [mut direct, mut through] = [Times::default(), Times::default()];
    for _ in 0..TURNS {
        direct
            .0
            .append(&mut load(provider, model, clients, time).await?.0);
        through
            .0
            .append(&mut load(api, model, clients, time).await?.0);
    }
    Ok([direct, through])
}

async fn added(args: &Args, provider: &Client, api: &Client) -> anyhow::Result<()> {
    println!(
        "{:<34} {:>19} {:>19} {:>19}",
        "ms, p50 and p99", "provider", "API", "added"
    );
    for delay in DELAYS {
        for bytes in SIZES {
            for clients in [1, 10] {
                let [mut direct, mut through] =
                    both(args, provider, api, &model(delay, bytes), clients).await?;
                let [d50, d99] = [50, 99].map(|percent| direct.percentile(percent));
                let [t50, t99] = [50, 99].map(|percent| through.percentile(percent));
                let what = format!("after {delay} ms, {bytes} B, c={clients}");
                println!(
                    "{what:<34} {d50:>9.2} {d99:>9.2} {t50:>9.2} {t99:>9.2} {:>9.2} {:>9.2}",
                    t50 - d50,
                    t99 - d99
                );
            }
        }
    }
    Ok(())
}

async fn rate(args: &Args, provider: &Client, api: &Client) -> anyhow::Result<()> {
    let time = Duration::from_secs(args.seconds);
    for (name, client) in [("provider", provider), ("API", api)] {
        let mut best = (0.0, 0, f64::NAN);
        for clients in CLIENTS {
            let mut times = load(client, &model(0, SIZES[0]), clients, time).await?;
            #[expect(clippy::cast_precision_loss, reason = "a count of answers")]
            let rate = times.0.len() as f64 / time.as_secs_f64();
            let [p50, p99] = [50, 99].map(|percent| times.percentile(percent));
            println!(
                "{name:<8} c={clients:<3} {rate:>7.0} answers/s, p50 {p50:.2} ms, p99 {p99:.2} ms"
            );
            if p99 <= IN_TIME && rate > best.0 {
                best = (rate, clients, p99);
            }
        }
        let (rate, clients, p99) = best;
        println!("{name:<8} answers/s at p99 <= 10 ms: {rate:.0} (c={clients}, p99 {p99:.2} ms)");
    }
    Ok(())
}

async fn first_word(args: &Args, provider: &Client, api: &Client) -> anyhow::Result<()> {
    let [mut direct, mut through] = [Times::default(), Times::default()];
    let model = model(DELAYS[0], SIZES[0]);
    let until = Instant::now() + 2 * Duration::from_secs(args.seconds);
    while Instant::now() < until {
        direct.push(provider.stream(&model).await?.first);
        through.push(api.stream(&model).await?.first);
    }
    let [p50, p99] =
        [50, 99].map(|percent| through.percentile(percent) - direct.percentile(percent));
    println!("added time to the first word: p50 {p50:.2} ms, p99 {p99:.2} ms");
    Ok(())
}

async fn streams(args: &Args, api: &Client) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..args.streams {
        let api = api.clone();
        tasks.spawn(async move { api.stream(PACED).await });
    }
    let expected: String = (1..=WORDS).map(word).collect();
    let (mut frames, mut whole) = (0, 0);
    while let Some(stream) = tasks.join_next().await {
        let stream = stream??;
        frames += stream.pieces;
        whole += usize::from(stream.pieces == WORDS && stream.text == expected);
    }
    let took = began.elapsed().as_secs_f64();
    let count = args.streams;
    println!(
        "{count} paced streams: {whole} whole, {frames} of {} frames within {took:.2} s",
        count * WORDS
    );
    ensure!(whole == count, "frames were lost");
    Ok(())
}

//! Asks the API for one path again and again, and tells how long the answers took.
//!
//! With `--rate` requests start at fixed times whether or not the ones before are answered, and waiting counts from
//! that time; so a slow server cannot slow its own measurement down. With `--clients` each client asks again as soon
//! as it has its answer.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::mpsc, task::JoinSet};

use crate::times::{Times, a_second};

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// What is asked for, with its query
    url: String,
    /// Access token or API key
    #[arg(long)]
    token: String,
    /// Requests a second
    #[arg(long, conflicts_with = "clients")]
    rate: Option<u32>,
    /// Clients that ask without a pause
    #[arg(long, default_value_t = 1)]
    clients: u32,
    /// How long
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Before the result
    #[arg(long, default_value = "")]
    label: String,
}

/// One answer: its status, 0 for none, and its time.
type Sample = (u16, Duration);

async fn ask(http: &reqwest::Client, args: &Args, since: Instant) -> Sample {
    let answer = http.get(&args.url).bearer_auth(&args.token).send().await;
    let status = match answer {
        Ok(answer) => {
            let status = answer.status().as_u16();
            answer.bytes().await.map_or(0, |_| status)
        }
        Err(_) => 0,
    };
    (status, since.elapsed())
}

/// Starts requests at fixed times.
async fn at_rate(http: reqwest::Client, args: std::sync::Arc<Args>, rate: u32) -> Vec<Sample> {
    let mut tasks = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for _ in 0..u64::from(rate) * args.seconds {
        let due = tick.tick().await.into_std();
        let (http, args) = (http.clone(), args.clone());
        tasks.spawn(async move { ask(&http, &args, due).await });
    }
    tasks.join_all().await
}

/// Lets clients ask without a pause.
async fn without_pause(http: reqwest::Client, args: std::sync::Arc<Args>) -> Vec<Sample> {
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let (sender, mut samples) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for _ in 0..args.clients {
        let (http, args, sender) = (http.clone(), args.clone(), sender.clone());
        tasks.spawn(async move {
            while Instant::now() < end {
                let sample = ask(&http, &args, Instant::now()).await;
                if sender.send(sample).is_err() {
                    break;
                }
            }
        });
    }
    drop(sender);
    let mut all = Vec::new();
    while let Some(sample) = samples.recv().await {
        all.push(sample);
    }
    all
}

fn report(label: &str, samples: &[Sample], took: Duration) -> anyhow::Result<()> {
    let mut statuses: BTreeMap<u16, usize> = BTreeMap::new();
    for (status, _) in samples {
        *statuses.entry(*status).or_default() += 1;
    }
    let mut times: Times = samples.iter().map(|(_, time)| *time).collect();
    let [p50, p95, p99, max] = times.percentiles().context("there was no answer")?;
    let rate = a_second(samples.len(), took);
    println!(
        "{label:<28} {rate:>7.0}/s  p50 {p50:>7.1} ms  p95 {p95:>7.1} ms  p99 {p99:>7.1} ms  max {max:>7.1} ms  {statuses:?}",
    );
    Ok(())
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let args = std::sync::Arc::new(args);
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()?;
    let started = Instant::now();
    let samples = match args.rate {
        Some(rate) => at_rate(http, args.clone(), rate).await,
        None => without_pause(http, args.clone()).await,
    };
    report(&args.label, &samples, started.elapsed())?;
    anyhow::ensure!(
        samples
            .iter()
            .all(|(status, _)| (200..300).contains(status)),
        "not every answer was 2xx"
    );
    Ok(())
}

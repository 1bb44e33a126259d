//! Users who do what users do, all at once, and what came of it.
//!
//! Each registers, and then chats, lists, searches, uploads, downloads and tidies up, with a short pause after each deed. What
//! they do is drawn with dice that fall the same way in every run.

mod client;
mod dice;
mod report;
mod routes;
mod streams;
mod user;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::{sync::mpsc, task::JoinSet};

use self::{client::Client, report::Report, user::User};

/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Where the API is
    #[arg(long)]
    api: String,
    /// How many users, 1 to 1000
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    users: u32,
    /// For how long they begin something new, 1 to 840 (their logins last for 900); what was begun is awaited
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=840))]
    seconds: u64,
    /// A model that is asked; there may be several
    #[arg(long = "model", required = true)]
    models: Vec<String>,
    /// A picture that is uploaded; there may be several
    #[arg(long = "picture", required = true)]
    pictures: Vec<PathBuf>,
    /// A PDF that is uploaded; there may be several
    #[arg(long = "document", required = true)]
    documents: Vec<PathBuf>,
}

/// Whom users ask, and what they upload.
#[derive(Debug)]
struct Plan {
    models: Vec<String>,
    pictures: Vec<Upload>,
    documents: Vec<Upload>,
}

/// A file that is uploaded.
#[derive(Debug)]
struct Upload {
    name: String,
    content: Vec<u8>,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let plan = Arc::new(Plan {
        pictures: read(&args.pictures)?,
        documents: read(&args.documents)?,
        models: args.models,
    });
    // One for all: they share its connections, as they share this machine.
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()?;
    let (sender, mut samples) = mpsc::unbounded_channel();
    let name = uuid::Uuid::new_v4().simple();
    let began = Instant::now();
    let until = began + Duration::from_secs(args.seconds);
    let mut users = JoinSet::new();
    for number in 0..args.users {
        let client = Client::new(http.clone(), &args.api, sender.clone());
        let email = format!("load-{name}-{number}@example.com");
        let user = User::new(client, plan.clone(), number);
        users.spawn(user.live(email, until));
    }
    drop(sender);

    let bar = progress_bar(args.seconds);
    let mut report = Report::default();
    while let Some(sample) = samples.recv().await {
        report.add(sample);
        bar.set_position(began.elapsed().as_secs().min(args.seconds));
        bar.set_message(report.summary());
    }
    bar.finish_and_clear();
    let took = began.elapsed();
    let entered = users.join_all().await;
    let outside = entered.iter().filter(|is_in| !**is_in).count();

    report.print(took);
    ensure!(outside == 0, "{outside} users could not register");
    report.verdict()
}

fn read(paths: &[PathBuf]) -> anyhow::Result<Vec<Upload>> {
    let uploads = paths.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let content = std::fs::read(path);
        anyhow::Ok(Upload {
            name: name.into_owned(),
            content: content.with_context(|| format!("cannot read {}", path.display()))?,
        })
    });
    uploads.collect()
}

/// Where nobody looks, there is none.
fn progress_bar(seconds: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} s, {msg}");
    ProgressBar::new(seconds).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

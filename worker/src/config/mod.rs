//! What the worker reads from the environment.

mod speech;
mod writing;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use shared::{
    config::{CommonArgs, CommonConfig, Problems, given},
    queue::Queue,
};

pub use self::{
    speech::{SpeechArgs, SpeechConfig},
    writing::{WritingArgs, WritingConfig},
};
use crate::{
    bench::{BenchArgs, DEFAULT_CONCURRENCY},
    engines::render::RenderArgs,
    engines::variants,
    runner::Settings,
    secrets::SecretsCommand,
    storage::StorageCommand,
};

/// All must have ended 25 s after SIGTERM (platforms kill after 30 s); what follows the grace takes up to 5 s.
const LONGEST_GRACE_SECONDS: u64 = 20;

/// Where Debian puts fonts.
const DEFAULT_FONTS: &str = "/usr/share/fonts";

/// Runs `BaatCheet`'s jobs.
#[derive(Debug, Parser)]
#[command(name = "baatcheet-worker", version)]
pub struct Args {
    /// Variables of both programs.
    #[command(flatten)]
    pub common: CommonArgs,
    /// Variables of the worker.
    #[command(flatten)]
    pub worker: WorkerArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the worker can do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Runs jobs until SIGTERM or SIGINT (default)
    Run,
    /// Measures the engine: makes jobs that do nothing, runs them, and prints figures
    Bench(BenchArgs),
    /// Looks after the store of uploads
    #[command(subcommand)]
    Storage(StorageCommand),
    /// Looks after what is kept encrypted
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Writes an export; the worker runs it
    #[command(hide = true)]
    Render(RenderArgs),
    /// Carries out the order for variants of a picture in a file; the worker runs it as its helper
    #[command(hide = true)]
    MakeVariants {
        /// The order
        order: PathBuf,
    },
    /// Measures the making of variants; `bin/bench images` runs it
    #[command(hide = true)]
    BenchImages(variants::BenchArgs),
}

/// Variables of the worker.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct WorkerArgs {
    /// Queues to serve, comma-separated [default: all]
    #[arg(long = "queues", env = "WORKER_QUEUES", global = true)]
    pub queues: Option<String>,
    /// Jobs at once in a queue, like ocr=2,webhook=64; a number alone is for every queue [default: by queue; for heavy work
    /// one less than there are cores; 100 in the bench]
    #[arg(long = "concurrency", env = "WORKER_CONCURRENCY", global = true)]
    pub concurrency: Option<String>,
    /// Port of /live, /ready and /metrics on all addresses [default: none; then there is no such server]
    #[arg(long, env = "WORKER_PORT")]
    pub worker_port: Option<String>,
    /// Connections for the work of jobs, besides 3 of the engine, 1 to 100 [default: 3]
    #[arg(long, env = "WORKER_DATABASE_POOL_MAX")]
    pub worker_database_pool_max: Option<String>,
    /// Seconds after which the jobs of a dead worker are run by others, 3 to 3600 [default: 30]
    #[arg(long, env = "JOB_LEASE_SECONDS")]
    pub job_lease_seconds: Option<String>,
    /// Seconds that running jobs may go on after SIGTERM, 0 to 20 [default: 20]
    #[arg(long, env = "JOB_SHUTDOWN_GRACE_SECONDS")]
    pub job_shutdown_grace_seconds: Option<String>,
    /// Seconds that an endpoint of webhooks has to answer, where it has no limit of its own, 1 to 30 [default: 10]
    #[arg(long, env = "WEBHOOK_TIMEOUT_SECONDS")]
    pub webhook_timeout_seconds: Option<String>,
    /// The program that reads text from pictures [default: tesseract]
    #[arg(long, env = "TESSERACT")]
    pub tesseract: Option<String>,
    /// Folder of pdfinfo, pdftotext and pdftoppm, which read PDFs [default: where programs are]
    #[arg(long, env = "POPPLER_PATH")]
    pub poppler_path: Option<String>,
    /// What transcribes, and with what.
    #[command(flatten)]
    pub speech: SpeechArgs,
    /// What models write on their own.
    #[command(flatten)]
    pub writing: WritingArgs,
    /// Folder of the fonts of exports and watermarks, searched with the folders in it [default: /usr/share/fonts]
    #[arg(long, env = "FONT_PATH")]
    pub font_path: Option<String>,
}

/// The worker's configuration.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Of both programs.
    pub common: CommonConfig,
    /// The engine's.
    pub settings: Settings,
    /// Connections for the work of jobs.
    pub pool_max: Option<u32>,
    /// Where /live, /ready and /metrics are served.
    pub health: Option<SocketAddr>,
    /// How long an endpoint of webhooks has to answer, where it has no limit of its own.
    pub webhook_timeout: Duration,
    /// The program that reads text.
    pub tesseract: PathBuf,
    /// Folder of the programs that read PDFs; where programs are, unless told otherwise.
    pub poppler: Option<PathBuf>,
    /// What transcribes.
    pub speech: SpeechConfig,
    /// What models write on their own.
    pub writing: WritingConfig,
    /// Where fonts are.
    pub fonts: PathBuf,
    /// This very program, which is its own helper.
    pub program: PathBuf,
}

/// Jobs at once, unless told otherwise: heavy work by core, waiting work by the dozen; of deliveries so many that the endpoints
/// of one user, at each of which one try hangs, take less than a third. One core is left to others: on two,
/// p99 of the list of conversations was 31 ms while both read pictures, and 7 ms while one did (`bin/bench api`).
fn default_slots(queue: Queue) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match queue {
        Queue::Ocr | Queue::Audio | Queue::Image | Queue::Export | Queue::Report => {
            cores.saturating_sub(1).max(1)
        }
        Queue::Webhook | Queue::WebhookRetry => 64,
        Queue::Email | Queue::Notification => 8,
        Queue::Analytics | Queue::Maintenance => 2,
    }
}

impl Args {
    /// Checks everything at once.
    ///
    /// # Errors
    /// All problems of the environment.
    pub fn check(&self) -> Result<WorkerConfig, Problems> {
        let mut problems = Problems::default();
        let common = self.common.check(&mut problems);
        let worker = &self.worker;
        let mut slots = worker.slots(&mut problems);
        if matches!(self.command, Some(Command::Bench(_))) && given(&worker.concurrency).is_none() {
            for slots in slots.values_mut() {
                *slots = DEFAULT_CONCURRENCY;
            }
        }
        let lease = problems.number("JOB_LEASE_SECONDS", &worker.job_lease_seconds, 30, 3..=3600);
        let grace = problems.number(
            "JOB_SHUTDOWN_GRACE_SECONDS",
            &worker.job_shutdown_grace_seconds,
            20,
            0..=LONGEST_GRACE_SECONDS,
        );
        let webhook_timeout = problems.number(
            "WEBHOOK_TIMEOUT_SECONDS",
            &worker.webhook_timeout_seconds,
            10,
            1..=30,
        );
        let pool_max = given(&worker.worker_database_pool_max).map(|_| {
            problems.number(
                "WORKER_DATABASE_POOL_MAX",
                &worker.worker_database_pool_max,
                3,
                1..=100,
            )
        });
        let health = given(&worker.worker_port)
            .map(|_| problems.parse("WORKER_PORT", &worker.worker_port, 0u16))
            .map(|port| SocketAddr::from(([0, 0, 0, 0], port)));
        let tesseract = given(&worker.tesseract).unwrap_or("tesseract").into();
        let poppler = given(&worker.poppler_path).map(PathBuf::from);
        let ai = common.as_ref().map(|common| &common.ai);
        let speech = worker.speech.check(ai, &mut problems);
        let writing = worker.writing.check(common.as_ref(), &mut problems);
        let fonts = given(&worker.font_path).unwrap_or(DEFAULT_FONTS).into();
        let settings = Settings {
            slots,
            lease: Duration::from_secs(lease),
            shutdown_grace: Duration::from_secs(grace),
            worker_id: worker_id(),
        };
        let config = common.map(|common| WorkerConfig {
            common,
            settings,
            pool_max,
            health,
            webhook_timeout: Duration::from_secs(webhook_timeout),
            tesseract,
            poppler,
            speech,
            writing,
            fonts,
            program: std::env::current_exe().unwrap_or_else(|_| "baatcheet-worker".into()),
        });
        problems.finish(config)
    }
}

impl WorkerArgs {
    fn slots(&self, problems: &mut Problems) -> BTreeMap<Queue, usize> {
        let mut slots: BTreeMap<Queue, usize> = BTreeMap::new();
        for name in list(self.queues.as_ref()) {
            match name.parse() {
                Ok(queue) => _ = slots.insert(queue, default_slots(queue)),
                Err(problem) => problems.add("WORKER_QUEUES", problem),
            }
        }
        // One without the other would leave retries to nobody.
        if slots.contains_key(&Queue::Webhook) {
            let retries = Queue::WebhookRetry;
            slots
                .entry(retries)
                .or_insert_with(|| default_slots(retries));
        }
        if slots.is_empty() {
            slots = Queue::ALL
                .into_iter()
                .map(|queue| (queue, default_slots(queue)))
                .collect();
        }
        for entry in list(self.concurrency.as_ref()) {
            let (name, number) = entry
                .split_once('=')
                .map_or((None, entry), |(name, number)| (Some(name.trim()), number));
            let queue: Option<Result<Queue, String>> = name.map(str::parse);
            let number: Option<usize> = number
                .trim()
                .parse()
                .ok()
                .filter(|number| (1..=10_000).contains(number));
            match (queue, number) {
                // A queue that this worker does not serve: one setting may be shared by all workers.
                (Some(Ok(queue)), Some(number)) => {
                    _ = slots.get_mut(&queue).map(|slots| *slots = number);
                }
                (None, Some(number)) => slots.values_mut().for_each(|slots| *slots = number),
                (Some(Err(problem)), _) => problems.add("WORKER_CONCURRENCY", problem),
                (_, None) => problems.add(
                    "WORKER_CONCURRENCY",
                    format!("{entry:?} is not like ocr=2, with 1 to 10000"),
                ),
            }
        }
        slots
    }
}

fn list(value: Option<&String>) -> impl Iterator<Item = &str> {
    value
        .map(String::as_str)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

/// A name of its own for each process: machine, process, and random bytes, as process ids come again.
fn worker_id() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = shared::keyring::random::<4>();
    format!(
        "{}:{}:{}",
        host.trim(),
        std::process::id(),
        hex::encode(random)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(
        queues: Option<&str>,
        concurrency: Option<&str>,
    ) -> Result<BTreeMap<Queue, usize>, Problems> {
        let args = WorkerArgs {
            queues: queues.map(str::to_owned),
            concurrency: concurrency.map(str::to_owned),
            ..WorkerArgs::default()
        };
        let mut problems = Problems::default();
        let slots = args.slots(&mut problems);
        problems.finish(Some(slots))
    }

    #[test]
    fn queues_and_their_concurrency_are_chosen() {
        let chosen = slots(Some("ocr, webhook"), Some("webhook=64,email=9")).unwrap();
        assert_eq!(chosen.len(), 3, "with the retries of webhooks");
        assert_eq!(chosen[&Queue::Webhook], 64);
        assert_eq!(slots(None, None).unwrap().len(), Queue::ALL.len());
        assert!(
            slots(None, Some("7"))
                .unwrap()
                .values()
                .all(|&slots| slots == 7)
        );
    }

    #[test]
    fn nonsense_is_told() {
        assert!(
            slots(Some("ocrr"), None)
                .unwrap_err()
                .to_string()
                .contains("ocrr")
        );
        assert!(
            slots(None, Some("ocr=0"))
                .unwrap_err()
                .to_string()
                .contains("ocr=0")
        );
    }

    #[test]
    fn the_command_line_is_sound() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }
}

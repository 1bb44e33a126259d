//! The process itself, as Linux tells; other systems have no `/proc`, and these metrics are absent there.

use std::{fs, path::Path};

use prometheus::{
    core::{Collector, Desc},
    proto::{Counter, Gauge, Metric, MetricFamily, MetricType},
};

/// proc(5): fields of `/proc/self/stat` after the name of the program, which may hold blanks; `state` is field 3.
const USER_TICKS: usize = 14 - 3;
const SYSTEM_TICKS: usize = 15 - 3;
const START_TICKS: usize = 22 - 3;

/// Names that Prometheus' client libraries share.
const CPU: (&str, &str) = (
    "process_cpu_seconds_total",
    "User and system CPU time spent, in seconds.",
);
const MEMORY: (&str, &str) = (
    "process_resident_memory_bytes",
    "Resident memory, in bytes.",
);
const FILES: (&str, &str) = ("process_open_fds", "Open file descriptors.");
const START: (&str, &str) = (
    "process_start_time_seconds",
    "When the process started, in seconds since 1970.",
);

/// Reads `/proc` at each scrape.
#[derive(Clone)]
pub(super) struct Process {
    descriptions: Vec<Desc>,
}

impl Default for Process {
    fn default() -> Self {
        let descriptions = [CPU, MEMORY, FILES, START].map(|(name, help)| {
            let (labels, values) = (Vec::new(), std::collections::HashMap::default());
            super::sound(Desc::new(name.to_owned(), help.to_owned(), labels, values))
        });
        Self {
            descriptions: descriptions.into(),
        }
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(figures) = Figures::read(Path::new("/proc")) else {
            return Vec::new();
        };
        let mut cpu = Counter::default();
        cpu.set_value(figures.cpu_seconds);
        let mut counted = Metric::default();
        counted.set_counter(cpu);
        vec![
            family(CPU, MetricType::COUNTER, counted),
            gauge(MEMORY, figures.memory_bytes),
            gauge(FILES, figures.files),
            gauge(START, figures.started),
        ]
    }
}

fn gauge(name: (&str, &str), value: f64) -> MetricFamily {
    let mut gauge = Gauge::default();
    gauge.set_value(value);
    family(name, MetricType::GAUGE, Metric::from_gauge(gauge))
}

fn family((name, help): (&str, &str), kind: MetricType, metric: Metric) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

struct Figures {
    cpu_seconds: f64,
    memory_bytes: f64,
    files: f64,
    started: f64,
}

impl Figures {
    #[expect(
        clippy::cast_precision_loss,
        reason = "ticks, pages and descriptors are far below 2^53"
    )]
    fn read(proc: &Path) -> Option<Self> {
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let stat = fs::read_to_string(proc.join("self/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let memory = fs::read_to_string(proc.join("self/statm")).ok()?;
        let pages: u64 = memory.split(' ').nth(1)?.parse().ok()?;
        let system = fs::read_to_string(proc.join("stat")).ok()?;
        let booted: u64 = system
            .lines()
            .find_map(|line| line.strip_prefix("btime "))?
            .parse()
            .ok()?;
        Some(Self {
            cpu_seconds: (ticks(USER_TICKS)? + ticks(SYSTEM_TICKS)?) as f64 / ticks_per_second,
            memory_bytes: pages as f64 * rustix::param::page_size() as f64,
            // One of them is the folder that is read.
            files: fs::read_dir(proc.join("self/fd")).ok()?.count() as f64 - 1.0,
            started: booted as f64 + ticks(START_TICKS)? as f64 / ticks_per_second,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_tells_of_itself() {
        let figures = Figures::read(Path::new("/proc")).unwrap();
        assert!(figures.memory_bytes > 100_000.0);
        assert!(figures.cpu_seconds >= 0.0 && figures.files >= 3.0);
        let running = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs_f64()
            - figures.started;
        assert!((-2.0..3600.0).contains(&running), "{running} s");
    }

    #[test]
    fn a_name_with_blanks_and_brackets_confuses_nobody() {
        let proc = tempfile::tempdir().unwrap();
        fs::create_dir_all(proc.path().join("self/fd")).unwrap();
        let stat = "7 (a ) b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0 4 0 300 0 0";
        fs::write(proc.path().join("self/stat"), stat).unwrap();
        fs::write(proc.path().join("self/statm"), "100 3 2 1 0 1 0\n").unwrap();
        fs::write(proc.path().join("stat"), "cpu 1 2\nbtime 1000\n").unwrap();
        let figures = Figures::read(proc.path()).unwrap();
        let second = f64::from(u32::try_from(rustix::param::clock_ticks_per_second()).unwrap());
        assert!((figures.cpu_seconds - 200.0 / second).abs() < 1e-9);
        assert!((figures.started - (1000.0 + 300.0 / second)).abs() < 1e-9);
    }

    #[test]
    fn without_proc_there_is_nothing() {
        assert!(Figures::read(Path::new("/nonexistent")).is_none());
    }
}

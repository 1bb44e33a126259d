//! The real programs, and servers that a test may stop.

use std::{
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, Command},
    sync::Notify,
};

/// Longest wait for anything in a test.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A port that nobody uses now.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}

/// The folder of the programs: the tests' own is one below.
pub fn program(name: &str) -> PathBuf {
    let mut folder = std::env::current_exe().expect("the test's own path");
    folder.pop();
    if folder.ends_with("deps") {
        folder.pop();
    }
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is not built: run the tests with bin/test",
        program.display()
    );
    program
}

/// A program that runs, with its output.
pub struct Process {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
}

impl Process {
    /// Starts a program with nothing in its environment but what is given.
    pub fn start(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_with(Stdio::null(), program, args, env)
    }

    /// Starts one that can be told something.
    pub fn start_listening(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::start_with(Stdio::piped(), program, args, env)
    }

    fn start_with(input: Stdio, program: &Path, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(coverage())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(env.iter().copied())
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program starts");
        let (lines, news) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        let err = BufReader::new(child.stderr.take().expect("it is piped"));
        follow(out, lines.clone(), news.clone());
        follow(err, lines.clone(), news.clone());
        Self { child, lines, news }
    }

    /// Sends a line to one that listens.
    pub async fn tell(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it listens");
        let line = format!("{line}\n");
        input.write_all(line.as_bytes()).await.expect("it listens");
        input.flush().await.expect("it listens");
    }

    pub fn output(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Waits for a line that holds `text`.
    pub async fn wait_for_line(&self, text: &str) -> String {
        let found = async {
            loop {
                let news = self.news.notified();
                if let Some(line) = self
                    .lines
                    .lock()
                    .unwrap()
                    .iter()
                    .find(|line| line.contains(text))
                {
                    return line.clone();
                }
                news.await;
            }
        };
        let line = tokio::time::timeout(PATIENCE, found).await;
        line.unwrap_or_else(|_| panic!("no line with {text:?} in:\n{}", self.output()))
    }

    pub fn signal(&self, signal: Signal) {
        let id = self.child.id().expect("it runs");
        let id = Pid::from_raw(i32::try_from(id).unwrap()).expect("a process id");
        kill_process(id, signal).expect("the signal arrives");
    }

    /// Waits for its end, and gives the exit code (none if a signal ended it).
    pub async fn wait(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end:\n{}", self.output()));
        status.expect("it is our child").code()
    }
}

impl crate::TestApp {
    /// Starts a real program that belongs to this product; `more` goes before the product's own variables.
    pub fn start_program(&self, name: &str, more: &[(&str, &str)]) -> Process {
        let environment = self.environment();
        let mut environment: Vec<(&str, &str)> = environment
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        environment.extend_from_slice(more);
        Process::start(&program(name), &[], &environment)
    }
}

/// Where a program under coverage writes what it counted.
#[expect(
    clippy::disallowed_methods,
    reason = "the coverage tool says it here only"
)]
fn coverage() -> Option<(&'static str, String)> {
    std::env::var("LLVM_PROFILE_FILE")
        .ok()
        .map(|file| ("LLVM_PROFILE_FILE", file))
}

fn follow(
    reader: BufReader<impl tokio::io::AsyncRead + Unpin + Send + 'static>,
    lines: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
) {
    #[expect(clippy::disallowed_methods, reason = "it ends with the program")]
    tokio::spawn(async move {
        let mut reader = reader.lines();
        while let Ok(Some(line)) = reader.next_line().await {
            lines.lock().unwrap().push(line);
            news.notify_waiters();
        }
    });
}

/// A Redis of the test's own.
pub struct RedisServer {
    process: Option<Process>,
    pub port: u16,
}

impl RedisServer {
    pub async fn start() -> Self {
        let mut server = Self {
            process: None,
            port: free_port(),
        };
        server.restart().await;
        server
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it again, empty, on the same port.
    pub async fn restart(&mut self) {
        let port = self.port.to_string();
        let args = [
            "--port",
            &port,
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
        ];
        let process = Process::start(Path::new("/usr/bin/redis-server"), &args, &[]);
        process.wait_for_line("Ready to accept connections").await;
        self.process = Some(process);
    }

    pub async fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.signal(Signal::KILL);
            process.wait().await;
        }
    }
}

/// A Postgres of the test's own.
pub struct PostgresServer {
    folder: tempfile::TempDir,
    programs: PathBuf,
    pub port: u16,
}

impl PostgresServer {
    pub async fn start() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("baatcheet-postgres-")
            .tempdir_in("/tmp")
            .expect("a folder");
        let server = Self {
            folder,
            programs: newest_postgres(),
            port: free_port(),
        };
        if rustix::process::geteuid().is_root() {
            let status = Command::new("chown")
                .arg("postgres")
                .arg(server.folder.path())
                .status()
                .await;
            assert!(status.expect("chown runs").success());
        }
        let args = [
            "--pgdata",
            &server.data(),
            "--username=baatcheet",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ];
        server.run("initdb", &args).await;
        server.restart().await;
        server
    }

    fn data(&self) -> String {
        self.folder
            .path()
            .join("data")
            .to_string_lossy()
            .into_owned()
    }

    pub fn url(&self) -> String {
        format!("postgres://baatcheet@127.0.0.1:{}/postgres", self.port)
    }

    /// Starts it, or starts it again.
    pub async fn restart(&self) {
        let folder = self.folder.path().display();
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off",
            self.port
        );
        let log = format!("{folder}/log");
        self.run(
            "pg_ctl",
            &[
                "start",
                "-w",
                "-D",
                &self.data(),
                "-l",
                &log,
                "-o",
                &options,
            ],
        )
        .await;
    }

    /// Ends it, with all its connections.
    pub async fn stop(&self) {
        self.run("pg_ctl", &["stop", "-w", "-m", "fast", "-D", &self.data()])
            .await;
    }

    async fn run(&self, program: &str, args: &[&str]) {
        let program = self.programs.join(program);
        // Postgres refuses to run as root.
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command
                .args([
                    "--reuid=postgres",
                    "--regid=postgres",
                    "--init-groups",
                    "--",
                ])
                .arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let log = self
            .folder
            .path()
            .join(format!("{}.out", uuid::Uuid::new_v4()));
        // A file, as a server that inherits a pipe would keep it open.
        let out = || std::fs::File::create(&log).map(Stdio::from);
        command
            .args(args)
            .current_dir("/tmp")
            .stdin(Stdio::null())
            .stdout(out().unwrap())
            .stderr(out().unwrap());
        let status = command.status().await.expect("it runs");
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        assert!(status.success(), "{} {args:?}: {said}", program.display());
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        let pid = std::fs::read_to_string(self.folder.path().join("data/postmaster.pid"));
        let pid = pid
            .ok()
            .and_then(|text| text.lines().next()?.parse().ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process(pid, Signal::QUIT);
        }
    }
}

fn newest_postgres() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<io::Result<_>>()
        })
        .expect("Postgres is installed: run the tests with bin/test");
    versions.sort();
    versions.pop().expect("a version of Postgres").join("bin")
}

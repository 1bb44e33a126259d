//! Runs helper programs: bounded, killable, and never through a shell.
//!
//! Each program gets its limits from the tools of util-linux and coreutils, which replace themselves by the next one, so
//! that one process with one id remains:
//! `prlimit --as=… --cpu=… --fsize=… --core=0 -- unshare --net -- setpriv --no-new-privs --pdeathsig KILL -- nice -n 10
//! PROGRAM …` (`unshare` where the machine lets us, see [`isolation()`]). It leads a process group of its own, which is killed
//! whole: when the time is over, when it prints too much, when it has ended (its children too), and when the caller drops
//! the future because the job was cancelled.
//!
//! `--pdeathsig` kills the program when the *thread* that started it ends, so that `kill -9` of the worker leaves
//! nothing behind. Threads of the runtime live as long as the worker; blocking threads end when idle. Hence
//! [`run`] must be awaited in a task, never through `Handle::block_on` inside `spawn_blocking`, and tasks that use it
//! must not call `block_in_place`.
//!
//! Elsewhere than on Linux these limits do not exist: there only `nice`, the timeout, the caps and the group remain.

mod error;
mod isolation;
#[cfg(test)]
mod tests;

use std::{
    ffi::{OsStr, OsString},
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, Command},
    time::timeout,
    try_join,
};

use self::error::diagnose;
pub use self::{
    error::ProcessError,
    isolation::{Isolation, isolation},
};

/// What a program may print on standard output.
const MAX_STDOUT_BYTES: usize = 16 << 20;

/// What is kept of a program's standard error: its end, where the reason stands.
const MAX_STDERR_BYTES: usize = 64 << 10;

/// What programs keep of the worker's environment: where they, their libraries and their data are. Buildpacks install
/// into folders of their own.
const KEPT: [&str; 3] = ["PATH", "LD_LIBRARY_PATH", "TESSDATA_PREFIX"];

/// Where programs are looked for, unless the worker's environment says.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";

/// Between the polite and the hard end of the processor time.
const CPU_GRACE_SECONDS: u64 = 5;

/// What one run of a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Address space, which is more than the memory that is really used.
    pub address_space_bytes: u64,
    /// Processor time, in whole seconds.
    pub cpu: Duration,
    /// Size of any file that it writes.
    pub file_bytes: u64,
    /// Wall-clock time.
    pub timeout: Duration,
    /// Whether it sees a network.
    pub isolation: Isolation,
}

/// What a program printed before it ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// All of standard output, unless it was cut.
    pub stdout: Vec<u8>,
    /// The end of standard error; empty where the output was cut.
    pub stderr: String,
    /// It printed more, and was ended; only with [`run_cut`].
    pub cut: bool,
}

/// What happens to a program that prints more than 16 MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Fails,
    IsCut,
}

/// Runs a program to its end in an empty folder of its own inside `within`, with no input and no environment but `env`,
/// where programs are, and where their libraries and data are.
///
/// When this returns or is dropped, neither the program nor anything it started in its group is left running.
///
/// # Errors
///
/// See [`ProcessError`]. A result is returned only for exit status 0.
pub async fn run<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    env: &[(&str, &OsStr)],
    within: &Path,
    limits: &Limits,
) -> Result<Output, ProcessError> {
    run_until(program, args, env, within, limits, Overflow::Fails).await
}

/// As [`run`], but a program that prints more than 16 MiB is ended, and its output cut, instead of failing.
///
/// # Errors
///
/// See [`ProcessError`].
pub async fn run_cut<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    env: &[(&str, &OsStr)],
    within: &Path,
    limits: &Limits,
) -> Result<Output, ProcessError> {
    run_until(program, args, env, within, limits, Overflow::IsCut).await
}

/// Finds a program where [`run`] would, without running it: some take longer to start than they are worth.
///
/// # Errors
/// [`ProcessError::Missing`].
pub fn find(program: &Path) -> Result<PathBuf, ProcessError> {
    let path = kept(&"PATH").map_or_else(|| PATH.into(), |(_, path)| path);
    let is_program = |file: &PathBuf| {
        let metadata = file.metadata();
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    // Joined to a folder, an absolute path stays what it is.
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(is_program)
        .ok_or_else(|| ProcessError::Missing {
            program: program.display().to_string(),
        })
}

async fn run_until<A: AsRef<OsStr>>(
    program: &Path,
    args: impl IntoIterator<Item = A>,
    env: &[(&str, &OsStr)],
    within: &Path,
    limits: &Limits,
    overflow: Overflow,
) -> Result<Output, ProcessError> {
    let name = program
        .file_name()
        .unwrap_or(program.as_os_str())
        .to_string_lossy()
        .into_owned();
    let failed = |source| ProcessError::Io {
        program: name.clone(),
        source,
    };
    let folder = tempfile::Builder::new()
        .prefix("baatcheet-run-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(within)
        .map_err(failed)?;
    let mut command = limited(program, limits);
    command
        .args(args)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C.UTF-8")
        .envs(KEPT.iter().filter_map(kept))
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);

    let mut child = command.spawn().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ProcessError::Missing {
            program: command
                .as_std()
                .get_program()
                .to_string_lossy()
                .into_owned(),
        },
        _ => failed(source),
    })?;
    let mut group = Group(child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?)));

    let collected = timeout(limits.timeout, collect(&mut child, &mut group)).await;
    if !matches!(collected, Ok(Ok(_))) {
        group.kill();
        child.wait().await.map_err(failed)?;
    }
    match collected {
        Err(_elapsed) => Err(ProcessError::Timeout { program: name }),
        Ok(Err(Incomplete::TooMuchOutput(stdout))) if overflow == Overflow::IsCut => Ok(Output {
            stdout,
            stderr: String::new(),
            cut: true,
        }),
        Ok(Err(Incomplete::TooMuchOutput(_))) => Err(ProcessError::TooMuchOutput { program: name }),
        Ok(Err(Incomplete::Io(source))) => Err(failed(source)),
        Ok(Ok((status, output))) if status.success() => Ok(output),
        Ok(Ok((status, output))) => Err(diagnose(name, status, &output.stderr)),
    }
}

fn kept(name: &&'static str) -> Option<(&'static str, OsString)> {
    let value = std::env::var_os(name)?;
    (!value.is_empty()).then_some((name, value))
}

/// The program with its limits, still without arguments.
fn limited(program: &Path, limits: &Limits) -> Command {
    let mut command;
    if cfg!(target_os = "linux") {
        let cpu = limits.cpu.as_secs();
        command = Command::new("prlimit");
        command
            .arg(format!("--as={}", limits.address_space_bytes))
            .arg(format!("--cpu={cpu}:{}", cpu + CPU_GRACE_SECONDS))
            .arg(format!("--fsize={}", limits.file_bytes))
            .args(["--core=0", "--"])
            .args(limits.isolation.command())
            .args([
                "setpriv",
                "--no-new-privs",
                "--pdeathsig",
                "KILL",
                "--",
                "nice",
            ]);
    } else {
        command = Command::new("nice");
    }
    command.args(["-n", "10"]).arg(program);
    command
}

/// Kills everything in a process group, at the latest when dropped.
struct Group(Option<Pid>);

impl Group {
    /// Does nothing the second time, when the number may belong to somebody else.
    fn kill(&mut self) {
        if let Some(group) = self.0.take() {
            // The only failure is that nobody is left.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

#[derive(Debug, thiserror::Error)]
enum Incomplete {
    #[error("too much output")]
    TooMuchOutput(Vec<u8>),
    #[error(transparent)]
    Io(#[from] io::Error),
}

async fn collect(child: &mut Child, group: &mut Group) -> Result<(ExitStatus, Output), Incomplete> {
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let ended = async {
        let status = child.wait().await?;
        // Children that were left behind hold the pipes open, and the reading below would wait for them. The group's
        // number is still its own here: it can only be given away once it is empty, and then numbers are handed out in
        // a circle.
        group.kill();
        Ok(status)
    };
    let (stdout, stderr, status) = try_join!(read_all(stdout), read_end(stderr), ended)?;
    let stderr = String::from_utf8_lossy(&stderr).into_owned();
    let output = Output {
        stdout,
        stderr,
        cut: false,
    };
    Ok((status, output))
}

async fn read_all(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Incomplete> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_STDOUT_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .await?;
    }
    if bytes.len() > MAX_STDOUT_BYTES {
        bytes.truncate(MAX_STDOUT_BYTES);
        Err(Incomplete::TooMuchOutput(bytes))
    } else {
        Ok(bytes)
    }
}

/// Reads to the end, so that the program never waits for a reader, and keeps the last bytes.
async fn read_end(from: Option<impl AsyncRead + Unpin>) -> Result<Vec<u8>, Incomplete> {
    let mut bytes = Vec::new();
    let Some(mut from) = from else {
        return Ok(bytes);
    };
    while from.read_buf(&mut bytes).await? > 0 {
        if bytes.len() > 2 * MAX_STDERR_BYTES {
            bytes.drain(..bytes.len() - MAX_STDERR_BYTES);
        }
    }
    bytes.drain(..bytes.len().saturating_sub(MAX_STDERR_BYTES));
    Ok(bytes)
}

//! Real programs of every Linux machine.

use std::{env::temp_dir, fs, time::Instant};

use super::{error::MAX_REASON_BYTES, *};

const LIMITS: Limits = Limits {
    address_space_bytes: 1 << 30,
    cpu: Duration::from_secs(10),
    file_bytes: 1 << 20,
    timeout: Duration::from_secs(20),
    isolation: Isolation::None,
};
const SOON: Duration = Duration::from_secs(5);

async fn shell(script: &str, limits: Limits) -> Result<Output, ProcessError> {
    run(Path::new("sh"), ["-c", script], &[], &temp_dir(), &limits).await
}

async fn printed(script: &str) -> String {
    String::from_utf8(shell(script, LIMITS).await.unwrap().stdout).unwrap()
}

/// Whether a process still runs; a zombie, which only waits for its parent to look, does not.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits without sleeping, so that other tests are not held up.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what} took too long"));
}

#[tokio::test]
async fn a_program_runs_with_its_limits_and_nothing_else() {
    let limits = printed("ulimit -v; ulimit -t; ulimit -Ht; ulimit -f; ulimit -c; nice").await;
    assert_eq!(limits, "1048576\n10\n15\n2048\n0\n10\n");
    assert_eq!(printed("ls -A; cat").await, "");
    assert!(printed("pwd").await.contains("/baatcheet-run-"));
    assert!(
        printed("cat /proc/self/status")
            .await
            .contains("NoNewPrivs:\t1")
    );

    let env = [("OMP_THREAD_LIMIT", OsStr::new("1"))];
    let output = run(
        Path::new("/usr/bin/env"),
        [""; 0],
        &env,
        &temp_dir(),
        &LIMITS,
    )
    .await
    .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let mut names: Vec<_> = output
        .lines()
        .filter_map(|line| line.split('=').next())
        // Whoever runs the tests may have them.
        .filter(|name| !["LD_LIBRARY_PATH", "TESSDATA_PREFIX"].contains(name))
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["LC_ALL", "OMP_THREAD_LIMIT", "PATH"]);
}

#[tokio::test]
async fn arguments_are_no_shell_text() {
    let arguments = ["%s\n", "$(id)", "; id", "--help", "a\"b'c"];
    let output = run(Path::new("printf"), arguments, &[], &temp_dir(), &LIMITS)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"$(id)\n; id\n--help\na\"b'c\n");
}

#[tokio::test]
async fn a_failure_carries_the_end_of_standard_error() {
    let script =
        "echo start >&2; head -c 300000 /dev/zero | tr '\\0' x >&2; echo reason >&2; exit 3";
    let ProcessError::Failed { status, stderr, .. } = shell(script, LIMITS).await.unwrap_err()
    else {
        panic!("not a failure");
    };
    assert_eq!(status.code(), Some(3));
    assert!(stderr.ends_with("xreason") && !stderr.contains("start"));
    assert!(stderr.len() <= MAX_REASON_BYTES);
}

#[tokio::test]
async fn an_endless_printer_is_stopped() {
    for (script, heard) in [("yes", true), ("yes >&2", false)] {
        let limits = Limits {
            timeout: Duration::from_secs(1),
            ..LIMITS
        };
        let error = shell(script, limits).await.unwrap_err();
        assert_eq!(
            matches!(error, ProcessError::TooMuchOutput { .. }),
            heard,
            "{error}"
        );
        assert_eq!(
            matches!(error, ProcessError::Timeout { .. }),
            !heard,
            "{error}"
        );
    }
}

#[tokio::test]
async fn what_is_printed_can_be_cut_instead() {
    let whole = run_cut(Path::new("printf"), ["whole"], &[], &temp_dir(), &LIMITS)
        .await
        .unwrap();
    assert_eq!((whole.stdout.as_slice(), whole.cut), (&b"whole"[..], false));
    let endless = run_cut(Path::new("yes"), [""; 0], &[], &temp_dir(), &LIMITS)
        .await
        .unwrap();
    assert_eq!(
        (endless.stdout.len(), endless.cut),
        (MAX_STDOUT_BYTES, true)
    );
}

#[tokio::test]
async fn an_isolated_program_sees_no_network() {
    let isolation = isolation().await.unwrap_or(Isolation::None);
    let limits = Limits {
        isolation,
        ..LIMITS
    };
    let output = run(
        Path::new("cat"),
        ["/proc/self/net/dev"],
        &[],
        &temp_dir(),
        &limits,
    )
    .await
    .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let devices = text.lines().skip(2).count();
    // Where the machine forbids it, programs must still run.
    assert!(devices == 1 || isolation == Isolation::None, "{text}");
    if isolation != Isolation::None {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("document");
        fs::write(&file, "read").unwrap();
        let output = run(Path::new("cat"), [&file], &[], &temp_dir(), &limits)
            .await
            .unwrap();
        assert_eq!(output.stdout, b"read");
    }
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = run(
        Path::new("/nowhere/reader"),
        ["x"],
        &[],
        &temp_dir(),
        &LIMITS,
    )
    .await
    .unwrap_err();
    assert!(
        matches!(&error, ProcessError::Missing { program } if program == "reader"),
        "{error}"
    );
    let error = shell("exit 127", LIMITS).await.unwrap_err();
    assert!(matches!(error, ProcessError::Failed { .. }), "{error}");
}

#[tokio::test]
async fn the_timeout_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "sleep 300 & echo $$ $! > '{}'; sleep 300; true",
        pids.display()
    );
    let started = Instant::now();

    let limits = Limits {
        timeout: Duration::from_millis(500),
        ..LIMITS
    };
    let error = shell(&script, limits).await.unwrap_err();

    assert!(matches!(error, ProcessError::Timeout { .. }), "{error}");
    assert!((limits.timeout..SOON).contains(&started.elapsed()));
    let pids = fs::read_to_string(pids).unwrap();
    assert_eq!(pids.split_whitespace().count(), 2);
    until("killing", || !pids.split_whitespace().any(runs)).await;
}

#[tokio::test]
async fn dropping_the_run_kills_the_whole_group() {
    let folder = tempfile::tempdir().unwrap();
    let pids = folder.path().join("pids");
    let script = format!(
        "sleep 300 & echo $$ $! > '{}'; sleep 300; true",
        pids.display()
    );
    let written = || fs::read_to_string(&pids).unwrap_or_default();

    tokio::select! {
        ended = shell(&script, LIMITS) => panic!("{ended:?}"),
        () = until("starting", || written().ends_with('\n')) => {}
    }

    let pids = written();
    assert_eq!(pids.split_whitespace().count(), 2);
    until("killing", || !pids.split_whitespace().any(runs)).await;
}

#[tokio::test]
async fn children_left_behind_neither_delay_nor_survive() {
    let started = Instant::now();
    let pid = printed("sleep 300 & echo $!").await;
    assert!(started.elapsed() < SOON);
    until("killing", || !runs(&pid)).await;
}

#[tokio::test]
async fn processor_time_and_memory_are_bounded() {
    let limits = Limits {
        cpu: Duration::from_secs(1),
        ..LIMITS
    };
    let error = shell("while :; do :; done", limits).await.unwrap_err();
    assert!(matches!(error, ProcessError::Timeout { .. }), "{error}");

    let error = shell("head -c 2000000 /dev/zero > file", LIMITS)
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::Failed { .. }), "{error}");

    let limits = Limits {
        address_space_bytes: 64 << 20,
        ..LIMITS
    };
    let error = shell("head -c 200000000 /dev/zero | sort", limits)
        .await
        .unwrap_err();
    assert!(matches!(error, ProcessError::Failed { .. }), "{error}");
}

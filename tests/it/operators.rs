//! What operators do with accounts, by the real program.

use std::process::Stdio;

use api::config::ApiArgs;
use serde_json::json;
use tests::{Options, TestApp, process::program};
use tokio::{io::AsyncWriteExt as _, process::Command};

const ME: &str = "/api/v1/users/me";

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `baatcheet-api user …` with a standard input that is no terminal.
async fn user(app: &TestApp, args: &[&str], input: &str) -> Ended {
    let mut child = Command::new(program("baatcheet-api"))
        .arg("user")
        .args(args)
        .env_clear()
        .envs(app.environment())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read has closed it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = child.wait_with_output().await.unwrap();
    Ended {
        code: ended.status.code(),
        out: String::from_utf8(ended.stdout).unwrap(),
        err: String::from_utf8(ended.stderr).unwrap(),
    }
}

#[tokio::test]
async fn the_first_admin_is_made_where_nobody_may_register() {
    let app = TestApp::with(Options {
        api: ApiArgs {
            registration: Some("closed".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let nobody = app.anonymous();
    let register = json!({ "email": "ana@example.com", "password": "correct horse battery" });
    nobody
        .post_json("/api/v1/auth/register", register)
        .await
        .expect_problem(403, "registration_closed");

    let create = [
        "create",
        "--email",
        "Ana@Example.com",
        "--admin",
        "--name",
        "Ana",
        "--password-stdin",
    ];
    let made = user(&app, &create, "correct horse battery\nanother line\n").await;
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""));
    let mut ana = app.anonymous();
    ana.email = "ana@example.com".to_owned();
    let ana = app.login(&ana).await;
    let me = ana.get(ME).await.expect(200);
    assert_eq!(me["id"], made.out.trim());
    assert_eq!(me["role"], "admin");
    assert_eq!(me["displayName"], "Ana");
    let events = ana.get("/api/v1/events").await.expect(200);
    assert_eq!(tests::actor::each(&events, "type"), ["user.created"]);

    let again = user(&app, &create, "correct horse battery\n").await;
    assert_eq!((again.code, again.out.as_str()), (Some(1), ""));
    assert!(again.err.contains("exists already"), "{}", again.err);
    app.finish().await;
}

#[tokio::test]
async fn a_bad_account_is_refused_with_its_reason() {
    let app = TestApp::spawn().await;
    let email = ["create", "--email", "ana@example.com"];
    for (args, input, reason) in [
        (
            vec!["--password-stdin"],
            "short\n",
            "at least 10 characters",
        ),
        (vec!["--password-stdin"], "", "there is no password"),
        (vec!["--password-stdin", "--name", "x"], "", "2 to 50"),
        (vec![], "correct horse battery\n", "--password-stdin"),
    ] {
        let ended = user(&app, &[&email[..], &args].concat(), input).await;
        assert_eq!(ended.code, Some(1), "{args:?}: {}", ended.err);
        assert!(ended.err.contains(reason), "{args:?}: {}", ended.err);
    }
    let ended = user(&app, &["create", "--email", "ana", "--password-stdin"], "").await;
    assert!(ended.err.contains("--email"), "{}", ended.err);
    // There is no way to give it as an argument.
    let ended = user(&app, &[&email[..], &["--password=x"]].concat(), "").await;
    assert_eq!(ended.code, Some(2));
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    assert_eq!(users, 0);
    app.finish().await;
}

#[tokio::test]
async fn accounts_are_deleted_by_who_means_it() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let delete = ["delete", "--email", "ANA@example.com"];
    let asked = user(&app, &delete, "yes\n").await;
    assert_eq!((asked.code, asked.out.as_str()), (Some(1), ""));
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    ana.get(ME).await.expect(200);

    let delete = [&delete[..], &["--yes"]].concat();
    let deleted = user(&app, &delete, "").await;
    assert_eq!(deleted.out, "ana@example.com is deleted\n");
    // At once, but where Redis was too busy to hear of it.
    tests::eventually("ana is logged out", || async {
        ana.get(ME).await.status == 401
    })
    .await;
    let again = user(&app, &delete, "").await;
    assert!(again.err.contains("no account"), "{}", again.err);
    let root = app.user("root").await;
    app.promote(&root).await;
    let last = ["delete", "--email", "root@example.com", "--yes"];
    let last = user(&app, &last, "").await;
    assert_eq!(last.code, Some(1));
    assert!(last.err.contains("last administrator"), "{}", last.err);
    // It is not what is tested, and takes a quarter of an hour.
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn accounts_are_promoted_demoted_suspended_and_reinstated() {
    let app = TestApp::spawn_live().await;
    let ana = app.user("ana").await;
    let command = async |name: &str| {
        let ended = user(&app, &[name, "--email", "ANA@example.com"], "").await;
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.err);
        ended.out
    };
    assert_eq!(command("promote").await, "ana@example.com is an admin\n");
    assert_eq!(ana.get(ME).await.expect(200)["role"], "admin");
    assert_eq!(command("demote").await, "ana@example.com is no admin\n");
    assert_eq!(ana.get(ME).await.expect(200)["role"], "user");
    command("suspend").await;
    // At once, but where Redis was too busy to hear of it.
    tests::eventually("ana is suspended", || async {
        ana.get(ME).await.status == 403
    })
    .await;
    command("reinstate").await;
    tests::eventually("ana is let in", || async {
        ana.get(ME).await.status == 200
    })
    .await;

    assert_eq!(command("verify").await, "ana@example.com is verified\n");
    let tier = ["set-tier", "--email", "ana@example.com", "--tier"];
    let ended = user(&app, &[&tier[..], &["pro"]].concat(), "").await;
    assert_eq!(ended.out, "ana@example.com has the tier pro\n");
    let me = ana.get(ME).await.expect(200);
    assert_eq!(
        (&me["tier"], &me["isVerified"]),
        (&json!("pro"), &json!(true))
    );
    let told = ana.get("/api/v1/events?type=user.updated").await;
    assert_eq!(told.expect(200)["data"].as_array().unwrap().len(), 6);
    let ended = user(&app, &[&tier[..], &["gold"]].concat(), "").await;
    assert_eq!(ended.code, Some(2));

    let unknown = user(&app, &["promote", "--email", "nobody@example.com"], "").await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("no account"), "{}", unknown.err);
    app.finish().await;
}

//! Logins that go on: refresh tokens, each good once.

use std::time::Duration;

use serde_json::json;
use tests::TestApp;

use crate::sessions::{ME, REFRESH, count_sessions, log_in, refresh, warm, with};

#[tokio::test]
async fn a_refresh_gives_the_next_pair_and_ends_the_present_one() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let first = log_in(&ana).await;
    warm(&app, &with(&ana, &first)).await;
    let next = refresh(&app.anonymous(), &first).await.expect(200);
    assert_eq!(next["user"], first["user"]);
    assert_eq!(next["expiresIn"], 900);
    for token in ["accessToken", "refreshToken"] {
        assert_ne!(next[token], first[token]);
    }
    with(&ana, &first)
        .get(ME)
        .await
        .expect_problem(401, "unauthenticated");
    with(&ana, &next).get(ME).await.expect(200);
    assert_eq!(count_sessions(&ana).await, 2, "it is the same login");

    // Each refresh is good for thirty days more.
    let mut session = next;
    for _ in 0..3 {
        app.advance(Duration::from_hours(29 * 24)).await;
        session = refresh(&ana, &session).await.expect(200);
    }
    with(&ana, &session).get(ME).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn a_refresh_token_that_is_used_twice_ends_its_login_and_no_other() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let other = log_in(&ana).await;
    let first = log_in(&ana).await;
    let second = refresh(&ana, &first).await.expect(200);
    let third = refresh(&ana, &second).await.expect(200);
    warm(&app, &with(&ana, &third)).await;

    refresh(&ana, &first)
        .await
        .expect_problem(401, "refresh_token_reused");
    with(&ana, &third)
        .get(ME)
        .await
        .expect_problem(401, "unauthenticated");
    for session in [&third, &second, &first] {
        refresh(&ana, session)
            .await
            .expect_problem(401, "unauthenticated");
    }
    with(&ana, &other).get(ME).await.expect(200);
    refresh(&ana, &other).await.expect(200);
    app.finish().await;
}

#[tokio::test]
async fn of_refreshes_at_the_same_time_exactly_one_wins() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let session = log_in(&ana).await;
    let replies = futures::future::join_all((0..8).map(|_| refresh(&ana, &session))).await;
    let mut won = 0;
    for reply in replies {
        match reply.status.as_u16() {
            200 => won += 1,
            status => assert_eq!(status, 401, "{}", reply.text),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(count_sessions(&ana).await, 1, "the others ended the login");
    app.finish().await;
}

#[tokio::test]
async fn only_a_good_refresh_token_refreshes() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let session = log_in(&ana).await;
    for bad in [
        "",
        "bcr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        session["accessToken"].as_str().unwrap(),
    ] {
        ana.post_json(REFRESH, json!({ "refreshToken": bad }))
            .await
            .expect_problem(401, "unauthenticated");
    }
    for (body, field) in [
        (json!({}), "/refreshToken"),
        (json!({ "refreshToken": 1 }), "/refreshToken"),
    ] {
        assert_eq!(
            ana.post_json(REFRESH, body).await.expect_bad_fields(),
            [field]
        );
    }
    with(&ana, &json!({ "accessToken": session["refreshToken"] }))
        .get(ME)
        .await
        .expect_problem(401, "unauthenticated");
    app.advance(Duration::from_hours(30 * 24)).await;
    refresh(&ana, &session)
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

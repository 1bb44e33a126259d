//! Getting what was uploaded, whole and in part.

use reqwest::{Method, Response, header::HeaderMap};
use tests::{Actor, TestApp, fixture};

const FILE: &str = "two-lines.jpg";

fn etag_of(bytes: &[u8]) -> String {
    format!("\"{}\"", hex::encode(shared::keyring::sha256(bytes)))
}

/// Uploads a picture, and gives the path of its signed URL.
async fn upload(app: &TestApp, user: &Actor, name: &str) -> String {
    let created = user.upload(name, fixture(FILE), &[]).await.expect(201);
    app.run_jobs().await;
    path_of(&created["attachment"]["url"])
}

/// The path and query of a URL.
pub(crate) fn path_of(url: &serde_json::Value) -> String {
    let url: url::Url = url.as_str().unwrap().parse().unwrap();
    format!("{}?{}", url.path(), url.query().unwrap())
}

async fn get(user: &Actor, method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = user.http.request(method, format!("{}{path}", user.base));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_part_of_a_file_is_given_out() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let path = upload(&app, &ana, "x.jpg").await;
    let file = fixture(FILE);
    let length = file.len();
    for (range, part) in [
        ("bytes=0-99".to_owned(), 0..100),
        ("bytes=100-".to_owned(), 100..length),
        ("bytes=-100".to_owned(), length - 100..length),
        (format!("bytes=5-{}", length + 5), 5..length),
    ] {
        let reply = get(&nobody, Method::GET, &path, &[("range", &range)]).await;
        assert_eq!(reply.status(), 206, "{range}");
        let told = format!("bytes {}-{}/{length}", part.start, part.end - 1);
        assert_eq!(reply.headers()["content-range"], *told, "{range}");
        assert_eq!(reply.headers()["content-type"], "image/jpeg");
        assert_eq!(
            reply.headers()["content-length"],
            *part.len().to_string(),
            "{range}"
        );
        assert_eq!(reply.bytes().await.unwrap(), file[part], "{range}");
    }
    // Several ranges, or none that can be understood: the whole.
    for range in ["bytes=0-1,5-6", "bytes=9-2", "lines=1-2"] {
        let reply = get(&nobody, Method::GET, &path, &[("range", range)]).await;
        assert_eq!(reply.status(), 200, "{range}");
        assert_eq!(reply.headers()["accept-ranges"], "bytes");
        assert!(reply.headers().get("content-range").is_none());
        assert_eq!(reply.bytes().await.unwrap(), file, "{range}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_range_behind_the_end_is_refused_with_the_length() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let path = upload(&app, &ana, "x.jpg").await;
    let length = fixture(FILE).len();
    let behind = format!("bytes={length}-");
    let reply = get(&nobody, Method::GET, &path, &[("range", &behind)]).await;
    assert_eq!(
        reply.headers()["content-range"],
        *format!("bytes */{length}")
    );
    let reply = tests::Reply::of(reply).await;
    reply.expect_problem(416, "range_not_satisfiable");
    // Of a HEAD the range means nothing.
    let reply = get(&nobody, Method::HEAD, &path, &[("range", &behind)]).await;
    assert_eq!(reply.status(), 200);
    app.finish().await;
}

#[tokio::test]
async fn a_client_gets_the_rest_of_the_same_file_only() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let path = upload(&app, &ana, "x.jpg").await;
    let etag = etag_of(&fixture(FILE));
    let reply = get(&nobody, Method::GET, &path, &[]).await;
    assert_eq!(reply.headers()["etag"], *etag);

    for (of, status) in [(etag.as_str(), 206), ("\"another\"", 200)] {
        let rest = [("range", "bytes=10-"), ("if-range", of)];
        let reply = get(&nobody, Method::GET, &path, &rest).await;
        assert_eq!(reply.status(), status, "{of}");
    }
    for method in [Method::GET, Method::HEAD] {
        let has = [("if-none-match", etag.as_str()), ("range", "bytes=10-")];
        let reply = get(&nobody, method, &path, &has).await;
        assert_eq!(reply.status(), 304);
        assert_eq!(reply.headers()["etag"], *etag);
        assert!(header(reply.headers(), "cache-control").is_some());
        assert!(reply.bytes().await.unwrap().is_empty());
    }
    app.finish().await;
}

#[tokio::test]
async fn a_head_tells_what_a_get_would() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let path = upload(&app, &ana, "जाँच \"1\".html").await;
    let (got, told) = (
        get(&nobody, Method::GET, &path, &[]).await,
        get(&nobody, Method::HEAD, &path, &[]).await,
    );
    assert_eq!((got.status(), told.status()), (got.status(), got.status()));
    for name in [
        "content-type",
        "content-length",
        "content-disposition",
        "etag",
        "accept-ranges",
        "x-content-type-options",
        "content-security-policy",
    ] {
        let value = header(got.headers(), name);
        assert!(value.is_some(), "{name} is missing");
        assert_eq!(header(told.headers(), name), value, "{name}");
    }
    // By content, whatever the name says, and never shown as a page.
    assert_eq!(told.headers()["content-type"], "image/jpeg");
    assert_eq!(
        told.headers()["content-disposition"],
        "attachment; filename=\"____ _1_.html\"; filename*=UTF-8''%E0%A4%9C%E0%A4%BE%E0%A4%81%E0%A4%9A%20%221%22.html"
    );
    assert!(told.bytes().await.unwrap().is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_url_that_is_not_ours_gives_nothing_out() {
    let app = TestApp::spawn().await;
    let (ana, nobody) = (app.user("ana").await, app.anonymous());
    let path = upload(&app, &ana, "x.jpg").await;
    let other = upload(&app, &ana, "y.jpg").await;
    let (of_path, of_other) = (
        path.split_once('?').unwrap().0,
        other.split_once('?').unwrap().1,
    );
    for (path, status, code) in [
        (format!("{of_path}?{of_other}"), 404, "not_found"),
        (format!("{path}0"), 404, "not_found"),
        (of_path.to_owned(), 422, "invalid_request"),
        (format!("{of_path}?exp=soon&sig=00"), 422, "invalid_request"),
    ] {
        nobody.get(&path).await.expect_problem(status, code);
    }
    app.finish().await;
}

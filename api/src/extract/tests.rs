use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use serde_json::json;
use tokio::sync::oneshot;

use super::{body::Time, *};
use crate::error::Problem;

#[derive(Debug, deserr::Deserr)]
#[deserr(error = Fields, deny_unknown_fields, rename_all = camelCase)]
#[expect(dead_code, reason = "only its reading is tested")]
struct Body {
    display_name: String,
    count: u8,
    list: Vec<bool>,
}

fn problems(value: serde_json::Value) -> Vec<(String, String)> {
    match read::<Body>(value) {
        Err(Error::Invalid(fields)) => fields
            .into_iter()
            .map(|field| (field.pointer, field.detail))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_bad_field_is_named() {
    let found = problems(json!({ "displayName": 1, "list": [true, "x"], "a/b": 0 }));
    let pointers: Vec<&str> = found.iter().map(|(pointer, _)| pointer.as_str()).collect();
    for pointer in ["/displayName", "/count", "/list/1", "/a~1b"] {
        assert!(
            pointers.contains(&pointer),
            "{pointer} is missing in {pointers:?}"
        );
    }
}

#[test]
fn nul_is_refused_wherever_it_is() {
    let found = problems(json!({ "displayName": "a\0b", "count": 1, "list": [] }));
    assert_eq!(
        found,
        [(
            "/displayName".to_owned(),
            "must not contain U+0000".to_owned()
        )]
    );
}

#[test]
fn of_endless_problems_the_first_are_named() {
    let list = vec![json!(1); 10_000];
    let found = problems(json!({ "displayName": "a", "count": 1, "list": list }));
    assert_eq!(found.len(), MOST_PROBLEMS);
    assert_eq!(found[99].0, "/list/99");
    let list = vec![json!("\0"); 10_000];
    let found = problems(json!({ "displayName": "a", "count": 1, "list": list }));
    assert!(found.len() <= 2 * MOST_PROBLEMS, "{}", found.len());
}

#[test]
fn values_are_counted_but_not_what_stands_in_texts() {
    assert_eq!(values(br#"{"a":"x,[{\"\\","b":[1,2]}"#), 5);
    assert_eq!(values(b"[[],[],[]]"), 7);
}

#[tokio::test]
async fn a_large_body_of_countless_values_is_refused() {
    let dense = format!("[{}]", "0,".repeat(MOST_VALUES + 1));
    let error = parse(dense.into_bytes().into()).await.unwrap_err();
    assert!(matches!(error, Error::Malformed(_)), "{error:?}");
    let long = format!("\"{}\"", ",".repeat(MOST_VALUES + 1));
    assert!(parse(long.into_bytes().into()).await.is_ok());
}

#[tokio::test]
async fn a_body_that_does_not_come_is_the_clients_trouble() {
    let silence = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::new(axum::body::Body::from_stream(silence));
    let bounds = within(Duration::from_millis(1));
    let error = read_body(request, &bounds).await.unwrap_err();
    assert!(!error.is_ours());
    let response = error.into_response();
    let problem = response.extensions().get::<Problem>().unwrap();
    assert_eq!((problem.status, problem.code), (408, "request_timeout"));
}

/// Small, and in time.
fn within(time: Duration) -> Bounds {
    Bounds {
        limit_bytes: 16,
        time: Time::Within(time),
        room: None,
    }
}

/// A body of which one byte comes at once, and the others when it is told.
fn slowly(bytes: usize) -> (Request, oneshot::Sender<()>) {
    let (go_on, told) = oneshot::channel();
    let piece = || Ok::<_, std::io::Error>(Bytes::from_static(b"x"));
    let others = futures::stream::once(told)
        .map(move |_| futures::stream::iter((1..bytes).map(move |_| piece())))
        .flatten();
    let pieces = futures::stream::iter([piece()]).chain(others);
    (Request::new(axum::body::Body::from_stream(pieces)), go_on)
}

#[tokio::test]
async fn a_body_that_is_paced_may_take_its_time() {
    let limit = Duration::from_millis(50);
    let short = within(limit);
    let (body, _waits) = slowly(8);
    let error = read_body(body, &short).await.unwrap_err();
    assert!(matches!(error, Error::SlowBody { .. }), "{error:?}");
    let paced = Bounds {
        time: Time::Paced,
        ..short
    };
    let (body, go_on) = slowly(8);
    let mut reading = pin!(read_body(body, &paced));
    let in_time = tokio::time::timeout(2 * limit, &mut reading).await;
    assert!(in_time.is_err(), "it is waited for");
    go_on.send(()).unwrap();
    assert_eq!(reading.await.unwrap(), "xxxxxxxx");
    let (body, go_on) = slowly(17);
    go_on.send(()).unwrap();
    let error = read_body(body, &paced).await.unwrap_err();
    assert!(
        matches!(error, Error::TooLarge { limit_bytes: 16 }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_body_of_unknown_length_takes_room_once_it_is_large() {
    const MIB: usize = 1 << 20;
    let body = |mebibytes: usize| {
        let piece = |_| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; MIB]));
        let pieces = futures::stream::iter((0..mebibytes).map(piece));
        Request::new(axum::body::Body::from_stream(pieces))
    };
    let room = Room::alone(5 * MIB);
    let bounds = Bounds {
        limit_bytes: 4 * MIB,
        time: Time::Paced,
        room: Some(room.clone()),
    };
    assert_eq!(read_body(body(1), &bounds).await.unwrap().len(), MIB);
    room.take(3 * MIB).unwrap();
    room.leave();
    assert_eq!(read_body(body(2), &bounds).await.unwrap().len(), 2 * MIB);
    // It counts as the largest one, for which there is no room here.
    let full = Bounds {
        room: Some(Room::alone(3 * MIB)),
        ..bounds
    };
    let error = read_body(body(2), &full).await.unwrap_err();
    assert!(matches!(error, Error::Overloaded), "{error:?}");
}

#[test]
fn a_body_that_is_no_object_is_told_so() {
    assert_eq!(
        problems(json!([])),
        [(String::new(), "must be an object, not an array".to_owned())]
    );
}

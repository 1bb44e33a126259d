//! The surface that speaks like `OpenAI`'s API: how much of it there may be at once, and what is left of it.

use std::{path::Path, time::Duration};

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        provider::{Provider, Step, delta, stream},
        transcriber::{TranscriptionServer, verbose},
    },
    process::PATIENCE,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    chat::app,
    chat_streams::Instance,
    openai_chat::{CHAT, error},
    openai_transcriptions::{SOUND, keys, product, request},
};

/// Begins to send a question of 20 MB, and tells what is answered before any of it has come.
async fn claim(actor: &Actor) -> (TcpStream, String) {
    let address = actor.base.strip_prefix("http://").unwrap();
    let token = actor.token.as_deref().unwrap();
    let head = format!(
        "POST {CHAT} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 20000000\r\nexpect: 100-continue\r\n\r\n"
    );
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answered = Vec::new();
    let hearing = async {
        while !answered.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            let read = socket.read_buf(&mut answered).await.unwrap();
            assert!(read > 0, "it says nothing");
        }
    };
    tokio::time::timeout(PATIENCE, hearing)
        .await
        .expect("an answer in time");
    (socket, String::from_utf8(answered).unwrap())
}

#[tokio::test]
async fn large_questions_share_128_mebibytes_until_they_are_answered() {
    let provider = Provider::start(|_| stream(vec![delta("One "), Step::Hold])).await;
    let (app, ana) = app(&provider).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let (socket, told) = claim(&ana).await;
        assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
        open.push(socket);
    }
    // One that is answered needs no room any more, though its answer goes on.
    let url = format!("data:image/png;base64,{}", "A".repeat(19 << 20));
    let content = json!([{ "type": "image_url", "image_url": { "url": url } }]);
    let body = json!({ "model": "gpt-4o-mini", "stream": true, "messages": [{ "role": "user", "content": content }] });
    let request = ana.request(Method::POST, CHAT).json(&body);
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut answered = String::new();
    while !answered.contains("One") {
        let piece = response.chunk().await.unwrap().unwrap();
        answered.push_str(std::str::from_utf8(&piece).unwrap());
    }
    let (socket, told) = claim(&ana).await;
    assert!(told.starts_with("HTTP/1.1 100 "), "{told}");
    open.push(socket);
    let (_, told) = claim(&ana).await;
    for piece in [
        "HTTP/1.1 503 ",
        "retry-after: 1\r\n",
        "retry-after-ms: 1000\r\n",
        "x-should-retry: true\r\n",
    ] {
        assert!(told.contains(piece), "{piece}: {told}");
    }
    drop(open);
    eventually("there is room again", async || {
        claim(&ana).await.1.starts_with("HTTP/1.1 100 ")
    })
    .await;
    drop(response);
    app.finish().await;
}

#[tokio::test]
async fn eight_sounds_are_there_at_once_and_the_ninth_is_told_to_come_again() {
    let held = verbose("english", "Late.").set_delay(Duration::from_mins(5));
    let groq = TranscriptionServer::scripted(vec![held]).await;
    let (app, ana) = product(&groq).await;
    let send = || {
        let sound = SOUND.to_vec();
        request(&ana, sound, &[("model", "whisper-large-v3")])
    };
    let sending = join_all((0..8).map(|_| send().send()));
    let ninth = async {
        eventually("all are sent on", async || groq.requests().await.len() == 8).await;
        ana.send(send()).await
    };
    let reply = tokio::select! {
        _ = sending => panic!("nobody answers them"),
        reply = ninth => reply,
    };
    assert_eq!(reply.headers["retry-after-ms"], "1000");
    error(reply, 503, "overloaded");
    // Those whose clients have gone make room.
    tokio::select! {
        _ = send().send() => panic!("nobody answers it"),
        () = eventually("the next is sent on", async || groq.requests().await.len() == 9) => {}
    }
    app.finish().await;
}

/// Files in folders of folders, as sounds are.
fn sounds(base: &Path) -> usize {
    let inside = |path: &Path| {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let folders = inside(base).into_iter().flat_map(|path| inside(&path));
    folders.map(|path| inside(&path).len()).sum()
}

#[tokio::test]
async fn a_sound_of_an_instance_that_is_killed_goes_at_the_next_start() {
    let held = verbose("english", "Late.").set_delay(Duration::from_mins(5));
    let groq = TranscriptionServer::scripted(vec![held]).await;
    let provider = Provider::saying(&["Yes."]).await;
    let app = TestApp::with(Options {
        live: true,
        providers: keys(&groq),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let folder = tempfile::tempdir().unwrap();
    let (temporary, groq_url) = (folder.path().display().to_string(), groq.base_url());
    let variables = [
        ("TMPDIR", temporary.as_str()),
        ("GROQ_API_KEYS", "acme:gsk_1"),
        ("GROQ_BASE_URL", groq_url.as_str()),
    ];
    let mut instance = Instance::start(&app, &provider, &variables).await;
    let there = instance.of(&ana);
    let sending = request(&there, SOUND.to_vec(), &[("model", "whisper-large-v3")]).send();
    let killing = async {
        eventually("it is sent on", async || !groq.requests().await.is_empty()).await;
        assert_eq!(sounds(folder.path()), 1);
        instance.kill().await;
    };
    let (sent, ()) = tokio::join!(sending, killing);
    assert!(sent.is_err());
    assert_eq!(sounds(folder.path()), 1);
    let _next = Instance::start(&app, &provider, &variables).await;
    assert_eq!(sounds(folder.path()), 0);
    app.finish().await;
}

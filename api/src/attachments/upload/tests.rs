//! Uploads over real sockets, at speeds that the tests choose.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, response::IntoResponse as _, routing::post};
use shared::config::StorageConfig;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::interval,
};
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// 1,000 bytes in any 400 ms.
const TEST_SPEED: Speed = Speed {
    window: Duration::from_millis(400),
    bytes: 1_000,
};

struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    _serving: AbortOnDropHandle<()>,
}

async fn serve() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&StorageConfig::Folder(folder.path().to_owned())).unwrap();
    let limits = Limits {
        image_bytes: 100_000,
        document_bytes: 10_000,
        audio_bytes: 200_000,
        speed: TEST_SPEED,
    };
    let handler = move |request: Request| async move {
        match receive(
            request,
            &storage,
            &|_| Box::pin(async { Ok(()) }),
            UserId::new(),
            &limits,
        )
        .await
        {
            Ok(uploaded) => {
                uploaded.content.keep();
                uploaded.file.media_type.into_response()
            }
            Err(error) => error.into_response(),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/", post(handler));
    #[expect(clippy::disallowed_methods, reason = "the test owns it")]
    let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Server {
        address,
        folder,
        _serving: AbortOnDropHandle::new(serving),
    }
}

/// Sends the beginning of a form with a file of `length` bytes, then the file in pieces, one every 20 ms; gives the
/// answer as it was sent. Without pieces the client stands still.
async fn upload(server: &Server, file: &[u8], length: usize, piece: Option<usize>) -> String {
    let head = "--b\r\ncontent-disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\n";
    let end = "\r\n--b--\r\n";
    let length = head.len() + length + end.len();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n{head}"
    );
    let (mut reader, mut writer) = TcpStream::connect(server.address)
        .await
        .unwrap()
        .into_split();
    let sending = async {
        writer.write_all(head.as_bytes()).await?;
        let mut tick = interval(Duration::from_millis(20));
        for piece in file.chunks(piece.unwrap_or(usize::MAX)) {
            tick.tick().await;
            writer.write_all(piece).await?;
        }
        if piece.is_none() {
            std::future::pending::<()>().await;
        }
        writer.write_all(end.as_bytes()).await
    };
    let mut answer = Vec::new();
    let reading = async {
        // The server may close before it has taken everything.
        let _ = reader.read_to_end(&mut answer).await;
    };
    let both = async {
        tokio::select! {
            () = reading => {}
            () = async { let _ = sending.await; std::future::pending().await } => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(20), both)
        .await
        .expect("an answer");
    String::from_utf8(answer).unwrap()
}

fn picture(length: usize) -> Vec<u8> {
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.resize(length, 0);
    picture
}

#[tokio::test]
async fn a_slow_upload_is_ended_and_leaves_nothing() {
    let server = serve().await;
    // 10 bytes in 20 ms are 200 in the window.
    let trickle = upload(&server, &picture(90_000), 90_000, Some(10)).await;
    assert!(trickle.starts_with("HTTP/1.1 408 "), "{trickle}");
    let still = upload(&server, &picture(500), 90_000, None).await;
    assert!(still.starts_with("HTTP/1.1 408 "), "{still}");
    let nothing = upload(&server, &[], 90_000, None).await;
    assert!(nothing.starts_with("HTTP/1.1 408 "), "{nothing}");
    assert!(!server.folder.path().join("objects").exists());
}

#[tokio::test]
async fn an_upload_of_enough_speed_may_take_its_time() {
    let server = serve().await;
    // 75 pieces take 1.5 s, nearly four windows.
    let steady = upload(&server, &picture(75_000), 75_000, Some(1_000)).await;
    assert!(steady.ends_with("image/png"), "{steady}");
    // What is small is never measured.
    let small = upload(&server, &picture(40), 40, Some(10)).await;
    assert!(small.ends_with("image/png"), "{small}");
}

#[tokio::test]
async fn each_kind_has_its_own_limit() {
    let server = serve().await;
    let mut document = b"%PDF-1.7\n".to_vec();
    document.resize(9_000, b' ');
    let whole = upload(&server, &document, document.len(), Some(9_999)).await;
    assert!(whole.ends_with("application/pdf"), "{whole}");
    document.resize(11_000, b' ');
    let large = upload(&server, &document, document.len(), Some(99_999)).await;
    assert!(large.starts_with("HTTP/1.1 413 "), "{large}");
    // A picture may be longer.
    let fine = upload(&server, &picture(95_000), 95_000, Some(95_000)).await;
    assert!(fine.ends_with("image/png"), "{fine}");
    let over = upload(&server, &[], 300_000, None).await;
    assert!(over.starts_with("HTTP/1.1 413 "), "{over}");
}

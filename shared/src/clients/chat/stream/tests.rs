use super::*;

async fn read(kind: &str, body: &'static str) -> (String, Result<Option<Ending>, AnswerError>) {
    let response = http::Response::builder()
        .header(CONTENT_TYPE, kind)
        .body(body)
        .unwrap();
    let mut answer = Answer::read(response.into(), Duration::from_secs(1));
    let mut text = String::new();
    loop {
        match answer.next().await {
            Ok(Some(Piece::Text(more) | Piece::Refusal(more))) => text.push_str(&more),
            Ok(Some(Piece::Thought(_) | Piece::Call(_) | Piece::Logprobs(_))) => {}
            Ok(Some(Piece::End(end))) => return (text, Ok(Some(end))),
            Ok(None) => return (text, Ok(None)),
            Err(error) => return (text, Err(error)),
        }
    }
}

const STREAM: &str = "text/event-stream";

#[tokio::test]
async fn a_stream_is_read_whatever_stands_between() {
    let (text, end) = read(
        STREAM,
        ": OPENROUTER PROCESSING\n\n\n\nevent: x\ndata: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\r\n\r\n\
         data:{\"choices\":[{\"delta\":{\"content\":\"lo\\u0000\"}}]}\n\ndata:\n\n\
         data: {\"choices\":[{\"delta\":{},\ndata: \"finish_reason\":\"stop\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
    )
    .await;
    let end = end.unwrap().unwrap();
    assert_eq!((text.as_str(), end.finish.as_str()), ("Hello", "stop"));
    assert_eq!(end.usage.unwrap().output, 2);
}

#[tokio::test]
async fn what_was_thought_before_calls_comes_with_them() {
    let thought = "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"Is it\"}}]}\n\n\
         data: {\"choices\":[{\"delta\":{\"reasoning_content\":\" cold?\\u0000\"}}]}\n\n";
    let call = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"weather\"}}]}}]}\n\n";
    let end = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for (call, thoughts) in [(call, "Is it cold?"), ("", "")] {
        let body: &'static str = Box::leak(format!("{thought}{call}{end}").into_boxed_str());
        let (_, ended) = read(STREAM, body).await;
        assert_eq!(ended.unwrap().unwrap().thoughts, thoughts, "{call}");
    }
}

#[tokio::test]
async fn an_answer_in_one_piece_is_read_too() {
    let whole = "\n\n{\n \"choices\": [{\"message\": {\"content\": \"Hi\"},\n \"finish_reason\": \"stop\"}]\n}\n";
    for kind in ["application/json; charset=utf-8", "text/plain", STREAM] {
        let (text, end) = read(kind, whole).await;
        assert_eq!(text, "Hi", "{kind}");
        assert_eq!(end.unwrap().unwrap().finish, "stop", "{kind}");
    }
}

#[tokio::test]
async fn what_is_no_whole_answer_is_an_error_after_what_was_said() {
    let said = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
    for (rest, error) in [
        ("", "cut off"),
        ("data: [DONE]\n\n", "cut off"),
        (
            "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
            "overloaded",
        ),
        ("data: {nonsense}\n\n", "cannot be read"),
        ("data: {\"choices\":[\n\n", "ends too early"),
    ] {
        let body: &'static str = Box::leak(format!("{said}{rest}").into_boxed_str());
        let (text, end) = read(STREAM, body).await;
        assert_eq!(text, "Hi", "{rest}");
        let told = end.unwrap_err().to_string();
        assert!(told.contains(error), "{rest}: {told}");
    }
    for kind in ["application/json", STREAM] {
        let (_, end) = read(
            kind,
            "{\"error\":{\"message\":\"no credits\",\"code\":402}}",
        )
        .await;
        assert!(end.unwrap_err().to_string().contains("no credits"));
    }
    let long: &'static str =
        Box::leak(format!("data: {}\n\n", "x".repeat(10 << 20)).into_boxed_str());
    assert!(matches!(
        read(STREAM, long).await.1,
        Err(AnswerError::TooLong)
    ));
}

#[tokio::test]
async fn what_was_charged_is_told_with_the_figures() {
    let body = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n\
         data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"cost\":0.00012}}\n\n";
    let response = http::Response::builder().body(body).unwrap();
    let mut answer = Answer::read(response.into(), Duration::from_secs(1));
    while answer.next().await.unwrap().is_some() {}
    assert_eq!(answer.cost_microusd(), Some(120));
    assert_eq!(answer.usage().unwrap().output, 2);
}

/// Events without end, each with this choice.
async fn endless(choice: &serde_json::Value) -> (usize, AnswerError) {
    let event = format!("data: {}\n\n", serde_json::json!({ "choices": [choice] }));
    let pieces = futures::stream::repeat(event).map(Ok::<_, io::Error>);
    let body = reqwest::Body::wrap_stream(pieces);
    let response = http::Response::builder().body(body).unwrap();
    let mut answer = Answer::read(response.into(), Duration::from_secs(1));
    let mut kept = 0;
    loop {
        match answer.next().await {
            Ok(Some(Piece::Logprobs(more))) => kept += more.bytes(),
            Ok(_) => {}
            Err(error) => return (kept, error),
        }
    }
}

#[tokio::test]
async fn likelihoods_are_bounded_by_what_they_take() {
    let entry = serde_json::json!({ "token": "x".repeat(200_000), "logprob": -0.1 });
    // Or by what keeping them takes.
    let small = vec![1; 100_000];
    for list in [serde_json::json!([entry]), serde_json::json!(small)] {
        let choice = serde_json::json!({ "delta": {}, "logprobs": { "content": list } });
        let (kept, error) = endless(&choice).await;
        assert!(matches!(error, AnswerError::TooLong), "{error:?}");
        assert!((MAX_LOGPROBS_BYTES / 2..=MAX_LOGPROBS_BYTES).contains(&kept));
    }
}

#[tokio::test]
async fn silence_ends_an_answer() {
    let body = reqwest::Body::wrap_stream(futures::stream::pending::<io::Result<Vec<u8>>>());
    let response = http::Response::builder().body(body).unwrap();
    let mut answer = Answer::read(response.into(), Duration::from_millis(1));
    assert!(matches!(answer.next().await, Err(AnswerError::Silent(_))));
}

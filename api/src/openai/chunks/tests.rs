use shared::clients::chat::ToolCall;

use super::*;

fn chunks() -> Chunks {
    let id = MessageId(uuid::Uuid::nil());
    Chunks::new(id, 7, "gpt-4o".to_owned())
}

fn parse(event: &str) -> Value {
    let data = event.strip_prefix("data: ").unwrap().trim_end();
    serde_json::from_str(data).unwrap()
}

#[test]
fn pieces_have_a_constant_head_and_a_place_for_figures_if_they_are_wanted() {
    let mut plain = chunks();
    let role = parse(&plain.role());
    assert_eq!(role["id"], "chatcmpl-00000000000000000000000000000000");
    assert_eq!(
        role["choices"][0],
        json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null })
    );
    assert!(role.get("usage").is_none());
    assert_eq!(
        plain
            .end("stop", &AnswerUsage::default())
            .matches("data:")
            .count(),
        2
    );

    let mut counted = chunks();
    counted.wants_usage = true;
    let text = parse(&counted.piece(Piece::Text("a\nb".to_owned())).unwrap());
    assert_eq!(text["usage"], Value::Null);
    assert_eq!(text["choices"][0]["delta"], json!({ "content": "a\nb" }));
    let usage = AnswerUsage {
        input_tokens: 3,
        output_tokens: 2,
        ..AnswerUsage::default()
    };
    let end = counted.end("length", &usage);
    let events: Vec<&str> = end.split_terminator("\n\n").collect();
    assert_eq!(parse(events[0])["choices"][0]["finish_reason"], "length");
    let last = parse(events[1]);
    assert_eq!(
        (&last["choices"], &last["usage"]["total_tokens"]),
        (&json!([]), &json!(5))
    );
    assert_eq!(events[2], "data: [DONE]");
}

#[test]
fn likelihoods_go_along_with_their_words() {
    let mut chunks = chunks();
    let likely = |token: &str| {
        let told = json!({ "content": [{ "token": token }], "refusal": null });
        Logprobs::read(&told).unwrap()
    };
    assert!(chunks.piece(Piece::Logprobs(likely("a"))).is_none());
    assert!(chunks.piece(Piece::Logprobs(likely("b"))).is_none());
    let text = parse(&chunks.piece(Piece::Text("ab".to_owned())).unwrap());
    assert_eq!(
        text["choices"][0]["logprobs"]["content"],
        json!([{ "token": "a" }, { "token": "b" }])
    );
    let next = parse(&chunks.piece(Piece::Text("c".to_owned())).unwrap());
    assert!(next["choices"][0].get("logprobs").is_none());
    // Many do not wait.
    let long = "x".repeat(WAITING_BYTES);
    let alone = parse(&chunks.piece(Piece::Logprobs(likely(&long))).unwrap());
    let choice = &alone["choices"][0];
    assert_eq!(choice["delta"], json!({}));
    assert_eq!(choice["logprobs"]["content"][0]["token"], long.as_str());
}

#[tokio::test]
async fn a_whole_answer_is_written_alike_whether_it_is_large_or_not() {
    for size in [1, 1 << 20] {
        let entry = json!({ "token": "x".repeat(size), "logprob": -0.5 });
        let told = json!({ "content": [entry], "refusal": null });
        let mut said = Said::of_text("a\"b".to_owned());
        for _ in 0..2 {
            said.add(Piece::Logprobs(Logprobs::read(&told).unwrap()));
        }
        let whole = chunks().whole(said, "stop", &AnswerUsage::default());
        let written: Value = serde_json::from_slice(&whole.write().await.unwrap()).unwrap();
        let choice = &written["choices"][0];
        assert_eq!(choice["message"]["content"], "a\"b");
        assert_eq!(
            choice["logprobs"],
            json!({ "content": [entry, entry], "refusal": null })
        );
        assert_eq!(written["object"], "chat.completion");
        assert!(written.get("conversation_id").is_none());
    }
}

#[test]
fn a_call_that_comes_whole_is_told_in_two_pieces() {
    let part = ToolCallPart {
        place: 0,
        begun: Some(("a".to_owned(), "look".to_owned())),
        arguments: "{}".to_owned(),
        extra: None,
    };
    let events = chunks().piece(Piece::Call(part)).unwrap();
    let calls: Vec<Value> = events
        .split_terminator("\n\n")
        .map(|event| parse(event)["choices"][0]["delta"]["tool_calls"][0].clone())
        .collect();
    assert_eq!(
        calls,
        [
            json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "look", "arguments": "" } }),
            json!({ "index": 0, "function": { "arguments": "{}" } }),
        ]
    );
}

#[test]
fn a_whole_answer_has_null_where_nothing_is_said() {
    let call = ToolCall {
        id: "a".to_owned(),
        name: "look".to_owned(),
        arguments: "{}".to_owned(),
        extra: None,
    };
    let mut said = Said::default();
    said.calls.push(call);
    let whole = chunks().whole(said, "tool_calls", &AnswerUsage::default());
    let whole = json!(whole.body);
    let message = &whole["choices"][0]["message"];
    assert_eq!(
        (&message["content"], &message["refusal"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        message["tool_calls"],
        json!([{ "id": "a", "type": "function", "function": { "name": "look", "arguments": "{}" } }])
    );
    let empty = chunks().whole(Said::default(), "stop", &AnswerUsage::default());
    let empty = json!(empty.body);
    assert_eq!(empty["choices"][0]["message"]["content"], "");
}

#[test]
fn every_end_is_one_that_clients_know() {
    let ending = |word: &str, calls: usize| {
        let ending = Ending {
            finish: word.to_owned(),
            usage: None,
            calls: vec![ToolCall::default(); calls],
            thoughts: String::new(),
        };
        finish(&ending)
    };
    assert_eq!(ending("stop", 0), "stop");
    assert_eq!(ending("stop", 1), "tool_calls");
    assert_eq!(ending("MAX_TOKENS", 0), "length");
    assert_eq!(ending("SAFETY", 0), "content_filter");
    assert_eq!(ending("eos", 0), "stop");
}

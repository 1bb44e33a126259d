//! The crate `async-openai` at `/v1`. Its types are strict by themselves. It knows no `retry-after-ms` and no `x-should-retry`: it
//! waits for whole seconds of `retry-after`, and gives up at once only where the error's type is `insufficient_quota`.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::{ApiErrorResponse, OpenAIError},
    middleware::ReqwestService,
    types::{
        audio::{
            AudioInput, AudioResponseFormat, CreateTranscriptionRequest, TimestampGranularity,
            TranscriptionUsage,
        },
        chat::{
            ChatCompletionMessageToolCalls, CreateChatCompletionRequest,
            CreateChatCompletionStreamResponse, FinishReason, Role,
        },
        embeddings::CreateEmbeddingRequest,
    },
};
use futures::StreamExt as _;
use serde_json::{Value, json};
use tests::{eventually, exposition::value, fakes::openai::SAID, sound::say};

use crate::{
    sdk::{House, api_key, expect_left},
    transcriptions,
};

const MODEL: &str = "gpt-4o-mini";

/// As it is when nothing is said.
fn client(house: &House) -> Client<OpenAIConfig> {
    client_of(house, &house.key)
}

fn client_of(house: &House, key: &str) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new()
        .with_api_base(format!("{}/v1", house.app.base))
        .with_api_key(key);
    Client::build(house.ana.http.clone(), config)
}

/// Without its own retries.
fn impatient(house: &House) -> Client<OpenAIConfig> {
    client(house).with_http_service(ReqwestService::new(house.ana.http.clone()))
}

fn request(body: Value) -> CreateChatCompletionRequest {
    serde_json::from_value(body).expect("a request as it is documented")
}

fn question(text: &str) -> CreateChatCompletionRequest {
    question_of(MODEL, text)
}

fn question_of(model: &str, text: &str) -> CreateChatCompletionRequest {
    request(json!({ "model": model, "messages": [{ "role": "user", "content": text }] }))
}

fn weather(more: &[Value]) -> CreateChatCompletionRequest {
    let mut messages = vec![json!({ "role": "user", "content": "What is the weather in Lahore?" })];
    messages.extend_from_slice(more);
    request(json!({
        "model": MODEL,
        "messages": messages,
        "tools": [{ "type": "function", "function": {
            "name": "get_weather",
            "parameters": { "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] },
        } }],
    }))
}

#[track_caller]
fn refused<T: Debug>(answer: Result<T, OpenAIError>) -> ApiErrorResponse {
    match answer {
        Err(OpenAIError::ApiError(error)) => error,
        other => panic!("no error of the API: {other:?}"),
    }
}

#[track_caller]
fn expect_error(error: &ApiErrorResponse, status: u16, code: &str) {
    assert_eq!(error.status_code.as_u16(), status, "{error}");
    assert_eq!(error.api_error.code.as_deref(), Some(code), "{error}");
    assert!(error.api_error.r#type.is_some(), "{error}");
    assert!(!error.api_error.message.is_empty(), "{error}");
}

/// All chunks of a stream.
async fn chunks(
    client: &Client<OpenAIConfig>,
    request: CreateChatCompletionRequest,
) -> Vec<CreateChatCompletionStreamResponse> {
    let stream = client.chat().create_stream(request).await.unwrap();
    let chunks: Vec<_> = stream.collect().await;
    chunks.into_iter().map(Result::unwrap).collect()
}

fn words(chunks: &[CreateChatCompletionStreamResponse]) -> String {
    let choices = chunks.iter().flat_map(|chunk| &chunk.choices);
    choices
        .filter_map(|choice| choice.delta.content.as_deref())
        .collect()
}

#[tokio::test]
async fn it_chats_and_streams() {
    let house = House::start().await;
    let client = client(&house);
    let answer = client.chat().create(question("What is the sea?")).await;
    let answer = answer.unwrap();
    assert_eq!(
        (answer.object.as_str(), answer.model.as_str()),
        ("chat.completion", MODEL)
    );
    let choice = &answer.choices[0];
    assert_eq!(choice.message.role, Role::Assistant);
    assert_eq!(choice.message.content.as_deref(), Some("Salt and water."));
    assert_eq!(choice.finish_reason, Some(FinishReason::Stop));
    assert_eq!(answer.usage.unwrap().total_tokens, 14);

    let mut asked = question("What is the sea?");
    let told = chunks(&client, asked.clone()).await;
    assert_eq!(words(&told), "Salt and water.");
    assert!(told.iter().all(|chunk| chunk.id == told[0].id
        && chunk.object == "chat.completion.chunk"
        && chunk.usage.is_none()));
    let ends: Vec<_> = told
        .iter()
        .filter_map(|chunk| chunk.choices[0].finish_reason)
        .collect();
    assert_eq!(ends, [FinishReason::Stop]);

    asked.stream_options = serde_json::from_value(json!({ "include_usage": true })).unwrap();
    let mut told = chunks(&client, asked).await;
    let last = told.pop().unwrap();
    assert!(last.choices.is_empty(), "{last:?}");
    assert_eq!(last.usage.unwrap().total_tokens, 14);
    assert_eq!(words(&told), "Salt and water.");
    house.expect_stateless().await;
    house.finish().await;
}

#[tokio::test]
async fn it_calls_tools() {
    let house = House::start().await;
    let client = client(&house);
    let answer = client.chat().create(weather(&[])).await.unwrap();
    assert_eq!(
        answer.choices[0].finish_reason,
        Some(FinishReason::ToolCalls)
    );
    let calls = answer.choices[0].message.tool_calls.as_ref().unwrap();
    let [ChatCompletionMessageToolCalls::Function(call)] = &calls[..] else {
        panic!("{calls:?}");
    };
    assert_eq!(
        (call.id.as_str(), call.function.name.as_str()),
        ("call_1", "get_weather")
    );

    let told = chunks(&client, weather(&[])).await;
    let pieces: Vec<_> = told
        .iter()
        .filter_map(|chunk| chunk.choices[0].delta.tool_calls.as_ref())
        .flatten()
        .collect();
    assert!(pieces.iter().all(|piece| piece.index == 0), "{pieces:?}");
    let name = pieces[0].function.as_ref().unwrap().name.as_deref();
    assert_eq!(
        (pieces[0].id.as_deref(), name),
        (Some("call_1"), Some("get_weather"))
    );
    let arguments: String = pieces
        .iter()
        .filter_map(|piece| piece.function.as_ref()?.arguments.as_deref())
        .collect();
    let arguments: Value = serde_json::from_str(&arguments).unwrap();
    assert_eq!(arguments, json!({ "city": "Lahore" }));

    let result = [
        json!({ "role": "assistant", "tool_calls": [call_of(&arguments)] }),
        json!({ "role": "tool", "tool_call_id": "call_1", "content": "31 °C" }),
    ];
    let answer = client.chat().create(weather(&result)).await.unwrap();
    assert_eq!(
        answer.choices[0].message.content.as_deref(),
        Some("31 degrees.")
    );
    house.expect_stateless().await;
    house.finish().await;
}

fn call_of(arguments: &Value) -> Value {
    json!({ "id": "call_1", "type": "function",
            "function": { "name": "get_weather", "arguments": arguments.to_string() } })
}

#[tokio::test]
async fn it_lists_models_and_embeds_texts() {
    let house = House::start().await;
    let client = client(&house);
    let listed = client.models().list().await.unwrap();
    for name in [MODEL, "example/our-model"] {
        let model = listed.data.iter().find(|model| model.id == name);
        let alone = client.models().retrieve(name).await.unwrap();
        assert_eq!(model, Some(&alone));
    }
    let error = refused(client.models().retrieve("no/such-model").await);
    expect_error(&error, 404, "model_not_found");

    let embedding = |more: Value| -> CreateEmbeddingRequest {
        let mut body = json!({ "model": "text-embedding-3-small", "input": ["salt", "water"] });
        if let Some(format) = more.as_str() {
            body["encoding_format"] = format.into();
        }
        serde_json::from_value(body).unwrap()
    };
    let answer = client.embeddings().create(embedding(Value::Null)).await;
    let answer = answer.unwrap();
    assert!(answer.usage.prompt_tokens > 0);
    let plain: Vec<Vec<f32>> = answer.data.into_iter().map(|one| one.embedding).collect();
    let wanted = json!([[4.0, 0.5, -1.0, 0.0], [5.0, 0.5, -1.0, 1.0]]);
    assert_eq!(json!(plain), wanted);
    let packed = embedding("base64".into());
    let answer = client.embeddings().create_base64(packed).await.unwrap();
    let packed: Vec<Vec<f32>> = answer
        .data
        .into_iter()
        .map(|one| one.embedding.into())
        .collect();
    assert_eq!(json!(packed), wanted);
    house.finish().await;
}

#[tokio::test]
async fn it_transcribes_sounds() {
    let house = House::start().await;
    let worker = house.app.start_worker();
    let client = client(&house);
    let sound = say(transcriptions::SAID);
    let request = |format: AudioResponseFormat| CreateTranscriptionRequest {
        file: AudioInput::from_vec_u8("said.wav".to_owned(), sound.clone()),
        model: "whisper-1".to_owned(),
        response_format: Some(format),
        ..CreateTranscriptionRequest::default()
    };
    let audio = client.audio();
    let heard = audio
        .transcription()
        .create(request(AudioResponseFormat::Json))
        .await;
    let heard = heard.unwrap();
    assert_eq!(heard.text.trim(), SAID);
    assert!(
        matches!(&heard.usage, TranscriptionUsage::Duration(usage) if usage.seconds > 0.0),
        "{:?}",
        heard.usage
    );
    let verbose = CreateTranscriptionRequest {
        timestamp_granularities: Some(vec![
            TimestampGranularity::Word,
            TimestampGranularity::Segment,
        ]),
        ..request(AudioResponseFormat::VerboseJson)
    };
    let heard = audio.transcription().create_verbose_json(verbose).await;
    let heard = heard.unwrap();
    let words: Vec<String> = heard
        .words
        .unwrap()
        .into_iter()
        .map(|one| one.word)
        .collect();
    assert_eq!(words.join(" "), SAID);
    assert_eq!(heard.segments.unwrap()[0].text.trim(), SAID);
    for (format, beginning) in [
        (AudioResponseFormat::Text, SAID),
        (AudioResponseFormat::Srt, "1\n00:00:00,"),
        (AudioResponseFormat::Vtt, "WEBVTT\n\n"),
    ] {
        let raw = audio.transcription().create_raw(request(format)).await;
        let raw = String::from_utf8(raw.unwrap().to_vec()).unwrap();
        assert!(raw.starts_with(beginning) && raw.contains(SAID), "{raw:?}");
    }
    eventually("its jobs have ended", async || {
        house.app.count_live_jobs().await == 0
    })
    .await;
    worker.shutdown().await;
    house.finish().await;
}

#[tokio::test]
async fn it_knows_every_error() {
    let house = House::start().await;
    let stranger = client_of(&house, "bck_wrong");
    let error = refused(stranger.chat().create(question("Hi")).await);
    expect_error(&error, 401, "invalid_api_key");

    let reader = api_key(&house.ana, &["read"]).await;
    let reader = client_of(&house, &reader);
    assert!(!reader.models().list().await.unwrap().data.is_empty());
    let error = refused(reader.chat().create(question("Hi")).await);
    expect_error(&error, 403, "insufficient_scope");

    let http = house.ana.http.clone();
    let nowhere = OpenAIConfig::new()
        .with_api_base("http://127.0.0.1:2/v1")
        .with_api_key(&house.key);
    let nowhere = Client::build(http.clone(), nowhere).with_http_service(ReqwestService::new(http));
    match nowhere.chat().create(question("Hi")).await {
        Err(OpenAIError::Reqwest(error)) => assert!(error.is_connect(), "{error}"),
        other => panic!("no error of the connection: {other:?}"),
    }

    let client = impatient(&house);
    let chat = client.chat();
    let unknown = question_of("gpt-4o-mni", "Hi");
    let error = refused(chat.create(unknown.clone()).await);
    expect_error(&error, 404, "model_not_found");
    let streamed = chat.create_stream(unknown).await;
    expect_error(&refused(streamed.map(|_| ())), 404, "model_not_found");

    let mut hot = question("Hi");
    hot.temperature = Some(9.0);
    let error = refused(chat.create(hot).await);
    assert_eq!(error.status_code.as_u16(), 400, "{error}");
    assert_eq!(
        error.api_error.r#type.as_deref(),
        Some("invalid_request_error")
    );
    assert_eq!(error.api_error.param.as_deref(), Some("temperature"));

    let limited = question_of("llama-3.1-8b-instant", "Leave me.");
    let error = refused(chat.create(limited).await);
    assert_eq!(error.status_code.as_u16(), 429, "{error}");

    // The whole body is its message.
    let error = refused(chat.create(question_of("deepseek-flash", "Be away.")).await);
    assert!(error.status_code.is_server_error(), "{error}");
    let body: Value = serde_json::from_str(&error.api_error.message).unwrap();
    assert!(body["error"]["code"].is_string(), "{body}");

    let stream = chat.create_stream(question("Break off.")).await.unwrap();
    let mut told: Vec<_> = stream.collect().await;
    let Some(Err(OpenAIError::JSONDeserialize(_, content))) = told.pop() else {
        panic!("no error at the end: {told:?}");
    };
    let content: Value = serde_json::from_str(&content).unwrap();
    assert!(content["error"]["message"].is_string(), "{content}");
    let told: Vec<_> = told.into_iter().map(Result::unwrap).collect();
    assert_eq!(words(&told), "Half");
    house.finish().await;
}

#[tokio::test]
async fn its_own_retries_obey() {
    let house = House::start().await;
    let client = client(&house);
    for (model, text, times, least) in [
        // The product leaves an account alone for a second at least, and it waits for as long as it is told.
        (MODEL, "Be busy once.", 2, Duration::from_millis(900)),
        ("deepseek-flash", "Be away twice.", 3, Duration::ZERO),
    ] {
        let began = Instant::now();
        let answer = client.chat().create(question_of(model, text)).await;
        let took = began.elapsed();
        assert!(took >= least, "{text} {took:?}");
        let answer = answer.unwrap();
        assert_eq!(
            answer.choices[0].message.content.as_deref(),
            Some("At last.")
        );
        assert_eq!(house.times(text), times, "{text}");
    }
    // It was not refused a second time because it did not wait.
    let page = house.ana.get("/api/metrics").await.text;
    let limited = r#"http_requests_total{method="POST",route="/v1/chat/completions",status="429"}"#;
    assert_eq!(value(&page, limited), Some(1.0), "{page}");
    // The day is used up: it would wait for eleven hours.
    for _ in 0..2 {
        let (chat, asked) = (
            client.chat(),
            question_of("llama-3.1-8b-instant", "Be spent."),
        );
        let answer = tokio::time::timeout(Duration::from_secs(5), chat.create(asked));
        let error = refused(answer.await.expect("an answer at once"));
        assert_eq!(error.status_code.as_u16(), 429, "{error}");
        assert_eq!(
            error.api_error.r#type.as_deref(),
            Some("insufficient_quota")
        );
    }
    assert_eq!(house.times("Be spent."), 1);
    house.finish().await;
}

#[tokio::test]
async fn what_it_cancels_is_cancelled_at_the_provider() {
    let house = House::start().await;
    let client = client(&house);
    let mut stream = client
        .chat()
        .create_stream(question("Talk."))
        .await
        .unwrap();
    loop {
        let chunk = stream.next().await.unwrap().unwrap();
        let word = chunk.choices[0].delta.content.as_deref();
        if let Some(word) = word.filter(|word| !word.is_empty()) {
            assert_eq!(word, "One ");
            break;
        }
    }
    assert_eq!(house.provider.open(), 1);
    drop(stream);
    expect_left(&house).await;
    house.expect_stateless().await;
    house.finish().await;
}

//! The crate `async-openai` at `/v1`. Its types are strict by themselves.

use std::fmt::Debug;

use async_openai::{
    Client,
    config::OpenAIConfig,
    error::{ApiErrorResponse, OpenAIError},
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
use tests::{eventually, fakes::openai::SAID, sound::say};

use crate::{
    sdk::{House, expect_left},
    transcriptions,
};

pub(crate) const MODEL: &str = "gpt-4o-mini";

/// As it is when nothing is said.
pub(crate) fn client(house: &House) -> Client<OpenAIConfig> {
    client_of(house, &house.key)
}

pub(crate) fn client_of(house: &House, key: &str) -> Client<OpenAIConfig> {
    let config = OpenAIConfig::new()
        .with_api_base(format!("{}/v1", house.app.base))
        .with_api_key(key);
    Client::build(house.ana.http.clone(), config)
}

fn request(body: Value) -> CreateChatCompletionRequest {
    serde_json::from_value(body).expect("a request as it is documented")
}

pub(crate) fn question(text: &str) -> CreateChatCompletionRequest {
    question_of(MODEL, text)
}

pub(crate) fn question_of(model: &str, text: &str) -> CreateChatCompletionRequest {
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
pub(crate) fn refused<T: Debug>(answer: Result<T, OpenAIError>) -> ApiErrorResponse {
    match answer {
        Err(OpenAIError::ApiError(error)) => error,
        other => panic!("no error of the API: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn expect_error(error: &ApiErrorResponse, status: u16, code: &str) {
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

pub(crate) fn words(chunks: &[CreateChatCompletionStreamResponse]) -> String {
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

//! Bodies of this surface, as the OpenAPI document describes them. What comes in is read by hand, as most of it is handed on
//! as it is.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use utoipa::ToSchema;
use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder},
};

use super::fault::Fault;

/// A question. What a provider does not take of it is left out.
#[derive(ToSchema)]
#[schema(example = json!({
    "model": "gpt-4o-mini",
    "messages": [{ "role": "user", "content": "What is the sea?" }],
    "stream": false,
}))]
#[expect(dead_code, reason = "it documents what is read by hand")]
pub(super) struct CreateOpenAiChatCompletion {
    /// A model of `GET /v1/models`. With `conversation_id` it may be left out.
    #[schema(example = "gpt-4o-mini")]
    model: String,
    /// What is said: messages of the roles `developer`, `system`, `user`, `assistant` and `tool`.
    #[schema(value_type = Vec<Object>, example = json!([{ "role": "user", "content": "What is the sea?" }]))]
    messages: Vec<()>,
    /// The conversation that the last message is said in, and kept in with its answer. Not of `OpenAI`'s.
    #[schema(value_type = Option<String>, format = Uuid, required = false)]
    conversation_id: Option<()>,
    /// Whether the answer comes as server-sent events.
    #[schema(required = false, example = false)]
    stream: Option<bool>,
    /// `include_usage`: whether a stream tells in the end what it took.
    #[schema(value_type = Option<Object>, required = false)]
    stream_options: Option<()>,
    #[schema(required = false, minimum = 0, maximum = 2)]
    temperature: Option<f64>,
    #[schema(required = false, minimum = 0, maximum = 1)]
    top_p: Option<f64>,
    #[schema(required = false, minimum = 1)]
    max_completion_tokens: Option<u32>,
    /// The same, by its old name.
    #[schema(required = false, minimum = 1)]
    max_tokens: Option<u32>,
    /// Only 1 is taken.
    #[schema(required = false)]
    n: Option<u32>,
    /// A text, or up to four of them.
    #[schema(value_type = Option<Object>, required = false)]
    stop: Option<()>,
    #[schema(required = false)]
    seed: Option<i64>,
    #[schema(required = false)]
    frequency_penalty: Option<f64>,
    #[schema(required = false)]
    presence_penalty: Option<f64>,
    #[schema(value_type = Option<Object>, required = false)]
    logit_bias: Option<()>,
    #[schema(required = false)]
    logprobs: Option<bool>,
    #[schema(required = false, minimum = 0, maximum = 20)]
    top_logprobs: Option<u32>,
    /// Functions that the model may want to be called: who asks calls them. Other tools are refused.
    #[schema(value_type = Option<Vec<Object>>, required = false)]
    tools: Option<()>,
    /// `none`, `auto`, `required`, or a function.
    #[schema(value_type = Option<Object>, required = false)]
    tool_choice: Option<()>,
    #[schema(required = false)]
    parallel_tool_calls: Option<bool>,
    #[schema(value_type = Option<Object>, required = false)]
    response_format: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    reasoning_effort: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    verbosity: Option<()>,
    /// Other tiers than `auto` and `default` are accounted for as unpriced.
    #[schema(value_type = Option<String>, required = false)]
    service_tier: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    user: Option<()>,
    #[schema(value_type = Option<Object>, required = false)]
    metadata: Option<()>,
    #[schema(required = false)]
    store: Option<bool>,
    #[schema(value_type = Option<Object>, required = false)]
    prediction: Option<()>,
    /// Nothing but `["text"]`.
    #[schema(value_type = Option<Vec<String>>, required = false)]
    modalities: Option<()>,
    #[schema(value_type = Option<Object>, required = false)]
    moderation: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    prompt_cache_key: Option<()>,
    #[schema(value_type = Option<Object>, required = false)]
    prompt_cache_options: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    prompt_cache_retention: Option<()>,
    #[schema(value_type = Option<String>, required = false)]
    safety_identifier: Option<()>,
    /// Groq's.
    #[schema(value_type = Option<String>, required = false)]
    reasoning_format: Option<()>,
    /// Groq's.
    #[schema(required = false)]
    include_reasoning: Option<bool>,
}

/// An answer.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "chatcmpl-019aa5c17d3a7c629f0b5e1d2a3b4c5d",
    "object": "chat.completion",
    "created": 1_764_000_000,
    "model": "gpt-4o-mini",
    "choices": [{
        "index": 0,
        "message": { "role": "assistant", "content": "Salt and water.", "refusal": null },
        "logprobs": null,
        "finish_reason": "stop",
    }],
    "usage": { "prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14 },
}))]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(super) struct OpenAiChatCompletion {
    id: String,
    /// `chat.completion`.
    object: String,
    /// Seconds since 1970.
    created: i64,
    model: String,
    /// One.
    #[schema(value_type = Vec<Object>)]
    choices: Vec<()>,
    #[schema(value_type = Object)]
    usage: (),
    /// The conversation, if the answer is kept.
    #[schema(value_type = Option<String>, format = Uuid, required = false)]
    conversation_id: Option<()>,
}

/// A piece of an answer.
#[derive(ToSchema)]
#[schema(example = json!({
    "id": "chatcmpl-019aa5c17d3a7c629f0b5e1d2a3b4c5d",
    "object": "chat.completion.chunk",
    "created": 1_764_000_000,
    "model": "gpt-4o-mini",
    "choices": [{ "index": 0, "delta": { "content": "Salt" }, "finish_reason": null }],
}))]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(super) struct OpenAiChatChunk {
    id: String,
    /// `chat.completion.chunk`.
    object: String,
    created: i64,
    model: String,
    /// One; none in the event that tells what it took.
    #[schema(value_type = Vec<Object>)]
    choices: Vec<()>,
    /// If `stream_options.include_usage` is set: null but in the last piece.
    #[schema(value_type = Option<Object>, required = false)]
    usage: Option<()>,
}

/// What vectors are wanted of.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what is read by hand")]
pub(super) struct CreateOpenAiEmbedding {
    /// A model of `GET /v1/models` that makes vectors.
    #[schema(example = "text-embedding-3-small")]
    model: String,
    /// A text, a list of up to 2,048 texts, a list of tokens, or a list of such lists.
    #[schema(value_type = Object, example = json!(["The sea is salt and water."]))]
    input: (),
    /// `float` or `base64`; `float` unless told otherwise.
    #[schema(value_type = Option<String>, required = false, example = "float")]
    encoding_format: Option<()>,
    /// How many numbers a vector shall have.
    #[schema(required = false, minimum = 1)]
    dimensions: Option<u32>,
    #[schema(value_type = Option<String>, required = false)]
    user: Option<()>,
}

/// Vectors.
#[derive(ToSchema)]
#[schema(example = json!({
    "object": "list",
    "data": [{ "object": "embedding", "index": 0, "embedding": [0.0023, -0.0093] }],
    "model": "text-embedding-3-small",
    "usage": { "prompt_tokens": 7, "total_tokens": 7 },
}))]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(super) struct OpenAiEmbeddings {
    /// `list`.
    object: String,
    #[schema(value_type = Vec<Object>)]
    data: Vec<()>,
    model: String,
    #[schema(value_type = Object)]
    usage: (),
}

/// A sound that is to be written down.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what is read piece by piece")]
pub(super) struct CreateOpenAiTranscription {
    /// The sound, of up to 25 MiB. Its name says what it is.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// A model of `GET /v1/models` that writes down what is said.
    #[schema(example = "whisper-1")]
    model: String,
    /// What is spoken, if known: an ISO 639-1 code.
    #[schema(value_type = String, required = false, example = "en")]
    language: Option<()>,
    /// Words that may come.
    #[schema(value_type = String, required = false)]
    prompt: Option<()>,
    /// `json`, `text`, `verbose_json`, `srt` or `vtt`; `json` unless told otherwise.
    #[schema(value_type = String, required = false, example = "json")]
    response_format: Option<()>,
    #[schema(required = false, minimum = 0, maximum = 1)]
    temperature: Option<f64>,
    /// `segment`, `word`, or both; only with `verbose_json`.
    #[schema(rename = "timestamp_granularities[]", value_type = Vec<String>, required = false, example = json!(["segment"]))]
    timestamp_granularities: Vec<()>,
    /// Nothing but `auto`, which is so anyway.
    #[schema(value_type = String, required = false, example = "auto")]
    chunking_strategy: Option<()>,
    /// Nothing but `false`.
    #[schema(required = false)]
    stream: Option<bool>,
}

/// What is said in a sound.
#[derive(ToSchema)]
#[schema(example = json!({
    "text": "The library opens on Saturday morning.",
    "usage": { "type": "duration", "seconds": 4 },
}))]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(super) struct OpenAiTranscription {
    text: String,
    /// How long the sound is, as far as it is known.
    #[schema(value_type = Option<Object>, required = false)]
    usage: Option<()>,
    /// With `verbose_json`, as all below.
    #[schema(required = false)]
    language: Option<String>,
    #[schema(required = false)]
    duration: Option<f64>,
    #[schema(value_type = Option<Vec<Object>>, required = false)]
    segments: Option<()>,
    #[schema(value_type = Option<Vec<Object>>, required = false)]
    words: Option<()>,
}

/// The body of every answer that is not success.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(crate) struct OpenAiError {
    error: OpenAiErrorBody,
}

/// What went wrong.
#[derive(ToSchema)]
#[expect(dead_code, reason = "it documents what is written by hand")]
pub(crate) struct OpenAiErrorBody {
    /// For people.
    #[schema(example = "Invalid value for 'temperature': expected a number between 0 and 2.")]
    message: String,
    #[schema(rename = "type", example = "invalid_request_error")]
    kind: String,
    /// The parameter that is to blame.
    #[schema(example = "temperature")]
    param: Option<String>,
    /// For programs.
    #[schema(example = "invalid_value")]
    code: Option<String>,
}

/// Every error answer of this surface, for the documentation of an operation.
pub(super) struct OpenAiErrors;

impl IntoResponses for OpenAiErrors {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let later = |status: StatusCode, code: &str, message: &str| {
            let wait = std::time::Duration::from_secs(2);
            Fault::server(status, code, message).after(wait)
        };
        let all = [
            (
                "400",
                "A parameter is wrong, or the provider does not take the question",
                Fault::invalid("n", "Only one answer can be had: 'n' must be 1."),
            ),
            (
                "401",
                "No valid credentials",
                Fault::of_status(
                    StatusCode::UNAUTHORIZED,
                    "invalid_api_key",
                    "there is no Authorization header",
                ),
            ),
            (
                "403",
                "Not allowed for this caller; `code` says why",
                Fault::of_status(
                    StatusCode::FORBIDDEN,
                    "insufficient_scope",
                    "the API key lacks the scope that this needs",
                ),
            ),
            (
                "404",
                "No such model, or no such conversation",
                Fault::no_model("there is no model \"gpt-4o-mni\"; near are gpt-4o-mini"),
            ),
            (
                "409",
                "In conflict with a rule, or stopped by its user (`answer_stopped`); `code` says which",
                Fault::of_status(
                    StatusCode::CONFLICT,
                    "answer_stopped",
                    "the answer was stopped",
                ),
            ),
            (
                "413",
                "Larger than allowed here",
                Fault::of_status(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "payload_too_large",
                    "the request is larger than the 20971520 bytes allowed here",
                ),
            ),
            (
                "429",
                "Too many requests; `retry-after` says when to try again",
                Fault::limit(
                    std::time::Duration::from_secs(7),
                    "all providers are asked too often now",
                ),
            ),
            (
                "500",
                "An error of the server",
                Fault::server(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    "internal error",
                ),
            ),
            (
                "502",
                "The provider failed, or refuses what only an operator can mend",
                Fault::server(
                    StatusCode::BAD_GATEWAY,
                    "provider_failed",
                    "openai is not available",
                ),
            ),
            (
                "503",
                "Not available now; `retry-after` says when to try again",
                later(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "unavailable",
                    "the service is not available; try again in some seconds",
                ),
            ),
        ];
        let responses = all.into_iter().map(|(status, description, fault)| {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name("OpenAiError")))
                .example(Some(fault.body()))
                .build();
            let response = ResponseBuilder::new()
                .description(description)
                .content("application/json", content)
                .build();
            (status.to_owned(), RefOr::T(response))
        });
        responses.collect()
    }
}

//! Answers of models.

use std::sync::Arc;

use axum::{extract::State, response::Response};
use serde_json::Value;
use shared::{
    catalogue::Model,
    clients::chat::Passed,
    ids::UserId,
    tokens::{Counted, Measure},
};

use super::{
    chunks::Chunks,
    conversation,
    docs::{CreateOpenAiChatCompletion, OpenAiChatChunk, OpenAiChatCompletion, OpenAiErrors},
    fault::{Fault, Result},
    links, messages,
    request::Request,
    stream, whole,
};
use crate::{
    app::App,
    caller::Caller,
    chat::{
        direct::{self, Talk},
        route::{self, Choice},
    },
    extract::{Json, Room},
    middleware::RequestId,
};

/// How far our count of a question may be off, where the model's own encoding is not known: a tenth.
const UNSURE: u32 = 10;

/// Answers a question in `OpenAI`'s words.
///
/// Nothing of it is kept but what it took. All of `OpenAI`'s parameters are handed on to the provider, but for those that it
/// does not take. When the client goes away, the provider is left.
///
/// At most fifty pictures may be URLs, which have to lead to public addresses by `https`, as those of webhooks; any others are sent
/// as `data:` URLs.
///
/// With `conversation_id`, which is not `OpenAI`'s, the last message becomes a question in that conversation: it is stored, and
/// answered with the context of the conversation, and the answer is stored as well. A `system` or `developer` message counts
/// for this answer; other messages before the last one are not looked at, as the conversation has its own. `temperature` and
/// the longest answer count; parameters that only shape an answer (`top_p`, `stop`, `seed`, `reasoning_effort` and the like) are
/// ignored, and those that make it another one (`tools`, `response_format`, `logprobs`) are refused. A failure says
/// `x-should-retry: false` once the question is stored.
#[utoipa::path(
    post, path = "/v1/chat/completions", tag = "openai", request_body = CreateOpenAiChatCompletion,
    responses(
        (status = 200, description = "The answer; streams end with `data: [DONE]`", content(
            (OpenAiChatCompletion = "application/json"),
            (OpenAiChatChunk = "text/event-stream"),
        )),
        OpenAiErrors,
    ),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_openai_chat_completion(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    room: Room,
    Json(body): Json<Value>,
) -> Result<Response> {
    let asked = Request::read(body)?;
    if let Some(id) = asked.conversation {
        let answering = conversation::answer(&app, &caller, &request, id, asked, room);
        return Box::pin(answering).await;
    }
    let (is_stream, wants_usage) = (asked.is_stream, asked.wants_usage);
    let talk = talk(&app, caller.user, asked, room).await?;
    let model = talk.choice.id().to_owned();
    let hearing = direct::talk(&app, &caller, &request, talk).await?;
    let created = app.clock.now().timestamp();
    let mut chunks = Chunks::new(hearing.id, created, model);
    if is_stream {
        chunks.wants_usage = wants_usage;
        let silence = app.config.chat.keep_alive;
        stream::direct(hearing, chunks, silence).await
    } else {
        whole::direct(hearing, &chunks).await
    }
}

/// What tokens are counted of.
struct Texts {
    messages: Arc<[(&'static str, String)]>,
    /// Of tools, and of the form of the answer.
    told: Vec<String>,
}

impl Texts {
    async fn count(&self, measure: Measure) -> Counted {
        let mut counted = measure.count_messages(self.messages.clone()).await;
        for text in &self.told {
            let more = measure.count_aside(text.clone()).await;
            counted.tokens = counted.tokens.saturating_add(more.tokens);
            counted.is_estimated |= more.is_estimated;
        }
        counted
    }
}

/// Refuses what has more tokens than a model takes.
async fn refuse_too_long(
    app: &App,
    model: &Model,
    measure: Measure,
    stored_tokens: u32,
    texts: &Texts,
) -> Result<()> {
    let most = model.context_tokens;
    let tokens = measure.of_stored(stored_tokens);
    if tokens <= most {
        return Ok(());
    }
    // What is stored may be counted otherwise than the model counts.
    let counted = if measure.encoding == app.tokens.fallback() {
        Counted {
            tokens,
            is_estimated: false,
        }
    } else {
        texts.count(measure).await
    };
    let slack = if measure.is_exact && !counted.is_estimated {
        0
    } else {
        most / UNSURE
    };
    if counted.tokens > most.saturating_add(slack) {
        return Err(Fault::context_length(most, counted.tokens).into());
    }
    Ok(())
}

/// Makes of a request what is asked.
async fn talk(app: &App, user: UserId, mut asked: Request, room: Room) -> Result<Talk> {
    let model = asked.model.ok_or_else(|| Fault::missing("model"))?;
    let choice = route::choose(app, Some(&model))?;
    let said = messages::read(&asked.messages)?;
    if let Some(picture) = said.picture.filter(|_| !choice.sees_pictures()) {
        let message = format!("The model '{model}' does not see pictures.");
        return Err(Fault::unsupported(picture, message).into());
    }
    let has_tools = asked.fields.contains_key("tools");
    let question = match &choice {
        Choice::Echo => said.texts.last().map(|(_, text)| text.clone()),
        Choice::Model(..) => None,
    };
    let told = ["tools", "response_format"].map(|name| asked.fields.get(name));
    let told = told.into_iter().flatten().map(Value::to_string).collect();
    let texts = Texts {
        messages: said.texts.into(),
        told,
    };
    let stored_tokens = texts.count(app.tokens.plain()).await.tokens;
    if let Choice::Model(model, _) = &choice {
        refuse_too_long(app, model, choice.measure(app), stored_tokens, &texts).await?;
    }
    links::check(app, user, &mut asked.messages).await?;
    let mut fields = asked.fields;
    let is_counted = !said.has_more && !has_tools && !fields.contains_key("response_format");
    fields.insert("messages".to_owned(), Value::Array(asked.messages));
    Ok(Talk {
        choice,
        passed: Passed {
            model: String::new(),
            fields,
        },
        question: question.unwrap_or_default(),
        stored_tokens,
        is_counted,
        is_priced: asked.is_priced,
        room,
    })
}

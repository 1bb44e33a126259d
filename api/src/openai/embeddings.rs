//! Vectors of texts.

use axum::{
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use shared::{
    catalogue::{EmbeddingModel, Route, near},
    clients::chat::{Embedding, Vector},
};

use super::{
    docs::{CreateOpenAiEmbedding, OpenAiEmbeddings, OpenAiErrors},
    fault::{Fault, Result},
    parameters,
};
use crate::{
    app::App,
    caller::Caller,
    chat::{
        direct::{self, Vectors},
        tell_usage,
    },
    error,
    extract::{Json, Room},
    middleware::RequestId,
};

/// Most things that vectors are made of at once.
const INPUTS_MAX: usize = 2_048;
/// Tokens that are counted around a message, which is none here.
const MARKS: u32 = 4;
/// All parameters.
const KNOWN: [&str; 5] = ["dimensions", "encoding_format", "input", "model", "user"];

/// What vectors are wanted of.
#[derive(Debug)]
struct Wanted {
    model: String,
    input: Value,
    /// How many vectors.
    count: usize,
    /// Texts, for counting; none where tokens came.
    texts: Vec<(&'static str, String)>,
    /// Tokens that came.
    tokens: usize,
    is_base64: bool,
    dimensions: Option<u32>,
    user: Option<String>,
}

/// Makes vectors of texts, which are near to each other where the texts mean something similar.
#[utoipa::path(
    post, path = "/v1/embeddings", tag = "openai", request_body = CreateOpenAiEmbedding,
    responses((status = 200, description = "The vectors", body = OpenAiEmbeddings), OpenAiErrors),
    security(("bearer" = [])),
)]
#[tracing::instrument(skip_all)]
pub(super) async fn create_openai_embedding(
    State(app): State<App>,
    caller: Caller,
    request: RequestId,
    room: Room,
    Json(body): Json<Value>,
) -> Result<Response> {
    let wanted = Wanted::read(body)?;
    let (model, routes) = choose(&app, &wanted.model)?;
    if let Some(most) = wanted.dimensions.filter(|most| *most > model.dimensions) {
        let message = format!(
            "Invalid value for 'dimensions': {most} is more than the {} of '{}'.",
            model.dimensions, model.id
        );
        return Err(Fault::invalid("dimensions", message).into());
    }
    let (id, is_base64) = (model.id.clone(), wanted.is_base64);
    let marks = MARKS.saturating_mul(u32::try_from(wanted.texts.len()).unwrap_or(u32::MAX));
    let counted = app.tokens.plain().count_messages(wanted.texts).await;
    let tokens = u32::try_from(wanted.tokens).unwrap_or(u32::MAX);
    let asked = Vectors {
        model,
        routes,
        wanted: wanted.count,
        stored_tokens: counted.tokens.saturating_sub(marks).saturating_add(tokens),
        embedding: Embedding {
            model: String::new(),
            input: wanted.input,
            dimensions: wanted.dimensions,
            user: wanted.user,
        },
        room,
    };
    let end = direct::vectors(&app, &caller, &request, asked).await?;
    let embedded = end.came.map_err(|failure| Fault::from(&failure))?;
    let tokens = end.usage.input_tokens;
    // There may be tens of megabytes.
    let writing = tokio::task::spawn_blocking(move || {
        let data = embedded.vectors.into_iter().enumerate();
        let answer = Answer {
            object: "list",
            data: data
                .map(|(index, vector)| Datum::of(index, vector, is_base64))
                .collect(),
            model: &id,
            usage: json!({ "prompt_tokens": tokens, "total_tokens": tokens }),
        };
        serde_json::to_vec(&answer)
    });
    let body = writing.await.map_err(anyhow::Error::from);
    let body = body
        .and_then(|body| Ok(body?))
        .map_err(error::Error::from)?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (json, body).into_response();
    let provider = end.provider.as_deref();
    tell_usage(response.headers_mut(), provider, Some(&end.usage));
    Ok(response)
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Datum>,
    model: &'a str,
    usage: Value,
}

#[derive(Serialize)]
struct Datum {
    object: &'static str,
    index: usize,
    embedding: Written,
}

/// A vector, as it is written.
#[derive(Serialize)]
#[serde(untagged)]
enum Written {
    Numbers(Vec<f32>),
    Base64(String),
}

impl Datum {
    fn of(index: usize, vector: Vector, is_base64: bool) -> Self {
        let embedding = if is_base64 {
            Written::Base64(vector.into_base64())
        } else {
            Written::Numbers(vector.into_numbers())
        };
        Self {
            object: "embedding",
            index,
            embedding,
        }
    }
}

/// Finds a model that makes vectors, and who has it.
fn choose(app: &App, id: &str) -> Result<(EmbeddingModel, Vec<Route>)> {
    let catalogue = &app.config.common.ai.catalogue;
    let Some(model) = catalogue.embedding(id) else {
        let known = catalogue.embedding_models.iter();
        let near = near(id, known.map(|model| model.id.as_str()));
        return Err(error::Error::ModelNotFound {
            model: id.to_owned(),
            near: near.into_iter().map(str::to_owned).collect(),
        }
        .into());
    };
    let routes = model.routes.iter();
    let routes: Vec<Route> = routes
        .filter(|route| app.providers.has(&route.provider))
        .cloned()
        .collect();
    if routes.is_empty() {
        let providers = model.routes.iter();
        let providers = providers.filter_map(|route| catalogue.provider(&route.provider));
        return Err(error::Error::NoProvider {
            what: model.id.clone(),
            variables: providers
                .map(|provider| provider.variable("API_KEYS"))
                .collect(),
        }
        .into());
    }
    Ok((model.clone(), routes))
}

impl Wanted {
    fn read(body: Value) -> Result<Self> {
        let Value::Object(mut fields) = body else {
            return Err(Fault::invalid("", "The body must be a JSON object.").into());
        };
        fields.retain(|_, value| !value.is_null());
        if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Fault::unknown(name).into());
        }
        let model = text(&mut fields, "model")?.ok_or_else(|| Fault::missing("model"))?;
        let model = parameters::model(model)?;
        let is_base64 = match text(&mut fields, "encoding_format")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(wrong("encoding_format", "'float' or 'base64'").into()),
        };
        let dimensions = match fields.remove("dimensions") {
            None => None,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                let number = number.filter(|number| *number > 0);
                Some(number.ok_or_else(|| wrong("dimensions", "a positive integer"))?)
            }
        };
        let user = text(&mut fields, "user")?;
        let input = fields
            .remove("input")
            .ok_or_else(|| Fault::missing("input"))?;
        let Inputs {
            count,
            texts,
            tokens,
        } = inputs(&input)?;
        Ok(Self {
            model,
            input,
            count,
            texts,
            tokens,
            is_base64,
            dimensions,
            user,
        })
    }
}

/// What vectors are wanted of.
struct Inputs {
    /// How many vectors.
    count: usize,
    /// The texts, as messages of nobody.
    texts: Vec<(&'static str, String)>,
    /// How many tokens, where there are no texts.
    tokens: usize,
}

fn inputs(input: &Value) -> Result<Inputs> {
    let is_token = |value: &Value| value.as_u64().is_some_and(|token| token <= u32::MAX.into());
    let shape =
        "a string, an array of strings, an array of tokens, or an array of arrays of tokens";
    let wrong = || wrong("input", &format!("{shape}, none of them empty"));
    let list = match input {
        Value::String(text) if !text.is_empty() => {
            return Ok(Inputs {
                count: 1,
                texts: vec![("", text.clone())],
                tokens: 0,
            });
        }
        Value::Array(list) if !list.is_empty() => list,
        _ => return Err(wrong().into()),
    };
    if list.iter().all(is_token) {
        return Ok(Inputs {
            count: 1,
            texts: Vec::new(),
            tokens: list.len(),
        });
    }
    if list.len() > INPUTS_MAX {
        let message = format!("Invalid 'input': at most {INPUTS_MAX} inputs are taken at once.");
        return Err(Fault::invalid("input", message).into());
    }
    let (mut texts, mut tokens) = (Vec::with_capacity(list.len()), 0);
    for one in list {
        match one {
            Value::String(text) if !text.is_empty() => texts.push(("", text.clone())),
            Value::Array(list) if !list.is_empty() && list.iter().all(is_token) => {
                tokens += list.len();
            }
            _ => return Err(wrong().into()),
        }
    }
    if !texts.is_empty() && tokens > 0 {
        return Err(wrong().into());
    }
    Ok(Inputs {
        count: list.len(),
        texts,
        tokens,
    })
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>> {
    match fields.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name, "a string").into()),
    }
}

fn wrong(param: &str, wanted: &str) -> Fault {
    let message = format!("Invalid value for '{param}': expected {wanted}.");
    Fault::invalid(param, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_vectors_are_made_of_is_counted() {
        for (input, expected) in [
            (json!("Salt"), Some((1, 1, 0))),
            (json!(["Salt", "water"]), Some((2, 2, 0))),
            (json!([1, 2, 3]), Some((1, 0, 3))),
            (json!([[1, 2], [3]]), Some((2, 0, 3))),
            (json!(""), None),
            (json!([]), None),
            (json!(["Salt", ""]), None),
            (json!([[]]), None),
            (json!([-1]), None),
            (json!(["Salt", [1]]), None),
            (json!(7), None),
            (json!(vec!["x"; INPUTS_MAX + 1]), None),
        ] {
            let read = inputs(&input).ok();
            let read = read.map(|read| (read.count, read.texts.len(), read.tokens));
            assert_eq!(read, expected, "{input}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let body = |more: Value| {
            let mut body = json!({ "model": "text-embedding-3-small", "input": "Salt" });
            let fields = body.as_object_mut().unwrap();
            fields.extend(more.as_object().unwrap().clone());
            Wanted::read(body)
        };
        assert!(
            body(json!({ "encoding_format": "base64", "user": null }))
                .unwrap()
                .is_base64
        );
        for more in [
            json!({ "encoding_format": "int8" }),
            json!({ "dimensions": 0 }),
            json!({ "dimensions": "many" }),
            json!({ "model": 1 }),
            json!({ "frobnicate": 1 }),
            json!({ "input": null }),
        ] {
            assert!(body(more.clone()).is_err(), "{more}");
        }
    }
}

//! What the stock SDKs of `OpenAI` find at `/v1`: each scenario is gone through by the SDK for Python, strictly validating,
//! and by the one for Node; their cases are in `tests/sdk`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::json;
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        openai::{self, Counts, SAID},
        provider::Provider,
    },
    sdk::Sdk,
    sound::say,
};

use crate::{chat::ledger, transcriptions};

/// A model beside those that are built in, with a name as routers of models have them.
const MODELS: &str = r#"{ "version": "1", "models": [
    { "id": "example/our-model", "name": "Our model", "contextTokens": 32768, "maxOutputTokens": 4096,
      "routes": [{ "provider": "openai", "model": "our-2" }] }
] }"#;

/// A product with four providers, which are one server, and a user with API keys.
pub(crate) struct House {
    pub(crate) app: Box<TestApp>,
    pub(crate) ana: Actor,
    pub(crate) provider: Provider,
    pub(crate) counts: Arc<Counts>,
    /// An API key that may do everything.
    pub(crate) key: String,
    environment: Vec<(&'static str, String)>,
}

impl House {
    pub(crate) async fn start() -> Self {
        Box::pin(Self::open()).await
    }

    async fn open() -> Self {
        let (provider, counts) = openai::start().await;
        let models = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(models.path(), MODELS).unwrap();
        let app = TestApp::with(Options {
            // The SDKs wait by their own clocks.
            live: true,
            providers: ProviderArgs {
                models_file: Some(models.path().display().to_string()),
                groq_api_keys: Some("gsk_1".to_owned()),
                groq_base_url: Some(provider.base_url.clone()),
                deepseek_api_keys: Some("sk-d".to_owned()),
                deepseek_base_url: Some(provider.base_url.clone()),
                gemini_api_keys: Some("AIza".to_owned()),
                gemini_base_url: Some(provider.base_url.clone()),
                ..provider.args("sk-1")
            },
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        let key = api_key(&ana, &["read", "write"]).await;
        let environment = vec![
            ("OPENAI_BASE_URL", format!("{}/v1", app.base)),
            ("OPENAI_API_KEY", key.clone()),
        ];
        Self {
            app: Box::new(app),
            ana,
            provider,
            counts,
            key,
            environment,
        }
    }

    /// Tells the scripts one thing more.
    pub(crate) fn tell(&mut self, variable: &'static str, value: impl Into<String>) {
        self.environment.push((variable, value.into()));
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let pairs = self.environment.iter();
        pairs.map(|(name, value)| (*name, value.as_str())).collect()
    }

    async fn run(&self, sdk: Sdk, cases: &[&str]) {
        sdk.run(cases, &self.environment()).await;
    }

    /// How often the provider was asked this.
    pub(crate) fn times(&self, question: &str) -> usize {
        let asked = self.provider.asked();
        asked
            .iter()
            .filter(|one| one.question() == question)
            .count()
    }

    /// Each call of the provider has its row, and a stateless one leaves no conversation.
    pub(crate) async fn expect_stateless(&self) {
        let asked = self.provider.asked().len();
        eventually("each call is in the ledger", async || {
            ledger(&self.app).await.len() == asked
        })
        .await;
        let conversations = self.ana.get("/api/v1/conversations?archived=all").await;
        assert_eq!(conversations.expect(200)["data"], json!([]));
    }

    pub(crate) async fn finish(self) {
        self.provider.release();
        (*self.app).finish().await;
    }
}

/// A key of a program that may do so much.
pub(crate) async fn api_key(actor: &Actor, scopes: &[&str]) -> String {
    let body = json!({ "name": "a program", "scopes": scopes });
    let made = actor.post_json("/api/v1/api-keys", body).await.expect(201);
    made["key"].as_str().unwrap().to_owned()
}

/// Answers whole and streamed, with what goes along and what is asked for besides.
pub(crate) async fn chats(sdk: Sdk) {
    let house = House::start().await;
    let mut cases = vec!["chat", "messages", "parameters", "unknown_parameter"];
    if matches!(sdk, Sdk::Python) {
        // Only there one can ask which parameters it knows.
        cases.push("every_parameter");
    }
    house.run(sdk, &cases).await;
    let asked = house.provider.asked();
    assert_eq!(
        (asked[0].key.as_str(), &asked[0].body["model"]),
        ("sk-1", &json!("gpt-4o-mini"))
    );
    assert_eq!(asked[0].messages(), ["user: What is the sea?"]);
    // Called as this provider calls it.
    assert_eq!(asked[0].body["max_completion_tokens"], 64);
    assert_eq!(asked[0].body["temperature"], 0.5);
    let messages = asked[1].messages();
    let (instructions, said) = messages.split_at(messages.len() - 3);
    assert_eq!(
        said,
        ["user: Hi.", "assistant: Hello.", "user: What is the sea?"]
    );
    let instructions = instructions.join("\n");
    assert!(
        instructions.contains("Be short.") && instructions.contains("Be kind."),
        "{instructions}"
    );
    house.expect_stateless().await;
    house.finish().await;
}

/// Chunks, and what they cost.
pub(crate) async fn streams(sdk: Sdk) {
    let house = House::start().await;
    let mut cases = vec!["stream", "stream_usage"];
    if matches!(sdk, Sdk::Python) {
        cases.push("stream_raw");
    }
    house.run(sdk, &cases).await;
    house.expect_stateless().await;
    house.finish().await;
}

/// Tools go through to the model, and their results after them.
pub(crate) async fn calls_tools(sdk: Sdk) {
    let house = House::start().await;
    let mut cases = vec![
        "tools",
        "stream_tools",
        "stream_two_tools",
        "tools_sent_back",
    ];
    if matches!(sdk, Sdk::Node) {
        cases.push("stream_helper");
    }
    house.run(sdk, &cases).await;
    let asked = house.provider.asked();
    let tools = &asked[0].body["tools"];
    assert_eq!(tools[0]["function"]["name"], "get_weather", "{tools}");
    assert_eq!(
        tools[0]["function"]["parameters"]["required"],
        json!(["city"])
    );
    assert_eq!(asked[0].body["tool_choice"], "auto");
    let messages = &asked[1].body["messages"];
    let call = &messages[1]["tool_calls"][0];
    assert_eq!(
        (&call["id"], &call["function"]["name"]),
        (&json!("call_1"), &json!("get_weather")),
        "{messages}"
    );
    assert_eq!(
        (&messages[2]["role"], &messages[2]["tool_call_id"]),
        (&json!("tool"), &json!("call_1")),
        "{messages}"
    );
    assert_eq!(messages[2]["content"], r#"{"celsius": 31}"#);
    house.expect_stateless().await;
    house.finish().await;
}

/// Models are listed, also one with a slash in its name, and texts become vectors.
pub(crate) async fn lists_and_embeds(sdk: Sdk) {
    let house = House::start().await;
    house.run(sdk, &["models", "embeddings"]).await;
    assert_eq!(house.provider.asked()[0].body["model"], "our-2");
    let embedded = house.counts.embedded.lock().unwrap().clone();
    assert_eq!(embedded[0], json!(["salt", "water"]));
    house.finish().await;
}

/// Sounds are written down in all formats.
pub(crate) async fn transcribes(sdk: Sdk) {
    let mut house = House::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said.wav");
    // What the provider hears in it is another thing.
    std::fs::write(&file, say(transcriptions::SAID)).unwrap();
    house.tell("SDK_SOUND", file.display().to_string());
    house.tell("SDK_SAID", SAID);
    let worker = house.app.start_worker();
    house.run(sdk, &["transcription", "no_sound"]).await;
    let heard = house.counts.heard.lock().unwrap().len();
    assert!(heard > 0, "the provider hears it");
    eventually("its jobs have ended", async || {
        house.app.count_live_jobs().await == 0
    })
    .await;
    worker.shutdown().await;
    house.finish().await;
}

/// Every class of error, with its status, code, parameter and request id.
pub(crate) async fn fails(sdk: Sdk) {
    let mut house = House::start().await;
    let reader = api_key(&house.ana, &["read"]).await;
    house.tell("SDK_READ_KEY", reader);
    let archived = house.ana.conversation("Old plans").await;
    let path = format!("/api/v1/conversations/{archived}");
    let body = json!({ "archived": true });
    house.ana.patch_json(&path, body).await.expect(200);
    house.tell("SDK_ARCHIVED", archived);
    let cases = [
        "authentication",
        "permission",
        "not_found",
        "bad_request",
        "conflict",
    ];
    house.run(sdk, &cases).await;
    assert!(house.provider.asked().is_empty(), "nobody is asked in vain");
    let cases = [
        "rate_limit",
        "server",
        "mid_stream",
        "cut",
        "timeout",
        "connection",
    ];
    house.run(sdk, &cases).await;
    assert_eq!(house.times("Leave me."), 1);
    house.finish().await;
}

/// The SDKs' own retries obey what they are told.
pub(crate) async fn retries(sdk: Sdk) {
    let house = House::start().await;
    let cases = [
        "retry_limit",
        "retry_stream",
        "retry_server",
        "no_retry_day",
        "no_retry_request",
    ];
    house.run(sdk, &cases).await;
    for (question, times) in [
        ("Be busy once.", 2),
        ("Be busy once more.", 2),
        ("Be away twice.", 3),
    ] {
        assert_eq!(house.times(question), times, "{question}");
    }
    assert_eq!(house.times("Be spent."), 1, "not on the second time at all");
    house.finish().await;
}

/// A stream that its client closes is closed at the provider.
pub(crate) async fn cancels(sdk: Sdk) {
    let house = House::start().await;
    let mut script = sdk.start(&["cancel"], &house.environment());
    script.wait_for_line(r#""reading":true"#).await;
    assert_eq!(house.provider.open(), 1);
    script.tell("close it").await;
    script.wait_for_line(r#""closed":true"#).await;
    expect_left(&house).await;
    script.tell("end").await;
    assert_eq!(script.wait().await, Some(0), "{}", script.output());
    house.expect_stateless().await;
    house.finish().await;
}

/// The provider is left within a second, while it would go on talking.
pub(crate) async fn expect_left(house: &House) {
    let closed = Instant::now();
    eventually("the provider is left", async || house.provider.open() == 0).await;
    assert!(
        closed.elapsed() < Duration::from_secs(1),
        "{:?}",
        closed.elapsed()
    );
}

/// With `conversation_id` a turn knows what was said before, and is kept.
pub(crate) async fn remembers(sdk: Sdk) {
    let mut house = House::start().await;
    let mine = house.ana.conversation("Names").await;
    house.tell("SDK_CONVERSATION", mine.clone());
    let ben = house.app.user("ben").await;
    house.tell("SDK_FOREIGN", ben.conversation("Secrets").await);
    house.run(sdk, &["conversation"]).await;
    let asked = house.provider.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(
        asked[1].messages(),
        [
            "user: My name is Ana.",
            "assistant: Hello, Ana.",
            "user: What is my name?"
        ]
    );
    let path = format!("/api/v1/conversations/{mine}/messages");
    let list = house.ana.get(&path).await.expect(200);
    let rows = list["data"].as_array().unwrap();
    assert_eq!(rows.len(), 4, "{list}");
    // The newest first.
    assert_eq!(rows[0]["content"][0]["text"], "Your name is Ana.");
    assert_eq!(rows[0]["parentId"], rows[1]["id"]);
    // What fails after that is kept, too, and not said once more.
    house.run(sdk, &["conversation_no_retry"]).await;
    let list = house.ana.get(&path).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 8, "{list}");
    house.finish().await;
}

//! What is learned of models whose encoding is not known.

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::{
    clock::Clock,
    config::ProviderArgs,
    tokens::{Encoding, Measures},
};
use tests::{
    Actor, Options, TestApp, TestDatabase, eventually,
    fakes::provider::{Asked, Provider, Step, calling, delta, end, event, stream},
};

use crate::{
    chat_pictures::dot,
    chat_tools::{is_free, sunny},
    openai_chat::CHAT,
};

/// A model that is nobody's in particular, and can be shown pictures.
const MODEL: &str = "gemini-2.5-flash";

/// What a model of another encoding takes for some messages: `cl100k_base`, and marks around all of it.
fn taken<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts
        .map(|text| Encoding::Cl100k.count(text) + 5)
        .sum::<usize>()
        + 3
}

fn taken_by(asked: &Asked) -> usize {
    let messages = asked.body["messages"].as_array().unwrap();
    taken(
        messages
            .iter()
            .filter_map(|message| message["content"].as_str()),
    )
}

/// A text in two languages, of which one takes several times as much as here.
fn question(number: usize) -> String {
    let both = "What does the sea say to the shore? समुद्र किनारे से क्या कहता है? ";
    format!("Question {number}: {}", both.repeat(2 + number % 5))
}

async fn product(provider: &Provider) -> (TestApp, Actor) {
    product_with(provider, ApiArgs::default()).await
}

async fn product_with(provider: &Provider, api: ApiArgs) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        api,
        providers: ProviderArgs {
            gemini_api_keys: Some("key".to_owned()),
            gemini_base_url: Some(provider.base_url.clone()),
            ..ProviderArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

/// How the tokens of the model are counted now.
async fn tokens(actor: &Actor) -> Value {
    let model = actor.get(&format!("/api/v1/models/{MODEL}")).await;
    model.expect(200)["providers"][0]["tokens"].clone()
}

async fn learned_from(actor: &Actor, samples: u64) {
    let what = format!("{samples} answers were learned from");
    eventually(&what, || async {
        tokens(actor).await["samples"] == samples
    })
    .await;
}

#[tokio::test]
async fn after_twenty_answers_a_model_is_counted_within_five_percent() {
    let provider = Provider::start(|asked| {
        let end = end("stop", taken_by(asked), 1);
        stream([delta("Yes.")].into_iter().chain(end).collect())
    })
    .await;
    let (app, ana) = product(&provider).await;
    assert_eq!(
        tokens(&ana).await,
        json!({ "encoding": "o200k_base", "exact": false, "factor": 1.0, "error": null, "samples": 0 })
    );
    for number in 0..20 {
        let body = json!({ "message": question(number), "model": MODEL });
        ana.chat(body).await.expect(200);
    }
    learned_from(&ana, 20).await;
    let learned = tokens(&ana).await;
    assert!(learned["factor"].as_f64().unwrap() > 1.5, "{learned}");
    let error = learned["error"].as_f64().unwrap();
    assert!(error > 0.0 && error < 0.05, "{learned}");

    for number in 100..110 {
        let text = question(number);
        let messages = json!([{ "role": "user", "content": text }]);
        let body = json!({ "model": MODEL, "messages": messages });
        let counted = ana
            .post_json("/api/v1/tokens/count", body)
            .await
            .expect(200);
        assert_eq!(
            (&counted["exact"], &counted["factor"]),
            (&json!(false), &learned["factor"])
        );
        let expected = u32::try_from(taken([text.as_str()].into_iter())).unwrap();
        let tokens = counted["tokens"].as_f64().unwrap();
        let off = (tokens / f64::from(expected) - 1.0).abs();
        assert!(off < 0.05, "{tokens} instead of {expected}");
    }

    // Another program knows it, too.
    let elsewhere = Actor {
        base: app.another_api().await,
        ..ana.clone()
    };
    learned_from(&elsewhere, 20).await;
    assert_eq!(tokens(&elsewhere).await, learned);
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_learned_from_pictures_nor_from_what_was_counted_here() {
    let provider = Provider::start(|asked| {
        let end = if asked.question().contains("silent") {
            let stop = json!({ "index": 0, "delta": {}, "finish_reason": "stop" });
            vec![
                event(&json!({ "choices": [stop] })),
                Step::Send("data: [DONE]\n\n".to_owned()),
            ]
        } else {
            end("stop", 500, 1)
        };
        stream([delta("Yes.")].into_iter().chain(end).collect())
    })
    .await;
    let (app, ana) = product(&provider).await;
    let silent = json!({ "message": "Be silent.", "model": MODEL });
    let answer = ana.chat(silent).await.expect(200);
    assert_eq!(answer["usage"]["estimated"], true);
    let picture = ana.upload("dot.png", dot(7), &[]).await.expect(201);
    let shown = json!({ "message": "What is it?", "model": MODEL,
                        "attachmentIds": [picture["attachment"]["id"]] });
    ana.chat(shown).await.expect(200);
    let asked = provider.asked();
    let parts = asked[1].body["messages"][0]["content"].as_array().unwrap();
    assert!(
        parts.iter().any(|part| part["type"] == "image_url"),
        "{parts:?}"
    );
    let ordinary = json!({ "message": question(1), "model": MODEL });
    ana.chat(ordinary).await.expect(200);
    learned_from(&ana, 1).await;
    // What the upload asked for is not what is tested.
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn nothing_is_learned_from_answers_with_tools() {
    let provider = Provider::start(|asked| {
        let has_tools = asked.body["tools"].is_array();
        if is_free(asked) && asked.question() == "Call." {
            return calling(&[("call_1", "weather", r#"{"location":"Lahore"}"#)]);
        }
        // Nobody knows here what it makes of tools.
        let taken = if has_tools { 5_000 } else { taken_by(asked) };
        let end = end("stop", taken, 1);
        stream([delta("Yes.")].into_iter().chain(end).collect())
    })
    .await;
    let services = sunny().await;
    let tools = ApiArgs {
        tools: services.args(),
        ..ApiArgs::default()
    };
    let (app, ana) = product_with(&provider, tools).await;
    for message in ["Call.", "Do not call."] {
        let body = json!({ "message": message, "model": MODEL, "tools": "auto" });
        ana.chat(body).await.expect(200);
    }
    let of_client = json!({ "model": MODEL, "messages": [{ "role": "user", "content": "Do not call." }],
                            "tools": [{ "type": "function", "function": { "name": "weather" } }] });
    ana.post_json(CHAT, of_client).await.expect(200);
    assert_eq!((provider.asked().len(), services.asked().len()), (4, 1));
    let ordinary = question(1);
    let body = json!({ "message": ordinary, "model": MODEL });
    ana.chat(body).await.expect(200);
    learned_from(&ana, 1).await;
    // From that one.
    let count = |text: &str| f64::from(u32::try_from(Encoding::O200k.count(text)).unwrap());
    let estimated = count("user") + count(&ordinary) + 4.0;
    let reported = u32::try_from(taken([ordinary.as_str()].into_iter())).unwrap();
    let factor = tokens(&ana).await["factor"].as_f64().unwrap();
    let expected = f64::from(reported) / estimated;
    assert!(
        (factor - expected).abs() < 0.001,
        "{factor}, not {expected}"
    );
    app.finish().await;
}

#[tokio::test]
async fn programs_that_learn_at_once_lose_nothing() {
    let database = TestDatabase::create().await;
    let (db, clock) = (&database.db, Clock::System);
    let programs = [
        Measures::new(Encoding::O200k),
        Measures::new(Encoding::O200k),
    ];
    for _ in 0..5 {
        for program in &programs {
            for _ in 0..10 {
                program.learn("groq", "llama", 100, 150);
                program.learn("gemini", "flash", 100, 80);
                // Its tokens are known.
                program.learn("openai", "gpt-4o", 100, 150);
            }
        }
        let [one, other] = &programs;
        let stored = tokio::join!(one.store(db, clock.now()), other.store(db, clock.now()));
        stored.0.unwrap();
        stored.1.unwrap();
    }
    for program in &programs {
        program.load(db).await.unwrap();
        for (provider, model, factor) in
            [("groq", "llama", 1_500_000), ("gemini", "flash", 800_000)]
        {
            let learned = program.learned(provider, model).unwrap();
            assert_eq!(
                (learned.samples, learned.factor_ppm, learned.error_ppm),
                (100, factor, 0)
            );
            assert_eq!(program.measure(provider, model).factor_ppm, factor);
        }
        assert_eq!(program.learned("openai", "gpt-4o"), None);
    }

    // Another model behind the same name is soon the one that is known, and the other program hears of it.
    let [one, other] = &programs;
    for _ in 0..4 {
        for _ in 0..50 {
            one.learn("groq", "llama", 100, 300);
        }
        one.store(db, clock.now()).await.unwrap();
    }
    let learned = one.learned("groq", "llama").unwrap();
    assert_eq!(learned.samples, 300);
    assert!(learned.factor_ppm > 2_900_000, "{learned:?}");
    assert_eq!(other.measure("groq", "llama").factor_ppm, 1_500_000);
    other.load(db).await.unwrap();
    assert_eq!(other.learned("groq", "llama"), Some(learned));
}

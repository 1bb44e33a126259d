//! What is said in sounds and written in PDFs, in questions about them.

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp, eventually,
    fakes::{
        provider::Provider,
        transcriber::{TranscriptionServer, verbose},
    },
    pdf::{Page, pdf},
    sound::say,
};

use crate::{
    chat::{app, id},
    transcriptions::SAID,
};

/// A model that sees, so that all that is no picture is shown to be no picture.
const SEES: &str = "gpt-4o";
const HEARD: &str = "नमस्ते दुनिया";

/// A product that hears with one provider and answers with another one.
async fn hearing(provider: &Provider, groq: &TranscriptionServer, api: ApiArgs) -> TestApp {
    TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: Some("gsk_1".to_owned()),
            groq_base_url: Some(groq.base_url()),
            ..provider.args("sk-1")
        },
        api,
        ..Options::default()
    })
    .await
}

async fn upload(user: &Actor, name: &str, bytes: Vec<u8>) -> Value {
    let created = user.upload(name, bytes, &[]).await.expect(201);
    created["attachment"]["id"].clone()
}

fn question(attachment: &Value) -> Value {
    json!({ "message": "What is it?", "attachmentIds": [attachment], "model": SEES })
}

/// As an attachment is shown to a model.
fn framed(name: &str, text: &str) -> String {
    format!("What is it?\n\n[Text of the attachment {name:?}]\n{text}\n[End of the attachment]")
}

#[tokio::test]
async fn what_is_said_in_a_sound_goes_along() {
    let groq = TranscriptionServer::scripted(vec![verbose("hindi", HEARD)]).await;
    let provider = Provider::saying(&["A greeting."]).await;
    let app = hearing(&provider, &groq, ApiArgs::default()).await;
    let ana = app.user("ana").await;
    let sound = upload(&ana, "note.wav", say(SAID)).await;
    app.run_jobs().await;
    let answer = ana.chat(question(&sound)).await.expect(200);
    assert_eq!(answer["context"]["missing"], json!([]));
    let asked = provider.asked().remove(0);
    assert_eq!(asked.question(), framed("note.wav", HEARD));
    assert!(asked.body["messages"][0]["content"].is_string());
    // Later on in the conversation, too.
    let body =
        json!({ "message": "Sure?", "conversationId": answer["conversationId"], "model": SEES });
    ana.chat(body).await.expect(200);
    let expected = [
        format!("user: {}", framed("note.wav", HEARD)),
        "assistant: A greeting.".to_owned(),
        "user: Sure?".to_owned(),
    ];
    assert_eq!(provider.asked()[1].messages(), expected);
    let path = format!("/api/v1/messages/{}", id(&answer["message"]["parentId"]));
    let asked = ana.get(&path).await.expect(200);
    assert_eq!(
        asked["content"][0]["text"], "What is it?",
        "what is added is not stored"
    );
    app.finish().await;
}

#[tokio::test]
async fn a_sound_that_is_being_heard_is_awaited_also_by_models_that_see() {
    let groq = TranscriptionServer::scripted(vec![verbose("hindi", HEARD)]).await;
    let provider = Provider::saying(&["A greeting."]).await;
    let app = hearing(&provider, &groq, ApiArgs::default()).await;
    let ana = app.user("ana").await;
    let sound = upload(&ana, "note.wav", say(SAID)).await;
    let hearing = async {
        eventually("the question is stored", async || {
            let begun: i64 = sqlx::query_scalar("SELECT count(*) FROM generations")
                .fetch_one(app.database.pool())
                .await
                .unwrap();
            begun == 1
        })
        .await;
        assert!(provider.asked().is_empty());
        app.run_jobs().await;
    };
    let (answer, ()) = tokio::join!(ana.chat(question(&sound)), hearing);
    assert_eq!(answer.expect(200)["context"]["missing"], json!([]));
    assert_eq!(provider.asked()[0].question(), framed("note.wav", HEARD));
    app.finish().await;
}

#[tokio::test]
async fn an_answer_says_that_it_did_without_a_sound() {
    let groq = TranscriptionServer::scripted(vec![verbose("hindi", HEARD)]).await;
    let provider = Provider::saying(&["No idea."]).await;
    let api = ApiArgs {
        attachment_wait_seconds: Some("0".to_owned()),
        ..ApiArgs::default()
    };
    let app = hearing(&provider, &groq, api).await;
    let ana = app.user("ana").await;
    let sound = upload(&ana, "note.wav", say(SAID)).await;
    let answer = ana.chat(question(&sound)).await.expect(200);
    let missing = json!([{ "attachmentId": sound, "fileName": "note.wav", "reason": "it is still being read" }]);
    assert_eq!(answer["context"]["missing"], missing);
    assert!(provider.asked()[0].question().contains("still being read"));
    sqlx::query("UPDATE transcriptions SET status = 'failed', error = 'nothing is said in it'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let mut body = question(&sound);
    body["conversationId"] = answer["conversationId"].clone();
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(
        answer["context"]["missing"][0]["reason"],
        "it could not be read: nothing is said in it"
    );
    let asked = provider.asked().remove(1).question();
    assert!(asked.contains("could not be read"), "{asked}");
    assert!(
        !asked.contains("nothing is said"),
        "the reason is the user's"
    );
    app.forget_jobs().await;
    app.finish().await;
}

#[tokio::test]
async fn the_text_of_a_pdf_goes_along_with_all_its_pages_and_no_picture() {
    let provider = Provider::saying(&["A timetable."]).await;
    let (app, ana) = app(&provider).await;
    let pages = [
        "The library opens on Saturday at nine.",
        "It closes at five.",
    ];
    let document = pdf(&pages.map(|page| Page::Text(page.to_owned())));
    let document = upload(&ana, "paper.pdf", document).await;
    app.run_jobs().await;
    let answer = ana.chat(question(&document)).await.expect(200);
    assert_eq!(answer["context"]["missing"], json!([]));
    let asked = provider.asked().remove(0);
    assert!(asked.body["messages"][0]["content"].is_string());
    let text = asked.question();
    assert!(
        text.starts_with("What is it?\n\n[Text of the attachment \"paper.pdf\"]\n"),
        "{text}"
    );
    assert!(text.ends_with("\n[End of the attachment]"), "{text}");
    let places = pages.map(|page| text.find(page));
    assert!(
        places[0].is_some() && places[0] < places[1],
        "in order: {text}"
    );
    // As it is shown to its owner.
    let path = format!("/api/v1/attachments/{}", id(&document));
    let read = ana.get(&path).await.expect(200);
    let read = read["extractedText"].as_str().unwrap().trim();
    assert!(text.contains(read), "{text}");
    app.finish().await;
}

#[tokio::test]
async fn a_long_pdf_is_cut_to_what_there_is_room_for() {
    let provider = Provider::saying(&["A long one."]).await;
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            context_max_tokens: Some("1500".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let page = Page::Text("The library opens on Saturday at nine.\n".repeat(50));
    let document = upload(&ana, "long.pdf", pdf(&vec![page; 20])).await;
    app.run_jobs().await;
    let answer = ana.chat(question(&document)).await.expect(200);
    let context = &answer["context"];
    assert_eq!(
        context["missing"][0]["reason"],
        "its text is too long to be sent whole"
    );
    let tokens = context["tokens"].as_u64().unwrap();
    // The marks around the text are not cut, and the text is not cut to the very token.
    assert!((1_000..1_600).contains(&tokens), "{context}");
    let asked = provider.asked().remove(0).question();
    assert!(asked.contains("[…]\n[End of the attachment]"), "{asked}");
    app.finish().await;
}

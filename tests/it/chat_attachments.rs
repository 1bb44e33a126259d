//! Attachments in questions: their texts, what is said in them, and pictures for models that see.

use api::config::ApiArgs;
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{Options, TestApp, fakes::provider::Provider, picture};

use crate::chat::id;

/// A product that has models that see and others, all at this provider.
fn of_two(provider: &Provider) -> ProviderArgs {
    ProviderArgs {
        groq_api_keys: Some("gsk-1".to_owned()),
        groq_base_url: Some(provider.base_url.clone()),
        ..provider.args("sk-1")
    }
}

#[tokio::test]
async fn the_text_of_a_picture_goes_along_and_the_picture_where_a_model_sees() {
    let provider = Provider::saying(&["It says so."]).await;
    let app = TestApp::with(Options {
        providers: of_two(&provider),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let scan = ana
        .upload("scan.png", picture("english-scan.png"), &[])
        .await
        .expect(201);
    app.run_jobs().await;
    let attachment = scan["attachment"]["id"].clone();
    let path = format!("/api/v1/attachments/{}", id(&attachment));
    let text = ana.get(&path).await.expect(200)["extractedText"]
        .as_str()
        .unwrap()
        .trim()
        .to_owned();
    let body = json!({ "message": "What does it say?", "attachmentIds": [attachment], "model": "gpt-oss-20b" });
    let answer = ana.chat(body).await.expect(200);
    let asked = &provider.asked()[0];
    assert!(asked.question().starts_with("What does it say?"));
    assert!(asked.question().contains(&text) && asked.question().contains("scan.png"));
    assert_eq!(answer["context"]["missing"], json!([]));
    let parent = format!("/api/v1/messages/{}", id(&answer["message"]["parentId"]));
    let question = ana.get(&parent).await.expect(200);
    assert_eq!(question["content"][1]["attachmentId"], attachment);
    // Later on in the conversation, too, and seen by a model that sees.
    let body = json!({ "message": "Sure?", "conversationId": answer["conversationId"], "model": "gpt-4o" });
    ana.chat(body).await.expect(200);
    let asked = &provider.asked()[1];
    let first = &asked.body["messages"][0]["content"];
    assert!(first[0]["text"].as_str().unwrap().contains(&text));
    let url = first[1]["image_url"]["url"].as_str().unwrap();
    assert!(url.starts_with("data:image/png;base64,"), "{}", &url[..40]);
    app.finish().await;
}

#[tokio::test]
async fn what_is_being_read_is_awaited() {
    let provider = Provider::saying(&["It says so."]).await;
    let app = TestApp::with(Options {
        providers: of_two(&provider),
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let scan = ana
        .upload("scan.png", picture("english-scan.png"), &[])
        .await
        .expect(201);
    let attachment = scan["attachment"]["id"].clone();
    let ask = |model: &str| {
        let body = json!({ "message": "What does it say?", "attachmentIds": [attachment], "model": model });
        ana.chat(body)
    };
    let reading = async {
        app.wait_for_question().await;
        assert!(provider.asked().is_empty());
        app.run_jobs().await;
    };
    let (answer, ()) = tokio::join!(ask("gpt-oss-20b"), reading);
    let answer = answer.expect(200);
    assert_eq!(answer["context"]["missing"], json!([]));
    assert!(
        provider.asked()[0]
            .question()
            .contains("[Text of the attachment")
    );
    app.finish().await;
}

#[tokio::test]
async fn an_answer_says_what_it_did_without() {
    let provider = Provider::saying(&["No idea."]).await;
    let app = TestApp::with(Options {
        providers: of_two(&provider),
        api: ApiArgs {
            attachment_wait_seconds: Some("0".to_owned()),
            context_max_tokens: Some("100".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let scan = ana
        .upload("scan.png", picture("english-scan.png"), &[])
        .await
        .expect(201);
    let attachment = scan["attachment"]["id"].clone();
    let ask = async |message: &str| -> Value {
        let body =
            json!({ "message": message, "attachmentIds": [attachment], "model": "gpt-oss-20b" });
        ana.chat(body).await.expect(200)
    };
    let answer = ask("What does it say?").await;
    let missing = &answer["context"]["missing"][0];
    assert_eq!(
        (&missing["attachmentId"], &missing["fileName"]),
        (&attachment, &json!("scan.png"))
    );
    assert_eq!(missing["reason"], "it is still being read");
    assert!(provider.asked()[0].question().contains("still being read"));
    sqlx::query("UPDATE recognitions SET status = 'failed', error = 'the picture is damaged'")
        .execute(app.database.pool())
        .await
        .unwrap();
    let body = json!({ "message": "And now?", "attachmentIds": [attachment], "model": "gpt-oss-20b",
                       "conversationId": answer["conversationId"] });
    let failed = ana.chat(body.clone()).await.expect(200);
    assert_eq!(
        failed["context"]["missing"][0]["reason"],
        "it could not be read: the picture is damaged"
    );
    let long = "word ".repeat(5_000);
    sqlx::query("UPDATE recognitions SET status = 'succeeded', readings = 1, extracted_text = $1")
        .bind(&long)
        .execute(app.database.pool())
        .await
        .unwrap();
    let cut = ana.chat(body).await.expect(200);
    assert_eq!(
        cut["context"]["missing"][0]["reason"],
        "its text is too long to be sent whole"
    );
    let question = provider.asked().pop().unwrap().question();
    assert!(question.contains("[…]") && question.len() < long.len() / 2);
    app.forget_jobs().await;
    app.finish().await;
}

//! Pictures in questions: how many and how large, and for which models.

use api::config::ApiArgs;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use shared::config::ProviderArgs;
use tests::{
    Actor, Options, TestApp,
    fakes::provider::{Asked, Provider},
    picture,
};

use crate::chat::{app, id};

const SEES: &str = "gpt-4o";
const SEES_NOT: &str = "gpt-oss-20b";
const MIB: i64 = 1 << 20;

/// A small picture that differs from others.
pub(crate) fn dot(shade: u8) -> Vec<u8> {
    let picture = image::GrayImage::from_pixel(8, 8, image::Luma([shade]));
    let mut file = std::io::Cursor::new(Vec::new());
    picture
        .write_to(&mut file, image::ImageFormat::Png)
        .unwrap();
    file.into_inner()
}

/// Uploads some of these; nobody reads them or makes anything of them yet.
async fn upload(user: &Actor, shades: std::ops::Range<u8>) -> Vec<Value> {
    let mut attachments = Vec::new();
    for shade in shades {
        let name = format!("{shade}.png");
        let created = user.upload(&name, dot(shade), &[]).await.expect(201);
        attachments.push(created["attachment"]["id"].clone());
    }
    attachments
}

/// Has a picture be so large, as far as anybody knows.
async fn enlarge(app: &TestApp, attachment: &Value, bytes: i64) {
    let attachment: uuid::Uuid = id(attachment).parse().unwrap();
    sqlx::query("UPDATE attachments SET size_bytes = $1 WHERE id = $2")
        .bind(bytes)
        .bind(attachment)
        .execute(app.database.pool())
        .await
        .unwrap();
}

fn url(media_type: &str, file: &[u8]) -> String {
    format!("data:{media_type};base64,{}", BASE64_STANDARD.encode(file))
}

fn dots(shades: impl IntoIterator<Item = u8>) -> Vec<String> {
    let urls = shades
        .into_iter()
        .map(|shade| url("image/png", &dot(shade)));
    urls.collect()
}

/// The pictures of each message, as a model was shown them.
fn shown(asked: &Asked) -> Vec<Vec<String>> {
    let messages = asked.body["messages"].as_array().unwrap();
    let of = |message: &Value| -> Vec<String> {
        let parts = message["content"].as_array().into_iter().flatten();
        let urls = parts.filter_map(|part| part["image_url"]["url"].as_str());
        urls.map(str::to_owned).collect()
    };
    messages.iter().map(of).collect()
}

/// What an answer did without, and why.
fn missing(answer: &Value) -> Vec<(Value, &str)> {
    let missing = answer["context"]["missing"].as_array().unwrap();
    missing
        .iter()
        .map(|one| (one["attachmentId"].clone(), id(&one["reason"])))
        .collect()
}

/// What the uploads asked for is not what is tested.
async fn finish(app: TestApp) {
    app.forget_jobs().await;
    app.finish().await;
}

/// A product that waits for nothing that is being read.
async fn hasty(provider: &Provider) -> (TestApp, Actor) {
    let app = TestApp::with(Options {
        providers: provider.args("sk-1"),
        api: ApiArgs {
            attachment_wait_seconds: Some("0".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    (app, ana)
}

#[tokio::test]
async fn ten_pictures_are_shown_at_most_the_newest_messages_first() {
    let provider = Provider::saying(&["Dots."]).await;
    let (app, ana) = hasty(&provider).await;
    let pictures = upload(&ana, 0..12).await;
    let body = json!({ "message": "What is it?", "attachmentIds": pictures, "model": SEES });
    let answer = ana.chat(body).await.expect(200);
    assert_eq!(shown(&provider.asked()[0]), [dots(0..10)]);
    let why = "there are more pictures than can be sent";
    assert_eq!(
        missing(&answer),
        [(pictures[10].clone(), why), (pictures[11].clone(), why)]
    );
    // Two of the next question leave room for eight of this one.
    let more = upload(&ana, 20..22).await;
    let body = json!({ "message": "And these?", "attachmentIds": more, "model": SEES,
                       "conversationId": answer["conversationId"] });
    let answer = ana.chat(body).await.expect(200);
    assert!(missing(&answer).is_empty(), "{answer}");
    let messages = [dots(0..8), Vec::new(), dots(20..22)];
    assert_eq!(shown(&provider.asked()[1]), messages);
    finish(app).await;
}

#[tokio::test]
async fn the_words_of_a_picture_that_is_left_out_are_awaited() {
    let provider = Provider::saying(&["It says so."]).await;
    let (app, ana) = app(&provider).await;
    let mut pictures = upload(&ana, 0..10).await;
    let scan = picture("english-scan.png");
    let created = ana.upload("scan.png", scan, &[]).await.expect(201);
    pictures.push(created["attachment"]["id"].clone());
    let body = json!({ "message": "What do they say?", "attachmentIds": pictures, "model": SEES });
    let reading = async {
        app.wait_for_question().await;
        assert!(provider.asked().is_empty());
        app.run_jobs().await;
    };
    let (answer, ()) = tokio::join!(ana.chat(body), reading);
    let answer = answer.expect(200);
    assert_eq!(shown(&provider.asked()[0]), [dots(0..10)]);
    assert!(
        provider.asked()[0]
            .question()
            .contains("[Text of the attachment \"scan.png\"]")
    );
    let why = "there are more pictures than can be sent";
    assert_eq!(missing(&answer), [(pictures[10].clone(), why)]);
    finish(app).await;
}

#[tokio::test]
async fn too_large_pictures_are_left_out_and_all_together_have_a_limit() {
    let provider = Provider::saying(&["Dots."]).await;
    let (app, ana) = hasty(&provider).await;
    let pictures = upload(&ana, 0..5).await;
    let sizes = [8 * MIB + 1, 8 * MIB, 8 * MIB, 4 * MIB + 1, 4 * MIB];
    for (picture, bytes) in pictures.iter().zip(sizes) {
        enlarge(&app, picture, bytes).await;
    }
    let body = json!({ "message": "What is it?", "attachmentIds": pictures, "model": SEES });
    let answer = ana.chat(body).await.expect(200);
    // 8, 8 and 4 are 20.
    assert_eq!(shown(&provider.asked()[0]), [dots([1, 2, 4])]);
    let expected = [
        (pictures[0].clone(), "the picture is too large to be sent"),
        (
            pictures[3].clone(),
            "there are more pictures than can be sent",
        ),
    ];
    assert_eq!(missing(&answer), expected);
    finish(app).await;
}

#[tokio::test]
async fn a_large_picture_is_shown_in_its_smaller_form() {
    let provider = Provider::saying(&["A page."]).await;
    let (app, ana) = app(&provider).await;
    let scan = picture("english-scan.png");
    let created = ana.upload("scan.png", scan.clone(), &[]).await.expect(201);
    app.run_jobs().await;
    let attachment = created["attachment"]["id"].clone();
    let path = format!("/api/v1/attachments/{}", id(&attachment));
    let known = ana.get(&path).await.expect(200);
    let variants = known["variants"].as_array().unwrap();
    let display = variants.iter().find(|one| one["name"] == "display");
    let display = display.expect("one to look at");
    let (_, smaller) = crate::variants::bytes(&app.anonymous(), &display["url"]).await;
    assert_ne!(smaller, scan);
    let conversation = ana.conversation("Scans").await;
    for (bytes, expected) in [
        (3 * MIB, url("image/png", &scan)),
        (3 * MIB + 1, url(id(&display["mediaType"]), &smaller)),
        // What counts is the size of what is sent.
        (100 * MIB, url(id(&display["mediaType"]), &smaller)),
    ] {
        enlarge(&app, &attachment, bytes).await;
        let body = json!({ "message": "What is it?", "attachmentIds": [attachment], "model": SEES,
                           "conversationId": conversation, "parentId": null });
        let answer = ana.chat(body).await.expect(200);
        assert!(missing(&answer).is_empty(), "{answer}");
        let asked = provider.asked().pop().unwrap();
        assert!(shown(&asked) == [[expected]], "of {bytes} bytes");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_model_that_does_not_see_gets_no_picture_before_or_after_one_that_does() {
    let provider = Provider::saying(&["A dot."]).await;
    let app = TestApp::with(Options {
        providers: ProviderArgs {
            groq_api_keys: Some("gsk-1".to_owned()),
            groq_base_url: Some(provider.base_url.clone()),
            ..provider.args("sk-1")
        },
        api: ApiArgs {
            attachment_wait_seconds: Some("0".to_owned()),
            ..ApiArgs::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let pictures = upload(&ana, 0..1).await;
    let body = json!({ "message": "What is it?", "attachmentIds": pictures, "model": SEES_NOT });
    let answer = ana.chat(body).await.expect(200);
    // It waits for the words instead.
    let expected = [(pictures[0].clone(), "it is still being read")];
    assert_eq!(missing(&answer), expected);
    for (model, expected) in [(SEES, dots(0..1)), (SEES_NOT, Vec::new())] {
        let body = json!({ "message": "Sure?", "model": model, "conversationId": answer["conversationId"] });
        let again = ana.chat(body).await.expect(200);
        assert!(missing(&again).is_empty(), "{again}");
        let asked = provider.asked().pop().unwrap();
        assert_eq!(shown(&asked).concat(), expected, "{model}");
    }
    let asked = provider.asked();
    assert_eq!(asked.len(), 3);
    for blind in [&asked[0], &asked[2]] {
        assert_eq!(blind.body["model"], "openai/gpt-oss-20b");
        let text = blind.body.to_string();
        assert!(
            !text.contains("image_url") && !text.contains("base64"),
            "{text}"
        );
        assert!(
            text.contains("0.png"),
            "it is told that there is one: {text}"
        );
    }
    finish(app).await;
}

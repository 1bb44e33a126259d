//! Whoever is told of them, the same turns come to the same: with endpoints that want to know of messages, with others, and
//! without any.

use serde_json::{Value, json};
use tests::{
    Actor, Options, TestApp,
    fakes::{
        provider::{Asked, Provider, Script, Step, delta, end, refusal, stream, words_of},
        receiver::Receiver,
    },
};

use crate::{
    chat::id,
    chat_crowds::expect_exact,
    chat_diary::{CHAT, Diary, Page, difference},
    chat_pictures::dot,
};

const MODEL: &str = "gpt-4o-mini";
/// How many answers of a story fail, and how many are gone on with.
const FAILED: i64 = 2;
const GONE_ON_WITH: i64 = 2;

/// What a user is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// There is none.
    None,
    /// It wants to know of something else.
    OfOthers,
    /// It wants to know of messages.
    OfMessages,
    /// It wanted to, and is switched off.
    Off,
}

/// Somebody with an endpoint of this kind.
pub(crate) async fn user(app: &TestApp, name: &str, endpoint: Endpoint, url: &str) -> Actor {
    let user = app.user(name).await;
    let events: &[&str] = match endpoint {
        Endpoint::None => return user,
        Endpoint::OfOthers => &["image.ocr_completed"],
        Endpoint::OfMessages | Endpoint::Off => {
            &["message.created", "message.completed", "message.failed"]
        }
    };
    let body = json!({ "url": url, "events": events });
    let made = user.post_json("/api/v1/webhooks", body).await.expect(201);
    if endpoint == Endpoint::Off {
        let path = format!("/api/v1/webhooks/{}", id(&made["id"]));
        let off = json!({ "isActive": false });
        user.patch_json(&path, off).await.expect(200);
    }
    user
}

fn answer(asked: &Asked) -> Script {
    match asked.question().as_str() {
        "Count" => stream([vec![delta("one two")], end("length", 5, 2)].concat()),
        "Hold" => stream(vec![delta("One "), delta("two "), Step::Hold]),
        "Refuse" => refusal(400, "it is too long"),
        "Cut" => stream(vec![delta("Hi"), Step::Cut]),
        text if text.starts_with("Continue") => words_of(&["and", " on"]),
        text => words_of(&["You said ", text]),
    }
}

/// All that can be done with messages and answers, some of it twice.
async fn story(app: &TestApp, user: &Actor) -> Vec<Page> {
    let mut diary = Diary::of(user);
    let first = json!({ "message": "Hello", "model": MODEL });
    let first = diary.post("it begins", CHAT, first).await;
    let conversation = id(&first["conversationId"]).to_owned();
    let (answer, question) = (
        id(&first["message"]["id"]).to_owned(),
        id(&first["message"]["parentId"]).to_owned(),
    );
    let say = |text: &str| json!({ "message": text, "conversationId": conversation });
    diary.post("it goes on", CHAT, say("And?")).await;
    diary.stream("it is streamed", CHAT, say("And then?")).await;
    let path = format!("/api/v1/messages/{answer}/regenerate");
    diary
        .post("anew", &path, json!({ "model": "gpt-4o" }))
        .await;
    let path = format!("/api/v1/messages/{question}/regenerate");
    diary
        .stream("anew, by the question", &path, json!({}))
        .await;
    let path = format!("/api/v1/messages/{question}/resend");
    diary
        .post("reworded", &path, json!({ "message": "Hi there" }))
        .await;
    let counted = diary.post("it is cut short", CHAT, say("Count")).await;
    let path = format!(
        "/api/v1/messages/{}/continue",
        id(&counted["message"]["id"])
    );
    diary.stream("it is gone on with", &path, json!({})).await;
    diary.post("there is no more", &path, json!({})).await;

    let once = json!({ "message": "Once", "model": MODEL, "clientId": "c-1" });
    for what in ["sent once", "sent twice"] {
        diary.post(what, CHAT, once.clone()).await;
    }
    diary.stream("sent thrice", CHAT, once.clone()).await;
    let mut other = once;
    other["message"] = "Other".into();
    diary.post("another one under its id", CHAT, other).await;
    let mut here = say("Here");
    here["clientId"] = "c-2".into();
    for what in ["sent once here", "sent twice here"] {
        diary.post(what, CHAT, here.clone()).await;
    }
    for what in ["keyed", "keyed again"] {
        diary
            .keyed(what, "k-1", json!({ "message": "Keyed", "model": MODEL }))
            .await;
    }
    for what in ["keyed here", "keyed here again"] {
        diary.keyed(what, "k-2", say("Keyed here")).await;
    }
    diary
        .keyed("another one under its key", "k-2", say("Other"))
        .await;

    let mut stream = user.stream(say("Hold")).await;
    let started = stream.next().await.expect("an event");
    let held = id(&started.data["messageId"]);
    for _ in 0..2 {
        stream.next().await.expect("a word");
    }
    diary
        .note("it is being said", Value::Null, Some(&conversation))
        .await;
    let path = format!("/api/v1/chat/streams/{held}/cancel");
    for what in ["it is stopped", "it is stopped again"] {
        diary.post(what, &path, json!({})).await;
    }
    let path = format!("/api/v1/messages/{held}/continue");
    diary
        .post("it is gone on with all the same", &path, json!({}))
        .await;
    diary.post("it is refused", CHAT, say("Refuse")).await;
    let cut = diary.post("it is cut off", CHAT, say("Cut")).await;

    let mut beside = say("Beside");
    beside["parentId"] = answer.into();
    diary.post("beside", CHAT, beside).await;
    let mut apart = say("Apart");
    apart["parentId"] = Value::Null;
    diary.post("apart", CHAT, apart).await;
    let mut nowhere = say("Nowhere");
    nowhere["parentId"] = uuid::Uuid::new_v4().to_string().into();
    diary.post("nowhere", CHAT, nowhere).await;
    let cut = format!("/api/v1/messages/{}", id(&cut["messageId"]));
    let reply = user.delete(&cut).await;
    diary.reply("it is deleted", reply).await;
    diary
        .post("it goes on after that", CHAT, say("Well?"))
        .await;

    let project = json!({ "name": "Thesis", "instructions": "Cite sources." });
    let project = user
        .post_json("/api/v1/projects", project)
        .await
        .expect(201);
    let filed = json!({ "message": "Filed", "model": MODEL, "projectId": project["id"], "systemPrompt": "Rhyme.",
                        "temperature": 0.5, "maxTokens": 50 });
    diary.post("in a project", CHAT, filed).await;
    let dot = user.upload("dot.png", dot(7), &[]).await.expect(201);
    let dot = &dot["attachment"]["id"];
    let mut shown = say("Look");
    shown["attachmentIds"] = json!([dot]);
    diary.post("with a picture", CHAT, shown).await;
    let dot = user.get(&format!("/api/v1/attachments/{}", id(dot))).await;
    let dot = dot.expect(200);
    let place = json!([dot["conversationId"], dot["messageId"]]);
    diary.note("where the picture is", place, None).await;

    let path = format!("/api/v1/conversations/{conversation}");
    user.post(&format!("{path}/archive")).await.expect(200);
    diary.post("in the archive", CHAT, say("No")).await;
    user.post(&format!("{path}/unarchive")).await.expect(200);
    diary.post("out of the archive", CHAT, say("Yes")).await;
    diary
        .note("in the end", Value::Null, Some(&conversation))
        .await;
    diary
        .note("the ledger", ledger_of(app, user).await, None)
        .await;
    // What is deleted is taken out of it.
    diary
        .note("what had happened", events_of(app, user).await, None)
        .await;
    user.delete(&path).await.expect(204);
    diary.post("after the end", CHAT, say("No")).await;
    diary
        .note("what has happened", events_of(app, user).await, None)
        .await;
    diary.pages
}

/// The events of somebody but for those of their account, in the order in which they were caused, with the microseconds at
/// which they happened.
async fn events_of(app: &TestApp, user: &Actor) -> Value {
    let sql = "SELECT jsonb_build_object('kind', kind, 'subject', subject, 'data', data,
                                         'at', (extract(epoch FROM created_at) * 1000000)::bigint)
                 FROM events WHERE user_id = $1 AND kind NOT LIKE 'user.%' ORDER BY id";
    let rows: Vec<Value> = sqlx::query_scalar(sql)
        .bind(app.id_of(user).await.0)
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    rows.into()
}

async fn ledger_of(app: &TestApp, user: &Actor) -> Value {
    let sql = "SELECT to_jsonb(u) FROM usage u JOIN messages m ON m.id = u.message_id WHERE u.user_id = $1
                ORDER BY m.conversation_id, m.created_at, u.created_at, u.attempt, u.id";
    let rows: Vec<Value> = sqlx::query_scalar(sql)
        .bind(app.id_of(user).await.0)
        .fetch_all(app.database.pool())
        .await
        .unwrap();
    rows.into()
}

fn expect_alike(endpoint: Endpoint, expected: &[Page], seen: &[Page]) {
    for ((what, one), (_, other)) in expected.iter().zip(seen) {
        if let Some(difference) = difference(what, one, other) {
            panic!("None and {endpoint:?} differ in {difference}");
        }
    }
    assert_eq!(expected.len(), seen.len());
}

/// What is right for those who differ in nothing.
fn expect_right(pages: &[Page]) {
    let page = |name: &str| {
        let found = pages.iter().find(|(what, _)| what == name);
        &found.expect("it was noted").1
    };
    for (name, status) in [
        ("it begins", 200),
        ("there is no more", 409),
        ("sent twice", 200),
        ("another one under its id", 409),
        ("keyed here again", 200),
        ("another one under its key", 422),
        ("it is stopped again", 200),
        ("it is refused", 502),
        ("it is cut off", 502),
        ("nowhere", 422),
        ("it is deleted", 204),
        ("with a picture", 200),
        ("in the archive", 409),
        ("out of the archive", 200),
        ("after the end", 404),
    ] {
        assert_eq!(page(name)["seen"]["status"], status, "{}", page(name));
    }
    let happened = page("what has happened")["seen"].as_array().unwrap();
    let failed = happened
        .iter()
        .filter(|event| event["kind"] == "message.failed");
    assert_eq!(i64::try_from(failed.count()).unwrap(), FAILED);
    // A conversation begins with version 1; its question with the beginning of the answer, and the end of that, follow.
    for (name, messages, version) in [("it begins", 2, 3), ("it goes on", 4, 5)] {
        let conversation = &page(name)["conversation"]["body"];
        assert_eq!(
            (&conversation["messageCount"], &conversation["version"]),
            (&json!(messages), &json!(version)),
            "{name}"
        );
    }
    for (one, other) in [
        ("sent once", "sent twice"),
        ("sent once here", "sent twice here"),
        ("keyed", "keyed again"),
        ("keyed here", "keyed here again"),
        ("it is stopped", "it is stopped again"),
    ] {
        assert_eq!(page(one), page(other), "nothing changes");
    }
}

/// Each message is told once when it is written, and each time that it has ended.
async fn expect_told(app: &TestApp, user: &Actor, receiver: &Receiver) {
    let sql =
        "SELECT count(*) FILTER (WHERE role = 'user'), count(*) FILTER (WHERE role = 'assistant')
                 FROM messages WHERE user_id = $1";
    let (questions, answers): (i64, i64) = sqlx::query_as(sql)
        .bind(app.id_of(user).await.0)
        .fetch_one(app.database.pool())
        .await
        .unwrap();
    let told = receiver.bodies().await;
    let count = |event: &str| {
        let of = told.iter().filter(|body| body["type"] == event);
        i64::try_from(of.count()).unwrap()
    };
    assert_eq!(count("message.created"), questions);
    assert_eq!(count("message.failed"), FAILED);
    let completed = answers - FAILED + GONE_ON_WITH;
    assert_eq!(count("message.completed"), completed);
}

#[tokio::test]
async fn turns_come_to_the_same_whoever_is_told_of_them() {
    let provider = Provider::start(answer).await;
    let mut providers = provider.args("sk-1");
    providers.breaker_failures = Some("100".to_owned());
    let app = TestApp::with(Options {
        providers,
        ..Options::default()
    })
    .await;
    let kinds = [
        Endpoint::None,
        Endpoint::OfOthers,
        Endpoint::OfMessages,
        Endpoint::Off,
        // And all at once.
        Endpoint::OfMessages,
        Endpoint::None,
        Endpoint::OfOthers,
    ];
    let mut users = Vec::new();
    for (number, endpoint) in kinds.into_iter().enumerate() {
        let receiver = Receiver::start().await;
        let user = user(&app, &format!("user{number}"), endpoint, &receiver.url()).await;
        users.push((endpoint, user, receiver));
    }
    let mut stories = Vec::new();
    for (_, user, _) in &users[..4] {
        stories.push(story(&app, user).await);
    }
    let at_once = users[4..].iter().map(|(_, user, _)| story(&app, user));
    stories.extend(futures::future::join_all(at_once).await);
    expect_right(&stories[0]);
    for ((endpoint, ..), pages) in users.iter().zip(&stories) {
        expect_alike(*endpoint, &stories[0], pages);
    }
    expect_exact(&app).await;

    sqlx::query("DELETE FROM jobs WHERE kind <> 'deliver_webhook'")
        .execute(app.database.pool())
        .await
        .unwrap();
    app.run_jobs().await;
    for (endpoint, user, receiver) in &users {
        if *endpoint == Endpoint::OfMessages {
            expect_told(&app, user, receiver).await;
        } else {
            assert!(receiver.requests().await.is_empty(), "{endpoint:?}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn accounts_take_turns_whoever_is_told() {
    for endpoint in [
        Endpoint::None,
        Endpoint::OfOthers,
        Endpoint::OfMessages,
        Endpoint::Off,
    ] {
        let provider = Provider::start(answer).await;
        let app = TestApp::with(Options {
            providers: provider.args("acme:k1,beta:k2"),
            ..Options::default()
        })
        .await;
        let user = user(&app, "ana", endpoint, "http://127.0.0.1:9/").await;
        for _ in 0..4 {
            let body = json!({ "message": "Hello", "model": MODEL });
            user.chat(body).await.expect(200);
        }
        let asked = provider.asked();
        let keys: Vec<&str> = asked.iter().map(|asked| asked.key.as_str()).collect();
        assert_eq!(keys, ["k1", "k2", "k1", "k2"], "{endpoint:?}");
        app.forget_jobs().await;
        app.finish().await;
    }
}

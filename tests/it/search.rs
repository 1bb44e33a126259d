//! Finding what was said.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Actor, TestApp, actor::each};

async fn find(actor: &Actor, query: &[(&str, &str)]) -> Value {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(query)
        .finish();
    actor
        .get(&format!("/api/v1/search?{query}"))
        .await
        .expect(200)
}

async fn snippets(actor: &Actor, q: &str) -> Vec<String> {
    each(&find(actor, &[("q", q)]).await, "snippet")
}

#[tokio::test]
async fn words_are_found_in_titles_and_messages() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Books of the summer").await;
    app.advance(Duration::from_secs(1)).await;
    let said = ana
        .say(&id, "I was reading a book about dogs & <cats>")
        .await;
    let found = find(&ana, &[("q", "book")]).await;
    assert_eq!(each(&found, "type"), ["message", "conversation"]);
    let message = &found["data"][0];
    assert_eq!(message["messageId"], said["id"]);
    assert_eq!(message["conversationTitle"], "Books of the summer");
    assert_eq!(message["role"], "user");
    assert_eq!(
        message["snippet"],
        "I was reading a <mark>book</mark> about dogs &amp; &lt;cats&gt;"
    );
    assert_eq!(
        found["data"][1]["snippet"],
        "<mark>Books</mark> of the summer"
    );
    assert_eq!(found["data"][1]["messageId"], Value::Null);

    for (q, hits) in [
        ("reads dog", 1),
        ("\"book about dogs\"", 1),
        ("\"dogs book\"", 0),
        ("dogs -cats", 0),
        ("horses or dogs", 1),
        ("the", 1),
        ("horses", 0),
        ("!!! &|<->:*", 0),
        ("cats", 1),
    ] {
        assert_eq!(snippets(&ana, q).await.len(), hits, "{q}");
    }
    app.finish().await;
}

#[tokio::test]
async fn hindi_and_urdu_are_found_as_they_are_written() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("सफ़र की तैयारी").await;
    ana.say(&id, "मुझे हिन्दी में किताबें पढ़ना अच्छा लगता है").await;
    ana.say(&id, "مجھے اردو میں کتابیں پڑھنا اچھا لگتا ہے")
        .await;
    assert_eq!(
        snippets(&ana, "किताबें").await,
        ["मुझे हिन्दी में <mark>किताबें</mark> पढ़ना अच्छा लगता है"]
    );
    assert_eq!(
        snippets(&ana, "کتابیں").await,
        ["مجھے اردو میں <mark>کتابیں</mark> پڑھنا اچھا لگتا ہے"]
    );
    assert_eq!(snippets(&ana, "सफ़र").await, ["<mark>सफ़र</mark> की तैयारी"]);
    assert!(snippets(&ana, "किताब").await.is_empty(), "another word");
    app.finish().await;
}

#[tokio::test]
async fn the_first_200_000_characters_of_a_message_are_found() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Long").await;
    let filler = "lorem ipsum ".repeat(15_000);
    ana.say(
        &id,
        &format!("{filler} needle {} haystack", "dolor ".repeat(800_000)),
    )
    .await;
    assert_eq!(snippets(&ana, "haystack").await.len(), 0);
    let found = snippets(&ana, "needle").await;
    assert!(found[0].contains("<mark>needle</mark>"), "{}", found[0]);
    // Of four bytes each, and each word another one: more than an index entry can hold.
    let words: String = (0..50_000u32)
        .flat_map(|n| {
            [n % 40, n / 40 % 40, n / 1600 % 40, 41].map(|c| char::from_u32(0x10400 + c).unwrap())
        })
        .enumerate()
        .flat_map(|(index, c)| [Some(c), (index % 4 == 3).then_some(' ')])
        .flatten()
        .collect();
    ana.say(&id, &format!("first {words}")).await;
    assert_eq!(snippets(&ana, "first").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn results_are_filtered_and_paged() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let project = ana
        .post_json("/api/v1/projects", json!({ "name": "Thesis" }))
        .await
        .expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let (inside, outside) = (ana.conversation("one").await, ana.conversation("two").await);
    ana.patch_json(
        &format!("/api/v1/conversations/{inside}"),
        json!({ "projectId": project }),
    )
    .await
    .expect(200);
    let start = app.clock.now();
    for (conversation, text) in [
        (&inside, "word 1"),
        (&outside, "word 2"),
        (&inside, "word 3"),
    ] {
        ana.say(conversation, text).await;
        app.advance(Duration::from_mins(1)).await;
    }
    let of = |snippets: &[String]| -> Vec<String> {
        snippets
            .iter()
            .map(|text| text.replace("<mark>word</mark> ", ""))
            .collect()
    };
    let filtered = async |query: &[(&str, &str)]| {
        let query = [&[("q", "word")], query].concat();
        of(&each(&find(&ana, &query).await, "snippet"))
    };
    assert_eq!(filtered(&[]).await, ["3", "2", "1"]);
    assert_eq!(filtered(&[("projectId", &project)]).await, ["3", "1"]);
    let second = (start + Duration::from_mins(1)).to_rfc3339();
    assert_eq!(filtered(&[("from", &second)]).await, ["3", "2"]);
    assert_eq!(filtered(&[("to", &second)]).await, ["1"]);

    let page = find(&ana, &[("q", "word"), ("limit", "2")]).await;
    assert_eq!(of(&each(&page, "snippet")), ["3", "2"]);
    let cursor = page["pagination"]["nextCursor"].as_str().unwrap();
    assert_eq!(filtered(&[("cursor", cursor)]).await, ["1"]);
    app.finish().await;
}

#[tokio::test]
async fn nobody_finds_what_another_said_or_what_was_deleted() {
    let app = TestApp::spawn().await;
    let (ana, ben) = (app.user("ana").await, app.user("ben").await);
    let id = ana.conversation("secret").await;
    let said = ana.say(&id, "a secret").await;
    assert_eq!(snippets(&ana, "secret").await.len(), 2);
    assert!(snippets(&ben, "secret").await.is_empty());
    let message = format!("/api/v1/messages/{}", said["id"].as_str().unwrap());
    ana.delete(&message).await.expect(204);
    assert_eq!(snippets(&ana, "secret").await, ["<mark>secret</mark>"]);
    app.anonymous()
        .get("/api/v1/search?q=secret")
        .await
        .expect_problem(401, "unauthenticated");
    app.finish().await;
}

#[tokio::test]
async fn bad_searches_are_refused() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let bad = format!(
        "/api/v1/search?q={}&projectId=x&from=yesterday&to=&limit=0",
        "x".repeat(201)
    );
    assert_eq!(
        ana.get(&bad).await.expect_bad_fields(),
        ["/from", "/limit", "/projectId", "/q", "/to"]
    );
    assert_eq!(ana.get("/api/v1/search").await.expect_bad_fields(), ["/q"]);
    assert_eq!(
        ana.get("/api/v1/search?q=%20").await.expect_bad_fields(),
        ["/q"]
    );
    assert_eq!(
        ana.get("/api/v1/search?q=a%00b").await.expect_bad_fields(),
        ["/q"]
    );
    ana.get("/api/v1/search?q=a&cursor=b")
        .await
        .expect_problem(400, "malformed_request");
    app.finish().await;
}

#[tokio::test]
async fn words_of_code_and_addresses_are_found() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Code").await;
    ana.say(&id, "see src/main.rs, Vec<Item> and ana@example.com")
        .await;
    for (q, marked) in [
        ("main.rs", "src/<mark>main</mark>.<mark>rs</mark>"),
        ("main", "src/<mark>main</mark>.rs"),
        (
            "src/main.rs",
            "<mark>src</mark>/<mark>main</mark>.<mark>rs</mark>",
        ),
        ("Item", "Vec&lt;<mark>Item</mark>&gt;"),
        ("Vec<Item>", "<mark>Vec</mark>&lt;<mark>Item</mark>&gt;"),
        ("example.com", "ana@<mark>example</mark>.<mark>com</mark>"),
        ("example", "ana@<mark>example</mark>.com"),
    ] {
        let found = snippets(&ana, q).await;
        assert!(found[0].contains(marked), "{q}: {}", found[0]);
    }
    app.finish().await;
}

#[tokio::test]
async fn frequent_words_exclude_and_are_excluded_too() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Animals").await;
    ana.say(&id, "the dogs were there").await;
    ana.say(&id, "dogs bark").await;
    ana.say(&id, "nothing of the kind").await;
    for (q, found) in [
        ("were -xyz", &["the dogs <mark>were</mark> there"][..]),
        ("dogs -the", &["<mark>dogs</mark> bark"]),
        ("were", &["the dogs <mark>were</mark> there"]),
        (
            "dog -xyz",
            &["<mark>dogs</mark> bark", "the <mark>dogs</mark> were there"],
        ),
    ] {
        assert_eq!(snippets(&ana, q).await, found, "{q}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_snippet_is_from_where_the_words_are() {
    let app = TestApp::spawn().await;
    let ana = app.user("ana").await;
    let id = ana.conversation("Long").await;
    let filler = "lorem preadings ipsum ".repeat(600);
    let text = format!("{filler}\nShe was reading quietly. {filler}");
    ana.say(&id, &text).await;
    for (q, marked) in [
        ("reads", "<mark>reading</mark>"),
        ("elephants or quietly", "<mark>quietly</mark>"),
        ("quietly -elephants", "<mark>quietly</mark>"),
        ("was", "<mark>was</mark>"),
        ("\"reading quietly\"", "<mark>reading</mark>"),
    ] {
        let found = snippets(&ana, q).await;
        assert!(found[0].contains(marked), "{q}: {found:?}");
    }
    app.finish().await;
}

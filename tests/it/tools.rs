//! Tools: what their services are asked, and what becomes of the answers.

use serde_json::{Value, json};
use shared::{
    config::{Problems, RedisConfig, ToolArgs},
    redis::Redis,
    tools::{Called, Outcome, Tools},
};
use tests::{
    Options, TestApp, eventually,
    fakes::services::{Asked, Reply, Services},
};
use tokio_util::task::TaskTracker;

/// What a program that belongs to the product has for tools.
pub(crate) async fn tools(app: &TestApp, args: &ToolArgs) -> Tools {
    let redis = connect(app, &app.redis_url);
    eventually("redis is there", async || redis.ping().await.is_ok()).await;
    with(app, &redis, args)
}

pub(crate) fn connect(app: &TestApp, url: &str) -> Redis {
    Redis::connect(&RedisConfig {
        url: url.into(),
        tls_insecure: false,
        ca: None,
        prefix: app.prefix.clone(),
    })
    .unwrap()
}

pub(crate) fn with(app: &TestApp, redis: &Redis, args: &ToolArgs) -> Tools {
    let config = args.check(&mut Problems::default());
    let (clock, tasks) = (app.clock.clone(), TaskTracker::new());
    Tools::new(
        &config,
        "BaatCheet/test (+http://ana.example/)",
        redis,
        clock,
        &tasks,
    )
    .unwrap()
}

/// Calls a tool by its name.
pub(crate) async fn call(tools: &Tools, name: &str, arguments: &Value) -> Called {
    let offered = tools.offered();
    let tool = offered.iter().find(|tool| tool.name == name);
    let tool = tool.unwrap_or_else(|| panic!("{name} is not offered"));
    tools.call(tool, &arguments.to_string()).await
}

#[track_caller]
pub(crate) fn completed(called: &Called) -> Value {
    assert_eq!(called.outcome, Outcome::Completed, "{}", called.text);
    serde_json::from_str(&called.text).expect("JSON")
}

#[track_caller]
pub(crate) fn unavailable(called: &Called) {
    assert_eq!(called.outcome, Outcome::Unavailable, "{}", called.text);
    assert_eq!(called.text, "Service temporarily unavailable");
}

/// The weather, as `OpenWeather` tells it.
pub(crate) fn weather(degrees: f64) -> Value {
    json!({ "name": "Lahore", "sys": { "country": "PK" }, "dt": 1_767_322_800,
            "weather": [{ "main": "Haze", "description": "haze" }],
            "main": { "temp": degrees, "feels_like": degrees, "humidity": 60, "pressure": 1014 },
            "wind": { "speed": 2.1 }, "clouds": { "all": 40 } })
}

pub(crate) fn everything(asked: &Asked) -> Reply {
    Reply::json(&match asked.path.as_str() {
        "/weather/weather" => weather(18.5),
        "/weather/forecast" => json!({ "city": { "name": "Lahore", "country": "PK" }, "list": [
            { "dt_txt": "2026-01-02 12:00:00", "main": { "temp_min": 9.0, "temp_max": 19.0 }, "pop": 0.2,
              "weather": [{ "description": "haze" }] }] }),
        "/currency/key-of-currency/pair/USD/PKR" => {
            json!({ "result": "success", "conversion_rate": 281.5, "time_last_update_utc": "Fri, 02 Jan 2026 00:00:01 +0000" })
        }
        "/news/everything" => json!({ "status": "ok", "totalResults": 1, "articles": [
            { "source": { "id": null, "name": "Dawn" }, "title": "Rain", "url": "https://dawn.example/1",
              "description": "It rains.", "publishedAt": "2026-01-01T10:00:00Z", "content": "…" }] }),
        "/web/search" => json!({ "query": "x", "results": [
            { "title": "Sea", "url": "https://sea.example/", "content": "Salt water.", "score": 0.9 }] }),
        "/nominatim/search" => json!([
            { "name": "Red Fort", "display_name": "Red Fort, Delhi", "type": "fort", "lat": "28.6562", "lon": "77.2410" }]),
        "/google/places:searchText" => json!({ "places": [
            { "displayName": { "text": "Red Fort" }, "formattedAddress": "Delhi", "primaryType": "tourist_attraction",
              "location": { "latitude": 28.6562, "longitude": 77.241 }, "rating": 4.5, "userRatingCount": 9 }] }),
        path => panic!("{path} is not asked"),
    })
}

#[tokio::test]
async fn each_tool_asks_its_service_as_that_wants_it() {
    let app = TestApp::spawn().await;
    let services = Services::start(everything).await;
    let all = tools(&app, &services.args()).await;
    let last = || services.asked().pop().unwrap();

    let told = completed(&call(&all, "weather", &json!({ "location": "Lahore, PK" })).await);
    assert_eq!(told["location"], "Lahore, PK");
    assert_eq!(told["temperature"], 18.5);
    assert_eq!(told["weather"], "haze");
    let asked = last();
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/weather/weather")
    );
    assert_eq!(asked.query["q"], "Lahore, PK");
    assert_eq!(asked.query["units"], "metric");
    assert_eq!(asked.query["appid"], "key-of-weather");

    let told = completed(&call(&all, "weather", &json!({ "location": "Lahore", "days": 2 })).await);
    assert_eq!(told["days"][0]["highest"], 19.0);
    assert_eq!(last().path, "/weather/forecast");

    let money = json!({ "from": "usd", "to": "PKR", "amount": 10 });
    let told = completed(&call(&all, "currency", &money).await);
    assert_eq!(
        (&told["rate"], &told["result"]),
        (&json!(281.5), &json!(2815.0))
    );

    let told = completed(&call(&all, "news", &json!({ "query": "rain", "language": "en" })).await);
    assert_eq!(told["articles"][0]["source"], "Dawn");
    let asked = last();
    assert_eq!(asked.header("x-api-key"), "key-of-news");
    assert_eq!(
        (asked.query["q"].as_str(), asked.query["language"].as_str()),
        ("rain", "en")
    );
    assert_eq!(asked.query["pageSize"], "5");

    let told = completed(&call(&all, "web_search", &json!({ "query": "sea", "count": 3 })).await);
    assert_eq!(told["results"][0]["content"], "Salt water.");
    let asked = last();
    assert_eq!(asked.header("authorization"), "Bearer key-of-web");
    assert_eq!(
        (&asked.body["query"], &asked.body["max_results"]),
        (&json!("sea"), &json!(3))
    );

    let told = completed(&call(&all, "places", &json!({ "query": "Red Fort" })).await);
    assert_eq!(told["places"][0]["latitude"], 28.6562);
    assert_eq!(told["attribution"], "© OpenStreetMap contributors");
    let asked = last();
    assert_eq!(asked.query["format"], "jsonv2");
    assert_eq!(
        asked.header("user-agent"),
        "BaatCheet/test (+http://ana.example/)"
    );

    let google = ToolArgs {
        google_places_api_key: Some("key-of-google".to_owned()),
        ..services.args()
    };
    let google = tools(&app, &google).await;
    // What Nominatim said is remembered under the same name, so other words are asked for.
    let told = completed(&call(&google, "places", &json!({ "query": "Lal Qila" })).await);
    assert_eq!(told["places"][0]["rating"], 4.5);
    let asked = last();
    assert_eq!(asked.header("x-goog-api-key"), "key-of-google");
    assert!(
        asked
            .header("x-goog-fieldmask")
            .contains("places.displayName")
    );
    assert_eq!(asked.body["textQuery"], "Lal Qila");
    app.finish().await;
}

#[tokio::test]
async fn a_result_is_remembered_for_its_time() {
    let app = TestApp::spawn().await;
    let services = Services::start(everything).await;
    let one = tools(&app, &services.args()).await;
    let first = call(
        &one,
        "weather",
        &json!({ "location": "Lahore", "units": "metric" }),
    )
    .await;
    assert!(!first.is_cached);
    // Another program, and another order.
    let other = tools(&app, &services.args()).await;
    let again = call(
        &other,
        "weather",
        &json!({ "units": "metric", "location": "Lahore" }),
    )
    .await;
    assert!(again.is_cached);
    assert_eq!(again.text, first.text);
    assert_eq!(services.asked().len(), 1);

    let client = redis::Client::open(app.redis_url.as_str()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let pattern = format!("{}cache:tool:weather:*", app.prefix);
    let keys: Vec<String> = redis::cmd("KEYS")
        .arg(pattern)
        .query_async(&mut redis)
        .await
        .unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    let left: i64 = redis::cmd("PTTL")
        .arg(&keys[0])
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!((540_000..=600_000).contains(&left), "{left}");
    app.finish().await;
}

#[tokio::test]
async fn answers_are_bounded_in_size_and_time_and_lead_nowhere_else() {
    let app = TestApp::spawn().await;
    let services = Services::start(|asked| {
        let query = asked.body["query"].as_str().unwrap_or_default();
        match (asked.path.as_str(), query) {
            ("/web/search", "long") => {
                let page = json!({ "title": "x", "url": "https://x.example/", "content": "नमस्ते ".repeat(900) });
                Reply::json(&json!({ "results": vec![page; 10] }))
            }
            ("/web/search", "huge") => Reply::new(200, &"x".repeat(2 << 20)),
            ("/web/search", "elsewhere") => Reply::new(302, "/stolen"),
            ("/web/search", "nonsense") => Reply::new(200, "<html>"),
            _ => everything(asked).held(),
        }
    })
    .await;
    let args = ToolArgs {
        tool_timeout_seconds: Some("1".to_owned()),
        ..services.args()
    };
    let tools = tools(&app, &args).await;
    let long = call(
        &tools,
        "web_search",
        &json!({ "query": "long", "count": 10 }),
    )
    .await;
    assert_eq!(long.outcome, Outcome::Completed);
    assert!(long.text.len() <= 16 * 1024 && long.text.ends_with("[cut: there is more]"));
    let again = call(
        &tools,
        "web_search",
        &json!({ "query": "long", "count": 10 }),
    )
    .await;
    assert_eq!(again.text, long.text);
    // It was, but whoever asks for it is not told what others looked for.
    assert!(!again.is_cached);
    assert_eq!(services.asked().len(), 1);
    for query in ["huge", "elsewhere", "nonsense"] {
        unavailable(&call(&tools, "web_search", &json!({ "query": query })).await);
    }
    // Nothing comes within the second that there is.
    unavailable(&call(&tools, "weather", &json!({ "location": "Lahore" })).await);
    let paths: Vec<String> = services
        .asked()
        .into_iter()
        .map(|asked| asked.path)
        .collect();
    assert!(!paths.contains(&"/stolen".to_owned()), "{paths:?}");
    app.finish().await;
}

#[tokio::test]
async fn nominatim_is_asked_once_in_a_second_by_all_programs() {
    let app = TestApp::spawn().await;
    let services = Services::start(everything).await;
    let (one, other) = (
        tools(&app, &services.args()).await,
        tools(&app, &services.args()).await,
    );
    let (first, second) = (
        json!({ "query": "Red Fort" }),
        json!({ "query": "Lal Qila" }),
    );
    let (a, b) = tokio::join!(
        call(&one, "places", &first),
        call(&other, "places", &second)
    );
    completed(&a);
    completed(&b);
    let asked = services.asked();
    let between = asked[1].at - asked[0].at;
    assert!(between.as_millis() >= 700, "{between:?}");
    app.finish().await;
}

#[tokio::test]
async fn the_api_tells_what_is_offered() {
    let services = Services::start(everything).await;
    let app = TestApp::with(Options {
        api: api::config::ApiArgs {
            tools: services.args(),
            ..Default::default()
        },
        ..Options::default()
    })
    .await;
    let ana = app.user("ana").await;
    let list = ana.get("/api/v1/tools").await.expect(200);
    let rows = list["data"].as_array().unwrap();
    let names: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["weather", "currency", "news", "web_search", "places"]
    );
    for row in rows {
        assert_eq!(row["source"], "builtin");
        assert_eq!(row["parameters"]["type"], "object");
        assert!(!row["description"].as_str().unwrap().is_empty());
    }
    assert!(!list.to_string().contains("key-of"), "{list}");
    app.anonymous()
        .get("/api/v1/tools")
        .await
        .expect_problem(401, "unauthenticated");
    assert!(services.asked().is_empty());
    app.finish().await;
}

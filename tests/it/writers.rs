//! Which models write summaries and titles: those of `SUMMARY_MODEL` and `TITLE_MODEL`, else the one that answers.

use api::config::ApiArgs;
use serde_json::{Value, json};
use tests::{Options, TestApp, eventually, fakes::provider::Provider};
use worker::config::{WorkerArgs, WritingArgs};

use crate::{
    chat::{id, ledger},
    titles::is_written,
};

const SUMMARISE: &str = "Summarise it.";
const NAME: &str = "Name it.";

/// Which models the ledger names for what was written.
async fn writers(app: &TestApp, kind: &str) -> Vec<String> {
    let rows = ledger(app).await;
    let rows = rows.iter().filter(|row| row["kind"] == kind);
    rows.map(|row| id(&row["model"]).to_owned()).collect()
}

#[tokio::test]
async fn summaries_and_titles_are_asked_of_the_operators_models_or_of_the_one_that_answers() {
    for (named, of_summary, of_title) in [
        (true, "gpt-4o", "gpt-4.1-nano"),
        (false, "gpt-4o-mini", "gpt-4o-mini"),
    ] {
        let provider = Provider::saying(&["They", " talked."]).await;
        let model = |name: &str| named.then(|| name.to_owned());
        let app = TestApp::with(Options {
            providers: provider.args("sk-1"),
            api: ApiArgs {
                context_max_messages: Some("4".to_owned()),
                auto_summary: Some("true".to_owned()),
                auto_title: Some("true".to_owned()),
                ..ApiArgs::default()
            },
            worker: WorkerArgs {
                writing: WritingArgs {
                    summary_model: model(of_summary),
                    summary_prompt: Some(SUMMARISE.to_owned()),
                    title_model: model(of_title),
                    title_prompt: Some(NAME.to_owned()),
                },
                ..WorkerArgs::default()
            },
            ..Options::default()
        })
        .await;
        let ana = app.user("ana").await;
        let mut conversation = Value::Null;
        for message in ["First?", "Second?", "Third?"] {
            let body = json!({ "message": message, "conversationId": conversation,
                               "model": "gpt-4o-mini" });
            conversation = ana.chat(body).await.expect(200)["conversationId"].clone();
        }
        app.run_jobs().await;
        for (prompt, kind, expected) in [
            (SUMMARISE, "summary", of_summary),
            (NAME, "title", of_title),
        ] {
            let asked = provider.asked();
            let models: Vec<&Value> = asked
                .iter()
                .filter(|asked| is_written(asked, prompt))
                .map(|asked| &asked.body["model"])
                .collect();
            assert_eq!(models, [expected], "{kind}");
            eventually("it is in the ledger", async || {
                !writers(&app, kind).await.is_empty()
            })
            .await;
            assert_eq!(writers(&app, kind).await, [expected], "{kind}");
        }
        assert_eq!(provider.asked().len(), 5);
        app.finish().await;
    }
}

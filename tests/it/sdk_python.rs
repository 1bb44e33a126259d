//! The stock `OpenAI` SDK for Python (`PyPI`), with strict validation of every answer.

use tests::sdk::Sdk;

use crate::sdk;

#[tokio::test]
async fn it_chats() {
    sdk::chats(Sdk::Python).await;
}

#[tokio::test]
async fn it_streams() {
    sdk::streams(Sdk::Python).await;
}

#[tokio::test]
async fn it_calls_tools() {
    sdk::calls_tools(Sdk::Python).await;
}

#[tokio::test]
async fn it_lists_models_and_embeds_texts() {
    sdk::lists_and_embeds(Sdk::Python).await;
}

#[tokio::test]
async fn it_transcribes_sounds() {
    sdk::transcribes(Sdk::Python).await;
}

#[tokio::test]
async fn it_knows_every_error() {
    sdk::fails(Sdk::Python).await;
}

#[tokio::test]
async fn its_own_retries_obey() {
    sdk::retries(Sdk::Python).await;
}

#[tokio::test]
async fn what_it_cancels_is_cancelled_at_the_provider() {
    sdk::cancels(Sdk::Python).await;
}

#[tokio::test]
async fn it_may_go_on_with_a_conversation() {
    sdk::remembers(Sdk::Python).await;
}

//! The stock `OpenAI` SDK for Node (npm).

use tests::sdk::Sdk;

use crate::sdk;

#[tokio::test]
async fn it_chats() {
    sdk::chats(Sdk::Node).await;
}

#[tokio::test]
async fn it_streams() {
    sdk::streams(Sdk::Node).await;
}

#[tokio::test]
async fn it_calls_tools() {
    sdk::calls_tools(Sdk::Node).await;
}

#[tokio::test]
async fn it_lists_models_and_embeds_texts() {
    sdk::lists_and_embeds(Sdk::Node).await;
}

#[tokio::test]
async fn it_transcribes_sounds() {
    sdk::transcribes(Sdk::Node).await;
}

#[tokio::test]
async fn it_knows_every_error() {
    sdk::fails(Sdk::Node).await;
}

#[tokio::test]
async fn its_own_retries_obey() {
    sdk::retries(Sdk::Node).await;
}

#[tokio::test]
async fn what_it_cancels_is_cancelled_at_the_provider() {
    sdk::cancels(Sdk::Node).await;
}

#[tokio::test]
async fn it_may_go_on_with_a_conversation() {
    sdk::remembers(Sdk::Node).await;
}

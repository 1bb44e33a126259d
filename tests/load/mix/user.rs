//! What one user does.

use std::{
    ops::Range,
    sync::Arc,
    time::{Duration, Instant},
};

use reqwest::multipart::{Form, Part};
use serde_json::json;
use url::{Url, form_urlencoded};

use super::{
    Plan,
    client::{Client, text},
    dice::Dice,
    routes::{
        ARCHIVE, CHAT, CHAT_AS_OPENAI, CREATE_CONVERSATION, DELETE_ATTACHMENT, DELETE_CONVERSATION,
        GET_ATTACHMENT, GET_CONTEXT, GET_USAGE, LIST_ATTACHMENTS, LIST_CONVERSATIONS,
        LIST_MESSAGES, SEARCH, UNARCHIVE, UPDATE_CONVERSATION, UPLOAD,
    },
    streams::Surface,
};

/// They come one after the other within this time, in milliseconds.
const COMING: Range<u64> = 0..3_000;
/// How long they think after each deed, in milliseconds.
const PAUSE: Range<u64> = 200..1_200;
/// Most messages that go along in a conversation whose settings were changed: few, so that summaries are made of others.
const FEW_MESSAGES: u32 = 6;

const QUESTIONS: [&str; 6] = [
    "What is the sea?",
    "Where shall we go in May, if we want to see mountains and have only four days?",
    "سمندر کیا ہے، اور اس میں کون رہتا ہے؟",
    "समुद्र क्या है, और उसमें कौन रहता है?",
    "Say it again, but shorter.",
    "Here is what I have so far: the train leaves at nine, the ticket is booked, and nobody has packed. We are five people, two \
     of them small, and we want to be there before it gets dark. What is to be done first, what may wait, and what have I \
     forgotten? Please answer with a list, most urgent first.",
];
const TITLES: [&str; 4] = ["Plans for May", "Trips", "سمندر", "समुद्र"];
const SOUGHT: [&str; 6] = [
    "sea",
    "may",
    "سمندر",
    "समुद्र",
    "\"ticket is booked\"",
    "nowhere",
];

/// Something that users do.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Ask,
    AskAsOpenAi,
    ListConversations,
    ListMessages,
    Search,
    BeginConversation,
    UploadPicture,
    UploadDocument,
    ListAttachments,
    LookAtAttachment,
    Download,
    ShowUsage,
    ShowContext,
    ChangeSettings,
    Archive,
    DeleteConversation,
    DeleteAttachment,
}

/// How often each is done, of a hundred.
const DEEDS: [(usize, Deed); 17] = [
    (24, Deed::Ask),
    (10, Deed::AskAsOpenAi),
    (14, Deed::ListConversations),
    (14, Deed::ListMessages),
    (8, Deed::Search),
    (5, Deed::BeginConversation),
    (3, Deed::UploadPicture),
    (2, Deed::UploadDocument),
    (3, Deed::ListAttachments),
    (4, Deed::LookAtAttachment),
    (3, Deed::Download),
    (3, Deed::ShowUsage),
    (1, Deed::ShowContext),
    (2, Deed::ChangeSettings),
    (2, Deed::Archive),
    (1, Deed::DeleteConversation),
    (1, Deed::DeleteAttachment),
];

fn draw(dice: &mut Dice) -> Deed {
    let all: usize = DEEDS.iter().map(|(often, _)| often).sum();
    let mut rolled = dice.below(all);
    for (often, deed) in DEEDS {
        if rolled < often {
            return deed;
        }
        rolled -= often;
    }
    Deed::Ask
}

/// A file that was uploaded.
#[derive(Debug)]
struct Kept {
    id: String,
    /// Path and query of its signed URL.
    path: String,
    size_bytes: u64,
}

/// A user, and what is theirs.
#[derive(Debug)]
pub(super) struct User {
    client: Client,
    plan: Arc<Plan>,
    dice: Dice,
    /// Those that are not archived.
    conversations: Vec<String>,
    archived: Vec<String>,
    files: Vec<Kept>,
}

impl User {
    pub(super) fn new(client: Client, plan: Arc<Plan>, number: u32) -> Self {
        Self {
            client,
            plan,
            dice: Dice::of(number),
            conversations: Vec::new(),
            archived: Vec::new(),
            files: Vec::new(),
        }
    }

    /// Registers, and does one thing after the other; tells whether registering went well.
    pub(super) async fn live(mut self, email: String, until: Instant) -> bool {
        tokio::time::sleep(self.dice.millis(&COMING)).await;
        if !self.client.register(&email).await {
            return false;
        }
        while Instant::now() < until {
            let deed = draw(&mut self.dice);
            self.act(deed).await;
            let left = until.saturating_duration_since(Instant::now());
            let pause: Duration = self.dice.millis(&PAUSE);
            tokio::time::sleep(pause.min(left)).await;
        }
        true
    }

    async fn act(&mut self, deed: Deed) {
        match deed {
            Deed::Ask => self.ask().await,
            Deed::AskAsOpenAi => self.ask_as_openai().await,
            Deed::ListConversations => self.list_conversations().await,
            Deed::ListMessages => self.list_messages().await,
            Deed::Search => self.search().await,
            Deed::BeginConversation => self.begin_conversation().await,
            Deed::UploadPicture => self.upload(true).await,
            Deed::UploadDocument => self.upload(false).await,
            Deed::ListAttachments => self.list_attachments().await,
            Deed::LookAtAttachment => self.look_at_attachment().await,
            Deed::Download => self.download().await,
            Deed::ShowUsage => self.show_usage().await,
            Deed::ShowContext => self.show_context().await,
            Deed::ChangeSettings => self.change_settings().await,
            Deed::Archive => self.archive().await,
            Deed::DeleteConversation => self.delete_conversation().await,
            Deed::DeleteAttachment => self.delete_attachment().await,
        }
    }

    fn model(&mut self) -> String {
        let model = self.dice.one_of(&self.plan.models);
        model.cloned().unwrap_or_default()
    }

    fn question(&mut self) -> &'static str {
        self.dice
            .one_of(&QUESTIONS)
            .copied()
            .unwrap_or(QUESTIONS[0])
    }

    fn conversation(&mut self) -> Option<String> {
        self.dice.one_of(&self.conversations).cloned()
    }

    /// Mostly in a conversation that is there; else the question begins one, which a model then names.
    async fn ask(&mut self) {
        let (model, question) = (self.model(), self.question());
        let mut body = json!({ "model": model, "message": question, "stream": true });
        let is_new = self.dice.once_in(4);
        let conversation = self.conversation().filter(|_| !is_new);
        if let Some(id) = &conversation {
            body["conversationId"] = json!(id);
        }
        let request = self.client.request(CHAT, "").json(&body);
        let answer = self
            .client
            .stream(Surface::Own, &model, CHAT, request)
            .await;
        let begun = answer.and_then(|answer| answer.conversation);
        if conversation.is_none() {
            self.conversations.extend(begun);
        }
    }

    /// Mostly as `OpenAI`'s clients do, which nobody keeps; else as a turn of a conversation.
    async fn ask_as_openai(&mut self) {
        let (model, question) = (self.model(), self.question());
        let mut body = json!({
            "model": model, "stream": true, "stream_options": { "include_usage": true },
            "messages": [{ "role": "system", "content": "Be brief." }, { "role": "user", "content": question }],
        });
        let is_kept = self.dice.once_in(3);
        if let Some(id) = self.conversation().filter(|_| is_kept) {
            body["conversation_id"] = json!(id);
        }
        let request = self.client.request(CHAT_AS_OPENAI, "").json(&body);
        self.client
            .stream(Surface::OpenAi, &model, CHAT_AS_OPENAI, request)
            .await;
    }

    async fn list_conversations(&self) {
        let request = self.client.request(LIST_CONVERSATIONS, "");
        self.client.ask(LIST_CONVERSATIONS, request, "/data").await;
    }

    async fn list_messages(&mut self) {
        let Some(id) = self.conversation() else {
            return self.begin_conversation().await;
        };
        let request = self.client.request(LIST_MESSAGES, &id);
        self.client.ask(LIST_MESSAGES, request, "/data").await;
    }

    async fn search(&mut self) {
        let sought = self.dice.one_of(&SOUGHT).copied().unwrap_or_default();
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("q", sought)
            .append_pair("limit", "20")
            .finish();
        let request = self.client.request_with(SEARCH, "", &query);
        self.client.ask(SEARCH, request, "/data").await;
    }

    /// Half of them have a title; a model names the others.
    async fn begin_conversation(&mut self) {
        let mut body = json!({ "tags": ["load"] });
        let is_named = self.dice.once_in(2);
        if let Some(title) = self.dice.one_of(&TITLES).filter(|_| is_named) {
            body["title"] = json!(title);
        }
        let request = self.client.request(CREATE_CONVERSATION, "").json(&body);
        let made = self.client.ask(CREATE_CONVERSATION, request, "/id").await;
        self.conversations.extend(text(made.as_ref(), "/id"));
    }

    async fn upload(&mut self, is_picture: bool) {
        let uploads = if is_picture {
            &self.plan.pictures
        } else {
            &self.plan.documents
        };
        let Some(upload) = self.dice.one_of(uploads) else {
            return;
        };
        let file = Part::bytes(upload.content.clone()).file_name(upload.name.clone());
        let size_bytes = upload.content.len() as u64;
        let request = self.client.request(UPLOAD, "");
        let request = request.multipart(Form::new().part("file", file));
        let made = self.client.ask(UPLOAD, request, "/job/id").await;
        let id = text(made.as_ref(), "/attachment/id");
        let path = text(made.as_ref(), "/attachment/url").and_then(|url| path_of(&url));
        if let Some((id, path)) = id.zip(path) {
            self.files.push(Kept {
                id,
                path,
                size_bytes,
            });
        }
    }

    async fn list_attachments(&self) {
        let request = self.client.request(LIST_ATTACHMENTS, "");
        self.client.ask(LIST_ATTACHMENTS, request, "/data").await;
    }

    /// As who waits for the text.
    async fn look_at_attachment(&mut self) {
        let Some(file) = self.dice.one_of(&self.files) else {
            return self.upload(true).await;
        };
        let request = self.client.request(GET_ATTACHMENT, &file.id);
        self.client
            .ask(GET_ATTACHMENT, request, "/ocr/status")
            .await;
    }

    async fn download(&mut self) {
        let Some(file) = self.dice.one_of(&self.files) else {
            return self.upload(true).await;
        };
        self.client.download(&file.path, file.size_bytes).await;
    }

    async fn show_usage(&self) {
        let request = self.client.request_with(GET_USAGE, "", "by=model");
        self.client.ask(GET_USAGE, request, "/total").await;
    }

    async fn show_context(&mut self) {
        let Some(id) = self.conversation() else {
            return self.begin_conversation().await;
        };
        let request = self.client.request(GET_CONTEXT, &id);
        self.client.ask(GET_CONTEXT, request, "").await;
    }

    /// From then on few messages go along, and a summary of the others.
    async fn change_settings(&mut self) {
        let Some(id) = self.conversation() else {
            return self.begin_conversation().await;
        };
        let body = json!({ "pinned": true, "tags": ["load", "changed"], "contextMaxMessages": FEW_MESSAGES });
        let request = self.client.request(UPDATE_CONVERSATION, &id).json(&body);
        self.client.ask(UPDATE_CONVERSATION, request, "/id").await;
    }

    /// Puts one away, and takes another one back.
    async fn archive(&mut self) {
        let Some(id) = self.dice.take(&mut self.conversations) else {
            return self.begin_conversation().await;
        };
        let request = self.client.request(ARCHIVE, &id);
        self.client.ask(ARCHIVE, request, "/archivedAt").await;
        let back = self.dice.take(&mut self.archived);
        self.archived.push(id);
        if let Some(id) = back {
            let request = self.client.request(UNARCHIVE, &id);
            self.client.ask(UNARCHIVE, request, "/id").await;
            self.conversations.push(id);
        }
    }

    async fn delete_conversation(&mut self) {
        let Some(id) = self.dice.take(&mut self.conversations) else {
            return self.begin_conversation().await;
        };
        let request = self.client.request(DELETE_CONVERSATION, &id);
        self.client.ask(DELETE_CONVERSATION, request, "").await;
    }

    async fn delete_attachment(&mut self) {
        let Some(file) = self.dice.take(&mut self.files) else {
            return self.upload(true).await;
        };
        let request = self.client.request(DELETE_ATTACHMENT, &file.id);
        self.client.ask(DELETE_ATTACHMENT, request, "").await;
    }
}

/// What of a signed URL is behind its host: the API is asked where it is, whatever it takes for its own address.
fn path_of(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}?{}", url.path(), url.query()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeds_are_of_a_hundred() {
        let all: usize = DEEDS.iter().map(|(often, _)| often).sum();
        assert_eq!(all, 100);
    }

    #[test]
    fn a_signed_url_is_asked_for_where_the_api_is() {
        let url = "http://localhost:8080/api/v1/attachments/7/content?exp=1&sig=a";
        let path = path_of(url);
        assert_eq!(
            path.as_deref(),
            Some("/api/v1/attachments/7/content?exp=1&sig=a")
        );
        assert_eq!(path_of("no URL"), None);
    }
}

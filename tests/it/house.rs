//! Rules of the whole house.

/// One TLS stack: rustls with aws-lc-rs.
///
/// `Cargo.lock` cannot tell: it also names packages that only a feature nobody switches on would bring.
#[test]
fn no_second_tls_stack_is_built() {
    let tree = std::process::Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--locked",
            "--offline",
            "--target",
            "all",
            "--prefix",
            "none",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    let names: Vec<&str> = tree
        .lines()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert!(
        names.contains(&"aws-lc-rs"),
        "the tree cannot be read: {tree}"
    );
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(!names.contains(&name), "{name} is built");
    }
}

/// A payload is a wire format: rows of it outlive a deployment.
#[test]
fn the_payloads_of_jobs_are_the_reviewed_ones() {
    let id = uuid::Uuid::nil();
    let recognize = shared::jobs::RecognizeText {
        attachment: shared::ids::AttachmentId(id),
    };
    let document = shared::jobs::ReadDocument {
        attachment: shared::ids::AttachmentId(id),
    };
    let transcribe = shared::jobs::TranscribeAudio {
        attachment: shared::ids::AttachmentId(id),
    };
    let deliver = shared::jobs::DeliverWebhook {
        delivery: shared::ids::DeliveryId(id),
    };
    let process = shared::jobs::ProcessImage {
        attachment: shared::ids::AttachmentId(id),
    };
    let make = shared::jobs::MakeVariant {
        variant: shared::ids::VariantId(id),
    };
    insta::assert_json_snapshot!("payload_process_image", process);
    insta::assert_json_snapshot!("payload_make_variant", make);
    let purge = shared::jobs::PurgeConversation {
        conversation: shared::ids::ConversationId(id),
    };
    insta::assert_json_snapshot!("payload_purge_conversation", purge);
    let purge_user = shared::jobs::PurgeUser {
        user: shared::ids::UserId(id),
    };
    insta::assert_json_snapshot!("payload_purge_user", purge_user);
    let purge_webhook = shared::jobs::PurgeWebhook {
        webhook: shared::ids::WebhookId(id),
    };
    insta::assert_json_snapshot!("payload_purge_webhook", purge_webhook);
    let announce = shared::jobs::AnnounceConversations {
        conversations: vec![shared::ids::ConversationId(id)],
    };
    insta::assert_json_snapshot!("payload_announce_conversations", announce);
    let delete = shared::jobs::DeleteObject {
        storage_key: "objects/00/0000".to_owned(),
        unfinished: false,
        attachment: Some(shared::ids::AttachmentId(id)),
    };
    let export = shared::jobs::ExportConversation {
        export: shared::ids::ExportId(id),
    };
    let summarize = shared::jobs::SummarizeConversation {
        conversation: shared::ids::ConversationId(id),
        anchor: shared::ids::MessageId(id),
        most_tokens: 1_000,
    };
    let title = shared::jobs::TitleConversation {
        conversation: shared::ids::ConversationId(id),
        answer: shared::ids::MessageId(id),
    };
    let recover = shared::jobs::RecoverWebhook {
        recovery: shared::ids::RecoveryId(id),
    };
    let hasten = shared::jobs::HastenDeliveries {
        webhook: shared::ids::WebhookId(id),
    };
    insta::assert_json_snapshot!("payload_hasten_deliveries", hasten);
    insta::assert_json_snapshot!("payload_recover_webhook", recover);
    insta::assert_json_snapshot!("payload_summarize_conversation", summarize);
    insta::assert_json_snapshot!("payload_title_conversation", title);
    insta::assert_json_snapshot!("payload_export_conversation", export);
    insta::assert_json_snapshot!("payload_read_document", document);
    insta::assert_json_snapshot!("payload_recognize_text", recognize);
    insta::assert_json_snapshot!("payload_transcribe_audio", transcribe);
    insta::assert_json_snapshot!("payload_delete_object", delete);
    insta::assert_json_snapshot!("payload_deliver_webhook", deliver);
}

/// Heroku's apt buildpack reads the `Aptfile`; the tools of its base image need not be in it.
#[test]
fn the_aptfile_names_the_packages_that_the_commands_install() {
    let commands = include_str!("../../bin/lib.sh");
    let list = |name: &str| {
        let (_, list) = commands.split_once(&format!("{name}=(")).unwrap();
        list.split_once("\n)").unwrap().0.lines()
    };
    let mut packages: Vec<&str> = list("OCR_PACKAGES")
        .chain(list("AUDIO_PACKAGES"))
        .chain(list("EXPORT_PACKAGES"))
        .filter_map(|line| Some(line.trim().trim_matches('"').split_once(':')?.0))
        .filter(|package| !["util-linux", "procps"].contains(package))
        .collect();
    packages.dedup();
    let file: Vec<&str> = include_str!("../../Aptfile").lines().collect();
    assert_eq!(file, packages);
}

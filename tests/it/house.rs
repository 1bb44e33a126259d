//! Rules of the whole house.

/// One TLS stack: rustls with aws-lc-rs.
#[test]
fn no_second_tls_stack_is_locked() {
    let lock = include_str!("../../Cargo.lock");
    for name in ["ring", "openssl", "openssl-sys", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{name}\"\n")),
            "{name} is in Cargo.lock"
        );
    }
}

/// A payload is a wire format: rows of it outlive a deployment.
#[test]
fn the_payloads_of_jobs_are_the_reviewed_ones() {
    let id = uuid::Uuid::nil();
    let recognize = shared::jobs::RecognizeText {
        attachment: shared::ids::AttachmentId(id),
        language: Some("eng".to_owned()),
    };
    let deliver = shared::jobs::DeliverWebhook {
        delivery: shared::ids::DeliveryId(id),
    };
    insta::assert_json_snapshot!("payload_recognize_text", recognize);
    insta::assert_json_snapshot!("payload_deliver_webhook", deliver);
}

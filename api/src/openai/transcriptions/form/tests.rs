use super::*;

#[test]
fn names_and_types_are_plain() {
    for (name, expected) in [
        ("speech.MP3", ".mp3"),
        ("a.b.ogg", ".ogg"),
        ("speech", ""),
        ("x.../../etc", ""),
        ("x.\u{1f600}", ""),
        (".", ""),
    ] {
        assert_eq!(extension(name), expected, "{name}");
    }
    assert_eq!(media_type(Some("audio/ogg; codecs=opus")), "audio/ogg");
    assert_eq!(media_type(Some("nonsense\r\nx: y")), UNKNOWN);
    assert_eq!(media_type(None), UNKNOWN);
}

#[test]
fn fields_are_checked() {
    let set = |name: &str, text: &str| {
        let mut fields = Fields::default();
        fields.set(name, text.to_owned()).map(|()| fields)
    };
    assert_eq!(
        set("language", "EN").unwrap().language.as_deref(),
        Some("en")
    );
    assert!(set("timestamp_granularities[]", "word").unwrap().words);
    for (name, text) in [
        ("stream", "false"),
        ("chunking_strategy", "auto"),
        ("include[]", ""),
        ("keywords", ""),
    ] {
        assert!(set(name, text).is_ok(), "{name}: {text}");
    }
    for (name, text) in [
        ("language", "english"),
        ("temperature", "2"),
        ("response_format", "xml"),
        ("timestamp_granularities[]", "letter"),
        ("stream", "true"),
        ("chunking_strategy[type]", "server_vad"),
        ("include[]", "logprobs"),
        ("known_speaker_names[]", "Ana"),
        ("languages[]", "en"),
        ("frobnicate", "1"),
    ] {
        assert!(set(name, text).is_err(), "{name}: {text}");
    }
}

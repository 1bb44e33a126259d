use super::*;

#[test]
fn the_built_in_table_is_sound() {
    let table = Catalogue::built_in();
    assert!(table.models.len() > 10);
    for name in ["groq", "openrouter", "deepseek", "gemini", "openai"] {
        assert!(table.provider(name).is_some(), "{name}");
    }
    let groq = table.provider("groq").unwrap();
    assert_eq!(groq.daily_requests_per_key, Some(14_400));
    assert_eq!(groq.variable("API_KEYS"), "GROQ_API_KEYS");
    for (provider, model, minute, hour) in [
        ("groq", "whisper-large-v3", 1_850, 111_000),
        ("groq", "whisper-large-v3-turbo", 667, 40_020),
        ("openai", "whisper-1", 6_000, 360_000),
    ] {
        let price = table.audio_price(provider, model).unwrap();
        assert_eq!((price.of(60_000), price.of(3_600_000)), (minute, hour));
    }
    assert_eq!(table.audio_price("openai", "whisper-2"), None);
    assert_eq!(table.audio_price("gemini", "whisper-1"), None);
}

#[test]
fn a_file_goes_before_what_is_built_in() {
    let table = Catalogue::with(
        r#"{ "version": "mine",
             "providers": [{ "name": "ollama", "title": "Ollama", "baseUrl": "http://localhost:11434/v1", "keyless": true }],
             "models": [{ "id": "gpt-4o", "name": "Mine", "contextTokens": 8, "maxOutputTokens": 4,
                          "routes": [{ "provider": "ollama", "model": "llama3" }] }] }"#,
    )
    .unwrap();
    assert_eq!(table.models[0].id, "gpt-4o");
    assert_eq!(table.find("gpt-4o").unwrap().name, "Mine");
    assert!(table.find("gpt-4o-mini").is_some());
    let alone = Catalogue::with(r#"{ "version": "1", "builtIn": false }"#).unwrap();
    assert!(alone.models.is_empty() && alone.providers.is_empty());
}

#[test]
fn nonsense_is_refused() {
    let model = |routes: &str, tokens: i32| {
        format!(
            r#"{{ "version": "1", "models": [{{ "id": "x", "name": "x", "contextTokens": {tokens},
                  "maxOutputTokens": 1, "routes": [{routes}] }}] }}"#
        )
    };
    let good = r#"{ "provider": "groq", "model": "x" }"#;
    assert!(Catalogue::with(&model(good, 1)).is_ok());
    let limited = |most: i64| {
        model(good, 400).replace(
            "\"maxOutputTokens\": 1,",
            &format!("\"maxOutputTokens\": 100, \"contextMaxTokens\": {most},"),
        )
    };
    let table = Catalogue::with(&limited(300)).unwrap();
    assert_eq!(table.models[0].context_max_tokens, Some(300));
    assert_eq!(table.models[0].most_context(), 300);
    for most in [-1, 0, 301] {
        assert!(Catalogue::with(&limited(most)).is_err(), "{most}");
    }
    let sounds = |price: &str| {
        format!(
            r#"{{ "version": "1", "providers": [{{ "name": "a", "title": "", "baseUrl": "http://x",
                  "transcription": [{{ "model": "x", "price": {price} }}] }}] }}"#
        )
    };
    assert!(Catalogue::with(&sounds(r#"{ "audioMinute": 1 }"#)).is_ok());
    assert!(Catalogue::with(&sounds("null")).is_ok());
    for bad in [
        String::new(),
        "{}".to_owned(),
        model("", 1),
        model(good, 0),
        model(good, -1),
        model(r#"{ "provider": "nobody", "model": "x" }"#, 1),
        model(r#"{ "provider": "groq", "model": "x", "price": { "input": -1, "output": 1 } }"#, 1),
        model(r#"{ "provider": "groq", "model": "x", "price": { "input": 1 } }"#, 1),
        r#"{ "version": "1", "providers": [{ "name": "A b", "title": "", "baseUrl": "http://x" }] }"#.to_owned(),
        r#"{ "version": "1", "providers": [{ "name": "a", "title": "", "baseUrl": "file:///x" }] }"#.to_owned(),
        sounds(r#"{ "audioMinute": -1 }"#),
        sounds(r#"{ "audioMinute": 0.5 }"#),
        sounds(r#"{ "audioMinute": 1, "leastSeconds": -1 }"#),
        sounds(r#"{ "leastSeconds": 1 }"#),
    ] {
        assert!(Catalogue::with(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_provider_has_the_name_of_no_other_service() {
    for name in OTHER_SERVICES {
        let json = format!(
            r#"{{ "version": "1", "providers": [{{ "name": "{name}", "title": "", "baseUrl": "http://x" }}] }}"#
        );
        let told = Catalogue::with(&json).unwrap_err().to_string();
        assert!(
            told.contains(name) && told.contains("/api/health"),
            "{told}"
        );
    }
}

#[test]
fn names_that_are_meant_are_near() {
    let table = Catalogue::built_in();
    let near = |id| near(id, table.models.iter().map(|model| model.id.as_str()));
    assert_eq!(near("gpt-4o-mni")[0], "gpt-4o-mini");
    assert_eq!(near("GPT-4o")[0], "gpt-4o");
    assert!(near("").is_empty());
    assert!(near("nothing like it at all").is_empty());
    assert!(near(&format!("gpt-4o{}", " ".repeat(ID_MAX))).is_empty());
}

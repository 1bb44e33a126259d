use super::cors::origin;

#[test]
fn origins_are_exact() {
    for good in [
        "https://app.example.com",
        "http://localhost:3000",
        "http://[::1]:3000",
        "https://xn--11b5bs3a9aj6g.example",
        "capacitor://localhost",
    ] {
        assert_eq!(origin(good), Ok(()), "{good}");
    }
    for bad in [
        "*",
        "null",
        "app.example.com",
        "localhost:3000",
        "https://app.example.com/",
        "https://app.example.com/path",
        "https://app.example.com:443",
        "https://App.example.com",
        "https://*.example.com",
        "https://ana@example.com",
        "https://app.example.com?x",
        "file:///etc",
        "data:text/html,x",
        "https://परीक्षा.example",
    ] {
        assert!(origin(bad).is_err(), "{bad}");
    }
}

#[test]
fn the_command_line_is_sound() {
    <super::Args as clap::CommandFactory>::command().debug_assert();
}

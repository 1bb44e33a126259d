//! Other people's libraries, which `bin/test` installs under `target/sdk`: stock SDKs of `OpenAI`, and the verifiers of
//! Standard Webhooks; and the scripts of `tests/sdk` that use them.

use std::path::Path;

use serde_json::Value;

use crate::process::Process;

/// Where libraries come from, and what runs them.
#[derive(Debug, Clone, Copy)]
pub enum Sdk {
    /// Of `PyPI`.
    Python,
    /// Of npm.
    Node,
}

impl Sdk {
    /// Starts the script of the SDK with some of its cases, and nothing in its environment but what is given.
    pub fn start(self, cases: &[&str], environment: &[(&str, &str)]) -> Process {
        self.start_script("cases", cases, environment)
    }

    /// Starts one of the scripts, which has no ending in its name here.
    pub(crate) fn start_script(
        self,
        script: &str,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Process {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Not below CARGO_TARGET_DIR, so that no other kind of build needs its own.
        let installed = root.join("../target/sdk");
        let (program, script, modules) = match self {
            Self::Python => (
                installed.join("python/bin/python"),
                root.join(format!("sdk/python/{script}.py")),
                None,
            ),
            Self::Node => (
                installed.join("node/node"),
                root.join(format!("sdk/node/{script}.cjs")),
                Some(installed.join("node/node_modules")),
            ),
        };
        assert!(
            program.exists(),
            "{} is not there: run the tests with bin/test",
            program.display()
        );
        let (script, modules) = (text(&script), modules.map(|path| text(&path)));
        let mut all = vec![script.as_str()];
        all.extend_from_slice(arguments);
        let mut environment = environment.to_vec();
        if let Some(modules) = &modules {
            environment.push(("NODE_PATH", modules));
        }
        Process::start_listening(&program, &all, &environment)
    }

    /// Runs some cases, which must succeed.
    pub async fn run(self, cases: &[&str], environment: &[(&str, &str)]) {
        let mut script = self.start(cases, environment);
        let code = script.wait().await;
        let mut failed = Vec::new();
        for case in cases {
            let line = script.wait_for_line(&line_of(case)).await;
            let told: Value = serde_json::from_str(&line).expect("a line of JSON");
            if told["ok"] != true {
                let error = told["error"].as_str().unwrap_or_default();
                failed.push(format!("{case} of {self:?}: {error}"));
            }
        }
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert_eq!(code, Some(0), "{}", script.output());
    }
}

/// How the last line of a case begins.
fn line_of(case: &str) -> String {
    format!(r#"{{"case":"{case}","ok":"#)
}

fn text(path: &Path) -> String {
    path.to_str().expect("a plain path").to_owned()
}

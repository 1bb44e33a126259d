//! How much room it takes to tell a model of a tool.

use super::Tool;
use crate::tokens::Encoding;

/// As what a tool is told of.
const KIND: &str = "function";

impl Tool {
    /// Tokens of what models are told of it: its name, what it does, the JSON Schema of its arguments, and the marks around
    /// them. They are counted once, in the encoding of what is stored, and kept with it.
    pub async fn tokens(&self, encoding: Encoding) -> u32 {
        let counting = async {
            let text = format!("{}\n{}\n{}", self.name, self.description, self.parameters);
            encoding.count_message(KIND, text).await.tokens
        };
        *self.tokens.get_or_init(|| counting).await
    }
}

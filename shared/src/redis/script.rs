//! Scripts that run inside Redis.

use aws_lc_rs::digest;

/// A Lua script, and the name under which Redis remembers it.
#[derive(Debug, Clone)]
pub struct Script {
    lua: &'static str,
    sha1: String,
}

impl Script {
    /// Names a script.
    pub fn new(lua: &'static str) -> Self {
        let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, lua.as_bytes());
        Self {
            lua,
            sha1: hex::encode(sha1),
        }
    }

    pub(super) fn lua(&self) -> &'static str {
        self.lua
    }

    pub(super) fn sha1(&self) -> String {
        self.sha1.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_named_as_redis_names_it() {
        // What `SCRIPT LOAD "return 1"` answers.
        assert_eq!(
            Script::new("return 1").sha1(),
            "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"
        );
    }
}

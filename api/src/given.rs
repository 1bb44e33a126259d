//! Fields of a change: what a client leaves out stays.

use deserr::{DeserializeError, Deserr, IntoValue, Value, ValuePointerRef};

/// A field that may be left out. `null` is a value like others: one that the field must allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given<T>(pub Option<T>);

impl<T> Default for Given<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Deserr<E>, E: DeserializeError> Deserr<E> for Given<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef<'_>,
    ) -> Result<Self, E> {
        T::deserialize_from_value(value, location).map(|value| Self(Some(value)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::extract::{Fields, read};

    #[derive(Debug, PartialEq, Deserr)]
    #[deserr(error = Fields, deny_unknown_fields)]
    struct Change {
        #[deserr(default)]
        plain: Given<bool>,
        #[deserr(default)]
        nullable: Given<Option<bool>>,
    }

    #[test]
    fn null_is_told_from_nothing() {
        let nothing: Change = read(json!({})).unwrap();
        assert_eq!((nothing.plain.0, nothing.nullable.0), (None, None));
        let cleared: Change = read(json!({ "plain": true, "nullable": null })).unwrap();
        assert_eq!(
            (cleared.plain.0, cleared.nullable.0),
            (Some(true), Some(None))
        );
        let set: Change = read(json!({ "nullable": false })).unwrap();
        assert_eq!(set.nullable.0, Some(Some(false)));
        assert!(read::<Change>(json!({ "plain": null })).is_err());
    }
}

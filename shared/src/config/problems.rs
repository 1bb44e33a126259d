//! Collecting what is wrong with an environment.

use std::{borrow::Cow, fmt, str::FromStr};

/// Everything that is wrong with a configuration.
#[derive(Debug, Default)]
pub struct Problems(Vec<(Cow<'static, str>, String)>);

impl Problems {
    /// Notes that `variable` is wrong, and why.
    pub fn add(&mut self, variable: impl Into<Cow<'static, str>>, problem: impl Into<String>) {
        self.0.push((variable.into(), problem.into()));
    }

    /// Notes what was noted elsewhere.
    pub fn append(&mut self, mut others: Self) {
        self.0.append(&mut others.0);
    }

    /// Takes a value that must be there.
    pub fn require<'a>(
        &mut self,
        variable: &'static str,
        value: &'a Option<String>,
    ) -> Option<&'a str> {
        let value = given(value);
        if value.is_none() {
            self.add(variable, "is not set");
        }
        value
    }

    /// Parses a value, or takes the default where it is unset or empty.
    pub fn parse<T>(&mut self, variable: &'static str, value: &Option<String>, default: T) -> T
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        let Some(text) = given(value) else {
            return default;
        };
        text.parse().unwrap_or_else(|error| {
            self.add(variable, format!("{text:?}: {error}"));
            default
        })
    }

    /// Parses a number within a range.
    pub fn number<T>(
        &mut self,
        variable: &'static str,
        value: &Option<String>,
        default: T,
        range: std::ops::RangeInclusive<T>,
    ) -> T
    where
        T: FromStr + PartialOrd + fmt::Display + Copy,
        T::Err: fmt::Display,
    {
        let number = self.parse(variable, value, default);
        if range.contains(&number) {
            return number;
        }
        self.add(
            variable,
            format!(
                "{number} is not between {} and {}",
                range.start(),
                range.end()
            ),
        );
        default
    }

    /// Parses one of the words of `choices`.
    pub fn choice<T: Copy>(
        &mut self,
        variable: &'static str,
        value: &Option<String>,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = given(value) else {
            return default;
        };
        choices.iter().find(|(word, _)| *word == text).map_or_else(
            || {
                let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
                self.add(
                    variable,
                    format!("{text:?} is none of {}", words.join(", ")),
                );
                default
            },
            |(_, value)| *value,
        )
    }

    /// Gives the value back if nothing was noted.
    ///
    /// # Errors
    /// All that was noted, one line each.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} problem(s):", self.0.len())?;
        for (variable, problem) in &self.0 {
            writeln!(f, "  {variable} {problem}")?;
        }
        write!(
            f,
            "each is a variable of the environment; .env.example describes them, --help lists them"
        )
    }
}

impl std::error::Error for Problems {}

/// The text of a variable; empty counts as unset, as platforms' forms leave empty ones behind.
pub fn given(value: &Option<String>) -> Option<&str> {
    value
        .as_deref()
        .map(str::trim)
        .filter(|text| !text.is_empty())
}

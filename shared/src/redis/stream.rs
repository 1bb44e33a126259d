//! Streams of Redis, texts that grow, read by whoever comes later; and hashes.

use std::{collections::HashMap, time::Duration};

use fred::interfaces::{HashesInterface as _, KeysInterface as _, StreamsInterface as _};

use super::{COMMAND_TIMEOUT, Error, Redis};

/// Most entries that are read at once.
pub const READ_MAX: usize = 500;

/// The number of an entry: the first part decides, then the second.
pub type Number = (u64, u64);

/// An entry of a stream: its number, and its fields.
pub type Entry = (Number, HashMap<String, String>);

impl Redis {
    /// Appends an entry to a stream, which goes after a `lifetime` from now where one is told. Numbers must grow.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms, or has a later entry already.
    pub async fn append(
        &self,
        key: &str,
        number: Number,
        fields: Vec<(&'static str, String)>,
        lifetime: Option<Duration>,
    ) -> Result<(), Error> {
        let append = Box::pin(async {
            let pipeline = self.client.pipeline();
            let id = format!("{}-{}", number.0, number.1);
            let _: () = pipeline.xadd(key, false, None, id, fields).await?;
            if let Some(lifetime) = lifetime {
                let millis = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
                let _: () = pipeline.pexpire(key, millis, None).await?;
            }
            pipeline.all::<()>().await
        });
        self.bounded(COMMAND_TIMEOUT, append).await
    }

    /// Reads all fields of a hash.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn read_hash(&self, key: &str) -> Result<HashMap<String, String>, Error> {
        let read = Box::pin(self.client.hgetall::<HashMap<String, String>, _>(key));
        self.bounded(COMMAND_TIMEOUT, read).await
    }

    /// Reads what of a stream comes after a number, [`READ_MAX`] entries at most.
    ///
    /// # Errors
    /// When Redis does not answer within 100 ms.
    pub async fn read_after(&self, key: &str, number: Number) -> Result<Vec<Entry>, Error> {
        let start = format!("({}-{}", number.0, number.1);
        let most = Some(READ_MAX as u64);
        let read = Box::pin(
            self.client
                .xrange_values::<String, String, String, _, _, _>(key, start, "+", most),
        );
        let entries = self.bounded(COMMAND_TIMEOUT, read).await?;
        let number = |id: &str| -> Option<Number> {
            let (first, second) = id.split_once('-')?;
            Some((first.parse().ok()?, second.parse().ok()?))
        };
        Ok(entries
            .into_iter()
            .filter_map(|(id, fields)| Some((number(&id)?, fields)))
            .collect())
    }
}

//! Events by what they are about, and by the attachment or message in it: what is said there is taken out of them when it is
//! deleted. Those from which it was taken leave the index, so that the next slice does not walk over them.

crate::index_migration!(
    build: [(
        "events_about",
        "ON events (subject, (coalesce(data ->> 'attachmentId', data ->> 'messageId')))
         WHERE subject IS NOT NULL AND (data -> 'withdrawn') IS NULL"
    )],
    drop: []
);

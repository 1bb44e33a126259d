//! The real queries use the indexes that were made for them, and read no table whole.

use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use shared::{
    ids::{ConversationId, DeliveryId, MessageId, ProjectId, UserId, WebhookId},
    models::{
        conversation::{self, Filter},
        delivery::{self, attempt::Outcome},
        event, message, notification, project, search, webhook,
    },
};
use tests::{TestDatabase, database::connect};
use uuid::Uuid;

/// 100 users with 100 conversations of 5 messages each, a tenth archived, a tenth in projects. One of the seventh
/// user's has 20,000 more.
const ROWS: &str = "
    INSERT INTO users (id, email, password_hash, created_at, updated_at)
    SELECT lpad(u::text, 32, '0')::uuid, u || '@example.com', '', now(), now() FROM generate_series(1, 100) u;
    INSERT INTO projects (id, user_id, name, version, created_at, updated_at)
    SELECT lpad((u * 100 + p)::text, 32, '0')::uuid, lpad(u::text, 32, '0')::uuid, 'p', 1, now(), now()
      FROM generate_series(1, 100) u, generate_series(0, 9) p;
    INSERT INTO conversations (id, user_id, project_id, title, tags, archived_at, message_count, token_count, version,
                               created_at, updated_at, last_message_at)
    SELECT lpad((u * 1000 + c)::text, 32, '0')::uuid, lpad(u::text, 32, '0')::uuid,
           CASE WHEN c % 10 = 1 THEN lpad((u * 100)::text, 32, '0')::uuid END, 'title ' || c, '{}',
           CASE WHEN c % 10 = 2 THEN now() END, 5, 5, 1, now(), now(), now() - c * interval '1 minute'
      FROM generate_series(1, 100) u, generate_series(1, 100) c;
    INSERT INTO messages (id, conversation_id, user_id, parent_id, role, content, size_bytes, client_id, token_count,
                          is_gone, version, created_at)
    SELECT lpad((u * 10000 + c * 10 + m)::text, 32, '0')::uuid, lpad((u * 1000 + c)::text, 32, '0')::uuid,
           lpad(u::text, 32, '0')::uuid, CASE WHEN m > 1 THEN lpad((u * 10000 + c * 10 + m - 1)::text, 32, '0')::uuid END,
           CASE m % 2 WHEN 1 THEN 'user' ELSE 'assistant' END,
           jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'common word' || u * c * m)), 10, concat_ws('-', u, c, m), 5,
           false, 1, now() - (c * 10 - m) * interval '1 minute'
      FROM generate_series(1, 100) u, generate_series(1, 100) c, generate_series(1, 5) m;
    INSERT INTO messages (id, conversation_id, user_id, role, content, size_bytes, token_count, is_gone, version, created_at)
    SELECT lpad((2000000 + m)::text, 32, '0')::uuid, lpad('7050', 32, '0')::uuid, lpad('7', 32, '0')::uuid, 'user',
           jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'common rare' || m)), 10, 5, false, 1,
           now() - m * interval '1 day'
      FROM generate_series(1, 20000) m;
    INSERT INTO webhooks (id, user_id, url, events, secret, is_active, created_at, updated_at)
    SELECT gen_random_uuid(), lpad(u::text, 32, '0')::uuid, '', '{}', '', w > 1, now(), now()
      FROM generate_series(1, 100) u, generate_series(1, 10) w;
    ANALYZE";

/// Every endpoint has 20 deliveries, one of the seventh user's 5,000 more, of which every fiftieth failed; as many jobs
/// wait. Everybody has 30 notifications, the seventh user 5,000 more that they have read.
const DELIVERIES: &str = "
    INSERT INTO webhooks (id, user_id, url, events, secret, is_active, created_at, updated_at)
    VALUES (lpad('7', 32, '0')::uuid, lpad('7', 32, '0')::uuid, '', '{}', '', true, now(), now());
    INSERT INTO events (id, user_id, kind, data, created_at)
    SELECT lpad(e::text, 32, '0')::uuid, lpad('7', 32, '0')::uuid, 'message.created', '{}', now() - e * interval '1 minute'
      FROM generate_series(1, 5000) e;
    INSERT INTO deliveries (id, webhook_id, event_id, job_id, status, created_at)
    SELECT lpad(e::text, 32, '0')::uuid, lpad('7', 32, '0')::uuid, lpad(e::text, 32, '0')::uuid, lpad(e::text, 32, '0')::uuid,
           CASE e % 50 WHEN 0 THEN 'failed' ELSE 'succeeded' END, now() - e * interval '1 minute'
      FROM generate_series(1, 5000) e;
    INSERT INTO deliveries (id, webhook_id, event_id, status, created_at)
    SELECT gen_random_uuid(), w.id, lpad(e::text, 32, '0')::uuid, 'succeeded', now() FROM webhooks w, generate_series(1, 20) e;
    INSERT INTO delivery_attempts (id, delivery_id, webhook_id, attempt, status_code, error, duration_ms, created_at)
    SELECT gen_random_uuid(), id, webhook_id, 1, 204, CASE status WHEN 'failed' THEN 'the endpoint answered 204' END, 1,
           created_at FROM deliveries;
    INSERT INTO jobs (id, kind, queue, payload, state, timeout_ms, run_at, created_at)
    SELECT lpad(j::text, 32, '0')::uuid, 'deliver_webhook', 'webhook', '{}', 'queued', 1, now(), now()
      FROM generate_series(1, 5000) j;
    INSERT INTO notifications (id, user_id, kind, title, body, data, created_at, updated_at, read_at)
    SELECT gen_random_uuid(), lpad(u::text, 32, '0')::uuid, '', '', '', '{}', now() - n * interval '1 minute', now(),
           CASE WHEN n > 3 THEN now() END
      FROM generate_series(1, 100) u, generate_series(1, CASE u WHEN 7 THEN 5030 ELSE 30 END) n;
    ANALYZE";

struct Watched {
    database: TestDatabase,
    /// One connection, whose counters can be asked for at once.
    db: DatabaseConnection,
}

impl Watched {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let db = connect(&database.url, 1);
        db.execute_unprepared(ROWS).await.unwrap();
        Self { database, db }
    }

    /// Scans of an index, and whole readings of its table.
    async fn scans(&self, index: &str) -> (i64, i64) {
        self.db
            .execute_unprepared("SELECT pg_stat_force_next_flush()")
            .await
            .unwrap();
        let sql = "SELECT i.idx_scan, t.seq_scan FROM pg_stat_user_indexes i JOIN pg_stat_user_tables t USING (relid)
                    WHERE i.indexrelname = $1";
        sqlx::query_as(sql)
            .bind(index)
            .fetch_one(self.database.pool())
            .await
            .unwrap_or_else(|error| panic!("{index}: {error}"))
    }

    /// Runs a query, which must use `index`.
    async fn uses<T>(&self, index: &str, query: impl Future<Output = T>) -> T {
        let before = self.scans(index).await;
        let found = query.await;
        let after = self.scans(index).await;
        assert!(after.0 > before.0, "{index} is not used");
        assert_eq!(after.1, before.1, "the table of {index} is read whole");
        found
    }

    async fn sql(&self, sql: &str) {
        let statement = Statement::from_string(DbBackend::Postgres, sql);
        self.db.query_all_raw(statement).await.unwrap();
    }
}

fn id(number: u32) -> Uuid {
    format!("{number:032}").parse().unwrap()
}

#[tokio::test]
async fn lists_of_conversations_use_their_indexes() {
    let it = Watched::new().await;
    let (user, now) = (UserId(id(7)), chrono::DateTime::UNIX_EPOCH);
    let list = async |filter: Filter, before| {
        let rows = conversation::list(&it.db, user, &filter, before, 51)
            .await
            .unwrap();
        rows.len()
    };
    let unarchived = Filter {
        archived: Some(false),
        ..Filter::default()
    };
    let archived = Filter {
        archived: Some(true),
        ..Filter::default()
    };
    let filed = Filter {
        project: Some(ProjectId(id(700))),
        ..Filter::default()
    };
    let before = Some((now, ConversationId(id(0))));
    assert_eq!(
        it.uses("conversations_user_id", list(unarchived.clone(), None))
            .await,
        51
    );
    assert_eq!(
        it.uses("conversations_user_id", list(unarchived, before))
            .await,
        0
    );
    assert_eq!(
        it.uses("conversations_user_id_archived", list(archived, None))
            .await,
        10
    );
    assert_eq!(
        it.uses("conversations_project_id", list(filed, None)).await,
        10
    );
    let projects = project::list(&it.db, user, None, 51);
    assert_eq!(
        it.uses("projects_user_id", projects).await.unwrap().len(),
        10
    );
}

#[tokio::test]
async fn lists_of_messages_use_their_indexes() {
    let it = Watched::new().await;
    let talk = ConversationId(id(7_050));
    let all = message::list(&it.db, talk, None, 50);
    let all = it.uses("messages_conversation_id", all).await.unwrap();
    assert_eq!((all.rows.len(), all.has_more), (50, true));
    let next = all.rows.last().map(|row| (row.created_at, row.id));
    let more = message::list(&it.db, talk, next, 50);
    let more = it.uses("messages_conversation_id", more).await.unwrap();
    assert_eq!(more.rows.len(), 50);
    let branch = message::list_branch(&it.db, talk, MessageId(id(70_505)), None, 50);
    assert_eq!(
        it.uses("messages_pkey", branch).await.unwrap().rows.len(),
        5
    );
    let few = ConversationId(id(7_051));
    let few = message::list(&it.db, few, None, 50).await.unwrap().rows;
    let siblings = message::count_siblings(&it.db, ConversationId(id(7_051)), &few);
    assert_eq!(
        it.uses("messages_parent_id", siblings).await.unwrap().len(),
        5
    );
    let beside = message::list_siblings(&it.db, few[0].clone(), None, 50);
    let beside = it.uses("messages_parent_id", beside).await.unwrap();
    assert_eq!(beside.rows.len(), 1);
    let again = message::find_by_client_id(&it.db, talk, "7-50-3");
    assert!(
        it.uses("messages_client_id_key", again)
            .await
            .unwrap()
            .is_some()
    );
    let sql = format!(
        "SELECT count(*) FROM messages WHERE conversation_id = '{talk}' AND role = 'assistant'"
    );
    it.uses("messages_conversation_id_role", it.sql(&sql)).await;
}

#[tokio::test]
async fn rare_words_are_looked_up_and_common_ones_walked_to() {
    let it = Watched::new().await;
    let find = async |text: &str, limit| {
        let wanted = search::Search {
            text: text.to_owned(),
            ..search::Search::default()
        };
        search::search(&it.db, UserId(id(7)), &wanted, None, limit)
            .await
            .unwrap()
            .len()
    };
    assert!(it.uses("messages_search", find("rare13", 51)).await == 1);
    assert_eq!(it.uses("messages_user_id", find("common", 51)).await, 51);
}

#[tokio::test]
async fn endpoints_are_found_by_user() {
    let it = Watched::new().await;
    let subscribed = webhook::find_subscribed(&it.db, UserId(id(7)), "message.created");
    it.uses("webhooks_user_id", subscribed).await.unwrap();
}

#[tokio::test]
async fn lists_of_events_use_their_index() {
    let it = Watched::new().await;
    it.db.execute_unprepared(DELIVERIES).await.unwrap();
    // Those of others happen all the time, and are many more.
    let others = "INSERT INTO events (id, user_id, kind, data, created_at)
         SELECT gen_random_uuid(), lpad((8 + e % 90)::text, 32, '0')::uuid, 'message.created', '{}',
                now() - e * interval '4 seconds'
           FROM generate_series(1, 75000) e;
         ANALYZE events";
    it.db.execute_unprepared(others).await.unwrap();
    let user = UserId(id(7));
    for (kinds, rows) in [
        (None, 51),
        (Some(&["message.created", "message.failed"][..]), 51),
    ] {
        let list = event::list(&it.db, user, kinds, None, 51);
        let list = it.uses("events_of_user", list).await.unwrap();
        assert_eq!(list.len(), rows, "{kinds:?}");
    }
}

#[tokio::test]
async fn lists_of_deliveries_and_their_tries_use_their_indexes() {
    let it = Watched::new().await;
    it.db.execute_unprepared(DELIVERIES).await.unwrap();
    let (user, endpoint) = (UserId(id(7)), WebhookId(id(7)));
    let list = async |statuses: &[delivery::Status],
                      before: Option<chrono::DateTime<chrono::Utc>>| {
        let filter = delivery::Filter {
            statuses: statuses.to_vec(),
            before: before.map(|at| (at, DeliveryId(id(0)))),
            ..delivery::Filter::default()
        };
        let rows = delivery::list(&it.db, user, endpoint, &filter, 51).await;
        rows.unwrap().len()
    };
    // A page looks up its events, their last tries and their jobs one by one.
    for index in [
        "deliveries_webhook_id",
        "events_pkey",
        "delivery_attempts_delivery_id",
    ] {
        assert_eq!(it.uses(index, list(&[], None)).await, 51);
    }
    let newest = sqlx::query_scalar("SELECT max(created_at) FROM events")
        .fetch_one(it.database.pool())
        .await
        .unwrap();
    for (before, rows) in [(newest, 51), (chrono::DateTime::UNIX_EPOCH, 0)] {
        let page = list(&[], Some(before));
        assert_eq!(it.uses("deliveries_webhook_id", page).await, rows);
    }
    for (status, index, rows) in [
        (delivery::Status::Succeeded, "deliveries_webhook_id", 51),
        (delivery::Status::Failed, "deliveries_unsucceeded", 51),
        (delivery::Status::Pending, "deliveries_unsucceeded", 0),
        (delivery::Status::Cancelled, "deliveries_unsucceeded", 0),
    ] {
        assert_eq!(it.uses(index, list(&[status], None)).await, rows);
    }
    let two = [delivery::Status::Failed, delivery::Status::Cancelled];
    let unsucceeded = it.uses("deliveries_unsucceeded", list(&two, None));
    assert_eq!(unsucceeded.await, 51);
    it.sql("UPDATE deliveries SET status = 'pending' WHERE status = 'failed'")
        .await;
    let waiting = list(&[delivery::Status::Pending], None);
    assert_eq!(it.uses("jobs_pkey", waiting).await, 51);
    let all = delivery::attempt::Filter::default();
    let tries = delivery::attempt::list(&it.db, DeliveryId(id(1)), &all, 51);
    let tries = it.uses("delivery_attempts_delivery_id", tries).await;
    assert_eq!(tries.unwrap().len(), 1);
    let (failed, blocked) = (Outcome::Failed, Outcome::Blocked);
    for (outcomes, index, rows) in [
        (vec![], "delivery_attempts_webhook_id", 51),
        (vec![Outcome::Succeeded], "delivery_attempts_webhook_id", 51),
        (vec![failed], "delivery_attempts_unsucceeded", 51),
        (vec![blocked], "delivery_attempts_unsucceeded", 0),
        (vec![failed, blocked], "delivery_attempts_unsucceeded", 51),
    ] {
        let filter = delivery::attempt::Filter {
            outcomes,
            ..delivery::attempt::Filter::default()
        };
        let tries = delivery::attempt::list_of_webhook(&it.db, endpoint, &filter, 51);
        assert_eq!(it.uses(index, tries).await.unwrap().len(), rows);
    }
    let unavailable = delivery::attempt::Filter {
        status_code: Some(503),
        ..delivery::attempt::Filter::default()
    };
    let tries = delivery::attempt::list_of_webhook(&it.db, endpoint, &unavailable, 51);
    let tries = it.uses("delivery_attempts_unsucceeded", tries).await;
    assert!(tries.unwrap().is_empty());
}

#[tokio::test]
async fn the_health_of_an_endpoint_is_told_from_its_latest_attempts() {
    let it = Watched::new().await;
    it.db.execute_unprepared(DELIVERIES).await.unwrap();
    let now = sqlx::query_scalar("SELECT now()")
        .fetch_one(it.database.pool())
        .await
        .unwrap();
    for index in ["delivery_attempts_webhook_id", "deliveries_unsucceeded"] {
        let figures = webhook::health::figures(&it.db, WebhookId(id(7)), now);
        let figures = it.uses(index, figures).await.unwrap();
        assert_eq!((figures.attempts, figures.pending), (1_000, 0));
    }
}

#[tokio::test]
async fn lists_of_notifications_use_their_indexes() {
    let it = Watched::new().await;
    it.db.execute_unprepared(DELIVERIES).await.unwrap();
    let user = UserId(id(7));
    for (unread, index, rows) in [
        (None, "notifications_user_id", 51),
        (Some(false), "notifications_user_id", 51),
        (Some(true), "notifications_unread", 3),
    ] {
        let filter = notification::Filter {
            unread,
            before: None,
        };
        let list = notification::list(&it.db, user, &filter, 51);
        assert_eq!(it.uses(index, list).await.unwrap().len(), rows);
    }
    // Both indexes know what is unread; this one is the smaller.
    let count = notification::count_unread(&it.db, user);
    assert_eq!(it.uses("notifications_topic_key", count).await.unwrap(), 3);
}

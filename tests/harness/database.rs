//! A database of its own for each test, copied from a migrated template.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    str::FromStr as _,
};

use migration::Migrator;
use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use sea_orm_migration::MigratorTrait as _;
use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use url::Url;
use uuid::Uuid;

/// Any number: tests that start together make the template once.
const LOCK: i64 = 0x7465_7374;

/// A test's database. It stays when the test fails, to be looked at, until the server goes.
pub struct TestDatabase {
    pub url: String,
    pub name: String,
    pub db: DatabaseConnection,
}

/// `bin/test` starts the servers and names them here.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness has no configuration of its own"
)]
pub fn server(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run the tests with bin/test"))
}

pub fn with_database(server: &str, name: &str) -> String {
    let mut url = Url::parse(server).expect("the server's URL");
    url.set_path(name);
    url.into()
}

impl TestDatabase {
    /// Makes one on the suite's server.
    pub async fn create() -> Self {
        Self::create_on(&server("TEST_DATABASE_URL")).await
    }

    /// Makes one on a server of the test's own.
    pub async fn create_on(server: &str) -> Self {
        let mut admin = PgConnection::connect(server)
            .await
            .expect("the test server answers");
        let template = template(&mut admin, server).await;
        let name = format!("bc_{}", Uuid::new_v4().simple());
        admin
            .execute(sqlx::AssertSqlSafe(format!(
                "CREATE DATABASE {name} TEMPLATE {template}"
            )))
            .await
            .expect("a copy of the template");
        admin.close().await.ok();
        let url = with_database(server, &name);
        Self {
            db: connect(&url, 4),
            url,
            name,
        }
    }

    /// Makes the engine's clock one that stands still.
    pub async fn freeze(&self, at: chrono::DateTime<chrono::Utc>) {
        let mut connection = PgConnection::connect(&self.url)
            .await
            .expect("the test database answers");
        connection
            .execute(
                "CREATE TABLE test_clock (now timestamptz NOT NULL);
                 INSERT INTO test_clock VALUES (now());
                 CREATE OR REPLACE FUNCTION job_now() RETURNS timestamptz LANGUAGE sql STABLE
                     AS 'SELECT now FROM test_clock'",
            )
            .await
            .expect("a frozen clock");
        self.set_clock(at).await;
    }

    pub async fn set_clock(&self, at: chrono::DateTime<chrono::Utc>) {
        let pool = self.db.get_postgres_connection_pool();
        sqlx::query("UPDATE test_clock SET now = $1")
            .bind(at)
            .execute(pool)
            .await
            .expect("the clock moves");
    }

    pub fn pool(&self) -> &sqlx::PgPool {
        self.db.get_postgres_connection_pool()
    }

    /// Waits until a statement waits for a lock that another transaction holds.
    pub async fn somebody_waits(&self) {
        const SQL: &str = "
            SELECT count(*) FROM pg_locks WHERE NOT granted
               AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
        crate::eventually("somebody waits for a lock", || async {
            let waiting: i64 = sqlx::query_scalar(SQL)
                .fetch_one(self.pool())
                .await
                .unwrap();
            waiting > 0
        })
        .await;
    }
}

pub fn connect(url: &str, connections: u32) -> DatabaseConnection {
    let options = PgConnectOptions::from_str(url).expect("a database URL");
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .connect_lazy_with(options);
    SqlxPostgresConnector::from_sqlx_postgres_pool(pool)
}

/// The template of this build: another build may have other migrations.
async fn template(admin: &mut PgConnection, server: &str) -> String {
    let mut hash = DefaultHasher::new();
    for migration in Migrator::migrations() {
        migration.name().hash(&mut hash);
    }
    let built = std::env::current_exe()
        .and_then(|exe| exe.metadata())
        .and_then(|file| file.modified());
    built
        .expect("the test's own file has a time")
        .hash(&mut hash);
    let name = format!("bc_template_{:016x}", hash.finish());

    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *admin)
        .await
        .expect("the template's lock");
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&name)
            .fetch_one(&mut *admin)
            .await
            .expect("the list of databases");
    if !exists {
        // Under another name until it is whole.
        let unfinished = format!("{name}_unfinished");
        let statements = [
            format!("DROP DATABASE IF EXISTS {unfinished}"),
            format!("CREATE DATABASE {unfinished} TEMPLATE template0 ENCODING 'UTF8'"),
        ];
        for statement in statements {
            admin
                .execute(sqlx::AssertSqlSafe(statement))
                .await
                .expect("an empty database");
        }
        let db = connect(&with_database(server, &unfinished), 1);
        Migrator::up(&db, None).await.expect("the migrations run");
        db.close().await.expect("nobody uses the template");
        admin
            .execute(sqlx::AssertSqlSafe(format!(
                "ALTER DATABASE {unfinished} RENAME TO {name}"
            )))
            .await
            .expect("the template is whole");
    }
    sqlx::query("SELECT pg_advisory_unlock($1)")
        .bind(LOCK)
        .execute(admin)
        .await
        .expect("the template's lock");
    name
}

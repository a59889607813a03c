//! What bear is compared with when it drains: one client that runs the catalog's statements over batches of the same
//! jobs, one transaction each, in the order that each row asks for.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use postgres::types::{to_sql_checked, IsNull, ToSql, Type};
use postgres::{Client, Statement};

use crate::jobs::{statements, Job};
use crate::setup::CATALOG;
use crate::support::Database;

pub struct PlainClient {
    client: Client,
    statements: HashMap<String, Statement>,
}

impl PlainClient {
    pub fn connect(database: &Database) -> PlainClient {
        let mut client = database.client();
        let mut prepare = |(name, sql): (String, String)| {
            let prepared = client.prepare_typed(&sql, &[Type::JSONB]).expect("the catalog's statement");
            (name, prepared)
        };
        let statements = statements(CATALOG).into_iter().map(&mut prepare).collect();
        PlainClient { client, statements }
    }

    /// Applies the jobs in one transaction: a statement for each name, and one more where a row comes again.
    pub fn apply(&mut self, jobs: &[Job]) {
        let mut seen: HashMap<usize, usize> = HashMap::new();
        let mut groups: BTreeMap<(usize, &str), (usize, String)> = BTreeMap::new();
        for (n, job) in jobs.iter().enumerate() {
            let wave = job.bear.map_or(0, |bear| {
                let times = seen.entry(bear).or_default();
                *times += 1;
                *times - 1
            });
            let (count, records) = groups.entry((wave, job.name)).or_default();
            let separator = if *count == 0 { '[' } else { ',' };
            let _ = write!(records, r#"{separator}{{"n":{n},"data":{},{}"#, job.data, &job.data[1..]);
            *count += 1;
        }
        let mut transaction = self.client.transaction().expect("a transaction");
        transaction.batch_execute("SET LOCAL synchronous_commit = on").expect("a setting");
        for ((_, name), (count, mut records)) in groups {
            records.push(']');
            let rows = transaction.query(&self.statements[name], &[&Jsonb(&records)]).expect("the statement runs");
            assert_eq!(rows.len(), count, "{name} applies each job");
        }
        transaction.commit().expect("it commits");
    }
}

/// JSON text as a parameter of type jsonb.
#[derive(Debug)]
struct Jsonb<'a>(&'a str);

impl ToSql for Jsonb<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        // The version of the format.
        out.put_u8(1);
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::JSONB
    }

    to_sql_checked!();
}

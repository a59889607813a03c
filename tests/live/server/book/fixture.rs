//! The servers that examples are run on, by name.
//!
//! | name | what |
//! |---|---|
//! | `bear` | the built-in catalog with its 200 bears |
//! | `feed` | the same, with the change feed following |
//! | `taken` | the same, over a dataset in which somebody else's keys are called like the section `color` |
//! | `mail` | a section of jobs that workers claim: `mail.toml` here |
//! | `shelf` | a section of values: `shelf.toml` here |
//! | any other | the page's blocks `<!-- catalog: NAME -->`, on its blocks `<!-- schema: NAME -->` and the rows of `NAME.sql` here |

use std::path::Path;

use crate::support::markdown::{root, Block};
use crate::support::{eventually, feed, Database, Postgres, Redis};

const BEARS: &str =
    concat!(include_str!("../../../../schema/bear.sql"), include_str!("../../../../schema/bear-data.sql"));

pub struct Fixture {
    pub database: Database,
    pub redis: Redis,
    /// Does the feed follow, so that changes by psql are to be waited for?
    pub follows: bool,
    /// Are its jobs claimed? Then they wait for who claims them.
    claims: bool,
}

impl Fixture {
    pub fn start(name: &str, blocks: &[Block]) -> Fixture {
        let fixture = match name {
            "bear" => Fixture::with(Postgres::shared().database(BEARS), None),
            "feed" => {
                let fixture = Fixture::with(Postgres::shared_logical().database(BEARS), None);
                feed::wait_told(&fixture.redis);
                Fixture { follows: true, ..fixture }
            }
            "mail" => {
                let catalog = include_str!("mail.toml").to_owned();
                Fixture { claims: true, ..Fixture::with(Postgres::shared().database(""), Some(catalog)) }
            }
            "shelf" => {
                let catalog = include_str!("shelf.toml").to_owned();
                Fixture::with(Postgres::shared().database(""), Some(catalog))
            }
            "taken" => {
                let mut plain = Redis::builder().plain().append_only().start();
                for key in ["color:all", "color:7", "color:8"] {
                    plain.run(&format!("RPUSH {key} somebodys"));
                }
                plain.shutdown();
                let database = Postgres::shared().database(BEARS);
                let redis = Redis::builder().postgres(&database).append_only().data_of(&plain).start();
                let is_refused = || redis.run("BEAR.QUERY color CACHED all").is_error();
                eventually("the keys have been looked at", is_refused);
                Fixture { database, redis, follows: false, claims: false }
            }
            name => {
                let of_page = |kind: &str| -> Vec<String> {
                    let note = format!("{kind}: {name}");
                    let own = blocks.iter().filter(|block| block.note.as_ref() == Some(&note));
                    own.map(|block| block.lines.join("\n")).collect()
                };
                let rows = std::fs::read_to_string(
                    root().join(Path::new("tests/live/server/book").join(format!("{name}.sql"))),
                );
                let schema = [of_page("schema"), vec![rows.unwrap_or_default()]].concat().join("\n");
                let catalog = of_page("catalog").join("\n");
                assert!(!catalog.is_empty(), "no fixture is called '{name}', and the page has no catalog of that name");
                let claims = catalog.contains("\nclaim ");
                Fixture { claims, ..Fixture::with(Postgres::shared().database(&schema), Some(catalog)) }
            }
        };
        eventually("the catalog is checked", || fixture.redis.run("BEAR.CATALOG").map()["checked"].text() == "yes");
        let errors = fixture.redis.run("BEAR.CATALOG").map()["errors"].clone();
        assert!(errors.list().is_empty(), "{name}: {errors:?}");
        fixture
    }

    fn with(database: Database, catalog: Option<String>) -> Fixture {
        let builder = Redis::builder().postgres(&database);
        let redis = match catalog {
            Some(text) => builder.catalog(text).start(),
            None => builder.start(),
        };
        Fixture { database, redis, follows: false, claims: false }
    }

    /// Until what was asked has been done: results are stored, and jobs that nothing holds up are applied.
    pub fn settle(&self, is_paused: bool) {
        self.redis.wait_stored();
        if !is_paused && !self.claims {
            let waits = || {
                ["bear_jobs_waiting", "bear_jobs_active", "bear_batches_in_flight"]
                    .map(|name| self.redis.info("bear").int(name))
            };
            eventually("jobs are applied", || waits() == [0, 0, 0]);
        }
    }
}

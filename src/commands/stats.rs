//! `BEAR.STATS space`: the figures of a space's queue, and of its section's cache.
//!
//! Reply: a map (RESP2: keys and values in turn): waiting, active, delayed (jobs), completed (since the queue was made),
//! failed (kept for BEAR.RETRY), oldest_ms (age of the oldest queued job), rate (settled a second, over ten seconds), bytes,
//! lanes (batches in flight), connection, ledger (ok, or what is wrong), keys (ok, or which one is of a wrong type), paused
//! (0 or 1), refused (job types that Postgres refuses for now, with its reason), hits, misses; of claimed jobs alone: claims, claimed,
//! expired, released, lost, completed_kept, failed_kept, failed_total, workers, limits, jobs, loading. O(N) with N the workers
//! and the job types. Nothing is replicated.
//! Errors: ERR (wrong words).

use super::cursor::only_space;
use crate::redis_api::{ArgKind, ArgSpec, Args, Command, CommandSpec, Context, KeyAccess};
use crate::server;

pub struct Stats;

impl Command for Stats {
    const SPEC: CommandSpec = CommandSpec {
        name: c"bear.stats",
        flags: c"readonly",
        categories: c"read",
        tips: c"nondeterministic_output",
        arity: 2,
        key: KeyAccess::Read,
        summary: c"Returns the figures of a space's queue.",
        complexity: c"O(N) with N the workers seen lately and the job types.",
        args: &[ArgSpec::new(c"space", ArgKind::Key)],
    };

    fn run(ctx: Context, args: Args) {
        server::serve(ctx, |server| server.queue_stats(ctx, only_space(args)?));
    }
}

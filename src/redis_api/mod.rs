//! A safe face on the parts of Redis' module API that bear uses.
//!
//! All `unsafe` code of the project lives in this folder. What holds for every file: functions that take a
//! [`Context`] run on Redis' main thread inside a callback of Redis, because a `Context` exists only there; the
//! function table (`raw`) is filled by `Export_RedisModule_Init` before anything else runs and never changes.

mod acl;
mod blocked;
mod call;
mod command;
mod config;
mod context;
mod events;
mod hash;
mod info;
mod key;
mod letter;
mod load;
mod log;
mod open;
#[cfg(debug_assertions)]
mod own_slot;
mod processor;
mod publish;
mod reply;
mod scan;
mod slot;
mod sorted_set;
mod stream;
mod string;
mod wake;

pub use blocked::{has_gone, is_gone, take_gone, Answer, BlockedClient, ClientHandle, Gone, Later};
pub use call::Replicate;
pub use command::{
    longest_command_us, note_command, register, ArgKind, ArgSpec, Args, Command, CommandSpec, KeyAccess,
};
pub use config::{register_all as register_configs, ConfigSpec, ConfigValue, Live};
pub use context::{Context, Level};
pub use events::{
    on_config_change, on_cron, on_flush, on_keyspace, on_loading, on_role, on_shutdown, on_swap_db, KeyEvent, Loading,
    Removal, Role,
};
pub use hash::HashKey;
pub use info::{on_info, InfoWriter};
pub use key::{glance_at_set, members_of_set, KeyType, StringKey};
pub use letter::{Letter, Pen};
pub(crate) use load::entry_points;
pub use load::{run_load, run_unload};
pub use log::install_logger;
pub use open::WrongType;
pub use processor::worked;
pub use reply::{Replier, Value};
pub use scan::Scan;
pub use slot::{slot_state, SlotState};
pub use sorted_set::SortedSetKey;
pub use stream::{Direction, Fields, StreamKey};
pub use string::TimedString;
pub use wake::{arm, is_posted, on_tick, rearm_if_late, wake};

/// One function of Redis' table. Used inside `unsafe` only: the table is written once, by Export_RedisModule_Init,
/// before any other code of ours runs, so that reading it races with nothing.
macro_rules! api {
    ($name:ident) => {
        redis_module::raw::$name.expect(concat!(stringify!($name), " is in every server we load into"))
    };
}
use api;

//! One file a command: what Redis is told of it, its words read with a cursor, what it runs, what it replies.
//!
//! To add one: a file here with a struct that implements [`Command`](crate::redis_api::Command), and a line in
//! [`register_all`].

mod ack;
mod adopt;
mod cancel;
mod catalog;
mod claim;
mod clean;
mod cursor;
mod enqueue;
mod explain;
mod extend;
mod extendlock;
mod fail;
mod feed;
mod forget;
mod get;
mod invalidate;
mod job;
mod jobs;
mod limit;
mod limitqueue;
mod lock;
mod log;
mod logs;
mod mget;
mod mquery;
mod pause;
mod promote;
mod propose;
mod put;
mod query;
mod release;
mod reload;
mod remove;
mod resume;
mod retry;
mod schedule;
mod schedules;
mod stats;
mod unlock;
mod unschedule;
mod update;
mod verify;

use crate::redis_api::{register, Context};

pub fn register_all(ctx: Context) -> Result<(), String> {
    register::<query::Query>(ctx)?;
    register::<mquery::MQuery>(ctx)?;
    register::<get::Get>(ctx)?;
    register::<mget::MGet>(ctx)?;
    register::<put::Put>(ctx)?;
    register::<forget::Forget>(ctx)?;
    register::<invalidate::Invalidate>(ctx)?;
    register::<explain::Explain>(ctx)?;
    register::<catalog::Catalog>(ctx)?;
    register::<reload::Reload>(ctx)?;
    register::<feed::Feed>(ctx)?;
    register::<propose::Propose>(ctx)?;
    register::<enqueue::Enqueue>(ctx)?;
    register::<job::Job>(ctx)?;
    register::<jobs::Jobs>(ctx)?;
    register::<stats::Stats>(ctx)?;
    register::<retry::Retry>(ctx)?;
    register::<remove::Remove>(ctx)?;
    register::<pause::Pause>(ctx)?;
    register::<resume::Resume>(ctx)?;
    register::<claim::Claim>(ctx)?;
    register::<ack::Ack>(ctx)?;
    register::<fail::Fail>(ctx)?;
    register::<extend::Extend>(ctx)?;
    register::<release::Release>(ctx)?;
    register::<promote::Promote>(ctx)?;
    register::<clean::Clean>(ctx)?;
    register::<cancel::Cancel>(ctx)?;
    register::<log::Log>(ctx)?;
    register::<logs::Logs>(ctx)?;
    register::<update::Update>(ctx)?;
    register::<limitqueue::LimitQueue>(ctx)?;
    register::<schedule::Schedule>(ctx)?;
    register::<unschedule::Unschedule>(ctx)?;
    register::<schedules::Schedules>(ctx)?;
    register::<lock::Lock>(ctx)?;
    register::<unlock::Unlock>(ctx)?;
    register::<extendlock::ExtendLock>(ctx)?;
    register::<limit::Limit>(ctx)?;
    register::<verify::Verify>(ctx)?;
    register::<adopt::Adopt>(ctx)?;
    Ok(())
}

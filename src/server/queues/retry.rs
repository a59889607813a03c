//! BEAR.RETRY: failed jobs are enqueued again, with the options that they had, as if a client sent them.

use rustc_hash::FxHashMap;

use super::enqueue::{check_unique, find_job, fingerprint, hold_unique, Unique};
use super::report::{check_types, parse_id};
use super::settled::{failed_jobs, FailedJob};
use super::space::Extras;
use crate::core::job::Job;
use crate::core::job_id::JobId;
use crate::core::payload;
use crate::core::record::{cost, JobOptions, JobRecord, DEFAULT_OPTIONS};
use crate::keyspace::jobs;
use crate::redis_api::{Context, Value};
use crate::server::Server;

/// Which failed jobs are enqueued again.
pub enum RetryTarget<'a, 'b> {
    Ids(&'a [&'b [u8]]),
    All,
}

/// What is to be done for a failed job.
enum Plan {
    Enqueue {
        data: Vec<u8>,
        /// Of a job with a UNIQUE key.
        fingerprint: Option<String>,
    },
    /// This job says the same, and holds its UNIQUE key.
    Stands(JobId),
    /// The one with this number, of this call, will.
    StandsInCall(usize),
    /// It stays failed.
    Leave,
}

impl Server {
    /// BEAR.RETRY: all of them or none. Replies with the new ids.
    pub fn retry_jobs(&mut self, ctx: Context, space_name: &[u8], target: &RetryTarget) -> Result<(), String> {
        let section = self.space(ctx, space_name)?.section;
        self.check_safe()?;
        let (name, keys) = self.queue_of(ctx, space_name)?;
        check_types(ctx, &keys)?;
        let wanted = match target {
            RetryTarget::All => None,
            RetryTarget::Ids(ids) => Some(ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<_>, _>>()?),
        };
        let failed = failed_jobs(ctx, &keys, wanted.as_deref());
        if let Some(unknown) = wanted.iter().flatten().find(|id| !failed.iter().any(|job| job.id == **id)) {
            return Err(format!("ERR no failed job {unknown} is known (BEAR.JOBS {name} failed); nothing is retried"));
        }
        if failed.is_empty() {
            ctx.reply().value(&Value::Array(Vec::new()));
            return Ok(());
        }
        let catalog = self.catalog.clone();
        let prefix = self.prefix_of(&name);
        let plans = self.plan_retries(ctx, &name, &catalog.sections[section].jobs, &failed, target)?;
        self.check_room(ctx, &name, &failed, &plans)?;
        let (mut ids, mut entries) = (vec![None; plans.len()], Vec::new());
        let mut error = None;
        for (at, (job, plan)) in failed.iter().zip(&plans).enumerate() {
            let id = match plan {
                Plan::Enqueue { data, fingerprint } => {
                    self.retry_job(ctx, &name, &prefix, job, data, fingerprint.as_deref())
                }
                Plan::Stands(id) => Ok(*id),
                Plan::StandsInCall(first) => ids[*first].ok_or_else(String::new),
                Plan::Leave => continue,
            };
            match id {
                Ok(id) => ids[at] = Some(id),
                Err(text) => {
                    error = Some(format!("{text}; {} of {} jobs are retried", entries.len(), failed.len()));
                    break;
                }
            }
            entries.push(job.entry);
        }
        jobs::delete(ctx, &keys.failed, &entries);
        if let Some(error) = error {
            return Err(error);
        }
        let ids = ids.iter().flatten().map(|id| Value::text(id.to_string()));
        ctx.reply().value(&Value::Array(ids.collect()));
        Ok(())
    }

    /// Changes nothing.
    fn plan_retries(
        &mut self,
        ctx: Context,
        name: &str,
        jobs_of: &[Job],
        failed: &[FailedJob],
        target: &RetryTarget,
    ) -> Result<Vec<Plan>, String> {
        let prefix = self.prefix_of(name);
        let space = self.queues.space(ctx, name, &prefix);
        // UNIQUE keys of jobs before.
        let mut held: FxHashMap<&[u8], (usize, String)> = FxHashMap::default();
        let mut plans = Vec::with_capacity(failed.len());
        for (at, job) in failed.iter().enumerate() {
            let mut plan = || {
                let (of, data) = checked_payload(jobs_of, job)?;
                let Some(key) = job.extras.as_ref().and_then(|extras| extras.unique.as_deref()) else {
                    return Ok(Plan::Enqueue { data, fingerprint: None });
                };
                let fingerprint = fingerprint(of, &data);
                if let Some((first, other)) = held.get(key) {
                    return match *other == fingerprint {
                        true => Ok(Plan::StandsInCall(*first)),
                        false => Err(format!("DUPLICATE {} is retried with the same UNIQUE key", failed[*first].id)),
                    };
                }
                match check_unique(ctx, space, key, &fingerprint)? {
                    Unique::Same(id) if id != job.id => Ok(Plan::Stands(id)),
                    Unique::Same(_) | Unique::New => {
                        held.insert(key, (at, fingerprint.clone()));
                        Ok(Plan::Enqueue { data, fingerprint: Some(fingerprint) })
                    }
                }
            };
            plans.push(match (plan(), target) {
                (Ok(plan), _) => plan,
                // Of all, those that cannot be enqueued stay failed.
                (Err::<_, String>(_), RetryTarget::All) => Plan::Leave,
                (Err(error), RetryTarget::Ids(_)) => return Err(format!("{error}; nothing is retried")),
            });
        }
        Ok(plans)
    }

    fn check_room(&mut self, ctx: Context, name: &str, failed: &[FailedJob], plans: &[Plan]) -> Result<(), String> {
        let (mut count, mut bytes) = (0, 0);
        for (job, plan) in failed.iter().zip(plans) {
            if let Plan::Enqueue { data, .. } = plan {
                count += 1;
                bytes +=
                    cost(job.name.as_bytes(), data, job.extras.as_ref().and_then(|extras| extras.unique.as_deref()));
            }
        }
        let (prefix, limits) = (self.prefix_of(name), self.limits());
        let checked = limits.check(self.queues.space(ctx, name, &prefix), count, bytes);
        checked.map_err(|error| format!("{error}; nothing is retried"))
    }

    fn retry_job(
        &mut self,
        ctx: Context,
        name: &str,
        prefix: &[u8],
        job: &FailedJob,
        data: &[u8],
        fingerprint: Option<&str>,
    ) -> Result<JobId, String> {
        let options = job.extras.as_ref().map_or(DEFAULT_OPTIONS, Extras::options);
        let options = JobOptions { due_ms: None, ..options };
        let record = JobRecord { epoch: 0, name: job.name.as_bytes(), data, options };
        let id = self.queues.write_job(ctx, name, prefix, &record)?;
        if let (Some(key), Some(fingerprint)) = (options.unique, fingerprint) {
            hold_unique(ctx, self.queues.space(ctx, name, prefix), key, id, fingerprint);
        }
        Ok(id)
    }
}

/// The payload as it is stored, if it fits its definition.
fn checked_payload<'a>(jobs_of: &'a [Job], job: &FailedJob) -> Result<(&'a Job, Vec<u8>), String> {
    let mut data = Vec::new();
    let checked = find_job(jobs_of, job.name.as_bytes())
        .ok_or_else(|| format!("the section has no job '{}'", job.name))
        .and_then(|of| {
            payload::write_checked(of, &job.data, &mut data).map(|()| of).map_err(|error| error.to_string())
        });
    match checked {
        Ok(of) => Ok((of, data)),
        Err(error) => Err(format!("CATALOG job {} does not fit its definition: {error}", job.id)),
    }
}

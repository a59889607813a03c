//! Whether the jobs of schedules fit the jobs of their section.

use super::payload::{self, PayloadError};
use crate::core::catalog::{Catalog, CatalogError, Section};
use crate::core::schedules::definition::{ScheduledJob, What};
use crate::core::values::value::shorten;

/// Bytes of a schedule's payload: it is checked at once.
pub const MAX_DATA: usize = 64 << 10;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduledJobError {
    #[error("section '{section}' has no job '{got}'; it has {has}")]
    Unknown { section: Box<str>, got: String, has: String },
    #[error("{0}")]
    Payload(#[from] PayloadError),
    #[error(
        "priority is for jobs that workers claim; '{job}' is applied to Postgres, and the order of its rows decides"
    )]
    Priority { job: Box<str> },
    #[error("the payload of a schedule may hold {MAX_DATA} bytes, got {got}")]
    TooLarge { got: usize },
}

/// Would such a job be enqueued?
pub fn check(section: &Section, scheduled: &ScheduledJob) -> Result<(), ScheduledJobError> {
    if scheduled.data.len() > MAX_DATA {
        return Err(ScheduledJobError::TooLarge { got: scheduled.data.len() });
    }
    let name = scheduled.name.as_bytes();
    let sql = || section.jobs.iter().find(|job| *job.name == *scheduled.name);
    let job = match section.claimed_job(name) {
        Some(claimed) => claimed.job,
        None => {
            let job = sql().ok_or_else(|| unknown(section, name))?;
            if scheduled.priority.is_some() {
                return Err(ScheduledJobError::Priority { job: job.name.clone() });
            }
            Some(job)
        }
    };
    payload::write(job, scheduled.data.as_bytes(), &mut Vec::with_capacity(scheduled.data.len()))?;
    Ok(())
}

fn unknown(section: &Section, got: &[u8]) -> ScheduledJobError {
    let has: Vec<&str> = section.jobs.iter().map(|job| &*job.name).collect();
    let has = if has.is_empty() { "none".to_owned() } else { has.join(", ") };
    ScheduledJobError::Unknown { section: section.name.clone(), got: shorten(got), has }
}

/// The same of all schedules of a catalog.
pub fn check_catalog(catalog: &Catalog) -> Result<(), CatalogError> {
    let all = catalog.sections.iter().flat_map(|section| section.schedules.iter().map(move |of| (section, of)));
    let problems: Vec<String> = all
        .filter_map(|(section, schedule)| {
            let What::Job(job) = &schedule.definition.what else { return None };
            let error = check(section, job).err()?;
            Some(format!("section '{}', schedule '{}': {error}", section.name, schedule.name))
        })
        .collect();
    if problems.is_empty() {
        Ok(())
    } else {
        Err(CatalogError { problems })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::read_catalog;

    fn check_text(schedule: &str) -> Result<(), String> {
        let text = format!(
            "[mail]\n[mail.job.SEND]\ndata = {{ to = \"text\", copies = \"int?\" }}\nclaim = {{}}\n\
             [mail.job.PURGE]\neach = [\"DELETE FROM mail\"]\n[mail.schedule.x]\nevery = \"1m\"\n{schedule}"
        );
        let catalog = read_catalog::parse(&text, &mut || 1).map_err(|error| error.to_string())?;
        check_catalog(&catalog).map_err(|error| error.to_string())
    }

    #[test]
    fn jobs_of_schedules_fit_those_of_their_section() {
        for fits in [
            "job = \"SEND\"\ndata = { to = \"ann\" }\npriority = 1",
            "job = \"SEND\"\ndata = { to = \"ann\", copies = 2 }",
            "job = \"PURGE\"",
        ] {
            assert_eq!(check_text(fits), Ok(()), "{fits}");
        }
        for (wrong, reason) in [
            ("job = \"SEND\"", "section 'mail', schedule 'x': field 'to' is missing"),
            ("job = \"SEND\"\ndata = { to = 5 }", "field 'to' must be"),
            ("job = \"SEND\"\ndata = { to = \"ann\", x = 1 }", "unknown field 'x'"),
            ("job = \"send\"\ndata = { to = \"ann\" }", "section 'mail' has no job 'send'; it has PURGE, SEND"),
            ("job = \"PURGE\"\npriority = 1", "priority is for jobs that workers claim"),
        ] {
            let error = check_text(wrong).expect_err(wrong);
            assert!(error.contains(reason), "{wrong}: {error}");
        }
        let large = format!("job = \"SEND\"\ndata = {{ to = \"{}\" }}", "x".repeat(MAX_DATA));
        assert!(check_text(&large).is_err_and(|error| error.contains("may hold 65536 bytes")));
    }

    #[test]
    fn an_open_section_takes_any() {
        let text = "[mail]\nopen = true\n[mail.schedule.x]\nevery = \"1m\"\njob = \"anything\"\ndata = { a = [1] }";
        let catalog = read_catalog::parse(text, &mut || 1).expect("a catalog");
        assert_eq!(check_catalog(&catalog), Ok(()));
    }
}

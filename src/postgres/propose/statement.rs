//! The lines of one query.

use std::sync::Arc;
use std::time::Instant;

use super::asked::{Known, ProposalError, Statement};
use super::candidates::{text, try_all, Candidate};
use super::describe::{begin, describe, Described};
use super::homes::Homes;
use super::zone::time_zone;
use crate::core::calls::pattern::CallPattern;
use crate::core::propose::query::{is_told_apart, Draft, Home, Refused};
use crate::core::propose::zone_lines;
use crate::postgres::connect::pool::Pool;

impl From<Refused> for ProposalError {
    fn from(refused: Refused) -> ProposalError {
        ProposalError::Refused(refused.to_string())
    }
}

impl Pool {
    pub(super) fn propose_statement(
        &self,
        statement: &Statement,
        known: &Known,
        deadline: Instant,
    ) -> Result<String, ProposalError> {
        let draft = Draft::read(&statement.sql)?;
        let (_, described) = self.with_session(deadline, 0, |numbered| {
            let session = &mut numbered.session;
            begin(session)?;
            let client = &mut session.client;
            let zone = time_zone(client)?;
            let found = match describe(client, &draft) {
                Ok(Ok(described)) => Homes::of(client, &known.sections)
                    .and_then(|mut homes| homes.find(client, &described.main))
                    .map(|home| Ok((described, home, zone))),
                Ok(Err(reason)) => Ok(Err(reason)),
                Err(failure) => Err(failure),
            };
            session.roll_back()?;
            found
        });
        let (Described { types, naming, .. }, home, zone) = described?.map_err(ProposalError::Refused)?;
        let is_free = |call: &CallPattern| is_free(known, &home, &[], call);
        let proposal = draft.propose(&types, &naming, statement.call.as_deref(), &is_free)?;
        let mut candidates = vec![Candidate::new(home, proposal, zone_lines(zone.as_deref()))];
        let mut refused = try_all(self, known, &mut candidates, deadline)?;
        if let Some(again) = refused.first().and_then(Candidate::with_ttl) {
            candidates = vec![again];
            refused = try_all(self, known, &mut candidates, deadline)?;
        }
        match refused.first() {
            Some(refused) => {
                let reason = refused.refused().unwrap_or("nobody knows why");
                Err(ProposalError::Refused(format!("bear cannot cache it: {reason}")))
            }
            None => Ok(text(&candidates)),
        }
    }
}

/// Does the call fit no words that fit another of its section?
pub(super) fn is_free(known: &Known, home: &Home, others: &[Candidate], call: &CallPattern) -> bool {
    let of_catalog = known.sections.iter().filter(|section| *section.name == *home.section);
    let of_catalog = of_catalog.flat_map(|section| &section.queries).map(|query| query.call.clone());
    let others = others.iter().filter(|other| other.home.section == home.section);
    let others = others.filter_map(|other| CallPattern::parse(&other.proposal.call).ok()).map(Arc::new);
    is_told_apart(of_catalog.chain(others), call)
}

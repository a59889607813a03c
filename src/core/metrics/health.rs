//! Is all well? A text of one line for each thing that is not.

/// Queues that are named; of more it is told how many.
const NAMED: usize = 10;

/// What is looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Postgres is away, and why.
    pub postgres: Option<String>,
    /// The feed is to follow and does not, or is behind, and why.
    pub feed: Option<String>,
    /// The inbox is wanted and not read, and why.
    pub inbox: Option<String>,
    /// Queues that are paused with LEDGER: the first, and how many.
    pub without_ledger: (Vec<String>, u64),
    /// The space whose oldest waiting job has waited longest, and how long; queues that are paused are not among them.
    pub oldest: Option<(String, u64)>,
    /// It is not to be older; 0: it may.
    pub most_age_ms: u64,
}

impl Health {
    /// A queue that is paused with LEDGER.
    pub fn add_without_ledger(&mut self, space: &str) {
        let (names, count) = &mut self.without_ledger;
        *count += 1;
        if names.len() < NAMED {
            names.push(space.to_owned());
        }
    }

    /// The oldest waiting job of a space.
    pub fn add_oldest(&mut self, space: &str, age_ms: u64) {
        if self.oldest.as_ref().is_none_or(|(_, oldest)| age_ms > *oldest) {
            self.oldest = Some((space.to_owned(), age_ms));
        }
    }

    /// What is wrong; empty: nothing.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        reasons.extend(self.postgres.as_ref().map(|error| line("postgres", error)));
        reasons.extend(self.feed.as_ref().map(|error| line("feed", error)));
        reasons.extend(self.inbox.as_ref().map(|error| line("inbox", error)));
        let (names, count) = &self.without_ledger;
        if let (Some(more), false) = (count.checked_sub(names.len() as u64), names.is_empty()) {
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            reasons.push(line("ledger", &format!("paused with LEDGER: {}{more}", names.join(", "))));
        }
        if let Some((space, age_ms)) =
            self.oldest.as_ref().filter(|(_, age)| self.most_age_ms > 0 && *age > self.most_age_ms)
        {
            let text = format!("the oldest job of {space} has waited {age_ms} ms, more than {} ms", self.most_age_ms);
            reasons.push(line("queue", &text));
        }
        reasons
    }
}

fn line(what: &str, text: &str) -> String {
    format!("{what}: {}", text.replace(['\r', '\n'], " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wrong_at_first() {
        assert!(Health::default().reasons().is_empty());
    }

    #[test]
    fn each_reason_is_a_line() {
        let mut health = Health {
            postgres: Some("down: connection\nrefused".to_owned()),
            feed: Some("lost: gone".to_owned()),
            inbox: Some("down: no table".to_owned()),
            most_age_ms: 1000,
            ..Health::default()
        };
        health.add_oldest("a", 1001);
        health.add_oldest("b", 900);
        for at in 0..12 {
            health.add_without_ledger(&format!("s{at}"));
        }
        assert_eq!(
            health.reasons(),
            [
                "postgres: down: connection refused",
                "feed: lost: gone",
                "inbox: down: no table",
                "ledger: paused with LEDGER: s0, s1, s2, s3, s4, s5, s6, s7, s8, s9 and 2 more",
                "queue: the oldest job of a has waited 1001 ms, more than 1000 ms",
            ]
        );
        assert_eq!(Health { most_age_ms: 1001, ..health.clone() }.reasons().len(), 4, "not over the limit");
        assert_eq!(Health { most_age_ms: 0, ..health }.reasons().len(), 4, "no limit");
    }
}

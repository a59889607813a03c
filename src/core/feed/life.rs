//! The states of the change feed, and what depends on it.
//!
//! ```text
//!           by name: every section depends on it; auto: none does yet, if it has never followed
//! off --Begun--> starting --Connected--> following --Down--> lost --Connected--> following
//!                    |                                         |
//!                    | Down, not allowed, with auto,           | Down, allowed or not: what it covered stays
//!                    v and it has never followed               v withheld once it is older than the grace
//!                not allowed: nothing depends on it           lost
//! any --Ended (bear.feed off, a replica, no URL)--> off: nothing depends on it
//! ```
//! Rule: what was served as followed is never served as if it had not been. Once a feed has followed, what depends on it is
//! withheld while it is lost, whatever took it away; only who turns it off says otherwise, and what was stored then goes.

/// As BEAR.FEED shows it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum FeedState {
    #[default]
    Off,
    Starting,
    Following,
    Lost,
    /// With `auto`: Postgres does not allow it, and it has never followed.
    NotAllowed,
}

impl FeedState {
    pub fn name(self) -> &'static str {
        match self {
            FeedState::Off => "off",
            FeedState::Starting => "starting",
            FeedState::Following => "following",
            FeedState::Lost => "lost",
            FeedState::NotAllowed => "not allowed",
        }
    }
}

/// Whether there must be a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// `auto`: where Postgres allows it.
    IfAllowed,
    /// `wal`, `outbox`: asked for by name.
    Always,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedEvent {
    /// A thread begins to follow: the first, or one with other settings or another catalog.
    Begun,
    Connected,
    Down {
        /// False: Postgres does not allow it, and will not until an administrator changes something.
        allowed: bool,
    },
    Ended,
}

/// What depends on the feed after an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depends {
    AsBefore,
    Nothing,
    Everything,
    /// The sections whose tables are covered.
    Covered,
}

/// Where the feed stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct FeedLife {
    pub state: FeedState,
    /// Since it was turned on.
    has_followed: bool,
    /// How often it followed and was lost.
    pub losses: u64,
}

impl FeedLife {
    pub fn take(&mut self, wanted: Wanted, event: FeedEvent) -> Depends {
        let (state, depends) = match (event, wanted) {
            (FeedEvent::Begun, Wanted::Always) => (FeedState::Starting, Depends::Everything),
            (FeedEvent::Begun, Wanted::IfAllowed) if self.has_followed => (FeedState::Starting, Depends::Everything),
            (FeedEvent::Begun, Wanted::IfAllowed) => (FeedState::Starting, Depends::Nothing),
            (FeedEvent::Connected, _) => (FeedState::Following, Depends::Covered),
            (FeedEvent::Down { allowed: false }, Wanted::IfAllowed) if !self.has_followed => {
                (FeedState::NotAllowed, Depends::Nothing)
            }
            (FeedEvent::Down { .. }, _) => (FeedState::Lost, Depends::AsBefore),
            (FeedEvent::Ended, _) => (FeedState::Off, Depends::Nothing),
        };
        self.losses += u64::from(self.state == FeedState::Following && matches!(event, FeedEvent::Down { .. }));
        self.has_followed = match event {
            FeedEvent::Connected => true,
            FeedEvent::Ended => false,
            FeedEvent::Begun | FeedEvent::Down { .. } => self.has_followed,
        };
        self.state = state;
        depends
    }

    /// Since it was turned on.
    pub fn has_followed(&self) -> bool {
        self.has_followed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use FeedEvent::{Begun, Connected, Down, Ended};
    use FeedState::{Following, Lost, NotAllowed, Off, Starting};
    use Wanted::{Always, IfAllowed};

    const AWAY: FeedEvent = Down { allowed: true };
    const FORBIDDEN: FeedEvent = Down { allowed: false };

    /// What depends on the feed after these events.
    fn after(events: &[(Wanted, FeedEvent)]) -> (FeedState, Depends, u64) {
        let (mut life, mut depends) = (FeedLife::default(), Depends::Nothing);
        for (wanted, event) in events {
            depends = match life.take(*wanted, *event) {
                Depends::AsBefore => depends,
                other => other,
            };
        }
        (life.state, depends, life.losses)
    }

    #[test]
    fn what_was_followed_stays_withheld_and_what_never_was_is_served() {
        use Depends::{Covered, Everything, Nothing};
        for (wanted, events, expected) in [
            (IfAllowed, &[][..], (Off, Nothing, 0)),
            (IfAllowed, &[Begun], (Starting, Nothing, 0)),
            (IfAllowed, &[Begun, FORBIDDEN], (NotAllowed, Nothing, 0)),
            (IfAllowed, &[Begun, AWAY], (Lost, Nothing, 0)),
            (IfAllowed, &[Begun, AWAY, FORBIDDEN], (NotAllowed, Nothing, 0)),
            (IfAllowed, &[Begun, FORBIDDEN, AWAY], (Lost, Nothing, 0)),
            (IfAllowed, &[Begun, FORBIDDEN, Connected], (Following, Covered, 0)),
            (IfAllowed, &[Begun, Connected], (Following, Covered, 0)),
            (IfAllowed, &[Begun, Connected, AWAY], (Lost, Covered, 1)),
            // wal_level is another after a restart, or the role's right is gone.
            (IfAllowed, &[Begun, Connected, FORBIDDEN], (Lost, Covered, 1)),
            (IfAllowed, &[Begun, Connected, AWAY, FORBIDDEN, FORBIDDEN], (Lost, Covered, 1)),
            (IfAllowed, &[Begun, Connected, AWAY, Connected, AWAY], (Lost, Covered, 2)),
            // Another catalog, or another setting, meanwhile.
            (IfAllowed, &[Begun, Connected, FORBIDDEN, Begun], (Starting, Everything, 1)),
            (IfAllowed, &[Begun, Connected, FORBIDDEN, Begun, FORBIDDEN], (Lost, Everything, 1)),
            // Turned off, and on again.
            (IfAllowed, &[Begun, Connected, FORBIDDEN, Ended], (Off, Nothing, 1)),
            (IfAllowed, &[Begun, Connected, FORBIDDEN, Ended, Begun, FORBIDDEN], (NotAllowed, Nothing, 1)),
            (Always, &[Begun], (Starting, Everything, 0)),
            (Always, &[Begun, FORBIDDEN], (Lost, Everything, 0)),
            (Always, &[Begun, AWAY], (Lost, Everything, 0)),
            (Always, &[Begun, Connected], (Following, Covered, 0)),
            (Always, &[Begun, Connected, FORBIDDEN], (Lost, Covered, 1)),
            (Always, &[Begun, Connected, FORBIDDEN, Ended], (Off, Nothing, 1)),
        ] {
            let events: Vec<_> = events.iter().map(|event| (wanted, *event)).collect();
            assert_eq!(after(&events), expected, "{events:?}");
        }
        // Asked for by name and never had: who takes it back to auto does without.
        let events = [(Always, Begun), (Always, FORBIDDEN), (IfAllowed, Begun), (IfAllowed, FORBIDDEN)];
        assert_eq!(after(&events), (NotAllowed, Nothing, 0));
        // Had by name: auto does not forget it.
        let events =
            [(Always, Begun), (Always, Connected), (Always, FORBIDDEN), (IfAllowed, Begun), (IfAllowed, FORBIDDEN)];
        assert_eq!(after(&events), (Lost, Everything, 1));
    }

    /// Whatever happens: once it has followed, nothing but its end, or a connection that covers less, frees an entry.
    #[test]
    fn no_order_of_events_serves_what_was_followed_as_if_it_had_not_been() {
        let all = [Begun, Connected, AWAY, FORBIDDEN, Ended];
        let (orders, events) = (10_u32.pow(6), 6);
        for order in 0..orders {
            let (mut life, mut depends, mut followed) = (FeedLife::default(), Depends::Nothing, false);
            let mut rest = order;
            for _ in 0..events {
                let wanted = if rest % 2 == 0 { Always } else { IfAllowed };
                let event = all[(rest / 2 % 5) as usize];
                rest /= 10;
                depends = match life.take(wanted, event) {
                    Depends::AsBefore => depends,
                    other => other,
                };
                followed = event == Connected || followed && event != Ended;
                assert!(!followed || depends != Depends::Nothing, "{order}: {life:?}");
                assert_eq!(life.state == FeedState::Following, event == Connected);
            }
        }
    }
}

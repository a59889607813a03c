//! Of which sections is published what happens: by the setting, and by what each section says.

/// `bear.events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventsChoice {
    /// Of those whose catalog says so.
    Catalog,
    /// Of all but those whose catalog says no.
    All,
    Off,
}

impl EventsChoice {
    pub const ALL: [(&'static str, EventsChoice); 3] =
        [("catalog", EventsChoice::Catalog), ("all", EventsChoice::All), ("off", EventsChoice::Off)];

    pub fn name(self) -> &'static str {
        EventsChoice::ALL.iter().find(|(_, choice)| *choice == self).map_or("", |(name, _)| name)
    }

    /// Is it published what happens in a section that says this?
    pub fn tells_of(self, section: Option<bool>) -> bool {
        match self {
            EventsChoice::Catalog => section == Some(true),
            EventsChoice::All => section != Some(false),
            EventsChoice::Off => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_may_say_otherwise_unless_events_are_off() {
        let table = [
            (EventsChoice::Catalog, [false, true, false]),
            (EventsChoice::All, [true, true, false]),
            (EventsChoice::Off, [false; 3]),
        ];
        for (choice, expected) in table {
            assert_eq!([None, Some(true), Some(false)].map(|section| choice.tells_of(section)), expected, "{choice:?}");
        }
    }
}

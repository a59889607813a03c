//! A row of the inbox as it is read, and what of it is refused before anybody looks at the catalog: what BEAR.ENQUEUE would
//! refuse for its words.

use crate::core::values::priority::Priority;

/// An open row, or one that `bear.complete` has completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    pub id: u64,
    /// As commands name it: `mail`, `{7}:mail`.
    pub space: Box<str>,
    pub job: Box<str>,
    /// JSON, as jsonb spells it.
    pub data: Box<[u8]>,
    pub unique: Option<Box<str>>,
    /// Unix time in ms.
    pub due_ms: Option<u64>,
    pub attempts: Option<u32>,
    pub backoff_ms: Option<u64>,
    pub priority: Option<Priority>,
    /// When it was written, Unix time in ms.
    pub enqueued_ms: u64,
    /// Tokens up to it are not in force: an earlier life of the queue, or a claim that has failed since, had them.
    pub fence: Option<u64>,
}

/// `mail` of `{7}:mail`: what the catalog calls it. None: no name of a space.
pub fn section_of(space: &str) -> Option<&str> {
    let section = match space.strip_prefix('{') {
        Some(rest) => rest.split_once("}:")?.1,
        None => space,
    };
    (!section.is_empty()).then_some(section)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_found_in_names_of_spaces() {
        for (space, section) in [
            ("mail", Some("mail")),
            ("{7}:mail", Some("mail")),
            ("{a:b}:mail", Some("mail")),
            ("{}:mail", Some("mail")),
            ("{7}mail", None),
            ("{7}:", None),
            ("", None),
        ] {
            assert_eq!(section_of(space), section, "{space}");
        }
    }
}

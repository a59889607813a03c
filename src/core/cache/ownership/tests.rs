//! Every order of what bear, others and the operator do to a small dataset: what is not bear's is never removed, and what
//! is its alone is never refused.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn named(names: &[&str]) -> Ownership {
    let mut ownership = Ownership::default();
    ownership.arrange(names.iter().map(|name| with(name, false)));
    ownership
}

fn with(name: &str, has_new_calls: bool) -> Arranged {
    Arranged { member: name.into(), has_new_calls }
}

fn survey(finds: &[Look]) -> (Ownership, Vec<usize>) {
    let mut ownership = named(&["bear"]);
    ownership.begin(|_| false, false);
    assert!(!ownership.is_owned(0), "nothing is stored until it is over");
    for (at, look) in finds.iter().enumerate() {
        ownership.found(0, format!("bear:{at}").as_bytes(), *look);
    }
    let foreign = ownership.surveyed();
    (ownership, foreign)
}

#[test]
fn a_survey_decides_by_what_it_found() {
    use Look::{Blank, Likely, Proof, Strange};
    for (finds, is_refused, sweeps) in [
        (&[][..], false, false),
        (&[Blank], false, true),
        (&[Proof], false, true),
        (&[Proof, Likely, Blank], false, true),
        (&[Likely], true, false),
        (&[Likely, Blank], true, false),
        (&[Strange], true, false),
        (&[Proof, Strange], true, false),
    ] {
        let (ownership, foreign) = survey(finds);
        assert_eq!(!foreign.is_empty(), is_refused, "{finds:?}");
        assert_eq!(ownership.is_owned(0), !is_refused, "{finds:?}");
        assert_eq!(ownership.walk(), sweeps.then_some(Walk::Sweep), "{finds:?}");
    }
}

#[test]
fn a_blank_key_goes_only_where_bear_has_been() {
    let (ownership, _) = survey(&[Look::Blank]);
    assert_eq!(ownership.verdict(0, Look::Blank), Verdict::Keep);
    let (ownership, _) = survey(&[Look::Blank, Look::Proof]);
    assert_eq!(ownership.verdict(0, Look::Blank), Verdict::Remove);
    assert_eq!(ownership.verdict(0, Look::Strange), Verdict::Keep);
}

#[test]
fn a_marked_section_is_owned_at_once_and_another_is_surveyed() {
    let mut ownership = named(&["bear", "color"]);
    ownership.begin(|name| name == "bear", false);
    assert!(ownership.is_owned(0) && !ownership.is_owned(1));
    assert_eq!(ownership.walk(), Some(Walk::Survey));
    assert_eq!(ownership.verdict(1, Look::Proof), Verdict::Ignore);
    assert!(ownership.surveyed().is_empty());
    assert_eq!(ownership.unmarked(), ["color"]);
    assert_eq!(ownership.walk(), Some(Walk::Sweep));
    ownership.swept();
    assert_eq!(ownership.verdict(0, Look::Likely), Verdict::Keep, "what comes later is somebody's");
}

/// What stood there before nobody looked at, for it had no name of ours.
#[test]
fn new_calls_have_an_owned_sections_names_looked_through_again() {
    let mut ownership = named(&["bear", "color"]);
    ownership.begin(|_| true, false);
    ownership.swept();
    assert_eq!(ownership.walk(), None);
    ownership.arrange([with("bear", false), with("color", false)].into_iter());
    assert_eq!(ownership.walk(), None);
    ownership.arrange([with("bear", true), with("color", false)].into_iter());
    assert_eq!(ownership.walk(), Some(Walk::Sweep));
    assert!(ownership.is_owned(0) && ownership.is_to_sweep(0) && !ownership.is_to_sweep(1));
    assert_eq!(ownership.verdict(0, Look::Likely), Verdict::Keep, "it may be somebody's");
    // A sweep that is not over yet goes on as what it was.
    let mut ownership = named(&["bear"]);
    ownership.begin(|_| true, false);
    ownership.arrange([with("bear", false)].into_iter());
    assert_eq!(ownership.verdict(0, Look::Likely), Verdict::Remove);
}

#[test]
fn new_calls_begin_a_survey_anew() {
    for (has_new_calls, is_owned) in [(false, false), (true, true)] {
        let mut ownership = named(&["bear"]);
        ownership.begin(|_| false, false);
        ownership.found(0, b"bear:1", Look::Strange);
        ownership.arrange([with("bear", has_new_calls)].into_iter());
        ownership.surveyed();
        assert_eq!(ownership.is_owned(0), is_owned);
        // What it is refused for stands there, whatever the calls are.
        ownership.arrange([with("bear", true)].into_iter());
        assert_eq!(ownership.is_owned(0), is_owned);
    }
}

#[test]
fn a_refusal_names_a_few_keys_and_the_ways_out() {
    let (ownership, _) = survey(&[Look::Likely, Look::Likely, Look::Likely, Look::Likely, Look::Strange]);
    let text = ownership.refusal(0, "bear", |_| true).unwrap();
    for part in ["'bear'", "bear:0, bear:1, bear:2 and 2 more", "another name", "bear.db", "BEAR.ADOPT bear"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("an earlier version"), "{text}");
    // As a dataset without marks whose sections have tags alone.
    let (ownership, _) = survey(&[Look::Likely, Look::Likely]);
    assert!(ownership.refusal(0, "bear", |_| true).unwrap().contains("an earlier version of bear"));
    let (ownership, _) = survey(&[Look::Likely, Look::Likely, Look::Likely, Look::Likely, Look::Strange]);
    let text = ownership.refusal(0, "bear", |_| false).unwrap();
    assert!(text.contains("5 of them") && !text.contains("bear:0"), "{text}");
}

#[test]
fn a_refusal_for_keys_of_queues_alone_does_not_advise_to_adopt_them() {
    for (member, key) in
        [("bear", "bear:queue"), ("{bear}", "{bear}:queue:failed"), ("{*}:bear", "{a:b}:bear:queue:id")]
    {
        let refusal = |more: Option<&str>| {
            let mut ownership = named(&[member]);
            ownership.begin(|_| false, false);
            ownership.found(0, key.as_bytes(), Look::Strange);
            more.iter().for_each(|more| ownership.found(0, more.as_bytes(), Look::Likely));
            ownership.surveyed();
            ownership.refusal(0, "bear", |_| true).unwrap()
        };
        let text = refusal(None);
        assert!(
            text.contains(key) && text.contains("BEAR.ADOPT leaves") && !text.contains("BEAR.ADOPT bear"),
            "{text}"
        );
        assert!(refusal(Some("bear:queuex")).contains("BEAR.ADOPT bear"));
    }
}

#[test]
fn a_refused_section_is_surveyed_again_when_a_named_key_has_gone() {
    let (mut ownership, _) = survey(&[Look::Strange]);
    assert!(!ownership.look_again(|_| false));
    assert!(ownership.look_again(|key| key == b"bear:0"));
    assert!(ownership.surveyed().is_empty() && ownership.is_owned(0));
}

#[test]
fn sections_keep_what_is_known_of_them_when_the_catalog_changes() {
    let mut ownership = named(&["bear", "color"]);
    ownership.begin(|_| true, false);
    ownership.arrange(["den", "color"].into_iter().map(|name| with(name, false)));
    assert!(ownership.has_unknown() && ownership.is_owned(1) && !ownership.is_owned(0));
}

/// Who wrote a key, and what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    by_bear: bool,
    look: Look,
}

#[derive(Debug, Clone)]
enum Event {
    /// A life of bear begins over what is there; does the mark survive what happened in between?
    Start,
    /// The walk ends, with all that it does.
    Walk,
    /// bear would store under a name, with a set beside it.
    Store(u8),
    /// Another hand writes while bear looks, or while it is away.
    Others(u8, Look),
    /// bear ends: it forgets, the dataset stays.
    Stop,
    Flush,
    Delete(u8),
}

/// The module, as far as the rules are concerned: what its index accounts for, and which keys it saw others write.
struct Model {
    dataset: BTreeMap<u8, Written>,
    is_marked: bool,
    /// Kept in the dataset, like the mark.
    strangers: std::collections::BTreeSet<u8>,
    running: Option<(Ownership, std::collections::BTreeSet<u8>)>,
    others_wrote: bool,
}

impl Model {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Start if self.running.is_none() => {
                let mut ownership = named(&["bear"]);
                ownership.begin(|_| self.is_marked, self.dataset.is_empty());
                self.running = Some((ownership, Default::default()));
            }
            Event::Stop => self.running = None,
            Event::Flush => {
                self.dataset.clear();
                self.strangers.clear();
                self.is_marked = false;
                self.others_wrote = false;
                if let Some((ownership, index)) = &mut self.running {
                    ownership.emptied();
                    index.clear();
                }
            }
            Event::Others(key, look) => {
                self.others_wrote = true;
                // Away from bear nobody writes what looks like its own: the residue that docs/promises.md names.
                let look = if self.running.is_some() { *look } else { Look::Strange };
                self.dataset.insert(*key, Written { by_bear: false, look });
                if let Some((ownership, index)) = &mut self.running {
                    index.remove(key);
                    ownership.found(0, &[*key], Look::Strange);
                    if ownership.is_owned(0) {
                        self.strangers.insert(*key);
                    }
                }
            }
            Event::Delete(key) => {
                self.dataset.remove(key);
                self.strangers.remove(key);
                if let Some((ownership, index)) = &mut self.running {
                    index.remove(key);
                    ownership.look_again(|gone| gone == [*key]);
                }
            }
            Event::Store(key) => self.store(*key),
            Event::Walk => self.walk(),
            Event::Start => {}
        }
    }

    fn store(&mut self, key: u8) {
        let Some((ownership, index)) = &mut self.running else { return };
        if !ownership.is_owned(0) {
            return;
        }
        let stands = self.dataset.get(&key).copied().filter(|_| !index.contains(&key));
        let is_free = stands.is_none_or(|written| {
            !self.strangers.contains(&key)
                && ownership.is_to_sweep(0)
                && ownership.verdict(0, written.look) == Verdict::Remove
        });
        if is_free {
            assert!(stands.is_none_or(|written| written.by_bear), "what is not ours is not overwritten");
            self.is_marked = true;
            self.dataset
                .insert(key, Written { by_bear: true, look: if key == 0 { Look::Proof } else { Look::Likely } });
            index.insert(key);
        }
    }

    fn walk(&mut self) {
        let Some((ownership, index)) = &mut self.running else { return };
        while let Some(walk) = ownership.walk() {
            for (key, written) in self.dataset.clone() {
                match walk {
                    Walk::Survey => ownership.found(0, &[key], written.look),
                    Walk::Sweep if index.contains(&key) || self.strangers.contains(&key) => {}
                    Walk::Sweep => match ownership.verdict(0, written.look) {
                        Verdict::Remove => {
                            assert!(written.by_bear, "what is not ours is not removed: {key}");
                            self.dataset.remove(&key);
                        }
                        Verdict::Keep => drop(self.strangers.insert(key)),
                        Verdict::Ignore => {}
                    },
                }
            }
            match walk {
                Walk::Survey => {
                    let refused = !ownership.surveyed().is_empty();
                    assert!(!refused || self.others_wrote, "what is bear's alone is not refused");
                }
                Walk::Sweep => ownership.swept(),
            }
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    let look = prop_oneof![Just(Look::Likely), Just(Look::Blank), Just(Look::Strange)];
    prop_oneof![
        2 => Just(Event::Start),
        2 => Just(Event::Stop),
        3 => Just(Event::Walk),
        1 => Just(Event::Flush),
        4 => (0..4_u8).prop_map(Event::Store),
        3 => (0..4_u8, look).prop_map(|(key, look)| Event::Others(key, look)),
        2 => (0..4_u8).prop_map(Event::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn nothing_of_others_goes_and_nothing_of_ours_alone_is_refused(events in prop::collection::vec(event(), 1..40)) {
        let mut model = Model {
            dataset: BTreeMap::new(),
            is_marked: false,
            strangers: Default::default(),
            running: None,
            others_wrote: false,
        };
        for event in &events {
            let before = model.dataset.clone();
            model.apply(event);
            for (key, written) in before.iter().filter(|(_, written)| !written.by_bear) {
                let may_go = matches!(event, Event::Flush | Event::Others(..)) || matches!(event, Event::Delete(gone) if gone == key);
                prop_assert!(may_go || model.dataset.get(key) == Some(written), "{event:?} took {key}");
            }
        }
    }
}

#[test]
fn a_mark_names_its_section() {
    for (section, has_tenant, prefix) in
        [("bear", false, "bear"), ("bear", false, "{bear}"), ("note", true, "note"), ("bear", false, "{shop}:bear")]
    {
        assert_eq!(section_of(&member_of(section, has_tenant, prefix.as_bytes())), section);
    }
    assert_eq!(&*member_of("note", true, b"note"), "{*}:note");
}

#[test]
fn only_so_many_strangers_are_remembered() {
    let mut strangers = Strangers::default();
    for at in 0..MAX_STRANGERS {
        assert!(strangers.add(&at.to_le_bytes()));
    }
    assert!(!strangers.add(&MAX_STRANGERS.to_le_bytes()) && strangers.are_many);
    assert!(strangers.remove(&0_usize.to_le_bytes()) && !strangers.is_empty());
    assert_eq!(strangers.some(None, 3).len(), 3);
}

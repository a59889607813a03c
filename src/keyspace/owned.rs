//! What stands under the sections' names and was not written by this life of the module: leftovers of an earlier one, which
//! go, told from keys of others, which stay. See [`Ownership`].
//!
//! Invariant: a key is overwritten or removed only if the index accounts for it, or a walk has found it to be a leftover.

use rustc_hash::FxHashSet;

use super::jobs::QueueKeys;
use super::{look, store, tombstones, watch, Keyspace};
use crate::core::cache::index::Key;
pub use crate::core::cache::ownership::Arranged;
use crate::core::cache::ownership::{self, Look, Ownership, Strangers, Verdict, Walk};
use crate::core::slots::tag::tag_of;
use crate::redis_api::{members_of_set, Context, KeyType, Scan};

/// Keys between two looks at the clock.
const SLICE: usize = 16;

/// Keys of one UNLINK.
const UNLINKED: usize = 32;

/// Keys of others that the log names; more are counted.
const LOGGED: u64 = 10;

/// Names in one command.
const NAMES: usize = 100;

/// Marks that are known to be written; of more, they are written again.
const MAX_MARKED: usize = 100_000;

/// The set of marks in the slot of a space, by the prefix of its keys.
fn marks_of(prefix: &[u8]) -> Vec<u8> {
    [store::OWN_PREFIX, tag_of(prefix)].concat()
}

#[derive(Default)]
pub(super) struct Owned {
    ownership: Ownership,
    strangers: Strangers,
    /// What is known of them and not in [`store::STRANGERS`] yet: added, or gone.
    notes: Vec<(Key, Note)>,
    /// The walk over the database, and what it is for.
    walk: Option<(Scan, Walk)>,
    /// Is there a section of which nothing is known?
    is_unknown: bool,
    /// May there be a section whose mark is still to be written?
    is_unmarked: bool,
    /// In a cluster: which marks are written, by the prefix of the space. They go where its slot goes.
    marked: FxHashSet<Box<[u8]>>,
    /// Prefixes of queues that have begun while their section was being surveyed.
    begun: Vec<Box<[u8]>>,
    /// Nodes of a cluster each have marks of their own, in slots of theirs.
    in_cluster: bool,
    /// The last of the strangers that was looked at.
    looked_at: Option<Box<[u8]>>,
    logged: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Found,
    Gone,
}

impl Owned {
    pub fn new(in_cluster: bool) -> Owned {
        Owned { in_cluster, ..Owned::default() }
    }

    pub fn has_strangers(&self) -> bool {
        !self.strangers.is_empty()
    }

    pub fn is_walking(&self) -> bool {
        self.is_unknown || self.walk.is_some()
    }

    pub fn is_surveying(&self) -> bool {
        matches!(self.walk, Some((_, Walk::Survey)))
    }

    pub fn has_work(&self) -> bool {
        self.walk.is_some() || !self.notes.is_empty()
    }

    /// Something has changed: what is a walk needed for?
    fn walk_anew(&mut self) {
        self.walk = self.ownership.walk().map(|walk| (Scan::default(), walk));
        self.is_unmarked = true;
    }

    /// Marks what is owned, before the key is written.
    pub fn mark(&mut self, ctx: Context, key: &[u8]) {
        if self.in_cluster {
            return self.mark_in_cluster(ctx, key);
        }
        if !self.is_unmarked {
            return;
        }
        let members: Vec<&[u8]> = self.ownership.unmarked().into_iter().map(str::as_bytes).collect();
        for members in members.chunks(NAMES) {
            store::add_members(ctx, store::MARKS, members);
        }
        self.ownership.marked();
        self.is_unmarked = !self.ownership.unmarked().is_empty();
    }

    /// In the slot of the key, which is this node's.
    fn mark_in_cluster(&mut self, ctx: Context, key: &[u8]) {
        let Some(named) = watch::named(key).filter(|named| self.ownership.is_owned(named.section)) else { return };
        let prefix = &key[..named.prefix_len - 1];
        if self.marked.contains(prefix) {
            return;
        }
        let Some(member) = self.ownership.member(named.section) else { return };
        if !store::add_members(ctx, &marks_of(prefix), &[member.as_bytes()]) {
            // Its slot is another node's, or not quite this one's.
            return;
        }
        if self.marked.len() >= MAX_MARKED {
            self.marked.clear();
        }
        self.marked.insert(prefix.into());
    }

    /// May a key that the index does not account for be written? If it is there, it must be a leftover.
    pub fn is_free(&mut self, ctx: Context, key: &[u8]) -> bool {
        let Some(named) = watch::named(key) else { return false };
        if !self.ownership.is_owned(named.section) {
            return false;
        }
        if KeyType::of(ctx, key).is_none() {
            self.gone(key);
            return true;
        }
        if self.ownership.is_to_sweep(named.section) && !self.strangers.contains(key) {
            let look = look::look(ctx, named.kind, key);
            if self.ownership.verdict(named.section, look) == Verdict::Remove {
                // What stands there of another type would stay in the way.
                return look != Look::Strange || store::unlink(ctx, &[key], &mut Vec::new()) > 0;
            }
        }
        self.found(named.section, key);
        false
    }

    /// Does the mark of a space's section stand in its slot?
    fn is_marked(&self, ctx: Context, prefix: &[u8], section: usize) -> bool {
        let member = self.ownership.member(section);
        member.is_some_and(|member| store::is_member(ctx, &marks_of(prefix), member.as_bytes()))
    }

    /// Takes note of a key of somebody's.
    fn found(&mut self, section: usize, key: &[u8]) {
        if !self.ownership.is_owned(section) {
            return self.ownership.found(section, key, Look::Strange);
        }
        let had_room = !self.strangers.are_many;
        if self.strangers.add(key) {
            self.notes.push((key.into(), Note::Found));
            self.logged += 1;
            if self.logged <= LOGGED {
                log::warn!(
                    "key {} has the name of an entry or set of bear's and was written by others: it is left alone, and what \
                     would be stored there is not",
                    String::from_utf8_lossy(key).escape_debug()
                );
            }
        }
        if had_room && self.strangers.are_many && !self.is_surveying() {
            // From now on a leftover cannot be told from what others write meanwhile.
            self.ownership.swept();
            self.walk_anew();
        }
    }

    fn gone(&mut self, key: &[u8]) {
        if self.strangers.remove(key) {
            self.notes.push((key.into(), Note::Gone));
        }
    }
}

impl Keyspace {
    /// Names the sections, in the catalog's order; of new ones nothing is known, and nothing of what has the names of new calls.
    pub fn arrange(&mut self, sections: impl Iterator<Item = Arranged>) {
        self.owned.ownership.arrange(sections);
        self.owned.is_unknown = self.owned.ownership.has_unknown();
        self.owned.walk_anew();
    }

    /// The dataset is another one.
    pub(super) fn forget_owner(&mut self) {
        let owned = &mut self.owned;
        owned.ownership.forget();
        owned.is_unknown = owned.ownership.has_unknown();
        owned.walk = None;
        owned.strangers = Strangers::default();
        owned.notes.clear();
        owned.begun.clear();
        owned.marked.clear();
    }

    /// The database is empty.
    pub fn emptied(&mut self) {
        self.owned.ownership.emptied();
        (self.owned.is_unknown, self.owned.is_unmarked) = (false, true);
        self.owned.marked.clear();
    }

    /// Finds out which sections bear has owned in this dataset, where that is not known yet.
    pub fn take_possession(&mut self, ctx: Context) {
        let owned = &mut self.owned;
        if !owned.is_unknown {
            return;
        }
        let marks = if owned.in_cluster { Vec::new() } else { store::members(ctx, store::MARKS) };
        if !owned.in_cluster {
            for key in store::members(ctx, store::STRANGERS) {
                owned.strangers.add(&key);
            }
        }
        let is_marked = |member: &str| marks.iter().any(|mark| **mark == *member.as_bytes());
        owned.ownership.begin(is_marked, ctx.db_size() == 0);
        owned.is_unknown = false;
        owned.walk_anew();
    }

    /// Why a section is not served, for who may see keys that begin so.
    pub fn refusal(&self, section: usize, name: &str, may_see: &[u8]) -> Option<String> {
        self.owned.ownership.refusal(section, name, |key| key.starts_with(may_see))
    }

    /// May results of the section be stored?
    pub fn is_owned(&self, section: usize) -> bool {
        self.owned.ownership.is_owned(section)
    }

    pub fn is_surveying(&self, section: usize) -> bool {
        self.owned.is_unknown || self.owned.ownership.is_surveying(section)
    }

    /// Is it not known yet whose the names of all sections are?
    pub fn is_looking(&self) -> bool {
        self.owned.is_unknown || self.owned.is_surveying()
    }

    /// Keys of others under names of bear's, and sections that are refused for such keys.
    pub fn foreign_counts(&self) -> (usize, usize) {
        (self.owned.strangers.len(), self.owned.ownership.refused())
    }

    /// The queue of a space that is being surveyed begins: what stands there from now on is ours.
    pub fn queue_begins(&mut self, prefix: &[u8]) {
        self.owned.begun.push(prefix.into());
    }

    /// Marks the section of a queue that is written to.
    pub fn mark_queue(&mut self, ctx: Context, jobs: &[u8]) {
        self.owned.mark(ctx, jobs);
    }

    pub fn has_begun(&self, prefix: &[u8]) -> bool {
        self.owned.begun.iter().any(|begun| **begun == *prefix)
    }

    /// BEAR.ADOPT: what stands under the section's names is bear's; a walk removes it.
    pub fn adopt(&mut self, ctx: Context, section: usize) {
        let owned = &mut self.owned;
        let is_of = |key: &[u8]| watch::named(key).is_some_and(|named| named.section == section);
        for key in owned.strangers.some(None, usize::MAX) {
            if is_of(&key) {
                owned.gone(&key);
            }
        }
        owned.ownership.adopt(section);
        owned.walk_anew();
        if !owned.in_cluster {
            owned.mark(ctx, &[]);
        }
    }

    /// Looks whether keys of others have gone, some at a time: from the server's cron loop.
    pub fn look_for_strangers(&mut self, ctx: Context) {
        let owned = &mut self.owned;
        if owned.ownership.look_again(|key| KeyType::of(ctx, key).is_none()) {
            owned.walk_anew();
        }
        let some = owned.strangers.some(owned.looked_at.as_deref(), SLICE);
        owned.looked_at = some.last().cloned();
        for key in some {
            if KeyType::of(ctx, &key).is_none() {
                owned.gone(&key);
            }
        }
    }

    /// Is there any reason to?
    pub fn has_strangers(&self) -> bool {
        self.owned.has_strangers() || self.owned.ownership.refused() > 0
    }

    pub(super) fn stranger_found(&mut self, section: usize, key: &[u8]) {
        self.owned.found(section, key);
    }

    pub(super) fn stranger_gone(&mut self, key: &[u8]) {
        self.owned.gone(key);
    }

    /// Another hand touched what the module keeps beside the sections' keys: the marks are written again.
    pub(super) fn marks_touched(&mut self) {
        self.owned.ownership.unmark();
        self.owned.is_unmarked = true;
        self.owned.marked.clear();
    }

    /// Entries and sets have come with a slot, by the prefix of their space without the colon. Those of a section that is marked there
    /// were bear's at another node, and go: what has changed since they were stored, this node has not been told. Others stay.
    pub fn entries_came(&mut self, ctx: Context, prefix: &[u8]) {
        let Some(named) = watch::named(&[prefix, b":queue"].concat()) else { return };
        let is_marked = self.owned.is_marked(ctx, prefix, named.section);
        self.owned.ownership.came(named.section, is_marked);
        self.owned.walk_anew();
    }

    /// Removes keys that we wrote.
    pub(super) fn doomed_slice(&mut self, ctx: Context) {
        let mut keys = Vec::new();
        while keys.len() < UNLINKED {
            let Some(key) = self.doomed.pop_first() else { break };
            if self.index.stored(&key).is_none() {
                keys.push(key);
            }
        }
        let mut failed = Vec::new();
        store::unlink(ctx, &keys, &mut failed);
        // What has gone with its slot is no more to be removed.
        self.doomed.extend(failed.into_iter().filter(|key| KeyType::of(ctx, key).is_some()));
        if self.doomed.is_empty() {
            self.removals_carried_out();
        }
    }

    /// Tells the dataset of keys of others, and looks at the next few keys of the database.
    pub(super) fn walk_slice(&mut self, ctx: Context) {
        self.tell_of_strangers(ctx);
        let Some((mut scan, walk)) = self.owned.walk.take() else { return };
        self.raise_tombstone(ctx);
        let mut names = Vec::new();
        let more = scan.step(ctx, &mut names);
        match walk {
            Walk::Survey => names.iter().for_each(|name| self.survey(ctx, name)),
            Walk::Sweep => self.sweep_names(ctx, names),
        }
        if more && self.owned.walk.is_none() && self.owned.ownership.walk() == Some(walk) {
            self.owned.walk = Some((scan, walk));
            return;
        }
        if more {
            // It was given up or begun anew, or a mark that it met says what else is to be done.
            if self.owned.walk.is_none() {
                self.owned.walk_anew();
            }
            return;
        }
        match walk {
            Walk::Survey => {
                for section in self.owned.ownership.surveyed() {
                    let member = self.owned.ownership.member(section).unwrap_or_default();
                    let name = ownership::section_of(member);
                    let reason = self.owned.ownership.refusal(section, name, |_| true).unwrap_or_default();
                    log::warn!("{reason}");
                }
            }
            Walk::Sweep => self.owned.ownership.swept(),
        }
        self.owned.walk_anew();
    }

    fn survey(&mut self, ctx: Context, name: &[u8]) {
        let owned = &mut self.owned;
        if owned.in_cluster && name.strip_prefix(store::OWN_PREFIX).is_some_and(|rest| rest.starts_with(b"{")) {
            let marks = members_of_set(ctx, name).unwrap_or_default();
            marks.iter().for_each(|member| owned.ownership.found_mark(member));
        }
        let Some(named) = watch::named(name).filter(|named| owned.ownership.is_surveying(named.section)) else {
            return;
        };
        let prefix = &name[..named.prefix_len - 1];
        let look = match named.kind {
            watch::Kind::Queue(_) if owned.begun.iter().any(|begun| **begun == *prefix) => return,
            // Whoever asks for it is told.
            watch::Kind::Lock => return,
            // What else is wrong with it is its own trouble, not the section's.
            watch::Kind::Queue(_) if QueueKeys::new(prefix).shows_identity(ctx) => Look::Proof,
            kind => look::look(ctx, kind, name),
        };
        owned.ownership.found(named.section, name, look);
    }

    /// Removes leftovers, and takes note of what is somebody's.
    fn sweep_names(&mut self, ctx: Context, names: Vec<Box<[u8]>>) {
        let mut leftovers = Vec::new();
        for name in names {
            let Some(named) = watch::named(&name) else { continue };
            let is_ours = self.index.stored(&name).is_some() || self.doomed.contains(name.as_ref());
            let is_kept = matches!(named.kind, watch::Kind::Queue(_) | watch::Kind::Lock);
            if is_kept || is_ours || !self.owned.ownership.is_to_sweep(named.section) {
                continue;
            }
            if self.index.metas.find(&name).is_some() {
                self.clean_later(name);
            } else if !self.owned.strangers.contains(&name) {
                match self.owned.ownership.verdict(named.section, look::look(ctx, named.kind, &name)) {
                    Verdict::Remove => leftovers.push(name),
                    Verdict::Keep => self.owned.found(named.section, &name),
                    Verdict::Ignore => {}
                }
            }
        }
        let mut failed = Vec::new();
        store::unlink(ctx, &leftovers, &mut failed);
        self.doomed.extend(failed);
    }

    /// Has the dataset remember which keys are others', for a later life and for replicas.
    fn tell_of_strangers(&mut self, ctx: Context) {
        let notes = &mut self.owned.notes;
        let some: Vec<(Key, Note)> = notes.drain(..notes.len().min(NAMES)).collect();
        if self.owned.in_cluster {
            return;
        }
        for note in [Note::Found, Note::Gone] {
            let keys: Vec<&[u8]> = some.iter().filter(|(_, what)| *what == note).map(|(key, _)| &**key).collect();
            match note {
                _ if keys.is_empty() => {}
                Note::Found => drop(store::add_members(ctx, store::STRANGERS, &keys)),
                Note::Gone => store::remove_members(ctx, store::STRANGERS, &keys),
            }
        }
    }
}

/// What a replica knows of the sections that its master owns: asked for once each, for marks do not go but with the dataset.
#[derive(Default)]
pub struct MastersMarks {
    seen: Vec<Box<str>>,
}

impl MastersMarks {
    /// On a replica: may this entry be served, as far as its master has told?
    pub fn may_serve(&mut self, ctx: Context, member: &str, key: &[u8]) -> bool {
        if let Some(is_cold) = tombstones::is_cold() {
            // In a cluster. Marks may be in slots of other nodes.
            return !is_cold;
        }
        if KeyType::of(ctx, store::TOMBSTONE).is_some() {
            return false;
        }
        if !self.seen.iter().any(|seen| **seen == *member) {
            if !store::is_member(ctx, store::MARKS, member.as_bytes()) {
                return false;
            }
            self.seen.push(member.into());
        }
        KeyType::of(ctx, store::STRANGERS).is_none() || !store::is_member(ctx, store::STRANGERS, key)
    }

    /// The dataset is another.
    pub fn forget(&mut self) {
        self.seen.clear();
    }
}

/// How the mark names a section.
pub fn member_of(section: &str, has_tenant: bool, prefix: &[u8]) -> Box<str> {
    ownership::member_of(section, has_tenant, prefix)
}

//! What the thread of the inbox does while it is connected.
//!
//! ```text
//! asked to own -> renewed, every few seconds -> what is open is listed -> ids, a page at a time -> fetched -> rows
//!                                            \-> polled: what is new    -> rows, or ids where they are many
//! asked to tell, to verify: told, in slices, one of each kind in turn
//! ```
//! Rule: rows that a poll brings are told at once only where none wait before them, as ids or to be fetched.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{after, select, Receiver};

use super::desk::Desk;
use super::messages::{InboxOutcome, InboxRequest};
use super::news::News;
use super::{InboxSettings, Shared};
use crate::core::inbox::row::section_of;
use crate::core::inbox::snapshot::Snapshot;
use crate::postgres::{Found, InboxError, InboxLink, Listing, OpenRow, Owned};

/// Rows that nobody has taken; the thread reads no more before some are.
const MAX_UNTAKEN_ROWS: usize = 5_000;

/// Ids told at once, and how many such pages wait for a Fetch.
const IDS_A_PAGE: usize = 1_000;
const PAGES: u32 = 2;

const RENEW_EVERY: Duration = Duration::from_secs(5);

/// How often the tables are looked at: are they what they were?
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How often rows that failed long ago are deleted: first, then, and where there are more.
const CLEAN: (Duration, Duration, Duration) =
    (Duration::from_secs(60), Duration::from_secs(3_600), Duration::from_secs(1));

/// Where each change rings the bell, polls are no closer together than this, and without a ring this far apart.
const RUNG_GAP: Duration = Duration::from_millis(5);
const FOLLOWED_GAP: Duration = Duration::from_millis(50);

/// What the bell has rung for may become visible only a moment later.
const RUNG_AGAIN: [u64; 5] = [1, 2, 4, 8, 16];

/// Why a life has ended.
pub(super) enum End {
    Stopped,
    Reconfigured,
    Failed(InboxError),
}

/// What waits to be told of as ids.
enum Waiting {
    Row(OpenRow),
    Listed { space: Option<Box<str>> },
}

struct Verifying {
    ids: Vec<u64>,
    from: usize,
    /// Or found completed by a look of our own.
    is_asked: bool,
}

pub(super) struct Life<'a> {
    link: Box<InboxLink>,
    shared: &'a Shared,
    settings: Arc<InboxSettings>,
    desk: &'a mut Desk,
    asked: &'a Receiver<InboxRequest>,
    /// All that it sees has been told; None: nothing has been listed.
    last: Option<Snapshot>,
    told: BTreeMap<Box<str>, Owned>,
    waiting: VecDeque<Waiting>,
    /// Pages of ids that no Fetch has answered.
    pages: u32,
    fetches: VecDeque<Vec<u64>>,
    verifies: VecDeque<Verifying>,
    news: News,
    renew_at: Instant,
    look_at: Instant,
    clean_at: Instant,
    poll_at: Instant,
    polled: Instant,
    /// How often it is polled again for the last ring.
    rung: usize,
}

impl<'a> Life<'a> {
    pub(super) fn new(
        link: Box<InboxLink>,
        shared: &'a Shared,
        settings: &Arc<InboxSettings>,
        desk: &'a mut Desk,
        asked: &'a Receiver<InboxRequest>,
    ) -> Life<'a> {
        let now = Instant::now();
        Life {
            link,
            shared,
            settings: settings.clone(),
            desk,
            asked,
            last: None,
            told: BTreeMap::new(),
            waiting: VecDeque::new(),
            pages: 0,
            fetches: VecDeque::new(),
            verifies: VecDeque::new(),
            news: News::new(now),
            renew_at: now,
            look_at: now + LOOK_EVERY,
            clean_at: now + CLEAN.0,
            poll_at: now,
            polled: now,
            rung: RUNG_AGAIN.len(),
        }
    }

    pub(super) fn run(mut self, mut number: u64) -> End {
        loop {
            if self.shared.is_stopping() {
                return End::Stopped;
            }
            let (now, settings) = self.shared.current();
            if now != number {
                if settings.settings != self.settings.settings || settings.make != self.settings.make {
                    return End::Reconfigured;
                }
                (number, self.settings) = (now, settings);
            }
            match self.step().and_then(|()| self.wait()) {
                Ok(()) => {}
                Err(_) if self.shared.is_stopping() => return End::Stopped,
                Err(error) => return End::Failed(error),
            }
        }
    }

    /// One slice of each kind of work.
    fn step(&mut self) -> Result<(), InboxError> {
        while let Ok(request) = self.asked.try_recv() {
            self.take(request)?;
        }
        let now = Instant::now();
        if now >= self.renew_at {
            self.renew(false)?;
        }
        self.tell(now)?;
        self.verify()?;
        self.fetch()?;
        self.tell_pages();
        if now >= self.poll_at {
            self.poll()?;
        }
        if now >= self.look_at {
            self.look_at = now + LOOK_EVERY;
            self.link.look_again()?;
        }
        if let (true, Some(holding)) = (now >= self.clean_at, &self.desk.holding) {
            let is_more = self.link.clean(holding, self.settings.keep_days)?;
            self.clean_at = now + if is_more { CLEAN.2 } else { CLEAN.1 };
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<(), InboxError> {
        let has_work = self.news.is_any_due()
            || !self.verifies.is_empty()
            || (!self.fetches.is_empty() && self.has_room())
            || (!self.waiting.is_empty() && self.pages < PAGES);
        if has_work {
            return Ok(());
        }
        let until = self.renew_at.min(self.poll_at).min(self.look_at).min(self.clean_at);
        let until = self.news.due_at().map_or(until, |at| until.min(at));
        select! {
            recv(self.asked) -> request => match request {
                Ok(request) => return self.take(request),
                Err(_) => std::thread::sleep(RUNG_GAP),
            },
            recv(self.shared.bell.heard()) -> _ => {
                self.rung = 0;
                self.poll_at = self.poll_at.min(self.polled + RUNG_GAP);
            }
            recv(after(until.saturating_duration_since(Instant::now()))) -> _ => {}
        }
        Ok(())
    }

    fn take(&mut self, request: InboxRequest) -> Result<(), InboxError> {
        let Some(request) = self.desk.note(request) else {
            return self.renew(true);
        };
        match request {
            // Noted.
            InboxRequest::Own { .. } => {}
            InboxRequest::Fetch(ids) => {
                self.pages = self.pages.saturating_sub(1);
                if !ids.is_empty() {
                    self.fetches.push_back(ids);
                }
            }
            InboxRequest::Verify(ids) => self.verifies.push_back(Verifying { ids, from: 0, is_asked: true }),
            InboxRequest::Rescan { space } => {
                if let Some(holding) = &self.desk.holding {
                    let (found, _) = self.link.list(holding, Listing::Space(&space))?;
                    self.found(found);
                }
                self.waiting.push_back(Waiting::Listed { space: Some(space) });
            }
            InboxRequest::Tell(news) => news.into_iter().for_each(|(id, telling)| self.news.add(id, telling)),
        }
        Ok(())
    }

    /// Sees to what is ours, tells of what has changed, and lists what has come.
    fn renew(&mut self, is_new: bool) -> Result<(), InboxError> {
        self.renew_at = Instant::now() + RENEW_EVERY;
        // The first time of a connection is as new as another catalog.
        let is_first = self.last.is_none();
        let Some(holding) = &mut self.desk.holding else { return Ok(()) };
        self.link.renew(holding, is_new || is_first)?;
        let standing = holding.standing();
        let told = std::mem::replace(&mut self.told, standing);
        let changed = self.told.iter().filter(|(section, owned)| told.get(*section) != Some(owned));
        let changed: Vec<(Box<str>, Owned)> =
            changed.map(|(section, owned)| (section.clone(), owned.clone())).collect();
        let gained: Vec<Box<str>> =
            changed.iter().filter(|(_, owned)| *owned == Owned::Ours).map(|(section, _)| section.clone()).collect();
        if !changed.is_empty() || is_new {
            self.drop_what_is_lost();
            self.shared.tell(InboxOutcome::Owned(changed));
        }
        let Some(holding) = &self.desk.holding else { return Ok(()) };
        self.link.renumber(holding)?;
        if is_first {
            let (found, seen) = self.link.list(holding, Listing::All)?;
            self.last = Some(seen);
            // Until now there was nothing to look for.
            self.poll_at = Instant::now();
            self.found(found);
            self.waiting.push_back(Waiting::Listed { space: None });
        } else if !gained.is_empty() {
            let (found, _) = self.link.list(holding, Listing::Sections(&gained))?;
            self.found(found);
            self.waiting.push_back(Waiting::Listed { space: None });
        }
        Ok(())
    }

    fn drop_what_is_lost(&mut self) {
        let told = &self.told;
        let is_ours = |space: &str| section_of(space).and_then(|section| told.get(section)) == Some(&Owned::Ours);
        self.waiting.retain(|waiting| match waiting {
            Waiting::Row((_, space)) => is_ours(space),
            Waiting::Listed { .. } => true,
        });
    }

    /// Puts the ids behind those that wait.
    fn found(&mut self, found: Found) {
        self.waiting.extend(found.ids.into_iter().map(Waiting::Row));
        if !found.done.is_empty() {
            self.verifies.push_back(Verifying { ids: found.done, from: 0, is_asked: false });
        }
        if !found.rows.is_empty() {
            self.shared.tell(InboxOutcome::Rows(found.rows));
        }
    }

    fn tell(&mut self, now: Instant) -> Result<(), InboxError> {
        let slice = self.news.slice(now);
        if slice.is_empty() {
            return Ok(());
        }
        let answers = self.link.tell(&slice)?;
        let told = self.news.told(&slice, answers, Instant::now());
        if !told.is_empty() {
            self.shared.tell(InboxOutcome::Told(told));
        }
        Ok(())
    }

    fn verify(&mut self) -> Result<(), InboxError> {
        let Some(verifying) = self.verifies.front_mut() else { return Ok(()) };
        let left = &verifying.ids[verifying.from..];
        let (settled, later) = self.link.verify(left)?;
        verifying.from = verifying.ids.len() - later.len();
        if !settled.is_empty() {
            self.shared.tell(InboxOutcome::Settled(settled));
        }
        if verifying.from == verifying.ids.len() {
            if let Some(done) = self.verifies.pop_front().filter(|done| done.is_asked) {
                self.shared.tell(InboxOutcome::Verified(done.ids));
            }
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), InboxError> {
        if !self.has_room() {
            return Ok(());
        }
        let (Some(ids), Some(holding)) = (self.fetches.pop_front(), &self.desk.holding) else { return Ok(()) };
        let (rows, left) = self.link.fetch(holding, &ids)?;
        if !left.is_empty() {
            self.fetches.push_front(left);
        }
        if !rows.is_empty() {
            self.shared.tell(InboxOutcome::Rows(rows));
        }
        Ok(())
    }

    fn tell_pages(&mut self) {
        while self.pages < PAGES {
            let mut page = Vec::new();
            while page.len() < IDS_A_PAGE {
                match self.waiting.pop_front() {
                    Some(Waiting::Row(row)) => page.push(row),
                    Some(listed @ Waiting::Listed { .. }) => {
                        self.waiting.push_front(listed);
                        break;
                    }
                    None => break,
                }
            }
            match page.is_empty() {
                false => {
                    self.pages += 1;
                    self.shared.tell(InboxOutcome::Ids(page));
                }
                true => match self.waiting.pop_front() {
                    Some(Waiting::Listed { space }) => self.shared.tell(InboxOutcome::Listed { space }),
                    _ => return,
                },
            }
        }
    }

    fn poll(&mut self) -> Result<(), InboxError> {
        let is_followed = self.shared.bell.is_followed();
        let gap = if is_followed { self.settings.poll.max(FOLLOWED_GAP) } else { self.settings.poll };
        self.polled = Instant::now();
        self.poll_at = self.polled + gap;
        let (Some(holding), Some(last)) = (&self.desk.holding, &mut self.last) else {
            // Until there is something to own.
            self.poll_at = self.polled + LOOK_EVERY;
            return Ok(());
        };
        let is_first = self.waiting.is_empty() && self.pages == 0 && self.fetches.is_empty();
        if is_first && self.shared.untaken_rows.load(Ordering::Acquire) >= MAX_UNTAKEN_ROWS {
            return Ok(());
        }
        let found = self.link.poll(holding, last, is_first)?;
        self.shared.polls.fetch_add(1, Ordering::Relaxed);
        let has_found = !(found.rows.is_empty() && found.ids.is_empty() && found.done.is_empty());
        self.found(found);
        if has_found {
            // Another one that it has rung for may become visible only now.
            if std::mem::replace(&mut self.rung, RUNG_AGAIN.len()) < RUNG_AGAIN.len() {
                self.poll_at = self.poll_at.min(self.polled + RUNG_GAP);
            }
        } else if let Some(again) = RUNG_AGAIN.get(self.rung) {
            self.rung += 1;
            self.poll_at = self.poll_at.min(self.polled + Duration::from_millis(*again));
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.shared.untaken_rows.load(Ordering::Acquire) < MAX_UNTAKEN_ROWS
    }
}

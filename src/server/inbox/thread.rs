//! Who asks Postgres: one thread, begun where there may be an inbox, and another one whenever the keys may be others, so that no word of
//! before is taken for one of now.
//!
//! The rows of a section are taken over by one data set of Redis at a time. It has a number, which stands in a key of its own and is
//! kept over a flush: who loses it waits until nobody has been heard of for a while.

use super::Inbox;
use crate::keyspace::inbox as keys;
use crate::postgres::Owned;
use crate::redis_api::Context;
use crate::server::config::InboxChoice;
use crate::server::Server;
use crate::workers::InboxRequest;

/// Why `bear.inbox yes` is nothing for a cluster.
pub(in crate::server) const NOT_IN_A_CLUSTER: &str =
    "a cluster has no inbox: rows of bear.inbox in Postgres stay as they are, \
    and nobody makes jobs of them; say bear.inbox auto or no, and enqueue by BEAR.ENQUEUE";

/// What is known of the thread.
#[derive(Default)]
pub struct Link {
    state: State,
    error: Option<Box<str>>,
    /// Was there a connection before, in this life?
    was_up: bool,
    /// Sections whose rows are ours, and those that others take over, with their names.
    ours: Vec<Box<str>>,
    others: Vec<(Box<str>, Box<str>)>,
    /// Of this server, for people.
    port: String,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    #[default]
    Off,
    Starting,
    /// There is no table.
    Absent,
    Up,
    Down,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Off => "off",
            State::Starting => "starting",
            State::Absent => "absent",
            State::Up => "up",
            State::Down => "down",
        }
    }
}

impl Link {
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    pub fn owned_len(&self) -> u64 {
        self.ours.len() as u64
    }

    /// Sections that others take over, and who.
    pub fn others(&self) -> &[(Box<str>, Box<str>)] {
        &self.others
    }

    pub(super) fn stands(&mut self, standing: Vec<(Box<str>, Owned)>) {
        for (section, owned) in standing {
            self.ours.retain(|of| *of != section);
            self.others.retain(|(of, _)| *of != section);
            match owned {
                Owned::Ours => self.ours.push(section),
                Owned::Others { name } => {
                    log::warn!("the inbox of section '{section}' is taken over by '{name}', and by nobody else");
                    self.others.push((section, name));
                }
            }
        }
    }
}

impl Inbox {
    /// What was asked and not answered will not be.
    fn forget_what_was_asked(&mut self) {
        for (_, (name, _)) in std::mem::take(&mut self.telling) {
            self.unread.insert(name);
        }
        self.verifying.ask_again();
        self.full.clear();
    }
}

impl Server {
    /// The keys are others, or somebody else's: nothing that was on its way counts.
    pub(in crate::server) fn begin_inbox_anew(&mut self) {
        self.workers.end_inbox();
        let Inbox { owner, totals, .. } = std::mem::take(&mut self.inbox);
        self.inbox.totals = totals;
        // Kept over a flush. A replica has its master's.
        self.inbox.owner = owner.filter(|_| self.is_master());
        self.begin_inbox();
    }

    /// Begins, if it is wanted and nobody is at work.
    pub(in crate::server) fn begin_inbox(&mut self) {
        if !self.is_master() {
            return;
        }
        if self.is_in_cluster() {
            // Under `auto` it is silent: the tables may be those of others.
            if self.config.inbox == InboxChoice::Yes {
                self.inbox_is_down(NOT_IN_A_CLUSTER.to_owned());
            }
            return;
        }
        match self.workers.begin_inbox(&self.config) {
            Ok(true) => self.inbox.link = Link { state: State::Starting, ..Link::default() },
            Ok(false) => {}
            Err(error) => log::warn!("{error}"),
        }
    }

    /// Other settings.
    pub(in crate::server) fn reconfigure_inbox(&mut self, is_another_database: bool) {
        match (self.workers.inbox(), self.config.inbox_settings()) {
            _ if self.is_in_cluster() => {
                if self.config.inbox != InboxChoice::Yes {
                    self.inbox.link = Link::default();
                }
                self.begin_inbox();
            }
            (Some(thread), Some(settings)) if !is_another_database => thread.reconfigure(settings),
            (None, None) => {}
            _ => {
                self.inbox.forget_what_was_asked();
                self.workers.end_inbox();
                self.inbox.at_hand = None;
                self.inbox.link = Link::default();
                self.begin_inbox();
            }
        }
    }

    /// The catalog is another, and so may be what is ours.
    pub(in crate::server) fn inbox_takes_catalog(&mut self) {
        if self.inbox.link.is_up() {
            self.own_inbox();
        }
    }

    /// False: there is nobody to ask.
    pub(super) fn ask_inbox(&self, request: InboxRequest) -> bool {
        let thread = self.workers.inbox();
        thread.map(|thread| thread.submit(request)).is_some()
    }

    pub(super) fn inbox_is_up(&mut self, ctx: Context) {
        let link = &mut self.inbox.link;
        let was_up = std::mem::replace(&mut link.was_up, true);
        (link.state, link.error) = (State::Up, None);
        log::info!("the inbox in Postgres is read");
        if was_up {
            self.inbox.verifying.recheck();
        }
        self.name_data_set(ctx);
        self.own_inbox();
    }

    pub(super) fn inbox_is_down(&mut self, error: String) {
        let link = &mut self.inbox.link;
        if link.state != State::Down || link.error.as_deref() != Some(&error) {
            log::warn!("the inbox in Postgres cannot be read: {error}");
        }
        (link.state, link.error) = (State::Down, Some(error.into()));
        (link.ours, link.others) = Default::default();
        self.inbox.forget_what_was_asked();
    }

    pub(super) fn inbox_is_absent(&mut self) {
        let link = &mut self.inbox.link;
        (link.state, link.error) = (State::Absent, None);
        (link.ours, link.others) = Default::default();
        self.inbox.forget_what_was_asked();
    }

    /// The number of the data set stands in its key.
    fn name_data_set(&mut self, ctx: Context) {
        let kept = keys::owner(ctx);
        let owner = kept.or(self.inbox.owner).unwrap_or_else(|| self.queues.random_id());
        if kept != Some(owner) {
            keys::set_owner(ctx, owner);
        }
        self.inbox.owner = Some(owner);
        self.inbox.link.port = ctx.server_info(c"server", c"tcp_port").unwrap_or_default();
    }

    fn own_inbox(&self) {
        let Some(owner) = self.inbox.owner else { return };
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = format!("{}:{}", host.trim(), self.inbox.link.port).into();
        self.ask_inbox(InboxRequest::Own { owner, name, sections: self.catalog.sections.clone() });
    }
}

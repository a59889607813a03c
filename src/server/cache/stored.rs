//! What an entry holds, in whatever form it is kept: whoever answers with it, or compares it, reads it here.
//!
//! ```text
//! plain, or wanted as it is stored -> sent from the key's memory
//! compressed, small                -> decompressed here, into a buffer that is kept
//!             large                -> aside, while the client waits: Redis' thread is not held for it
//! ```
//! Bytes that turn out to be none of ours are a miss.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::call::{Freshness, Words};
use super::waiting::Waiter;
use crate::core::cache::stored_form::{Content, Form, Reader, AT_ONCE, IDENTITY, ZSTD};
use crate::core::catalog::space;
use crate::core::catalog::Query;
use crate::redis_api::{Answer, BlockedClient, Context, Later, Replier, StringKey};
use crate::server::done_aside::Aside;
use crate::server::{errors, Server};

/// In which form a client takes a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Plain,
    /// As it is stored, with the name of the encoding.
    Raw,
}

/// A cached result, while it is looked at.
pub(in crate::server) enum Cached<'a> {
    /// It is about to be the entry.
    Publishing(&'a Content),
    Plain(&'a [u8]),
    Compressed(FrameRef<'a>),
}

#[derive(Clone, Copy)]
pub(in crate::server) struct FrameRef<'a> {
    stored: &'a [u8],
    plain_len: usize,
}

/// A large result that is compressed.
#[derive(Debug)]
pub(in crate::server) struct Frame {
    stored: Vec<u8>,
    plain_len: usize,
}

/// What has become of a reply.
pub(in crate::server) enum Replied {
    Whole,
    /// It takes longer than others may wait for.
    Not(Frame),
}

impl FrameRef<'_> {
    fn copy(self) -> Frame {
        Frame { stored: self.stored.to_vec(), plain_len: self.plain_len }
    }

    /// Hands the plain bytes over; None where there are none.
    fn read<R>(self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        Reader::of_this_thread(|reader| reader.decompress(self.stored, self.plain_len).map(take))
    }
}

impl Frame {
    fn read<R>(&self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        FrameRef { stored: &self.stored, plain_len: self.plain_len }.read(take)
    }
}

impl Later for Frame {
    fn cost(&self) -> usize {
        self.plain_len
    }

    fn reply(&self, reply: Replier) {
        if self.read(|plain| reply.bytes(plain)).is_none() {
            reply.error("ERR what is cached of this call cannot be read; ask for it alone");
        }
    }
}

impl Cached<'_> {
    /// Replies; None where it is not to be read.
    pub fn reply(self, ctx: Context, wanted: Wanted) -> Option<Replied> {
        let reply = ctx.reply();
        match (self, wanted) {
            (cached, Wanted::Plain) => return cached.read(ctx, |plain| reply.bytes(plain)),
            (Cached::Publishing(content), Wanted::Raw) => reply.encoded(content.encoding(), content.stored()),
            (Cached::Plain(bytes), Wanted::Raw) => reply.encoded(IDENTITY, bytes),
            (Cached::Compressed(frame), Wanted::Raw) => reply.encoded(ZSTD, frame.stored),
        }
        Some(Replied::Whole)
    }

    /// Has the plain bytes replied with, unless that takes too long; None where they are not to be read.
    pub fn read(self, ctx: Context, reply: impl FnOnce(&[u8])) -> Option<Replied> {
        match self {
            Cached::Publishing(content) => reply(&content.plain),
            Cached::Plain(bytes) => reply(bytes),
            Cached::Compressed(frame) if frame.plain_len > AT_ONCE && !ctx.flags().cannot_block() => {
                return Some(Replied::Not(frame.copy()));
            }
            Cached::Compressed(frame) => frame.read(reply)?,
        }
        Some(Replied::Whole)
    }

    /// To be kept beyond the look; None where it is not to be read. A large one is decompressed when it is sent.
    pub fn share(self) -> Option<Answer> {
        Some(match self {
            Cached::Publishing(content) => Answer::Bytes(content.plain.clone()),
            Cached::Plain(bytes) => Answer::Bytes(Arc::new(bytes.to_vec())),
            Cached::Compressed(frame) if frame.plain_len > AT_ONCE => Answer::Later(Arc::new(frame.copy())),
            Cached::Compressed(frame) => Answer::Bytes(Arc::new(frame.read(<[u8]>::to_vec)?)),
        })
    }
}

/// A query whose hit is being decompressed aside.
pub struct Unread {
    space_name: Box<[u8]>,
    freshness: Freshness,
    words: Vec<Box<[u8]>>,
}

impl Unread {
    pub fn new(space_name: &[u8], freshness: Freshness, words: &Words) -> Unread {
        let words = words.iter().map(|word| (*word).into()).collect();
        Unread { space_name: space_name.into(), freshness, words }
    }
}

/// By the number of their letter.
pub type UnreadByLetter = BTreeMap<u64, Unread>;

impl Server {
    fn form_of(&self, entry: &StringKey, query: &Query) -> Form {
        match query.may_be_compressed() {
            true => Form::of(entry.bytes(), self.config.max_result_bytes as usize),
            false => Form::Plain,
        }
    }

    /// Hands over what an entry holds; None where that is nothing of ours.
    pub(in crate::server) fn take_entry<R>(
        &self,
        entry: &StringKey,
        query: &Query,
        take: impl FnOnce(Cached) -> Option<R>,
    ) -> Option<R> {
        match self.form_of(entry, query) {
            Form::Plain => take(Cached::Plain(entry.bytes())),
            Form::Compressed { plain_len } => take(Cached::Compressed(FrameRef { stored: entry.bytes(), plain_len })),
            Form::Broken => None,
        }
    }

    /// Could an entry be read, as far as its first bytes tell?
    pub(in crate::server) fn is_readable(&self, entry: &StringKey, query: &Query) -> bool {
        self.form_of(entry, query) != Form::Broken
    }

    /// Bytes of the result that an entry holds.
    pub(in crate::server) fn plain_len(&self, entry: &StringKey, query: &Query) -> usize {
        match self.form_of(entry, query) {
            Form::Compressed { plain_len } => plain_len,
            Form::Plain | Form::Broken => entry.bytes().len(),
        }
    }

    /// Does an entry of a query hold this result? The same result has the same stored form; only where that differs, and there might
    /// be another reason for it, a small one is decompressed, too.
    pub(in crate::server) fn holds(&self, entry: &StringKey, content: &Content) -> bool {
        let (stored, len) = (entry.bytes(), content.plain.len());
        let most = self.config.max_result_bytes as usize;
        let holds_plain = || Reader::of_this_thread(|reader| reader.read(stored, most) == Some(&content.plain));
        stored == content.stored().as_slice() || (len <= AT_ONCE && holds_plain())
    }

    /// Has the client wait until a frame is decompressed.
    pub(in crate::server) fn decompress_aside(&mut self, ctx: Context, frame: Frame, section: usize, unread: Unread) {
        self.stats.section(section).decompressed_aside += 1;
        let (number, pen) = self.letters.begin(ctx.block());
        self.unread.insert(number, unread);
        self.workers.aside(Some(Aside::Unwritten(number)), move || {
            let written = frame.read(|plain| pen.write_with(|reply| reply.bytes(plain)));
            Some(if written.is_some() { Aside::Written(number) } else { Aside::Unreadable(number) })
        });
    }

    /// The same of a value, which is told with a token; where it turns out to be none of ours there is no value.
    pub(in crate::server) fn decompress_value_aside(
        &mut self,
        ctx: Context,
        frame: Frame,
        section: usize,
        token: Option<Arc<str>>,
    ) {
        self.stats.section(section).decompressed_aside += 1;
        self.reply_aside(ctx, move |reply| {
            reply.array(2);
            if frame.read(|plain| reply.bytes(plain)).is_none() {
                reply.null();
            }
            match token {
                Some(token) => reply.text(&token),
                None => reply.null(),
            }
        });
    }

    /// What was to be decompressed is none of ours: a miss after all.
    pub(in crate::server) fn was_unreadable(&mut self, client: BlockedClient, unread: &Unread) {
        let mut client = Some(client);
        let answer = match self.miss_instead(&mut client, unread) {
            Ok(()) => Answer::Null,
            Err(error) => Answer::Error(error.into()),
        };
        // Who waits for a fetch by now is not there any more.
        self.answers.extend(client.map(|client| (client, answer)));
    }

    fn miss_instead(&mut self, client: &mut Option<BlockedClient>, unread: &Unread) -> Result<(), String> {
        let catalog = self.catalog.clone();
        let space = space::parse_space(&catalog, &unread.space_name).map_err(errors::usage)?;
        let stats = self.stats.section(space.section);
        stats.hits = stats.hits.saturating_sub(1);
        stats.misses += 1;
        if unread.freshness == Freshness::Cached {
            return Ok(());
        }
        let words: Words = unread.words.iter().map(AsRef::as_ref).collect();
        self.fetch((&unread.space_name, space), unread.freshness, &words, |server, until| {
            let client = client.take().expect("it is there until it waits, and waits once");
            Waiter::Client(server.waiting.add(client, until))
        })
    }
}

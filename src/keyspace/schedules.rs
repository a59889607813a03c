//! The keys of a space's schedules. All writes replicate, and are marked as our own.

use super::claims::Pair;
use super::jobs;
use super::store::own;
use crate::core::calls::keys::{queue_key, QueuePart};
use crate::core::schedules::definition::Definition;
use crate::core::schedules::state::State;
use crate::redis_api::{Context, HashKey, KeyType};

/// Names of the keys.
#[derive(Debug)]
pub struct ScheduleKeys {
    /// Hash: name -> definition, of those that commands made.
    pub definitions: Box<[u8]>,
    /// Hash: name -> state, of all.
    pub states: Box<[u8]>,
}

/// Fields of a hash, some at a time.
pub struct Fields {
    pub fields: Vec<Pair>,
    /// Where to go on; None: that was all.
    pub next: Option<Box<[u8]>>,
}

/// The cursor of a walk that begins.
pub const BEGIN: &[u8] = b"0";

impl ScheduleKeys {
    pub fn new(prefix: &[u8]) -> ScheduleKeys {
        ScheduleKeys {
            definitions: queue_key(prefix, QueuePart::Schedules),
            states: queue_key(prefix, QueuePart::ScheduleStates),
        }
    }

    /// What is wrong where one of them is of another type than it should be: it is not written to.
    pub fn wrong_type(&self, ctx: Context) -> Option<String> {
        [&self.definitions, &self.states].into_iter().find_map(|key| {
            let kind = KeyType::of(ctx, key).filter(|kind| *kind != KeyType::Hash)?;
            let key = String::from_utf8_lossy(key);
            Some(format!("WRONGTYPE {key} holds {kind} and should be a hash; rename or delete it"))
        })
    }

    /// A schedule that a command made; the error says what is wrong with it.
    pub fn definition(&self, ctx: Context, name: &str) -> Option<Result<Definition, String>> {
        get(ctx, &self.definitions, name, Definition::from_json)
    }

    pub fn has_definition(&self, ctx: Context, name: &str) -> bool {
        get(ctx, &self.definitions, name, |_| ()).is_some()
    }

    pub fn state(&self, ctx: Context, name: &str) -> Option<State> {
        get(ctx, &self.states, name, State::from_json).flatten()
    }

    pub fn set_definition(&self, ctx: Context, name: &str, definition: &Definition) {
        set(ctx, &self.definitions, name, &definition.to_json());
    }

    pub fn set_state(&self, ctx: Context, name: &str, state: &State) {
        set(ctx, &self.states, name, &state.to_json());
    }

    /// Returns whether it was there.
    pub fn forget_definition(&self, ctx: Context, name: &str) -> bool {
        forget(ctx, &self.definitions, name)
    }

    pub fn forget_state(&self, ctx: Context, name: &str) {
        forget(ctx, &self.states, name);
    }
}

/// Some fields of one of the hashes, from a cursor on.
pub fn scan(ctx: Context, key: &[u8], cursor: &[u8]) -> Fields {
    let mut texts = jobs::read_texts(ctx, c"HSCAN", &[key, cursor, b"COUNT", b"32"]).into_iter();
    let next = texts.next().filter(|next| **next != *BEGIN);
    let mut fields = Vec::new();
    while let (Some(field), Some(value)) = (texts.next(), texts.next()) {
        fields.push((field, value));
    }
    Fields { fields, next }
}

fn get<R>(ctx: Context, key: &[u8], name: &str, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
    HashKey::open_to_read(ctx, key).ok()?.get(name.as_bytes(), read)
}

fn set(ctx: Context, key: &[u8], name: &str, value: &str) {
    if let Ok(mut hash) = HashKey::open_to_write(ctx, key) {
        own(|| hash.set(&[(name.as_bytes(), value.as_bytes())]));
    }
}

fn forget(ctx: Context, key: &[u8], name: &str) -> bool {
    HashKey::open_to_write(ctx, key).is_ok_and(|mut hash| own(|| hash.delete(&[name.as_bytes()])) > 0)
}

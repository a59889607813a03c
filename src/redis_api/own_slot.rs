//! In a cluster a command touches keys of its own slot alone, and a debug build fails where one does not.
//!
//! Redis 8 and Valkey 8 look a key up where the slot of the client's command is, whichever the key's own: that of another slot is not
//! found, and what is written under its name then stands where nobody finds it. Outside of commands each key is where it belongs.

use std::cell::RefCell;
use std::ffi::CStr;

use super::Context;

/// Calls that name no key, and those whose key comes after a word.
const KEYLESS: [&CStr; 3] = [c"CLUSTER", c"PUBLISH", c"SPUBLISH"];
const CONTAINERS: [&CStr; 3] = [c"MEMORY", c"OBJECT", c"XINFO"];

thread_local! {
    /// The hash tag of the command under way; None: of none, or outside of a cluster.
    static OWN: RefCell<Option<Box<[u8]>>> = const { RefCell::new(None) };
}

/// A command that is under way until this is dropped.
pub(super) struct Within;

impl Within {
    /// `key` is what the command names.
    pub fn begin(ctx: Context, key: Option<&[u8]>) -> Within {
        let own = key.filter(|_| ctx.flags().is_cluster()).map(|key| hash_tag(key).into());
        OWN.with_borrow_mut(|known| *known = own);
        Within
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        OWN.with_borrow_mut(|known| *known = None);
    }
}

/// A key is about to be touched.
pub(super) fn check(key: &[u8]) {
    let strays = OWN.with_borrow(|own| own.as_ref().is_some_and(|own| **own != *hash_tag(key)));
    assert!(!strays, "a command touches {}, which is in another slot", String::from_utf8_lossy(key));
}

/// A command is about to be called.
pub(super) fn check_call(command: &CStr, args: &[&[u8]]) {
    let at = usize::from(CONTAINERS.contains(&command));
    if let Some(key) = args.get(at).filter(|_| !KEYLESS.contains(&command)) {
        check(key);
    }
}

/// What of a key is hashed.
fn hash_tag(key: &[u8]) -> &[u8] {
    let tagged = || {
        let rest = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
        let end = rest.iter().position(|byte| *byte == b'}')?;
        Some(&rest[..end]).filter(|tag| !tag.is_empty())
    };
    tagged().unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::hash_tag;

    #[test]
    fn what_is_hashed_is_between_the_first_braces_if_there_is_anything() {
        for (key, tag) in
            [("bear", "bear"), ("{7}:bear", "7"), ("a{b}c{d}", "b"), ("{}x", "{}x"), ("{x", "{x"), ("x}", "x}")]
        {
            assert_eq!(hash_tag(key.as_bytes()), tag.as_bytes(), "{key}");
        }
    }
}

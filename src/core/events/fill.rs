//! The end of a fetch, told to who did not wait for it: BEAR.QUERY … NOBLOCK.

use crate::core::calls::names::hash_tag;
use crate::core::claims::json::Object;

/// Results up to so many bytes stand in the message itself.
const MAX_RESULT: usize = 16 << 10;

/// Of the name that a client gives its channel.
const MAX_NAME: usize = 64;

const CHANNEL: &[u8] = b"bear:fill:";

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FillEnd {
    /// Its result is the entry, or about to be.
    Stored,
    /// An invalidation came between.
    Struck,
    /// It was not stored for another reason.
    Discarded,
    Failed,
}

impl FillEnd {
    fn name(self) -> &'static str {
        match self {
            FillEnd::Stored => "stored",
            FillEnd::Struck => "struck",
            FillEnd::Discarded => "discarded",
            FillEnd::Failed => "failed",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub enum Came<'a> {
    /// JSON.
    Result(&'a [u8]),
    /// An error reply; its first word is the code.
    Error(&'a str),
}

/// A call that somebody made and does not wait for, as it was typed: by that he knows it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub space: Box<[u8]>,
    pub words: Vec<Box<[u8]>>,
    /// Of its entry.
    pub key: Box<[u8]>,
}

/// Appends the message about a call.
pub fn write_fill(asked: &Asked, end: FillEnd, came: Came, out: &mut Vec<u8>) {
    let mut object = Object::new(out);
    object.text("space", &String::from_utf8_lossy(&asked.space));
    object.texts("call", asked.words.iter().map(|word| String::from_utf8_lossy(word)));
    object.text("key", &String::from_utf8_lossy(&asked.key));
    object.text("status", end.name());
    match came {
        Came::Result(json) if json.len() <= MAX_RESULT => object.stored("result", json),
        Came::Result(_) => {}
        Came::Error(text) => object.text("error", text),
    }
    object.end();
}

/// The channel of a name, where it is one. In a cluster its slot must be that of the space's keys, whose prefix is given: nobody could
/// subscribe to it at their node.
pub fn channel(name: &[u8], prefix: &[u8], in_cluster: bool) -> Result<Box<[u8]>, String> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.:-{}".contains(byte);
    if name.is_empty() || name.len() > MAX_NAME || !name.iter().all(is_plain) {
        return Err(format!("ERR the name after NOBLOCK is 1 to {MAX_NAME} of A-Z a-z 0-9 _ . : - {{ }}"));
    }
    let channel = [CHANNEL, name].concat();
    if in_cluster && hash_tag(&channel) != hash_tag(prefix) {
        let tag = String::from_utf8_lossy(hash_tag(prefix).unwrap_or(prefix));
        return Err(format!(
            "ERR in a cluster the name after NOBLOCK bears the space's hash tag, {{{tag}}}, so that its node has the channel"
        ));
    }
    Ok(channel.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let large = vec![b'1'; MAX_RESULT + 1];
        let asked = Asked {
            space: b"bear"[..].into(),
            words: vec![b"size"[..].into(), b"0150"[..].into()],
            key: b"bear:size:150"[..].into(),
        };
        let begins = r#"{"space":"bear","call":["size","0150"],"key":"bear:size:150","status":"#;
        for (end, came, expected) in [
            (FillEnd::Stored, Came::Result(b"[1]"), r#""stored","result":[1]}"#),
            (FillEnd::Struck, Came::Result(b"null"), r#""struck","result":null}"#),
            (FillEnd::Discarded, Came::Result(&large), r#""discarded"}"#),
            (FillEnd::Failed, Came::Error("QUERY a \"b\""), r#""failed","error":"QUERY a \"b\""}"#),
        ] {
            let mut out = Vec::new();
            write_fill(&asked, end, came, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{begins}{expected}"));
        }
        let mut out = Vec::new();
        write_fill(&asked, FillEnd::Stored, Came::Result(&large[1..]), &mut out);
        assert!(out.len() > MAX_RESULT);
    }

    #[test]
    fn names() {
        let long = "x".repeat(64);
        for (name, is_right) in [
            ("a", true),
            ("Node-1.web_2:{x}", true),
            (long.as_str(), true),
            (&format!("{long}x"), false),
            ("", false),
            ("a b", false),
            ("*", false),
            ("ß", false),
            ("a\0", false),
        ] {
            let channel = channel(name.as_bytes(), b"bear", false);
            assert_eq!(channel.is_ok(), is_right, "{name}: {channel:?}");
            if let Ok(channel) = channel {
                assert_eq!(*channel, *[b"bear:fill:", name.as_bytes()].concat());
            }
        }
    }

    #[test]
    fn in_a_cluster_the_channel_is_in_the_slot_of_the_space() {
        for (name, prefix, is_right) in [
            ("{bear}:1", "{bear}", true),
            ("1{bear}", "{bear}", true),
            ("{7}", "{7}:booking", true),
            ("{den}", "{bear}", false),
            ("bear", "{bear}", false),
            ("{}bear", "{bear}", false),
            ("{bear", "{bear}", false),
            ("{a}{bear}", "{bear}", false),
        ] {
            let channel = channel(name.as_bytes(), prefix.as_bytes(), true);
            assert_eq!(channel.is_ok(), is_right, "{name} of {prefix}: {channel:?}");
        }
    }
}

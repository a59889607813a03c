//! A client that subscribes, and the messages that it gets.

use std::time::Duration;

use serde_json::Value;

use crate::support::{Reply, Wire};

pub struct Listener {
    wire: Wire,
}

/// A message as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// `message`, `pmessage`, `smessage`.
    pub kind: String,
    pub channel: String,
    pub text: String,
}

impl Listener {
    /// Subscribes by a command: `SUBSCRIBE bear:events:mail`.
    #[track_caller]
    pub fn new(mut wire: Wire, words: &str) -> Listener {
        let reply = wire.run(words);
        assert!(!reply.is_error(), "{words}: {reply:?}");
        Listener { wire }
    }

    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        let reply = self.wire.receive();
        let words: Vec<String> = match &reply {
            Reply::Array(words) | Reply::Push(words) => words.iter().map(Reply::text).collect(),
            other => panic!("a message was expected, got {other:?}"),
        };
        match &words[..] {
            [kind, channel, text] if kind != "pmessage" => {
                Message { kind: kind.clone(), channel: channel.clone(), text: text.clone() }
            }
            [kind, _, channel, text] => Message { kind: kind.clone(), channel: channel.clone(), text: text.clone() },
            other => panic!("a message was expected, got {other:?}"),
        }
    }

    #[track_caller]
    pub fn next(&mut self) -> Value {
        let message = self.next_message();
        serde_json::from_str(&message.text).unwrap_or_else(|error| panic!("{message:?}: {error}"))
    }

    /// The next messages, by the name of their event.
    #[track_caller]
    pub fn names(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()["event"].as_str().expect("a name").to_owned()).collect()
    }

    /// The next message without its time, which is one of the last minute's.
    #[track_caller]
    pub fn timeless(&mut self) -> String {
        let text = self.next_message().text;
        let (before, at) = text.rsplit_once(r#","at":"#).unwrap_or_else(|| panic!("{text} ends with a time"));
        let at: u64 = at.strip_suffix('}').and_then(|at| at.parse().ok()).unwrap_or_else(|| panic!("{text}"));
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time").as_millis() as u64;
        assert!(at <= now && at + 60_000 > now, "{text}");
        format!("{before}}}")
    }

    /// Everything that was published before this call has come.
    #[track_caller]
    pub fn assert_no_more(&mut self) {
        assert!(self.wire.silent_for(Duration::from_millis(50)), "{:?}", self.next_message());
    }
}

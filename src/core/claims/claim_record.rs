//! What is kept of a job while a worker holds it, in the hash of claims: `{"token":…,"worker":…,"address":…,"started":ms,
//! "lease_ms":…,"attempt":n}`, and `"cancelled":"message"` once it was cancelled. From it a server that begins anew knows
//! who holds what.

use std::borrow::Cow;

use serde::Deserialize;

use super::json::Object;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClaimRecord<'a> {
    pub token: u64,
    /// As it calls itself. What is no UTF-8 in it is replaced.
    #[serde(borrow, default)]
    pub worker: Cow<'a, str>,
    /// Of its connection, `ip:port`.
    #[serde(borrow, default)]
    pub address: Cow<'a, str>,
    /// Unix time in ms.
    #[serde(rename = "started")]
    pub started_ms: u64,
    pub lease_ms: u64,
    /// The first is 1.
    #[serde(default = "first")]
    pub attempt: u32,
    #[serde(default)]
    pub cancelled: Option<Cow<'a, str>>,
}

fn first() -> u32 {
    1
}

impl<'a> ClaimRecord<'a> {
    /// Appends it to `out`, which alone may grow.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::new(out);
        object.number("token", self.token);
        object.text("worker", &self.worker);
        object.text("address", &self.address);
        object.number("started", self.started_ms);
        object.number("lease_ms", self.lease_ms);
        object.number("attempt", u64::from(self.attempt));
        if let Some(message) = &self.cancelled {
            object.text("cancelled", message);
        }
        object.end();
    }

    /// None of what is no such record. Unknown fields are passed over.
    pub fn read(record: &'a [u8]) -> Option<ClaimRecord<'a>> {
        serde_json::from_slice(record).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_read_as_written() {
        let plain = ClaimRecord {
            token: 1 << 52,
            worker: String::from_utf8_lossy(b"mail-1"),
            address: "127.0.0.1:5000".into(),
            started_ms: 1_700_000_000_000,
            lease_ms: 30_000,
            attempt: 2,
            cancelled: None,
        };
        let mut out = Vec::with_capacity(200);
        let before = out.as_ptr();
        plain.write(&mut out);
        assert_eq!(out.as_ptr(), before, "it did not grow");
        let text = r#"{"token":4503599627370496,"worker":"mail-1","address":"127.0.0.1:5000","started":1700000000000,"lease_ms":30000,"attempt":2}"#;
        assert_eq!(std::str::from_utf8(&out), Ok(text));
        assert_eq!(ClaimRecord::read(&out), Some(plain.clone()));
        let odd = ClaimRecord {
            worker: String::from_utf8_lossy(b"a\"\xff\n"),
            cancelled: Some("not \\ needed".into()),
            ..plain
        };
        out.clear();
        odd.write(&mut out);
        assert_eq!(ClaimRecord::read(&out), Some(odd));
    }

    #[test]
    fn records_of_other_hands_are_none() {
        for record in
            ["", "{}", "[]", r#"{"token":"x","started":1,"lease_ms":1}"#, r#"{"token":-1,"started":1,"lease_ms":1}"#]
        {
            assert_eq!(ClaimRecord::read(record.as_bytes()), None, "{record}");
        }
        let least = ClaimRecord::read(br#"{"token":5,"started":1,"lease_ms":2,"later":[]}"#).unwrap();
        assert_eq!((least.token, least.attempt, &*least.worker), (5, 1, ""));
    }
}

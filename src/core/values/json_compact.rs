//! Any JSON, as it is stored where it is not for Postgres: compactly, and with all that it says.

use super::json_text::{JsonError, Reader};

/// Why a text is refused, as a predicate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoJson {
    #[error("is not UTF-8 from byte {at} on")]
    Utf8 { at: usize },
    #[error(transparent)]
    Json(#[from] JsonError),
}

/// The same JSON without blanks. Numbers keep their spelling, keys their order.
pub fn compact(raw: &[u8]) -> Result<Vec<u8>, NoJson> {
    let text = std::str::from_utf8(raw).map_err(|error| NoJson::Utf8 { at: error.valid_up_to() })?;
    let mut json = Vec::with_capacity(raw.len());
    let mut reader = Reader::for_any(text);
    reader.copy_value(&mut json)?;
    reader.end()?;
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_kept_and_blanks_are_not() {
        for (raw, expected) in [
            (" { \"b\" : [ 1.50 , -0 , 1e400 ], \"a\" : null }\n", "{\"b\":[1.50,-0,1e400],\"a\":null}"),
            ("\"\\ud83d\"", "\"\\ud83d\""),
            ("7", "7"),
        ] {
            assert_eq!(compact(raw.as_bytes()), Ok(expected.as_bytes().to_vec()), "{raw}");
        }
        for (raw, reason) in [
            (&b""[..], "is not JSON: expected a value at byte 0"),
            (b"{}{}", "is not JSON: expected the end at byte 2"),
            (b"\"a\xff\"", "is not UTF-8 from byte 2 on"),
            (b"{\"a\":1,\"a\":2}", "has the key 'a' twice in one object"),
        ] {
            assert_eq!(compact(raw).unwrap_err().to_string(), reason);
        }
    }
}

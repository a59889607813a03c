//! The trace that a job belongs to, as the W3C's Trace Context writes it in the header `traceparent`: carried along and never
//! interpreted.

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`: version, trace, parent, flags, in hexadecimal digits.
const LENGTHS: [usize; 4] = [2, 32, 16, 2];

/// Is it one? Digits are small letters; neither trace nor parent is all zeros, and there is no version ff.
pub fn check(text: &[u8]) -> Result<(), &'static str> {
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b'-').collect();
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is_form = parts.len() == LENGTHS.len()
        && parts.iter().zip(LENGTHS).all(|(part, len)| part.len() == len && part.iter().all(is_hex));
    let is_known = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    if is_form && parts[0] != b"ff" && is_known(parts[1]) && is_known(parts[2]) {
        return Ok(());
    }
    Err("must be a traceparent of the W3C's Trace Context, such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_taken_as_the_w3c_writes_it() {
        for right in [
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "cc-00000000000000000000000000000001-0000000000000001-ff",
        ] {
            assert_eq!(check(right.as_bytes()), Ok(()), "{right}");
        }
        for wrong in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0'",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert!(check(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}

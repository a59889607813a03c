//! Redis' globs over bytes: `*` `?` `[a-z]` `[^a]` `\x`.
//!
//! Time is at most pattern times text, whatever the pattern: only the last `*` is ever gone back to. A matcher that
//! tries every `*` anew takes years for `a*a*a*a*a*b`, which would stop the server.

/// Whether the pattern matches the whole text, as in KEYS.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut rest, mut at) = (pattern, 0);
    // What follows the last `*`, and where in the text it was last tried.
    let mut retry: Option<(&[u8], usize)> = None;
    loop {
        if let Some(tail) = rest.strip_prefix(b"*") {
            rest = tail;
            retry = Some((tail, at));
            continue;
        }
        let step = match (text.get(at), rest.is_empty()) {
            (None, true) => return true,
            (None, false) => return false, // something is left that is no `*`
            (Some(_), true) => None,
            (Some(byte), false) => match_one(rest, *byte),
        };
        match (step, retry) {
            (Some(tail), _) => {
                rest = tail;
                at += 1;
            }
            (None, Some((tail, tried))) => {
                rest = tail;
                at = tried + 1;
                retry = Some((tail, at));
            }
            (None, None) => return false,
        }
    }
}

/// The rest of the pattern, where its first element (no `*`) matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<&[u8]> {
    let (matched, rest) = match pattern {
        [b'?', rest @ ..] => (true, rest),
        [b'[', class @ ..] => match_class(class, byte),
        [b'\\', escaped, rest @ ..] => (*escaped == byte, rest),
        [literal, rest @ ..] => (*literal == byte, rest),
        [] => (false, pattern),
    };
    matched.then_some(rest)
}

/// `a-z]…` or `^a]…`; as in Redis, a class without its `]` ends with the pattern, and a range may be turned round.
fn match_class(class: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match class {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, class),
    };
    let mut found = false;
    loop {
        rest = match rest {
            [] => break,
            [b']', tail @ ..] => {
                rest = tail;
                break;
            }
            [b'\\', escaped, tail @ ..] => {
                found |= *escaped == byte;
                tail
            }
            [a, b'-', b, tail @ ..] => {
                found |= (*a.min(b)..=*a.max(b)).contains(&byte);
                tail
            }
            [member, tail @ ..] => {
                found |= *member == byte;
                tail
            }
        };
    }
    (found != negated, rest)
}

/// Appends a pattern that matches this text alone.
pub fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    for byte in text {
        if b"*?[\\".contains(byte) {
            out.push(b'\\');
        }
        out.push(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The obvious matcher: every `*` tries every length.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|n| reference(rest, &text[n..])),
            _ => text
                .split_first()
                .is_some_and(|(byte, tail)| match_one(pattern, *byte).is_some_and(|rest| reference(rest, tail))),
        }
    }

    #[test]
    fn an_escaped_text_matches_itself_alone() {
        for text in [&b"plain:{7}"[..], b"a*b?[c]\\d", b"\xff*"] {
            let mut pattern = Vec::new();
            write_escaped(text, &mut pattern);
            assert!(matches(&pattern, text), "{}", String::from_utf8_lossy(&pattern));
            assert!(!matches(&pattern, b"axb") && !matches(&pattern, &[text, b"x"].concat()));
        }
    }

    #[test]
    fn globs_are_those_of_redis() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("***", "abc", true),
            ("size:*", "size:1:2", true),
            ("size:*", "siz:1", false),
            ("h?llo", "hello", true),
            ("h?llo", "hllo", false),
            ("h[ae]llo", "hallo", true),
            ("h[^e]llo", "hello", false),
            ("h[^e]llo", "hbllo", true),
            ("h[a-c]llo", "hbllo", true),
            ("h[c-a]llo", "hbllo", true),
            ("[a-]", "-", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[\\]]", "]", true),
            ("[]", "", false),
            ("[]a", "a", false),
            ("[^]a", "xa", true),
            ("[abc", "b", true),
            ("[", "a", false),
            ("*a*b", "xaxxb", true),
            ("*ab", "aab", true),
            ("a*?", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn hostile_globs_take_no_time() {
        let text = vec![b'a'; 20_000];
        let started = std::time::Instant::now();
        for pattern in
            ["a*".repeat(500) + "b", "*a".repeat(500) + "b", "*?".repeat(500) + "b", "*[a-z]".repeat(500) + "b"]
        {
            assert!(!matches(pattern.as_bytes(), &text));
        }
        assert!(started.elapsed().as_secs() < 5);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5_000))]

        #[test]
        fn agrees_with_the_obvious_matcher(pattern in "[ab*?\\[\\]^\\\\-]{0,10}", text in "[ab\\-\\]]{0,8}") {
            prop_assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), reference(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn no_bytes_panic(pattern in prop::collection::vec(any::<u8>(), 0..30), text in prop::collection::vec(any::<u8>(), 0..30)) {
            matches(&pattern, &text);
        }
    }
}

//! Large values are no part of a message: whoever wants them looks the job up.

/// Bytes of one value in a message.
pub const MAX_VALUE: usize = 1 << 10;

/// Ids, tags or keys that a message lists.
pub const MAX_LISTED: usize = 20;

/// The beginning of a text that is longer, not within a character.
pub fn cut(text: &str) -> &str {
    if text.len() <= MAX_VALUE {
        return text;
    }
    let end = (MAX_VALUE - 3..=MAX_VALUE).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        assert_eq!(cut(&"a".repeat(1024)).len(), 1024);
        assert_eq!(cut(&"a".repeat(1025)).len(), 1024);
        for lead in 0..4 {
            let text = "a".repeat(lead) + &"\u{1F43B}".repeat(300);
            let cut = cut(&text);
            assert!(text.starts_with(cut) && cut.len() > 1020 && cut.len() <= 1024, "{lead}: {}", cut.len());
        }
    }
}

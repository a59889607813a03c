//! The hash tag by which Redis finds the slot of a space's keys.

/// The tag of a prefix, or of a key, with its braces; all of it where there is none.
pub fn tag_of(prefix: &[u8]) -> &[u8] {
    match prefix.iter().position(|byte| *byte == b'}') {
        Some(end) if prefix.first() == Some(&b'{') => &prefix[..=end],
        _ => prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::tag_of;

    #[test]
    fn spaces_of_a_tenant_share_their_tag() {
        assert_eq!(tag_of(b"{bear}"), b"{bear}");
        assert_eq!(tag_of(b"{7}:shop"), b"{7}");
        assert_eq!(tag_of(b"{7}:shop:queue"), b"{7}");
        assert_eq!(tag_of(b"bear:all"), b"bear:all");
    }
}

//! How sections and spaces may be called, and the prefix of a space's keys. Knows no catalog; which space a name means in
//! one is [`crate::core::catalog::space`]'s.

/// Bytes of a section's name.
pub(in crate::core) const MAX_SECTION_NAME: usize = 64;

/// Of a name that is made: a column `_<section>` lists its rows, and Postgres cuts names after 63.
const MAX_MADE_NAME: usize = 62;

/// The last because of the column `_until`.
const RESERVED_SECTIONS: [&str; 4] = ["meta", "tag", "queue", "until"];

/// Why a section cannot be called that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectionNameError {
    #[error("a section's name is lower-case letters, digits and _, not beginning with a digit, of at most {MAX_SECTION_NAME} bytes")]
    Characters,
    #[error("a section cannot be called meta, tag, queue or until, which are reserved")]
    Reserved,
}

pub(in crate::core) fn check_section_name(name: &str) -> Result<(), SectionNameError> {
    let is_word = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty() || name.len() > MAX_SECTION_NAME || !is_word || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(SectionNameError::Characters);
    }
    if RESERVED_SECTIONS.contains(&name) {
        return Err(SectionNameError::Reserved);
    }
    Ok(())
}

/// May sections be of a group of this name?
pub(in crate::core) fn is_group_name(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    !name.is_empty() && name.len() <= MAX_SECTION_NAME && name.bytes().all(is_word)
}

/// A legal name that reads like this one, such as `order_item` of `OrderItem`.
pub fn section_name_of(name: &str) -> String {
    let mut out = String::new();
    let mut before = '_';
    for c in name.chars() {
        let is_boundary = c.is_ascii_uppercase() && (before.is_ascii_lowercase() || before.is_ascii_digit());
        if is_boundary || (out.is_empty() && c.is_ascii_digit()) {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
        before = c;
    }
    out.truncate(MAX_MADE_NAME);
    if out.is_empty() || RESERVED_SECTIONS.contains(&&*out) {
        out.push_str("_rows");
    }
    out
}

/// The tenant or group and what follows `}:`; it ends at the first `}`, as a hash tag does.
pub(in crate::core) fn split_tag(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = name.strip_prefix(b"{")?;
    let end = inner.iter().position(|b| *b == b'}')?;
    Some((&inner[..end], inner[end + 1..].strip_prefix(b":")?))
}

/// The name of the section of a space.
pub fn section_of(space: &str) -> &str {
    // What follows `}:` begins where a character does.
    split_tag(space.as_bytes()).map_or(space, |(_, section)| &space[space.len() - section.len()..])
}

/// The name of a section's space: `bear`, or `{value}:booking` of a tenant or group.
pub fn space_name(section: &str, tag: Option<&str>) -> String {
    match tag {
        Some(tag) => format!("{{{tag}}}:{section}"),
        None => section.to_owned(),
    }
}

/// How the server spreads keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployment {
    Standalone,
    Cluster,
}

/// Appends the prefix of the keys of a (checked) space.
pub fn write_prefix(space: &[u8], deployment: Deployment, out: &mut Vec<u8>) {
    let wants_tag = deployment == Deployment::Cluster && !space.starts_with(b"{");
    if wants_tag {
        out.push(b'{');
    }
    out.extend_from_slice(space);
    if wants_tag {
        out.push(b'}');
    }
}

/// Is the prefix the space's name as it is? So are those of tenants and groups.
pub fn is_space_name(prefix: &[u8]) -> bool {
    split_tag(prefix).is_some()
}

/// What decides a key's slot where it has such a part.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let start = key.iter().position(|byte| *byte == b'{')? + 1;
    let len = key[start..].iter().position(|byte| *byte == b'}')?;
    Some(&key[start..start + len]).filter(|tag| !tag.is_empty())
}

/// The name of the section that a space's prefix is of.
pub fn section_of_prefix(prefix: &[u8]) -> &[u8] {
    match split_tag(prefix) {
        Some((_, section)) => section,
        None => prefix.strip_prefix(b"{").and_then(|rest| rest.strip_suffix(b"}")).unwrap_or(prefix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_named_like_its_table() {
        for (name, expected) in [
            ("bear", "bear"),
            ("OrderItem", "order_item"),
            ("User Id", "user_id"),
            ("2fa", "_2fa"),
            ("HTTPLog", "httplog"),
            ("queue", "queue_rows"),
            ("", "_rows"),
            ("straße", "stra_e"),
        ] {
            assert_eq!(section_name_of(name), expected, "{name}");
            assert_eq!(check_section_name(&section_name_of(name)), Ok(()), "{name}");
        }
        assert_eq!(section_name_of(&"a".repeat(100)).len(), MAX_MADE_NAME);
    }

    #[test]
    fn groups_have_names() {
        for (name, is_legal) in
            [("shop", true), ("0-a_b", true), ("", false), ("Shop", false), ("a}", false), ("a b", false), ("é", false)]
        {
            assert_eq!(is_group_name(name), is_legal, "{name}");
        }
        assert!(is_group_name(&"a".repeat(MAX_SECTION_NAME)) && !is_group_name(&"a".repeat(MAX_SECTION_NAME + 1)));
    }

    #[test]
    fn a_hash_tag_decides_the_slot() {
        for (key, tag) in
            [("bear", None), ("{bear}:x", Some("bear")), ("{}a", None), ("a{b}c{d}", Some("b")), ("{b", None)]
        {
            assert_eq!(hash_tag(key.as_bytes()), tag.map(str::as_bytes), "{key}");
        }
    }

    #[test]
    fn prefixes_have_a_hash_tag_in_a_cluster() {
        let prefix = |space: &str, deployment| {
            let mut out = Vec::new();
            write_prefix(space.as_bytes(), deployment, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(prefix("bear", Deployment::Standalone), "bear");
        assert_eq!(prefix("bear", Deployment::Cluster), "{bear}");
        assert_eq!(prefix("{7}:shop", Deployment::Cluster), "{7}:shop");
    }

    #[test]
    fn a_prefix_tells_its_section() {
        for (prefix, section) in [("bear", "bear"), ("{bear}", "bear"), ("{7}:shop", "shop"), ("{a:b}:shop", "shop")] {
            assert_eq!(section_of_prefix(prefix.as_bytes()), section.as_bytes(), "{prefix}");
        }
    }
}

//! Names of spaces and of the keys that they own.
//!
//! Invariant: keys of different kinds, rows, tags, calls and spaces differ. Rests on three rules: first words of calls
//! are never `meta`, `tag` or `queue`; words of keys are encoded; a tenant's value is never the name of a section.

use std::borrow::Cow;

use super::catalog::{Catalog, Section};
use super::value::{shorten, ValueError};
use super::word::{decode_word, encode_word};

/// Bytes of a section's name.
const MAX_SECTION_NAME: usize = 64;

const RESERVED_SECTIONS: [&str; 3] = ["meta", "tag", "queue"];

/// Why a section cannot be called that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SectionNameError {
    #[error("a section's name is lower-case letters, digits and _, not beginning with a digit, of at most {MAX_SECTION_NAME} bytes")]
    Characters,
    #[error("a section cannot be called meta, tag or queue, which are reserved")]
    Reserved,
}

pub(super) fn check_section_name(name: &str) -> Result<(), SectionNameError> {
    let is_word = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if name.is_empty()
        || name.len() > MAX_SECTION_NAME
        || !is_word
        || name.starts_with(|c: char| c.is_ascii_digit())
    {
        return Err(SectionNameError::Characters);
    }
    if RESERVED_SECTIONS.contains(&name) {
        return Err(SectionNameError::Reserved);
    }
    Ok(())
}

/// A checked name of a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpaceRef<'a> {
    /// Index into [`Catalog::sections`].
    pub section: usize,
    /// In canonical form.
    pub tenant: Option<&'a str>,
}

/// Why bytes are not the name of a space. The texts are complete but for an error code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpaceError {
    #[error("no section is called '{got}'; the catalog has {}", sections.join(", "))]
    UnknownSection {
        got: String,
        sections: Vec<Box<str>>,
    },
    #[error("'{section}' is kept per tenant: the space must be written as '{{…}}:{section}'")]
    TenantMissing { section: Box<str> },
    #[error("'{section}' has no tenant: the space must be written as '{section}'")]
    TenantNotWanted { section: Box<str> },
    #[error("the tenant of '{section}' must be {error}")]
    Tenant {
        section: Box<str>,
        error: ValueError,
    },
    #[error("the tenant must be written as '{{{canonical}}}:{section}'")]
    NotCanonical {
        section: Box<str>,
        canonical: String,
    },
    #[error("the tenant of '{section}' must not be empty, hold '{{', or be the name of a section")]
    TenantUnusable { section: Box<str> },
}

/// `bear`, or `{value}:booking` where the section has a tenant.
pub fn parse_space<'a>(catalog: &Catalog, name: &'a [u8]) -> Result<SpaceRef<'a>, SpaceError> {
    let find = |section: &[u8]| {
        catalog
            .section(section)
            .ok_or_else(|| SpaceError::UnknownSection {
                got: shorten(section),
                sections: catalog
                    .sections
                    .iter()
                    .map(|section| section.name.clone())
                    .collect(),
            })
    };
    match split_tenant(name) {
        None => match find(name)? {
            (index, section) if section.tenant.is_none() => Ok(SpaceRef {
                section: index,
                tenant: None,
            }),
            (_, section) => Err(SpaceError::TenantMissing {
                section: section.name.clone(),
            }),
        },
        Some((value, section)) => {
            let (index, section) = find(section)?;
            let tenant = check_tenant(catalog, section, value)?;
            Ok(SpaceRef {
                section: index,
                tenant: Some(tenant),
            })
        }
    }
}

/// The value and what follows `}:`; the value ends at the first `}`, as a hash tag does.
fn split_tenant(name: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = name.strip_prefix(b"{")?;
    let end = inner.iter().position(|b| *b == b'}')?;
    Some((&inner[..end], inner[end + 1..].strip_prefix(b":")?))
}

fn check_tenant<'a>(
    catalog: &Catalog,
    section: &Section,
    value: &'a [u8],
) -> Result<&'a str, SpaceError> {
    let name = || section.name.clone();
    let Some(ty) = section.tenant else {
        return Err(SpaceError::TenantNotWanted { section: name() });
    };
    let mut canonical = Vec::with_capacity(value.len());
    ty.write_canonical(value, &mut canonical)
        .map_err(|error| SpaceError::Tenant {
            section: name(),
            error,
        })?;
    if canonical != value {
        return Err(SpaceError::NotCanonical {
            section: name(),
            canonical: shorten(&canonical),
        });
    }
    // `{}` is no hash tag, and `{bear}` is the prefix of a section in a cluster.
    let is_usable = !value.is_empty() && !value.contains(&b'{') && catalog.section(value).is_none();
    match std::str::from_utf8(value) {
        Ok(tenant) if is_usable => Ok(tenant),
        _ => Err(SpaceError::TenantUnusable { section: name() }),
    }
}

/// The name of a section's space: `bear`, or `{value}:booking`.
pub fn space_name(section: &str, tenant: Option<&str>) -> String {
    match tenant {
        Some(tenant) => format!("{{{tenant}}}:{section}"),
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

/// The space that owns a key, and what follows its prefix and `:`; None for a key that no space could own.
pub fn split_key<'a>(
    catalog: &Catalog,
    deployment: Deployment,
    key: &'a [u8],
) -> Option<(SpaceRef<'a>, &'a [u8])> {
    if let Some((value, rest)) = split_tenant(key) {
        if let (Deployment::Cluster, Some((index, section))) = (deployment, catalog.section(value))
        {
            let space = SpaceRef {
                section: index,
                tenant: None,
            };
            return section.tenant.is_none().then_some((space, rest));
        }
        let (name, rest) = split_colon(rest)?;
        let (index, section) = catalog.section(name)?;
        let tenant = check_tenant(catalog, section, value).ok()?;
        return Some((
            SpaceRef {
                section: index,
                tenant: Some(tenant),
            },
            rest,
        ));
    }
    let (name, rest) = split_colon(key).filter(|_| deployment == Deployment::Standalone)?;
    let (index, section) = catalog.section(name)?;
    section.tenant.is_none().then_some((
        SpaceRef {
            section: index,
            tenant: None,
        },
        rest,
    ))
}

fn split_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b':')?;
    Some((&text[..at], &text[at + 1..]))
}

/// `P:<call>`; `call` as [`super::calls::Calls::write_key`] writes it.
pub fn write_entry_key(prefix: &[u8], call: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    out.extend_from_slice(call);
}

/// Whose entries a row set lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row<'a> {
    /// Entries that any change of the section concerns: `P:meta:*:caches`.
    Any,
    /// The row with this id.
    Id(Cow<'a, [u8]>),
}

/// `P:meta:<id>:caches`
pub fn write_row_key(prefix: &[u8], row: &Row<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    write_row_part(row, out);
}

const META: &[u8] = b"meta:";
const CACHES: &[u8] = b":caches";
const TAG: &[u8] = b"tag:";
const QUEUE: &[u8] = b"queue";

fn write_row_part(row: &Row<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(META);
    match row {
        Row::Any => out.push(b'*'),
        Row::Id(id) if **id == *b"*" => out.extend_from_slice(b"%2A"),
        Row::Id(id) => encode_word(id, out),
    }
    out.extend_from_slice(CACHES);
}

/// `P:tag:<tag>`
pub fn write_tag_key(prefix: &[u8], tag: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(prefix);
    out.push(b':');
    out.extend_from_slice(TAG);
    out.extend_from_slice(tag);
}

/// What the part of a key that follows `P:` says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind<'a> {
    Metadata(Metadata<'a>),
    /// The queue or what belongs to it.
    Queue,
    /// An entry ([`super::calls::Calls::is_canonical`] decides), or nothing of ours.
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metadata<'a> {
    Row(Row<'a>),
    Tag(&'a [u8]),
}

pub fn classify(part: &[u8]) -> KeyKind<'_> {
    if let Some(tag) = part.strip_prefix(TAG) {
        return KeyKind::Metadata(Metadata::Tag(tag));
    }
    if part
        .strip_prefix(QUEUE)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b":"))
    {
        return KeyKind::Queue;
    }
    match part
        .strip_prefix(META)
        .and_then(|rest| rest.strip_suffix(CACHES))
    {
        Some(id) => {
            read_row(id, part).map_or(KeyKind::Other, |row| KeyKind::Metadata(Metadata::Row(row)))
        }
        None => KeyKind::Other,
    }
}

/// None where the id is not spelled as [`write_row_key`] spells it.
fn read_row<'a>(id: &'a [u8], part: &[u8]) -> Option<Row<'a>> {
    let row = match id {
        b"*" => Row::Any,
        b"%2A" => Row::Id(Cow::Borrowed(b"*")),
        id => Row::Id(decode_word(id)),
    };
    let mut written = Vec::with_capacity(part.len());
    write_row_part(&row, &mut written);
    (written == part).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::super::catalog_toml;
    use super::*;
    use proptest::prelude::*;

    fn catalog() -> Catalog {
        let text = "[bear]\n[booking]\ntenant = \"uuid\"\n[note]\ntenant = \"text\"\n[shop]\ntenant = \"int\"";
        catalog_toml::parse(text, &mut || 0).unwrap()
    }

    const UUID: &str = "0a1b2c3d-0000-4000-8000-00000000000f";

    #[test]
    fn spaces_are_sections_or_tenants_of_one() {
        let catalog = catalog();
        let parse = |name: &str| {
            parse_space(&catalog, name.as_bytes())
                .map(|s| {
                    (
                        &*catalog.sections[s.section].name,
                        s.tenant.map(str::to_owned),
                    )
                })
                .map_err(|e| e.to_string())
        };
        assert_eq!(parse("bear"), Ok(("bear", None)));
        assert_eq!(
            parse(&format!("{{{UUID}}}:booking")),
            Ok(("booking", Some(UUID.to_owned())))
        );
        assert_eq!(
            parse("{a:b %}:note"),
            Ok(("note", Some("a:b %".to_owned())))
        );
        for (name, reason) in [
            (
                "beer",
                "no section is called 'beer'; the catalog has bear, booking, note, shop",
            ),
            (
                "",
                "no section is called ''; the catalog has bear, booking, note, shop",
            ),
            (
                "{7}:beer",
                "no section is called 'beer'; the catalog has bear, booking, note, shop",
            ),
            (
                "bear:x",
                "no section is called 'bear:x'; the catalog has bear, booking, note, shop",
            ),
            (
                "shop",
                "'shop' is kept per tenant: the space must be written as '{…}:shop'",
            ),
            (
                "{7}:bear",
                "'bear' has no tenant: the space must be written as 'bear'",
            ),
            (
                "{x}:shop",
                "the tenant of 'shop' must be an integer, got 'x'",
            ),
            ("{007}:shop", "the tenant must be written as '{7}:shop'"),
            (
                "{0A1B2C3D-0000-4000-8000-00000000000F}:booking",
                "the tenant must be written as '{0a1b2c3d-0000-4000-8000-00000000000f}:booking'",
            ),
            (
                "{}:note",
                "the tenant of 'note' must not be empty, hold '{', or be the name of a section",
            ),
            (
                "{bear}:note",
                "the tenant of 'note' must not be empty, hold '{', or be the name of a section",
            ),
            (
                "{a{b}:note",
                "the tenant of 'note' must not be empty, hold '{', or be the name of a section",
            ),
        ] {
            assert_eq!(parse(name), Err(reason.to_owned()));
        }
    }

    #[test]
    fn keys_hang_on_the_prefix() {
        let prefix = |space: &str, deployment| {
            let mut out = Vec::new();
            write_prefix(space.as_bytes(), deployment, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(prefix("bear", Deployment::Standalone), "bear");
        assert_eq!(prefix("bear", Deployment::Cluster), "{bear}");
        assert_eq!(prefix("{7}:shop", Deployment::Cluster), "{7}:shop");
        let mut out = Vec::new();
        write_entry_key(b"bear", b"size:1:2", &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Any, &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Id(b"a:b"[..].into()), &mut out);
        out.push(b' ');
        write_row_key(b"bear", &Row::Id(b"*"[..].into()), &mut out);
        out.push(b' ');
        write_tag_key(b"bear", b"color:red", &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "bear:size:1:2 bear:meta:*:caches bear:meta:a%3Ab:caches bear:meta:%2A:caches bear:tag:color:red");
    }

    #[test]
    fn keys_are_told_apart() {
        let row = |id: &'static [u8]| KeyKind::Metadata(Metadata::Row(Row::Id(id.into())));
        for (part, kind) in [
            ("meta:5:caches", row(b"5")),
            ("meta:*:caches", KeyKind::Metadata(Metadata::Row(Row::Any))),
            ("meta:%2A:caches", row(b"*")),
            ("meta::caches", row(b"")),
            ("meta:a%3Ab:caches", row(b"a:b")),
            ("meta:a:b:caches", KeyKind::Other),
            ("meta:a%3ab:caches", KeyKind::Other),
            ("meta:caches", KeyKind::Other),
            ("meta:5", KeyKind::Other),
            (
                "tag:color:red",
                KeyKind::Metadata(Metadata::Tag(b"color:red")),
            ),
            ("tag", KeyKind::Other),
            ("queue", KeyKind::Queue),
            ("queue:delayed", KeyKind::Queue),
            ("queues", KeyKind::Other),
            ("size:1:2", KeyKind::Other),
            ("", KeyKind::Other),
        ] {
            assert_eq!(classify(part.as_bytes()), kind, "{part}");
        }
    }

    #[test]
    fn a_key_belongs_to_one_space() {
        let catalog = catalog();
        let split = |deployment, key: &'static str| {
            let (space, rest) = split_key(&catalog, deployment, key.as_bytes())?;
            Some((
                &*catalog.sections[space.section].name,
                space.tenant,
                std::str::from_utf8(rest).unwrap(),
            ))
        };
        use Deployment::{Cluster, Standalone};
        assert_eq!(
            split(Standalone, "bear:size:1"),
            Some(("bear", None, "size:1"))
        );
        assert_eq!(split(Cluster, "bear:size:1"), None);
        assert_eq!(
            split(Cluster, "{bear}:size:1"),
            Some(("bear", None, "size:1"))
        );
        assert_eq!(
            split(Cluster, "{bear}:note:1"),
            Some(("bear", None, "note:1"))
        );
        assert_eq!(split(Standalone, "{bear}:note:1"), None);
        assert_eq!(
            split(Standalone, "{7}:shop:queue"),
            Some(("shop", Some("7"), "queue"))
        );
        for key in [
            "bear",
            "",
            "{7}:shop",
            "{07}:shop:x",
            "{7}shop:x",
            "shop:x",
            "{7}:bear:x",
            "{7",
            "{}:note:x",
        ] {
            assert_eq!(split(Standalone, key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(name in prop::collection::vec(any::<u8>(), 0..30), near in "\\{?[a-z:0-9%*]{0,6}\\}?:(shop|note|bear)?:?[a-z]{0,4}") {
            let catalog = catalog();
            for bytes in [&name[..], near.as_bytes()] {
                classify(bytes);
                let parsed = parse_space(&catalog, bytes);
                for deployment in [Deployment::Standalone, Deployment::Cluster] {
                    split_key(&catalog, deployment, bytes);
                    if let Ok(space) = &parsed {
                        let (mut prefix, mut key) = (Vec::new(), Vec::new());
                        write_prefix(bytes, deployment, &mut prefix);
                        write_entry_key(&prefix, b"all", &mut key);
                        prop_assert_eq!(split_key(&catalog, deployment, &key), Some((*space, &b"all"[..])));
                    }
                }
            }
        }

        #[test]
        fn row_keys_are_read_as_written(id in "[a*:%,]{0,5}|\\PC{0,8}") {
            let mut part = Vec::new();
            write_row_part(&Row::Id(id.as_bytes().into()), &mut part);
            prop_assert_eq!(classify(&part), KeyKind::Metadata(Metadata::Row(Row::Id(id.as_bytes().into()))));
        }
    }
}

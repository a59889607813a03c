//! Which space of the catalog a client's name means, and which one owns a key.
//!
//! Invariant: a key belongs to at most one space. In a cluster that rests on a tenant's value never being the name of a
//! section: the prefix of `bear` is `{bear}` there, and `{bear}:note` would be a space within it.

use super::sections::{Catalog, Section};
use crate::core::calls::names::{split_tag, Deployment};
use crate::core::values::value::{shorten, ValueError};

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
    UnknownSection { got: String, sections: Vec<Box<str>> },
    #[error("'{section}' is kept per tenant: the space must be written as '{{…}}:{section}'")]
    TenantMissing { section: Box<str> },
    #[error("'{section}' has no tenant: the space must be written as '{section}'")]
    TenantNotWanted { section: Box<str> },
    #[error("'{section}' is of the group '{group}': the space must be written as '{{{group}}}:{section}'")]
    OfGroup { section: Box<str>, group: Box<str> },
    #[error("the tenant of '{section}' must be {error}")]
    Tenant { section: Box<str>, error: ValueError },
    #[error("the tenant must be written as '{{{canonical}}}:{section}'")]
    NotCanonical { section: Box<str>, canonical: String },
    #[error("the tenant of '{section}' must not be empty, hold '{{', or be the name of a section")]
    TenantUnusable { section: Box<str> },
}

/// `bear`, or `{value}:booking` where the section has a tenant.
pub fn parse_space<'a>(catalog: &Catalog, name: &'a [u8]) -> Result<SpaceRef<'a>, SpaceError> {
    let find = |section: &[u8]| {
        catalog.section(section).ok_or_else(|| SpaceError::UnknownSection {
            got: shorten(section),
            sections: catalog.sections.iter().map(|section| section.name.clone()).collect(),
        })
    };
    match split_tag(name) {
        None => match find(name)? {
            (_, section) if section.tenant.is_some() => {
                Err(SpaceError::TenantMissing { section: section.name.clone() })
            }
            (index, section) => {
                check_group(section, None)?;
                Ok(SpaceRef { section: index, tenant: None })
            }
        },
        Some((value, section)) => {
            let (index, section) = find(section)?;
            if section.group.is_some() {
                check_group(section, Some(value))?;
                return Ok(SpaceRef { section: index, tenant: None });
            }
            let tenant = check_tenant(catalog, section, value)?;
            Ok(SpaceRef { section: index, tenant: Some(tenant) })
        }
    }
}

/// Is the section of this group, if of any?
fn check_group(section: &Section, named: Option<&[u8]>) -> Result<(), SpaceError> {
    match &section.group {
        Some(group) if named != Some(group.as_bytes()) => {
            Err(SpaceError::OfGroup { section: section.name.clone(), group: group.clone() })
        }
        _ => Ok(()),
    }
}

fn check_tenant<'a>(catalog: &Catalog, section: &Section, value: &'a [u8]) -> Result<&'a str, SpaceError> {
    let name = || section.name.clone();
    let Some(ty) = section.tenant else {
        return Err(SpaceError::TenantNotWanted { section: name() });
    };
    let mut canonical = Vec::with_capacity(value.len());
    ty.write_canonical(value, &mut canonical).map_err(|error| SpaceError::Tenant { section: name(), error })?;
    if canonical != value {
        return Err(SpaceError::NotCanonical { section: name(), canonical: shorten(&canonical) });
    }
    // `{}` is no hash tag, and `{bear}` is the prefix of a section in a cluster.
    let is_usable = !value.is_empty() && !value.contains(&b'{') && catalog.section(value).is_none();
    match std::str::from_utf8(value) {
        Ok(tenant) if is_usable => Ok(tenant),
        _ => Err(SpaceError::TenantUnusable { section: name() }),
    }
}

/// The space that owns a key, and what follows its prefix and `:`; None for a key that no space could own.
pub fn split_key<'a>(catalog: &Catalog, deployment: Deployment, key: &'a [u8]) -> Option<(SpaceRef<'a>, &'a [u8])> {
    if let Some((value, rest)) = split_tag(key) {
        let named = catalog.section(value).filter(|(_, section)| section.group.is_none());
        if let (Deployment::Cluster, Some((index, section))) = (deployment, named) {
            let space = SpaceRef { section: index, tenant: None };
            return section.tenant.is_none().then_some((space, rest));
        }
        let (name, rest) = split_colon(rest)?;
        let (index, section) = catalog.section(name)?;
        if section.group.is_some() {
            check_group(section, Some(value)).ok()?;
            return Some((SpaceRef { section: index, tenant: None }, rest));
        }
        let tenant = check_tenant(catalog, section, value).ok()?;
        return Some((SpaceRef { section: index, tenant: Some(tenant) }, rest));
    }
    let (name, rest) = split_colon(key).filter(|_| deployment == Deployment::Standalone)?;
    let (index, section) = catalog.section(name)?;
    let is_plain = section.tenant.is_none() && section.group.is_none();
    is_plain.then_some((SpaceRef { section: index, tenant: None }, rest))
}

fn split_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|b| *b == b':')?;
    Some((&text[..at], &text[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::calls::keys::write_entry_key;
    use crate::core::calls::names::write_prefix;
    use crate::core::catalog::read_catalog;
    use proptest::prelude::*;

    fn catalog() -> Catalog {
        let text = "[bear]\n[booking]\ntenant = \"uuid\"\n[note]\ntenant = \"text\"\n[shop]\ntenant = \"int\"";
        read_catalog::parse(text, &mut || 0).unwrap()
    }

    const UUID: &str = "0a1b2c3d-0000-4000-8000-00000000000f";

    #[test]
    fn spaces_are_sections_or_tenants_of_one() {
        let catalog = catalog();
        let parse = |name: &str| {
            parse_space(&catalog, name.as_bytes())
                .map(|s| (&*catalog.sections[s.section].name, s.tenant.map(str::to_owned)))
                .map_err(|e| e.to_string())
        };
        assert_eq!(parse("bear"), Ok(("bear", None)));
        assert_eq!(parse(&format!("{{{UUID}}}:booking")), Ok(("booking", Some(UUID.to_owned()))));
        assert_eq!(parse("{a:b %}:note"), Ok(("note", Some("a:b %".to_owned()))));
        for (name, reason) in [
            ("beer", "no section is called 'beer'; the catalog has bear, booking, note, shop"),
            ("", "no section is called ''; the catalog has bear, booking, note, shop"),
            ("{7}:beer", "no section is called 'beer'; the catalog has bear, booking, note, shop"),
            ("bear:x", "no section is called 'bear:x'; the catalog has bear, booking, note, shop"),
            ("shop", "'shop' is kept per tenant: the space must be written as '{…}:shop'"),
            ("{7}:bear", "'bear' has no tenant: the space must be written as 'bear'"),
            ("{x}:shop", "the tenant of 'shop' must be an integer, got 'x'"),
            ("{007}:shop", "the tenant must be written as '{7}:shop'"),
            (
                "{0A1B2C3D-0000-4000-8000-00000000000F}:booking",
                "the tenant must be written as '{0a1b2c3d-0000-4000-8000-00000000000f}:booking'",
            ),
            ("{}:note", "the tenant of 'note' must not be empty, hold '{', or be the name of a section"),
            ("{bear}:note", "the tenant of 'note' must not be empty, hold '{', or be the name of a section"),
            ("{a{b}:note", "the tenant of 'note' must not be empty, hold '{', or be the name of a section"),
        ] {
            assert_eq!(parse(name), Err(reason.to_owned()));
        }
    }

    #[test]
    fn sections_of_a_group_have_its_slot() {
        let text = "[bear]\n[shop]\ngroup = \"shop\"\n[item]\ngroup = \"shop\"\n[note]\ntenant = \"text\"";
        let catalog = read_catalog::parse(text, &mut || 0).unwrap();
        let parse = |name: &str| {
            let space = parse_space(&catalog, name.as_bytes()).map_err(|error| error.to_string())?;
            Ok((&*catalog.sections[space.section].name, space.tenant.map(str::to_owned)))
        };
        assert_eq!(parse("{shop}:item"), Ok(("item", None)));
        assert_eq!(parse("{shop}:shop"), Ok(("shop", None)));
        let wrong = |section: &str| {
            Err(format!("'{section}' is of the group 'shop': the space must be written as '{{shop}}:{section}'"))
        };
        for (name, section) in [("item", "item"), ("{item}:item", "item"), ("{7}:shop", "shop"), ("shop", "shop")] {
            assert_eq!(parse(name), wrong(section), "{name}");
        }
        for deployment in [Deployment::Standalone, Deployment::Cluster] {
            let split = |key: &'static str| {
                let (space, rest) = split_key(&catalog, deployment, key.as_bytes())?;
                Some((&*catalog.sections[space.section].name, std::str::from_utf8(rest).unwrap()))
            };
            assert_eq!(split("{shop}:item:a:1"), Some(("item", "a:1")));
            assert_eq!(split("{shop}:shop:queue"), Some(("shop", "queue")));
            for key in ["item:a", "{item}:a", "{item}:item:a", "{shop}:a:b", "{shop}:bear:a", "{bear}:item:a"] {
                let of_bear = deployment == Deployment::Cluster && key.starts_with("{bear}");
                assert_eq!(split(key), of_bear.then_some(("bear", "item:a")), "{key}");
            }
        }
    }

    #[test]
    fn a_key_belongs_to_one_space() {
        let catalog = catalog();
        let split = |deployment, key: &'static str| {
            let (space, rest) = split_key(&catalog, deployment, key.as_bytes())?;
            Some((&*catalog.sections[space.section].name, space.tenant, std::str::from_utf8(rest).unwrap()))
        };
        use Deployment::{Cluster, Standalone};
        assert_eq!(split(Standalone, "bear:size:1"), Some(("bear", None, "size:1")));
        assert_eq!(split(Cluster, "bear:size:1"), None);
        assert_eq!(split(Cluster, "{bear}:size:1"), Some(("bear", None, "size:1")));
        assert_eq!(split(Cluster, "{bear}:note:1"), Some(("bear", None, "note:1")));
        assert_eq!(split(Standalone, "{bear}:note:1"), None);
        assert_eq!(split(Standalone, "{7}:shop:queue"), Some(("shop", Some("7"), "queue")));
        for key in ["bear", "", "{7}:shop", "{07}:shop:x", "{7}shop:x", "shop:x", "{7}:bear:x", "{7", "{}:note:x"] {
            assert_eq!(split(Standalone, key), None, "{key}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(name in prop::collection::vec(any::<u8>(), 0..30), near in "\\{?[a-z:0-9%*]{0,6}\\}?:(shop|note|bear)?:?[a-z]{0,4}") {
            let catalog = catalog();
            for bytes in [&name[..], near.as_bytes()] {
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
    }
}

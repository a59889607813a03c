//! A call that somebody wants: its arguments are those of the statement, by name or by order, and get its types.

use super::draft::{Draft, Key};
use super::names::ArgumentName;
use crate::core::calls::pattern::CallPattern;
use crate::core::values::value::ArgType;

/// An argument of the call as it is written.
struct Written<'a> {
    name: &'a str,
    ty: Option<&'a str>,
    default: &'a str,
}

/// The call with types. Names become those of the call; a count that it does not name is no argument.
pub(super) fn given(
    draft: &Draft,
    said: &str,
    names: &mut [ArgumentName],
    types: &[ArgType],
    is_argument: &mut [bool],
) -> Result<String, String> {
    let (texts, written) = written(said)?;
    let slots = matched(draft, names, &written)?;
    for (slot, is_argument) in is_argument.iter_mut().enumerate() {
        *is_argument = slots.contains(&slot);
    }
    let mut call = texts[0].to_owned();
    for ((written, slot), text) in written.iter().zip(slots).zip(&texts[1..]) {
        let ty = types[slot].to_string();
        if let Some(other) = written.ty.filter(|other| *other != ty) {
            return Err(format!("{{{}}} is {ty} in the statement, and {other} in the call", written.name));
        }
        names[slot].name = written.name.to_owned();
        let default = match (written.default, draft.slots[slot].default) {
            ("", Some(default)) if written.ty.is_none() => format!("={default}"),
            (default, _) => default.to_owned(),
        };
        call += &format!("{{{}:{ty}{default}}}{text}", written.name);
    }
    CallPattern::parse(&call).map_err(|error| error.to_string())?;
    Ok(call)
}

/// What stands between the arguments, and those.
fn written(said: &str) -> Result<(Vec<&str>, Vec<Written<'_>>), String> {
    let (mut texts, mut written) = (Vec::new(), Vec::new());
    let mut rest = said;
    while let Some((text, inner)) = rest.split_once('{') {
        let (declared, after) = inner.split_once('}').ok_or("'}' is missing after an argument")?;
        let at = declared.find('=').unwrap_or(declared.len());
        let (typed, default) = declared.split_at(at);
        let (name, ty) = match typed.split_once(':') {
            Some((name, ty)) => (name.trim(), Some(ty.trim())),
            None => (typed.trim(), None),
        };
        texts.push(text);
        written.push(Written { name, ty, default });
        rest = after;
    }
    texts.push(rest);
    Ok((texts, written))
}

/// The slot of each argument.
fn matched(draft: &Draft, names: &[ArgumentName], written: &[Written]) -> Result<Vec<usize>, String> {
    let by_name = |name: &str| names.iter().position(|of| of.name == name);
    let is_count = |slot: usize| matches!(draft.slots[slot].key, Key::Count(_));
    let listed = || {
        let shown: Vec<String> = names.iter().map(|of| format!("{{{}}}", of.name)).collect();
        if shown.is_empty() {
            "none".to_owned()
        } else {
            shown.join(" ")
        }
    };
    let found: Vec<Option<usize>> = written.iter().map(|of| by_name(of.name)).collect();
    let has = |slot: usize| found.contains(&Some(slot));
    let are_all_named = found.iter().all(Option::is_some) && (0..names.len()).all(|slot| has(slot) || is_count(slot));
    if are_all_named {
        return Ok(found.into_iter().flatten().collect());
    }
    // By order, but for those that the statement names itself.
    let is_own = |slot: &usize| matches!(draft.slots[*slot].key, Key::Named(_)) || is_count(*slot);
    let mut left = in_order(draft).into_iter();
    let slots: Option<Vec<usize>> = found.iter().map(|slot| slot.filter(is_own).or_else(|| left.next())).collect();
    let is_whole = left.next().is_none()
        && (0..names.len()).all(|slot| !matches!(draft.slots[slot].key, Key::Named(_)) || has(slot));
    slots.filter(|_| is_whole).ok_or_else(|| format!("the statement's arguments are {}", listed()))
}

/// Slots that a call's arguments stand for by their order: by number, and else by place.
fn in_order(draft: &Draft) -> Vec<usize> {
    let mut slots: Vec<usize> = (0..draft.slots.len())
        .filter(|slot| !matches!(draft.slots[*slot].key, Key::Named(_) | Key::Count(_)))
        .collect();
    if slots.iter().all(|slot| matches!(draft.slots[*slot].key, Key::Number(_))) {
        slots.sort_by_key(|slot| draft.slots[*slot].key.clone());
    }
    slots
}

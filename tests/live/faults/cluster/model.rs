//! The rows that are written, the calls that show them, and what of an answer cannot be explained.

use serde_json::Value;

use crate::prove::history::{Span, Versions};

/// Sections, with how many rows each has.
const SECTIONS: [(&str, usize); 5] = [("item", 6), ("shelf", 3), ("rate", 3), ("book", 6), ("purchase", 6)];

pub const ROWS: usize = 24;

/// What must have been seen of each row.
pub type Floors = [u32; ROWS];

/// A row, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub section: &'static str,
    pub id: i64,
}

pub fn row(number: usize) -> Row {
    let mut before = 0;
    for (section, count) in SECTIONS {
        if number < before + count {
            return Row { section, id: (number - before) as i64 + 1 };
        }
        before += count;
    }
    panic!("there is no row {number}")
}

fn number(section: &str, id: i64) -> Option<usize> {
    let mut before = 0;
    for (name, count) in SECTIONS {
        if name == section {
            return (1..=count as i64).contains(&id).then(|| before + id as usize - 1);
        }
        before += count;
    }
    None
}

impl Row {
    /// As a command names the space in which its jobs are, and which is told of its changes.
    pub fn space(self) -> String {
        match self.section {
            "purchase" => format!("{{{}}}:purchase", self.shop()),
            "shelf" | "book" => format!("{{shop}}:{}", self.section),
            section => section.to_owned(),
        }
    }

    fn shop(self) -> i64 {
        1 + self.id % 2
    }
}

/// What names the slots of all spaces.
pub const TAGS: [&str; 5] = ["item", "shop", "rate", "1", "2"];

/// A question.
#[derive(Debug, Clone)]
pub struct Call {
    pub space: String,
    pub words: String,
    section: &'static str,
    /// Rows of another section that each row of the answer is joined with.
    joined: Option<&'static str>,
    /// Ids of the section that it shows.
    ids: Vec<i64>,
}

pub fn calls() -> Vec<Call> {
    let all = |section: &'static str, count: i64| Call {
        space: section.to_owned(),
        words: "all".to_owned(),
        section,
        joined: None,
        ids: (1..=count).collect(),
    };
    let of_group = |call: Call| Call { space: format!("{{shop}}:{}", call.section), ..call };
    let mut calls = vec![all("item", 6), of_group(all("shelf", 3)), all("rate", 3)];
    calls.extend((1..=6).map(|id| Call { words: format!("one {id}"), ids: vec![id], ..all("item", 6) }));
    calls.extend((1..=3).map(|shelf| Call {
        words: format!("of {shelf}"),
        joined: Some("shelf"),
        ids: (1..=6).filter(|id| 1 + id % 3 == shelf).collect(),
        ..of_group(all("book", 6))
    }));
    for shop in 1..=2 {
        let ids = (1..=6).filter(|id| 1 + id % 2 == shop).collect();
        let of_shop = Call { space: format!("{{{shop}}}:purchase"), ids, ..all("purchase", 6) };
        calls.push(Call { words: "rated".to_owned(), joined: Some("rate"), ..of_shop.clone() });
        calls.push(of_shop);
    }
    calls
}

impl Call {
    /// Why an answer that has just come cannot be explained, with the floors at the time of its question.
    pub fn fault(&self, versions: &[Versions], floors: &Floors, json: &[u8]) -> Option<String> {
        let Ok(Value::Array(rows)) = serde_json::from_slice(json) else {
            return Some("the answer is no array".to_owned());
        };
        let mut ids = Vec::new();
        for one in &rows {
            let field = |name: &str| one[name].as_i64();
            let shown = [
                (Some(self.section), field("id"), field("ver")),
                (self.joined, self.joined.and_then(&field), self.joined.and_then(|name| field(&format!("{name}_ver")))),
            ];
            ids.extend(field("id"));
            for (section, id, version) in shown {
                let Some(section) = section else { continue };
                let place = id.and_then(|id| number(section, id));
                let (Some(place), Some(version)) = (place, version.and_then(|version| u32::try_from(version).ok()))
                else {
                    return Some(format!("{one} is no row of it"));
                };
                let Span { floor, ceiling } = versions[place].since(floors[place]);
                if version < floor || version > ceiling {
                    let id = id.unwrap_or_default();
                    return Some(format!(
                        "{section} {id} has version {version}; its floor is {floor}, its ceiling {ceiling}"
                    ));
                }
            }
        }
        (ids != self.ids).then(|| format!("rows {ids:?} and not {:?}", self.ids))
    }
}

#[test]
fn rows_have_numbers() {
    assert_eq!(SECTIONS.iter().map(|(_, count)| count).sum::<usize>(), ROWS);
    for at in 0..ROWS {
        assert_eq!(number(row(at).section, row(at).id), Some(at));
    }
    assert_eq!((number("item", 0), number("item", 7), number("no", 1)), (None, None, None));
}

#[test]
fn answers_are_judged() {
    let versions: Vec<Versions> = (0..ROWS).map(|_| Versions::new(1)).collect();
    let call = calls().into_iter().find(|call| call.words == "of 2").expect("the books of a shelf");
    assert_eq!(call.ids, [1, 4]);
    let shelf = number("shelf", 2).expect("a row");
    let answer = |shelf_ver: u32| {
        format!(
            r#"[{{"id":1,"ver":1,"shelf":2,"shelf_ver":{shelf_ver}}},{{"id":4,"ver":1,"shelf":2,"shelf_ver":{shelf_ver}}}]"#
        )
    };
    let fault = |floors: &Floors, json: &str| call.fault(&versions, floors, json.as_bytes());
    let before = versions.iter().map(Versions::floor).collect::<Vec<_>>().try_into().expect("so many");
    assert_eq!(fault(&before, &answer(1)), None);
    assert!(fault(&before, &answer(2)).is_some_and(|fault| fault.contains("ceiling 1")));
    assert_eq!(versions[shelf].begin(), 2);
    assert_eq!((fault(&before, &answer(1)), fault(&before, &answer(2))), (None, None));
    versions[shelf].seen(2);
    let after = versions.iter().map(Versions::floor).collect::<Vec<_>>().try_into().expect("so many");
    assert!(fault(&after, &answer(1)).is_some_and(|fault| fault.contains("floor is 2")));
    assert!(fault(&after, "[]").is_some_and(|fault| fault.contains("rows []")));
    assert!(fault(&after, r#"[{"id":9,"ver":1}]"#).is_some_and(|fault| fault.contains("no row")));
}

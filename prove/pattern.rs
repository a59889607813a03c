//! Texts that a regular expression of a CHECK takes: what is common in such, and nothing where it is not.

use crate::support::Random;

/// Repetitions of what may be repeated for ever.
const MOST: usize = 6;

/// A text that the pattern likely takes; whether it does Postgres says.
pub fn text(pattern: &str, random: &mut Random) -> Option<String> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut at = 0;
    let text = alternatives(&chars, &mut at, random)?;
    (at == chars.len()).then_some(text)
}

fn alternatives(chars: &[char], at: &mut usize, random: &mut Random) -> Option<String> {
    let mut all = vec![sequence(chars, at, random)?];
    while chars.get(*at) == Some(&'|') {
        *at += 1;
        all.push(sequence(chars, at, random)?);
    }
    random.pick(&all).cloned()
}

fn sequence(chars: &[char], at: &mut usize, random: &mut Random) -> Option<String> {
    let mut text = String::new();
    while let Some(c) = chars.get(*at).filter(|c| !['|', ')'].contains(c)) {
        if ['^', '$'].contains(c) {
            *at += 1;
            continue;
        }
        let begin = *at;
        text += &atom(chars, at, random)?;
        let (least, most) = repeats(chars, at)?;
        let end = *at;
        let count = least + random.below(most - least + 1);
        for _ in 1..count {
            *at = begin;
            text += &atom(chars, at, random)?;
        }
        *at = end;
    }
    Some(text)
}

fn atom(chars: &[char], at: &mut usize, random: &mut Random) -> Option<String> {
    let c = *chars.get(*at)?;
    *at += 1;
    match c {
        '(' => {
            if chars[*at..].starts_with(&['?', ':']) {
                *at += 2;
            }
            let text = alternatives(chars, at, random)?;
            (chars.get(*at) == Some(&')')).then(|| *at += 1)?;
            Some(text)
        }
        '[' => one_of(chars, at, random).map(String::from),
        '.' => Some("x".to_owned()),
        '\\' => {
            let c = *chars.get(*at)?;
            *at += 1;
            match c {
                'd' => Some(random.below(10).to_string()),
                'w' => Some("w".to_owned()),
                's' => Some(" ".to_owned()),
                c if c.is_alphanumeric() => None,
                c => Some(c.to_string()),
            }
        }
        '*' | '+' | '?' | '{' => None,
        c => Some(c.to_string()),
    }
}

/// Of a bracket expression, behind its `[`.
fn one_of(chars: &[char], at: &mut usize, random: &mut Random) -> Option<char> {
    let is_not = chars.get(*at) == Some(&'^');
    *at += usize::from(is_not);
    let mut all: Vec<char> = Vec::new();
    let begin = *at;
    loop {
        let c = *chars.get(*at)?;
        *at += 1;
        match c {
            ']' if *at > begin + 1 => break,
            '[' if chars.get(*at) == Some(&':') => {
                let end = *at + chars[*at..].iter().position(|c| *c == ']')?;
                let class: String = chars[*at + 1..end - 1].iter().collect();
                *at = end + 1;
                all.extend(match &*class {
                    "digit" => '0'..='9',
                    "upper" => 'A'..='Z',
                    "xdigit" => '0'..='9',
                    _ => 'a'..='z',
                });
            }
            '\\' => {
                let c = *chars.get(*at)?;
                *at += 1;
                match c {
                    'd' => all.extend('0'..='9'),
                    'w' => all.extend('a'..='z'),
                    's' => all.push(' '),
                    c => all.push(c),
                }
            }
            c if chars.get(*at) == Some(&'-') && chars.get(*at + 1).is_some_and(|end| *end != ']') => {
                all.extend(c..=chars[*at + 1]);
                *at += 2;
            }
            c => all.push(c),
        }
    }
    match is_not {
        true => ['x', '1', '_', 'A', '.'].into_iter().find(|c| !all.contains(c)),
        false => random.pick(&all).copied(),
    }
}

fn repeats(chars: &[char], at: &mut usize) -> Option<(usize, usize)> {
    let found = match chars.get(*at) {
        Some('*') => (1, MOST),
        Some('+') => (1, MOST),
        Some('?') => (1, 1),
        Some('{') => {
            let end = *at + chars[*at..].iter().position(|c| *c == '}')?;
            let text: String = chars[*at + 1..end].iter().collect();
            *at = end;
            let (least, most) = text.split_once(',').unwrap_or((&text, &text));
            let least: usize = least.trim().parse().ok()?;
            let most = if most.trim().is_empty() { least + MOST } else { most.trim().parse().ok()? };
            (least, most.min(least + MOST).max(least))
        }
        _ => return Some((1, 1)),
    };
    *at += 1;
    if chars.get(*at) == Some(&'?') {
        *at += 1;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_of_the_form_that_the_pattern_asks_for() {
        let mut random = Random::new(1);
        let mut of = |pattern: &str| text(pattern, &mut random);
        for _ in 0..50 {
            let hex = of("^#[0-9a-f]{6}$").unwrap();
            assert!(hex.len() == 7 && hex.starts_with('#') && hex[1..].chars().all(|c| c.is_ascii_hexdigit()), "{hex}");
            let code = of("^(?:[A-Z]{2}|[[:digit:]]{3,4})-x?$").unwrap();
            let (first, rest) = code.split_once('-').unwrap();
            assert!(rest == "x" && (first.len() == 2 || first.chars().all(|c| c.is_ascii_digit())), "{code}");
            assert_ne!(of("[^x]").unwrap(), "x");
        }
        assert_eq!(of(r"a\.b"), Some("a.b".to_owned()));
        assert_eq!(of(r"^\y"), None);
        assert_eq!(of("(a"), None);
    }
}

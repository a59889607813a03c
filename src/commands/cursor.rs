//! Reading a command's words from left to right.

use crate::core::catalog::read_claim::MIN_LEASE_MS;
use crate::core::values::value::shorten;
use crate::redis_api::Args;
use crate::server::{Freshness, Words};

/// Words of one list: what is done for each of them, in one piece, takes about a millisecond.
pub const MAX_WORDS: usize = 2_000;

/// A day, in milliseconds.
pub const DAY_MS: u64 = 86_400_000;

/// Bytes of what is said of a job that ends: what is longer is cut.
pub const MAX_MESSAGE: usize = 2 << 10;

/// Where we are in the words.
pub struct Cursor<'a> {
    args: Args<'a>,
    at: usize,
}

/// The words of a command that takes a space and nothing else.
pub fn only_space(args: Args<'_>) -> Result<&[u8], String> {
    let mut cursor = Cursor::new(args);
    let space = cursor.next("the space")?;
    cursor.finish()?;
    Ok(space)
}

/// The words of a command that takes a space and the id of a job.
pub fn space_and_job(args: Args<'_>) -> Result<(&[u8], &[u8]), String> {
    let mut cursor = Cursor::new(args);
    let space = cursor.next("the space")?;
    let id = cursor.next("the job's id")?;
    cursor.finish()?;
    Ok((space, id))
}

/// The words with which a worker's commands begin: a claim.
pub struct ClaimWords<'a> {
    pub space: &'a [u8],
    pub id: &'a [u8],
    pub token: &'a [u8],
}

/// A text that is cut where it is longer, not within a character.
pub fn cut(text: &[u8], max: usize) -> &[u8] {
    if text.len() <= max {
        return text;
    }
    let is_within = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    // A character has four bytes at most; what has more such bytes is no UTF-8.
    let end = (max - 3..=max).rev().find(|at| !is_within(at)).unwrap_or(max);
    &text[..end]
}

impl<'a> Cursor<'a> {
    /// Begins after the command's name.
    pub fn new(args: Args<'a>) -> Cursor<'a> {
        Cursor { args, at: 1 }
    }

    /// The next word. Commands' arities make sure of the first; the name is for the others' errors.
    pub fn next(&mut self, name: &str) -> Result<&'a [u8], String> {
        let word = self.args.get(self.at).ok_or_else(|| format!("ERR {name} is missing"))?;
        self.at += 1;
        Ok(word)
    }

    /// The next word; its name is made where it is missing: that costs more than the word.
    pub fn next_of_many(&mut self, name: impl FnOnce() -> String) -> Result<&'a [u8], String> {
        let word = self.args.get(self.at).ok_or_else(|| format!("ERR {} is missing", name()))?;
        self.at += 1;
        Ok(word)
    }

    /// The next words: a claim.
    pub fn claim(&mut self) -> Result<ClaimWords<'a>, String> {
        Ok(ClaimWords {
            space: self.next("the space")?,
            id: self.next("the job's id")?,
            token: self.next("the claim's token")?,
        })
    }

    /// Is the next word this one, in any case?
    pub fn is_at(&self, word: &str) -> bool {
        self.args.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()))
    }

    /// Steps over the next word if it is this one, in any case.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.is_at(word);
        self.at += usize::from(found);
        found
    }

    /// FRESH or CACHED, if one of them is next.
    pub fn freshness(&mut self) -> Freshness {
        if self.take("FRESH") {
            Freshness::Fresh
        } else if self.take("CACHED") {
            Freshness::Cached
        } else {
            Freshness::Any
        }
    }

    /// All words that are left, if they are not too many.
    pub fn rest(&mut self) -> Result<Words<'a>, String> {
        let left = self.args.len() - self.at.min(self.args.len());
        if left > MAX_WORDS {
            return Err(format!(
                "TOOLARGE a command takes at most {MAX_WORDS} ids, tags or words, got {left}; send them in several"
            ));
        }
        let mut words = Words::with_capacity(left);
        while let Some(word) = self.args.get(self.at) {
            words.push(word);
            self.at += 1;
        }
        Ok(words)
    }

    /// All words that are left, at least one of them.
    pub fn some(&mut self, name: &str) -> Result<Words<'a>, String> {
        let words = self.rest()?;
        if words.is_empty() {
            return Err(format!("ERR {name} is missing"));
        }
        Ok(words)
    }

    /// Is nothing left?
    pub fn is_done(&self) -> bool {
        self.at >= self.args.len()
    }

    /// The next word, a whole number within limits; `name` is what stands before it.
    pub fn number(&mut self, name: &str, min: u64, max: u64) -> Result<u64, String> {
        let Some(word) = self.args.get(self.at) else { return Err(format!("ERR the number after {name} is missing")) };
        self.at += 1;
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<u64>().ok());
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| format!("ERR {name} must be a number from {min} to {max}, got '{}'", shorten(word)))
    }

    /// The next word, of so many bytes at most.
    pub fn text(&mut self, name: &str, max: usize) -> Result<&'a [u8], String> {
        let word = self.next(name)?;
        if word.len() > max {
            return Err(format!("TOOLARGE {name} may hold {max} bytes, got {}", word.len()));
        }
        Ok(word)
    }

    /// The milliseconds after LEASE.
    pub fn lease(&mut self) -> Result<u64, String> {
        self.number("LEASE", MIN_LEASE_MS, DAY_MS)
    }

    /// What is said of the next word, which is no option of the command.
    pub fn no_option(&mut self, known: &str) -> Result<(), String> {
        let word = self.next("an option")?;
        Err(format!("ERR '{}' is no option; {known}", shorten(word)))
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), String> {
        match self.args.get(self.at) {
            None => Ok(()),
            Some(word) => Err(format!("ERR '{}' is one word too many", shorten(word))),
        }
    }
}

/// Takes the value of an option that may be given once.
pub fn once<T>(name: &str, slot: &mut Option<T>, value: T) -> Result<(), String> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("ERR {name} is given twice")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        for (text, max, expected) in [
            ("", 4, ""),
            ("abcd", 4, "abcd"),
            ("abcde", 4, "abcd"),
            ("abcß", 4, "abc"),
            ("ab€€", 4, "ab"),
            ("ab€€", 5, "ab€"),
            ("🐻🐻", 4, "🐻"),
            ("🐻🐻", 7, "🐻"),
        ] {
            assert_eq!(cut(text.as_bytes(), max), expected.as_bytes(), "{text}, {max}");
        }
        assert_eq!(cut(&[0x80; 9], 4), &[0x80; 4], "no UTF-8");
    }
}

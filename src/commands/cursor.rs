//! Reading a command's words from left to right.

use crate::redis_api::Args;
use crate::server::Words;

/// Words of one list: what is done for each of them, in one piece, takes about a millisecond.
pub const MAX_WORDS: usize = 2_000;

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

    /// Steps over the next word if it is this one, in any case.
    pub fn take(&mut self, word: &str) -> bool {
        let found = self.args.get(self.at).is_some_and(|next| next.eq_ignore_ascii_case(word.as_bytes()));
        self.at += usize::from(found);
        found
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
        let word = self.next(&format!("the number after {name}"))?;
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<u64>().ok());
        number.filter(|number| (min..=max).contains(number)).ok_or_else(|| {
            format!(
                "ERR {name} must be a number from {min} to {max}, got '{}'",
                crate::core::values::value::shorten(word)
            )
        })
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), String> {
        match self.args.get(self.at) {
            None => Ok(()),
            Some(word) => Err(format!("ERR '{}' is one word too many", crate::core::values::value::shorten(word))),
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

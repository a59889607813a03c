//! A line of a job's log, `n ms text`: its number, from 1 on over all attempts, the Unix time, and what the worker wrote.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLine<'a> {
    pub number: u64,
    pub at_ms: u64,
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    pub fn write(&self) -> Vec<u8> {
        let mut line = format!("{} {} ", self.number, self.at_ms).into_bytes();
        line.extend_from_slice(self.text);
        line
    }

    /// None of what is no such line.
    pub fn read(line: &'a [u8]) -> Option<LogLine<'a>> {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let mut number = || std::str::from_utf8(parts.next()?).ok()?.parse().ok();
        let (number, at_ms) = (number()?, number()?);
        Some(LogLine { number, at_ms, text: parts.next()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        for text in [&b""[..], b"sent to 2 of 5", b" a\xff\n"] {
            let line = LogLine { number: 1_000, at_ms: 1_700_000_000_000, text };
            assert_eq!(LogLine::read(&line.write()), Some(line));
        }
        for other in [&b""[..], b"1", b"1 2", b"x 2 text", b"1 x text", b"-1 2 text"] {
            assert_eq!(LogLine::read(other), None, "{other:?}");
        }
    }
}

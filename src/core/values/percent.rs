//! Shares as the catalog writes them: `10%`, or `off`.

/// What switches something off.
pub const OFF: &str = "off";

/// Not a share, or one beyond its bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a share is \"{OFF}\" or a whole number of percent from 1% to {most}%, got '{got}'")]
pub struct PercentError {
    most: u8,
    got: Box<str>,
}

/// Percent; `off` is 0.
pub fn parse(text: &str, most: u8) -> Result<u8, PercentError> {
    if text == OFF {
        return Ok(0);
    }
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    let percent = digits.and_then(|digits| digits.parse::<u8>().ok());
    percent.filter(|percent| (1..=most).contains(percent)).ok_or_else(|| PercentError { most, got: text.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (text, percent) in [("off", 0), ("1%", 1), ("50%", 50), ("100%", 100)] {
            assert_eq!(parse(text, 100), Ok(percent));
        }
        for wrong in ["", "%", "0%", "51%", "+5%", "10", "1.5%", "256%", "Off"] {
            let error = parse(wrong, 50).expect_err(wrong).to_string();
            assert_eq!(error, format!("a share is \"off\" or a whole number of percent from 1% to 50%, got '{wrong}'"));
        }
    }
}

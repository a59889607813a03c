//! What a test of SQL may come to where not everything is known of its operands.

/// The values that a test may have in SQL, of true, false and unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth(u8);

impl Truth {
    pub(super) const TRUE: Truth = Truth(1);
    pub(super) const FALSE: Truth = Truth(2);
    pub(super) const UNKNOWN: Truth = Truth(4);
    /// Nobody can tell.
    pub(super) const ANY: Truth = Truth(7);

    /// Of a test of two values: true, false, or nobody can tell which.
    pub(super) fn of(may_be: bool, may_not_be: bool) -> Truth {
        match (may_be, may_not_be) {
            (true, true) => Truth::TRUE.either(Truth::FALSE),
            (true, false) => Truth::TRUE,
            (false, _) => Truth::FALSE,
        }
    }

    pub(super) fn may_be(self, other: Truth) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn either(self, other: Truth) -> Truth {
        Truth(self.0 | other.0)
    }

    /// True where that may be, and false or unknown otherwise: a test that NULLs within it may have made unknown.
    pub(super) fn if_it_may(may: bool) -> Truth {
        match may {
            true => Truth::ANY,
            false => Truth::FALSE.either(Truth::UNKNOWN),
        }
    }

    pub(super) fn not(self) -> Truth {
        let swapped = (self.0 & 1) << 1 | (self.0 & 2) >> 1;
        Truth(swapped | self.0 & 4)
    }

    /// False before unknown before true.
    pub(super) fn and(self, other: Truth) -> Truth {
        let mut both = Truth(0);
        for (first, second) in [(self, other), (other, self)] {
            if first.may_be(Truth::FALSE) {
                both = both.either(Truth::FALSE);
            }
            if first.may_be(Truth::UNKNOWN) && second.may_be(Truth::TRUE.either(Truth::UNKNOWN)) {
                both = both.either(Truth::UNKNOWN);
            }
        }
        if self.may_be(Truth::TRUE) && other.may_be(Truth::TRUE) {
            both = both.either(Truth::TRUE);
        }
        both
    }

    pub(super) fn or(self, other: Truth) -> Truth {
        self.not().and(other.not()).not()
    }
}

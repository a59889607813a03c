//! Chance that can be repeated: the same seed gives the same history (splitmix64).

pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub fn place(&mut self, length: usize) -> usize {
        self.below(length as u64) as usize
    }

    /// None where there is nothing to choose from.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        match of.is_empty() {
            true => None,
            false => Some(&of[self.place(of.len())]),
        }
    }

    /// From 1 on.
    pub fn number(&mut self, last: u64) -> String {
        (self.below(last) + 1).to_string()
    }
}

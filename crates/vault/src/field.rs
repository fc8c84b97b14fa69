//! Names of declared fields, as errors may repeat them. A `Field` is built from policy and positions, never from a
//! body: an undeclared key could itself be a card number.

use std::fmt;

/// Where a declared field stands: `card.number`, or `cards[3].card.number` in a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    index: Option<usize>,
}

impl Field {
    /// A field of the contract or of the policy.
    pub(crate) fn named(name: &str) -> Self {
        Field { name: name.to_owned(), index: None }
    }

    /// The same field of the card at that position of a batch (from 0).
    pub(crate) fn of_card(name: &str, index: Option<usize>) -> Self {
        Field { name: name.to_owned(), index }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index {
            Some(index) => write!(f, "cards[{index}].{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

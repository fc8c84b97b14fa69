//! What a transcript of a split says, line by line, and whether that is a ceremony at all: two officers who answered
//! for it, custodians of whom none holds two shares, and a threshold that one person cannot meet.

use std::collections::BTreeSet;
use std::str::Lines;

use hsm::{Kcv, Realm};

use super::{Custodian, MAX_SHARES, MIN_THRESHOLD, Transcript, from_hex};
use crate::device::AccountName;

/// What was done in a split of the root key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitFacts {
    /// When, in seconds since 1970.
    pub made: u64,
    /// The device's serial number.
    pub device: [u8; 16],
    /// Which money it is for.
    pub realm: Realm,
    /// The set of shares.
    pub set: [u8; 16],
    /// How many custodians open the device together.
    pub threshold: u8,
    /// The root key's check value.
    pub root_check: Kcv,
    /// The officers who answered for it.
    pub officers: Vec<AccountName>,
    /// Custodian and check value of every share, in order of number.
    pub shares: Vec<(Custodian, Kcv)>,
}

/// Why a transcript shows no ceremony.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactsError {
    /// A line is missing, out of order, or says nothing that this program writes.
    #[error("the transcript's lines are not those of a split")]
    Lines,
    /// Nobody, or one person, answered for it.
    #[error("the transcript does not name two different officers who answered for the split")]
    Officers,
    /// Somebody holds two shares.
    #[error("the transcript gives two shares to one custodian")]
    Custodians,
    /// One person could open the device, or nobody.
    #[error("the transcript's threshold is below two, or above the number of its shares")]
    Threshold,
}

impl Transcript {
    /// Reads what the transcript says.
    ///
    /// # Errors
    /// [`FactsError`].
    pub fn facts(&self) -> Result<SplitFacts, FactsError> {
        let facts = read(self.body()).ok_or(FactsError::Lines)?;
        let distinct: BTreeSet<&str> = facts.officers.iter().map(AccountName::as_str).collect();
        if distinct.len() < 2 || distinct.len() != facts.officers.len() {
            return Err(FactsError::Officers);
        }
        let holders: BTreeSet<&Custodian> = facts.shares.iter().map(|(custodian, _)| custodian).collect();
        if holders.len() != facts.shares.len() {
            return Err(FactsError::Custodians);
        }
        if facts.threshold < MIN_THRESHOLD || usize::from(facts.threshold) > facts.shares.len() {
            return Err(FactsError::Threshold);
        }
        Ok(facts)
    }
}

fn read(body: &str) -> Option<SplitFacts> {
    let mut lines = body.lines();
    // The title was judged when the transcript was read.
    lines.next()?;
    (lines.next()? == "act split").then_some(())?;
    let (made, _) = after(&mut lines, "at ")?.split_once(' ')?;
    after(&mut lines, "tool ")?;
    let device = from_hex(after(&mut lines, "device ")?)?;
    let realm = after(&mut lines, "realm ")?;
    let realm = [Realm::Live, Realm::Test].into_iter().find(|known| known.as_str() == realm)?;
    let set = from_hex(after(&mut lines, "set ")?)?;
    let (threshold, count) = after(&mut lines, "threshold ")?.split_once(" of ")?;
    let (threshold, count): (u8, u8) = (threshold.parse().ok()?, count.parse().ok()?);
    let root_check = Kcv(from_hex(after(&mut lines, "root-check ")?)?);
    let (mut officers, mut shares) = (Vec::new(), Vec::new());
    let mut rest = lines.peekable();
    while let Some(name) = rest.peek().and_then(|line| line.strip_prefix("officer ")) {
        officers.push(AccountName::new(name).ok()?);
        rest.next();
    }
    for id in 1..=count.min(MAX_SHARES) {
        let line = rest.next()?.strip_prefix(&format!("share {id} "))?;
        let (custodian, check) = line.split_once(" check ")?;
        shares.push((custodian.parse().ok()?, Kcv(from_hex(check)?)));
    }
    rest.next()?.strip_prefix("signer ")?;
    let whole = rest.next().is_none() && count <= MAX_SHARES;
    whole.then_some(SplitFacts {
        made: made.parse().ok()?,
        device,
        realm,
        set,
        threshold,
        root_check,
        officers,
        shares,
    })
}

fn after<'a>(lines: &mut Lines<'a>, word: &str) -> Option<&'a str> {
    lines.next()?.strip_prefix(word)
}

#[cfg(test)]
mod laws;

//! Splitting the root key and making it again. The arithmetic over GF(256) is `vsss-rs`, in constant time; every
//! check that it leaves to its caller is here.

use std::collections::BTreeSet;
use std::convert::Infallible;

use hsm::{HsmError, Kcv, Realm};
use rand_core::{TryCryptoRng, TryRng};
use secrecy::{ExposeSecret, SecretBox};
use vsss_rs::Gf256;
use zeroize::Zeroizing;

use super::share::MAC_LEN;
use super::{Custodian, MAX_SHARES, MIN_THRESHOLD, Share, ShareSet};
use crate::device::primitives;
use crate::state::RootKey;

/// Why no shares were made.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The numbers do not fit each other.
    #[error(
        "the threshold must be 2 or more and no more than the number of custodians, of whom there may be 16; \
         3 of 5 is a good choice"
    )]
    Numbers,
    /// One person would hold two shares.
    #[error("{0} is named twice; every custodian holds one share")]
    SameCustodian(Custodian),
    /// No random bytes, or a primitive failed.
    #[error("the device failed inside: {0}")]
    Device(#[from] HsmError),
}

/// Why shares make no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// Not enough of them.
    #[error("{have} of the {need} shares that open this device are here")]
    TooFew {
        /// Distinct shares given.
        have: u8,
        /// The set's threshold.
        need: u8,
    },
    /// One share given twice.
    #[error("share {0} was given twice")]
    SameShare(u8),
    /// Two shares of one person.
    #[error("{0} gave two shares; each must come from another custodian")]
    SameCustodian(Custodian),
    /// Shares of different splits, devices or realms.
    #[error("the shares are of different sets; take all from the same ceremony")]
    MixedSets,
    /// The key they make is not the one that was split.
    #[error(
        "the shares do not make the key that was split: one of them is wrong; compare each one's check value"
    )]
    CheckValue,
    /// The key is right, and this share's own facts were altered.
    #[error("the share of {0} was altered since the ceremony")]
    Altered(Custodian),
    /// A primitive failed.
    #[error("the device failed inside: {0}")]
    Device(#[from] HsmError),
}

/// Splits the root key into one share for each custodian, any `threshold` of which make it again.
///
/// # Errors
/// [`SplitError`].
pub fn split(
    root: &RootKey,
    serial: [u8; 16],
    realm: Realm,
    threshold: u8,
    custodians: &[Custodian],
) -> Result<Vec<Share>, SplitError> {
    let count = u8::try_from(custodians.len()).ok().filter(|&count| count <= MAX_SHARES);
    let count = count.filter(|&count| (MIN_THRESHOLD..=count).contains(&threshold));
    let count = count.ok_or(SplitError::Numbers)?;
    let mut seen = BTreeSet::new();
    if let Some(twice) = custodians.iter().find(|&name| !seen.insert(name)) {
        return Err(SplitError::SameCustodian(twice.clone()));
    }
    let mut id = [0; 16];
    primitives::random(&mut id)?;
    let set = ShareSet { id, serial, realm, threshold, count, root_kcv: root_check_value(root)? };
    let mut drawn = Drawn::for_split(threshold)?;
    let dealt = Gf256::split_bytes(usize::from(threshold), usize::from(count), root.expose(), &mut drawn);
    let broken = HsmError::Internal { code: crate::device::fault::PRIMITIVE };
    let dealt = dealt.map_err(|_| broken)?.into_iter().map(Zeroizing::new).collect::<Vec<_>>();
    if drawn.exhausted {
        return Err(HsmError::Internal { code: crate::device::fault::RANDOM }.into());
    }
    let mut shares = Vec::with_capacity(custodians.len());
    for (bytes, custodian) in dealt.iter().zip(custodians) {
        let (&id, part) = bytes.split_first().ok_or(broken)?;
        let part = <&[u8; 32]>::try_from(part).map_err(|_| broken)?;
        let part = SecretBox::init_with_mut(|out: &mut [u8; 32]| out.copy_from_slice(part));
        let mut share = Share { set: set.clone(), id, custodian: custodian.clone(), part, mac: [0; MAC_LEN] };
        share.authenticate(root)?;
        shares.push(share);
    }
    // What cannot be put together again must never replace the key.
    let first = shares.get(..usize::from(threshold)).unwrap_or_default();
    combine_refs(&first.iter().collect::<Vec<_>>()).map_err(|_| broken)?;
    Ok(shares)
}

/// Makes the root key again.
///
/// # Errors
/// [`CombineError`]; nothing of a wrong key is given out.
pub fn combine(shares: &[Share]) -> Result<RootKey, CombineError> {
    combine_refs(&shares.iter().collect::<Vec<_>>())
}

fn combine_refs(shares: &[&Share]) -> Result<RootKey, CombineError> {
    let Some(set) = shares.first().map(|share| share.set()) else {
        return Err(CombineError::TooFew { have: 0, need: MIN_THRESHOLD });
    };
    if shares.iter().any(|share| share.set() != set) {
        return Err(CombineError::MixedSets);
    }
    let (mut ids, mut people) = (BTreeSet::new(), BTreeSet::new());
    for share in shares {
        if !ids.insert(share.id()) {
            return Err(CombineError::SameShare(share.id()));
        }
        if !people.insert(share.custodian()) {
            return Err(CombineError::SameCustodian(share.custodian().clone()));
        }
    }
    if shares.len() < usize::from(set.threshold) {
        let have = u8::try_from(shares.len()).unwrap_or(u8::MAX);
        return Err(CombineError::TooFew { have, need: set.threshold });
    }
    let root = interpolate(shares)?;
    if root_check_value(&root)? != set.root_kcv {
        return Err(CombineError::CheckValue);
    }
    // Forty bits of check value tell a slip; the code of each share tells a forgery.
    for share in shares {
        if !share.belongs_to(&root)? {
            return Err(CombineError::Altered(share.custodian().clone()));
        }
    }
    Ok(root)
}

fn interpolate(shares: &[&Share]) -> Result<RootKey, CombineError> {
    let points = shares.iter().map(|share| {
        let mut point = Vec::with_capacity(33);
        point.push(share.id());
        point.extend_from_slice(share.part.expose_secret());
        point
    });
    let points = Zeroizing::new(points.collect::<Vec<_>>());
    let key = Gf256::combine_bytes(points.as_slice()).map(Zeroizing::new);
    let key = key.map_err(|_| CombineError::CheckValue)?;
    RootKey::fill_with(|out| {
        let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(|_| CombineError::CheckValue)?;
        out.copy_from_slice(key);
        Ok(())
    })
}

/// Check value of a root key: leftmost five bytes of AES-CMAC over a zero block (ANSI X9.24-1:2017).
pub(super) fn root_check_value(root: &RootKey) -> Result<Kcv, HsmError> {
    let [a, b, c, d, e, ..] = primitives::cmac_aes256(root.expose(), &[0; 16])?;
    Ok(Kcv([a, b, c, d, e]))
}

/// Random bytes drawn beforehand, so that a generator that fails is an error here and not a panic over there.
struct Drawn {
    pool: Zeroizing<Vec<u8>>,
    exhausted: bool,
}

impl Drawn {
    fn for_split(threshold: u8) -> Result<Self, HsmError> {
        // One draw of up to eight bytes for each of 32 bytes and each coefficient.
        let mut pool = Zeroizing::new(vec![0; 32 * 8 * usize::from(threshold)]);
        primitives::random(&mut pool)?;
        Ok(Self { pool, exhausted: false })
    }

    fn take(&mut self, out: &mut [u8]) {
        match self.pool.len().checked_sub(out.len()) {
            Some(left) => {
                out.copy_from_slice(self.pool.get(left..).unwrap_or_default());
                self.pool.truncate(left);
            }
            None => self.exhausted = true,
        }
    }
}

impl TryRng for Drawn {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut out = [0; 4];
        self.take(&mut out);
        Ok(u32::from_le_bytes(out))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut out = [0; 8];
        self.take(&mut out);
        Ok(u64::from_le_bytes(out))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.take(out);
        Ok(())
    }
}

impl TryCryptoRng for Drawn {}

#[cfg(test)]
pub(in crate::ceremony) mod laws;

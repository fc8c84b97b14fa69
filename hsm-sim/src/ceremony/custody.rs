//! The public record of a split, kept beside the sealed state in place of the root key: what a sealed device needs to
//! know to be opened. It holds check values and names, no part of the key, and is authenticated under the key, so
//! that an altered record is found when the device opens.

use hsm::{HsmError, Kcv, Realm};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Custodian, Share, ShareSet, from_hex, to_hex};
use crate::device::primitives;
use crate::protocol::codec::Writer;
use crate::state::RootKey;

const FORMAT: u16 = 1;
const MAC_INFO: &[u8] = b"pangate/hsm-sim/custody-mac/v1";

/// Who holds which share of which set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Custody {
    /// The set.
    pub set: ShareSet,
    /// When it was made, in seconds since 1970.
    pub made: u64,
    /// Custodian and check value of every share, in order of number, beginning with 1.
    pub holders: Vec<(Custodian, Kcv)>,
    mac: [u8; 32],
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CustodyError {
    /// Not such a record.
    #[error("custody.json is no record of a key ceremony; restore it from its backup")]
    Malformed,
    /// Altered, or another device's.
    #[error("custody.json was altered since the ceremony; compare it with the signed transcript")]
    Altered,
    /// A primitive failed.
    #[error("the device failed inside: {0}")]
    Device(#[from] HsmError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u16,
    device: String,
    realm: String,
    set: String,
    threshold: u8,
    root_check: String,
    made_unix: u64,
    shares: Vec<Holder>,
    mac: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    custodian: String,
    check: String,
}

impl Custody {
    /// The record of these shares, authenticated under the key they make.
    ///
    /// # Errors
    /// [`CustodyError::Malformed`] without a whole set.
    pub fn of(shares: &[Share], root: &RootKey, made: u64) -> Result<Self, CustodyError> {
        let set = shares.first().map(|share| share.set().clone()).ok_or(CustodyError::Malformed)?;
        if shares.len() != usize::from(set.count) {
            return Err(CustodyError::Malformed);
        }
        let holders = shares.iter().map(|share| Ok((share.custodian().clone(), share.check_value()?)));
        let holders = holders.collect::<Result<Vec<_>, HsmError>>()?;
        let mut record = Self { set, made, holders, mac: [0; 32] };
        record.mac = record.code_under(root)?;
        Ok(record)
    }

    /// Reads a record; whether it is genuine is known only once the key is there: [`Self::confirm`].
    ///
    /// # Errors
    /// [`CustodyError::Malformed`].
    pub fn read(bytes: &[u8]) -> Result<Self, CustodyError> {
        serde_json::from_slice::<Document>(bytes).ok().and_then(from_document).ok_or(CustodyError::Malformed)
    }

    /// The record as its file holds it.
    #[must_use]
    pub fn write(&self) -> String {
        let shares = self
            .holders
            .iter()
            .map(|(custodian, check)| Holder { custodian: custodian.to_string(), check: to_hex(&check.0) });
        let document = Document {
            format: FORMAT,
            device: to_hex(&self.set.serial),
            realm: self.set.realm.as_str().to_owned(),
            set: to_hex(&self.set.id),
            threshold: self.set.threshold,
            root_check: to_hex(&self.set.root_kcv.0),
            made_unix: self.made,
            shares: shares.collect(),
            mac: to_hex(&self.mac),
        };
        let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
        text.push('\n');
        text
    }

    /// Is the record the one that was made with this key?
    ///
    /// # Errors
    /// [`CustodyError::Altered`].
    pub fn confirm(&self, root: &RootKey) -> Result<(), CustodyError> {
        let same = subtle::ConstantTimeEq::ct_eq(&self.code_under(root)?[..], &self.mac[..]);
        if bool::from(same) { Ok(()) } else { Err(CustodyError::Altered) }
    }

    fn code_under(&self, root: &RootKey) -> Result<[u8; 32], HsmError> {
        let mut key = Zeroizing::new([0; 32]);
        primitives::hkdf_sha256(&self.set.id, root.expose(), MAC_INFO, key.as_mut_slice())?;
        let mut said = Writer::with_capacity(512);
        said.u16(FORMAT);
        self.set.put(&mut said);
        said.u64(self.made);
        for (custodian, check) in &self.holders {
            let name = custodian.as_str().as_bytes();
            said.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
            said.raw(name);
            said.raw(&check.0);
        }
        primitives::hmac_sha256(key.as_slice(), said.as_slice())
    }
}

fn from_document(from: Document) -> Option<Custody> {
    let realm = [Realm::Live, Realm::Test].into_iter().find(|realm| realm.as_str() == from.realm)?;
    let holders = from
        .shares
        .iter()
        .map(|holder| Some((holder.custodian.parse::<Custodian>().ok()?, Kcv(from_hex(&holder.check)?))));
    let holders = holders.collect::<Option<Vec<_>>>()?;
    let set = ShareSet {
        id: from_hex(&from.set)?,
        serial: from_hex(&from.device)?,
        realm,
        threshold: from.threshold,
        count: u8::try_from(holders.len()).ok()?,
        root_kcv: Kcv(from_hex(&from.root_check)?),
    };
    let made = from.made_unix;
    (from.format == FORMAT && set.holds()).then_some(Custody {
        set,
        made,
        holders,
        mac: from_hex(&from.mac)?,
    })
}

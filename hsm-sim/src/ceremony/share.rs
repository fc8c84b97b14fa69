//! One custodian's share: which set it is of, whose it is, its part of the key, and what proves it whole.

use hsm::{HsmError, Kcv, Realm};
use secrecy::{ExposeSecret, SecretBox};
use zeroize::Zeroizing;

use super::{Custodian, MAX_SHARES, MIN_THRESHOLD};
use crate::device::primitives;
use crate::protocol::codec::{Malformed, Reader, Writer};
use crate::state::RootKey;

const FORMAT: u8 = 1;
const MAC_INFO: &[u8] = b"pangate/hsm-sim/share-mac/v1";
const SUM_DOMAIN: &[u8] = b"pangate/hsm-sim/share-sum/v1";
/// Bytes of the authentication code inside a share.
pub(super) const MAC_LEN: usize = 16;
/// Bytes of the checksum behind a share.
const SUM_LEN: usize = 8;

/// What the shares of one split have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareSet {
    /// Which split this was: random, so that shares of two splits of one key never pass for one set.
    pub id: [u8; 16],
    /// Which device it opens.
    pub serial: [u8; 16],
    /// Which money that device serves.
    pub realm: Realm,
    /// How many shares open it, [`MIN_THRESHOLD`] to `count`.
    pub threshold: u8,
    /// How many shares were made, at most [`MAX_SHARES`].
    pub count: u8,
    /// Check value of the key they make.
    pub root_kcv: Kcv,
}

impl ShareSet {
    pub(super) fn holds(&self) -> bool {
        self.threshold >= MIN_THRESHOLD && self.threshold <= self.count && self.count <= MAX_SHARES
    }

    pub(super) fn put(&self, out: &mut Writer) {
        out.raw(&self.id);
        out.raw(&self.serial);
        out.u8(self.realm.code());
        out.u8(self.threshold);
        out.u8(self.count);
        out.raw(&self.root_kcv.0);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Malformed> {
        let set = Self {
            id: from.array()?,
            serial: from.array()?,
            realm: Realm::from_code(from.u8()?).ok_or(Malformed)?,
            threshold: from.u8()?,
            count: from.u8()?,
            root_kcv: Kcv(from.array()?),
        };
        if set.holds() { Ok(set) } else { Err(Malformed) }
    }
}

/// One share. No `Debug`, no `Clone`; its part is wiped on drop.
pub struct Share {
    pub(super) set: ShareSet,
    pub(super) id: u8,
    pub(super) custodian: Custodian,
    pub(super) part: SecretBox<[u8; 32]>,
    pub(super) mac: [u8; MAC_LEN],
}

impl Share {
    /// The split it comes from.
    #[must_use]
    pub fn set(&self) -> &ShareSet {
        &self.set
    }

    /// Its number, 1 to the set's count.
    #[must_use]
    pub fn id(&self) -> u8 {
        self.id
    }

    /// Whose it is.
    #[must_use]
    pub fn custodian(&self) -> &Custodian {
        &self.custodian
    }

    /// Its own check value, which the custodian compares with the transcript: says nothing about the part.
    ///
    /// # Errors
    /// [`HsmError::Internal`] when the primitive fails.
    pub fn check_value(&self) -> Result<Kcv, HsmError> {
        let [a, b, c, d, e, ..] = primitives::cmac_aes256(self.part.expose_secret(), &[0; 16])?;
        Ok(Kcv([a, b, c, d, e]))
    }

    /// Is this the very share that was dealt with this key?
    pub(super) fn belongs_to(&self, root: &RootKey) -> Result<bool, HsmError> {
        Ok(subtle::ConstantTimeEq::ct_eq(&self.code_under(root)?[..], &self.mac[..]).into())
    }

    pub(super) fn authenticate(&mut self, root: &RootKey) -> Result<(), HsmError> {
        self.mac = self.code_under(root)?;
        Ok(())
    }

    fn code_under(&self, root: &RootKey) -> Result<[u8; MAC_LEN], HsmError> {
        let mut key = Zeroizing::new([0; 32]);
        primitives::hkdf_sha256(&self.set.id, root.expose(), MAC_INFO, key.as_mut_slice())?;
        let mut said = Writer::with_capacity(160);
        self.put_head(&mut said);
        let mac = primitives::hmac_sha256(key.as_slice(), said.as_slice())?;
        let [code, _] = halves(mac);
        Ok(code)
    }

    fn put_head(&self, out: &mut Writer) {
        out.u8(FORMAT);
        self.set.put(out);
        out.u8(self.id);
        let name = self.custodian.as_str().as_bytes();
        out.u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.raw(name);
        out.raw(self.part.expose_secret());
    }

    /// The share as bytes with a checksum, in memory that is wiped.
    pub(crate) fn encode(&self) -> Writer {
        let mut out = Writer::with_capacity(192);
        self.put_head(&mut out);
        out.raw(&self.mac);
        let sum = checksum(out.as_slice());
        out.raw(&sum);
        out
    }

    /// Reads what [`Self::encode`] wrote. The checksum finds slips, not forgeries: those are found when the key is
    /// made.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let (body, sum) = bytes.split_last_chunk::<SUM_LEN>().ok_or(Malformed)?;
        if checksum(body) != *sum {
            return Err(Malformed);
        }
        let mut from = Reader::new(body);
        if from.u8()? != FORMAT {
            return Err(Malformed);
        }
        let set = ShareSet::read(&mut from)?;
        let id = from.u8()?;
        if id == 0 || id > set.count {
            return Err(Malformed);
        }
        let name = (0..from.u8()?).map(|_| from.u8()).collect::<Result<Vec<u8>, _>>()?;
        let custodian = String::from_utf8(name).ok().and_then(|name| name.parse().ok()).ok_or(Malformed)?;
        let part = from.slice::<32>()?;
        let part = SecretBox::init_with_mut(|out: &mut [u8; 32]| out.copy_from_slice(part));
        let mac = from.array()?;
        from.finish()?;
        Ok(Self { set, id, custodian, part, mac })
    }
}

fn checksum(body: &[u8]) -> [u8; SUM_LEN] {
    let mut said = Zeroizing::new(Vec::with_capacity(SUM_DOMAIN.len() + body.len()));
    said.extend_from_slice(SUM_DOMAIN);
    said.extend_from_slice(body);
    let [a, b, c, d, e, f, g, h, ..] = primitives::sha256(&said);
    [a, b, c, d, e, f, g, h]
}

fn halves(bytes: [u8; 32]) -> [[u8; 16]; 2] {
    let mut out = [[0; 16]; 2];
    for (half, chunk) in out.iter_mut().zip(bytes.as_chunks::<16>().0) {
        *half = *chunk;
    }
    out
}

//! What a sealed key is bound to. A context is built from typed parts and has one encoding, in which every part
//! carries its length, so no two contexts share bytes. Kept out: raw associated data; no caller can pass any.

use crate::data_key::WrapSuite;
use crate::error::{HsmError, InputFault};
use crate::names::{KeyRef, Realm};

/// The first field of every data-key context: names the use and the version of the encoding.
pub const CONTEXT_DOMAIN: &str = "pangate/dk/v1";

/// Everything a tenant's sealed data key is bound to. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    realm: Realm,
    suite: WrapSuite,
    kek: KeyRef,
    data_key_id: [u8; 16],
    tenant: String,
    class: String,
    epoch: u32,
}

impl Context {
    /// The longest tenant or class name, in bytes.
    pub const MAX_NAME: usize = 128;

    /// The context of one tenant's data key: change any part and the sealed key no longer opens.
    ///
    /// # Errors
    /// [`HsmError::InvalidInput`] when `tenant` or `class` is empty or longer than [`Self::MAX_NAME`] bytes.
    pub fn data_key(
        realm: Realm,
        kek: &KeyRef,
        suite: WrapSuite,
        data_key_id: [u8; 16],
        tenant: &str,
        class: &str,
        epoch: u32,
    ) -> Result<Self, HsmError> {
        for name in [tenant, class] {
            if name.is_empty() {
                return Err(HsmError::InvalidInput(InputFault::Empty));
            }
            if name.len() > Self::MAX_NAME {
                return Err(HsmError::InvalidInput(InputFault::TooLong));
            }
        }
        Ok(Self {
            realm,
            suite,
            kek: kek.clone(),
            data_key_id,
            tenant: tenant.to_owned(),
            class: class.to_owned(),
            epoch,
        })
    }

    /// The one encoding: for each part its length as a big-endian `u32`, then its bytes.
    /// Parts: domain, realm, suite, KEK label, KEK version, data key id, tenant, class, epoch.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160);
        let parts: [&[u8]; 9] = [
            CONTEXT_DOMAIN.as_bytes(),
            &[self.realm.code()],
            &[self.suite.code()],
            self.kek.label.as_str().as_bytes(),
            &self.kek.version.get().to_be_bytes(),
            &self.data_key_id,
            self.tenant.as_bytes(),
            self.class.as_bytes(),
            &self.epoch.to_be_bytes(),
        ];
        for part in parts {
            // Every part is at most 128 bytes, so the conversion cannot fail.
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_be_bytes());
            out.extend_from_slice(part);
        }
        out
    }

    /// Which money.
    #[must_use]
    pub fn realm(&self) -> Realm {
        self.realm
    }

    /// How the key is sealed.
    #[must_use]
    pub fn suite(&self) -> WrapSuite {
        self.suite
    }

    /// The key that seals.
    #[must_use]
    pub fn kek(&self) -> &KeyRef {
        &self.kek
    }

    /// The data key's own id.
    #[must_use]
    pub fn data_key_id(&self) -> &[u8; 16] {
        &self.data_key_id
    }

    /// Whose key it is.
    #[must_use]
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    /// What it protects, such as `card`.
    #[must_use]
    pub fn class(&self) -> &str {
        &self.class
    }

    /// Which of the tenant's keys of this class, counted upwards.
    #[must_use]
    pub fn epoch(&self) -> u32 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{KeyLabel, KeyVersion};
    use proptest::prelude::*;

    fn context(tenant: &str, class: &str, epoch: u32, id: [u8; 16], version: u32) -> Context {
        let kek = KeyLabel::KEK_CARD.at(KeyVersion::new(version).unwrap());
        Context::data_key(Realm::Test, &kek, WrapSuite::Aes256GcmData, id, tenant, class, epoch).unwrap()
    }

    #[test]
    fn the_encoding_is_frozen() {
        let bytes = context("clinic", "card", 7, [0x11; 16], 1).encode();
        let mut expected = Vec::new();
        expected.extend_from_slice(b"\0\0\0\x0dpangate/dk/v1");
        expected.extend_from_slice(b"\0\0\0\x01\x02");
        expected.extend_from_slice(b"\0\0\0\x01\x01");
        expected.extend_from_slice(b"\0\0\0\x08kek/card");
        expected.extend_from_slice(b"\0\0\0\x04\0\0\0\x01");
        expected.extend_from_slice(b"\0\0\0\x10");
        expected.extend_from_slice(&[0x11; 16]);
        expected.extend_from_slice(b"\0\0\0\x06clinic");
        expected.extend_from_slice(b"\0\0\0\x04card");
        expected.extend_from_slice(b"\0\0\0\x04\0\0\0\x07");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_context_without_a_tenant_cannot_be_made() {
        let kek = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
        let make = |tenant: &str, class: &str| {
            Context::data_key(Realm::Test, &kek, WrapSuite::Aes256GcmData, [0; 16], tenant, class, 1)
        };
        assert_eq!(make("", "card"), Err(HsmError::InvalidInput(InputFault::Empty)));
        assert_eq!(make("t", ""), Err(HsmError::InvalidInput(InputFault::Empty)));
        assert_eq!(make(&"t".repeat(129), "card"), Err(HsmError::InvalidInput(InputFault::TooLong)));
    }

    proptest! {
        #[test]
        fn different_contexts_never_share_an_encoding(
            a in ("[a-c]{1,6}", "[a-c]{1,6}", 0u32..3, any::<bool>(), 1u32..3),
            b in ("[a-c]{1,6}", "[a-c]{1,6}", 0u32..3, any::<bool>(), 1u32..3),
        ) {
            let make = |p: &(String, String, u32, bool, u32)| context(&p.0, &p.1, p.2, [u8::from(p.3); 16], p.4);
            prop_assert_eq!(a == b, make(&a).encode() == make(&b).encode());
        }
    }
}

//! Keys as objects of the token: how they are called there, how they are found, what their attributes say, and what
//! a key must be before it is used. A key is found by label, id and class together, and there must be exactly one.

use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::fault::plain;
use crate::error::{Finding, HsmError};
use crate::names::{KeyKind, KeyLabel, KeyRef, KeyVersion};

/// `CKA_ID` of a key: `label#%08x`.
pub(super) fn id_of(key: &KeyRef) -> Vec<u8> {
    format!("{}#{:08x}", key.label, key.version.get()).into_bytes()
}

/// `CKA_ID` of a key's spare: what stands in for a key while it is changed in place. It names no key of ours, so that
/// nothing ever uses it.
pub(super) fn spare_of(key: &KeyRef) -> Vec<u8> {
    [&id_of(key), SPARE].concat()
}

/// What the id of a spare ends with.
const SPARE: &[u8] = b"~";

/// The key that an id names; `None` when it is none of ours.
pub(super) fn ref_of(id: &[u8]) -> Option<KeyRef> {
    let (label, version) = std::str::from_utf8(id).ok()?.split_once('#')?;
    let digits = version.len() == 8 && version.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let version = u32::from_str_radix(version, 16).ok().filter(|_| digits)?;
    Some(KeyLabel::new(label).ok()?.at(KeyVersion::new(version)?))
}

/// What the token says about one key. What it does not say is `None` and never taken for good.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) label: Vec<u8>,
    pub(super) id: Vec<u8>,
    key_type: Option<KeyType>,
    length: Option<u64>,
    sensitive: Option<bool>,
    extractable: Option<bool>,
    always_sensitive: Option<bool>,
    never_extractable: Option<bool>,
    local: Option<bool>,
    encrypt: bool,
    decrypt: bool,
    sign: bool,
    wrap: bool,
    unwrap: bool,
    derive: bool,
    mechanisms: Option<Vec<MechanismType>>,
}

const ASKED: [AttributeType; 16] = [
    AttributeType::Label,
    AttributeType::Id,
    AttributeType::KeyType,
    AttributeType::ValueLen,
    AttributeType::Sensitive,
    AttributeType::Extractable,
    AttributeType::AlwaysSensitive,
    AttributeType::NeverExtractable,
    AttributeType::Local,
    AttributeType::Encrypt,
    AttributeType::Decrypt,
    AttributeType::Sign,
    AttributeType::Wrap,
    AttributeType::Unwrap,
    AttributeType::Derive,
    AttributeType::AllowedMechanisms,
];

impl Facts {
    /// Reads them from the token.
    pub(super) fn read(session: &Session, handle: ObjectHandle) -> Result<Self, HsmError> {
        let mut facts = Self::default();
        for attribute in session.get_attributes(handle, &ASKED).map_err(plain)? {
            match attribute {
                Attribute::Label(bytes) => facts.label = bytes,
                Attribute::Id(bytes) => facts.id = bytes,
                Attribute::KeyType(kind) => facts.key_type = Some(kind),
                Attribute::ValueLen(len) => facts.length = Some(*len),
                Attribute::Sensitive(is) => facts.sensitive = Some(is),
                Attribute::Extractable(is) => facts.extractable = Some(is),
                Attribute::AlwaysSensitive(is) => facts.always_sensitive = Some(is),
                Attribute::NeverExtractable(is) => facts.never_extractable = Some(is),
                Attribute::Local(is) => facts.local = Some(is),
                Attribute::Encrypt(is) => facts.encrypt = is,
                Attribute::Decrypt(is) => facts.decrypt = is,
                Attribute::Sign(is) => facts.sign = is,
                Attribute::Wrap(is) => facts.wrap = is,
                Attribute::Unwrap(is) => facts.unwrap = is,
                Attribute::Derive(is) => facts.derive = is,
                Attribute::AllowedMechanisms(list) => facts.mechanisms = Some(list),
                _ => {}
            }
        }
        Ok(facts)
    }

    /// The key these are about, if its label and its id agree on one of ours.
    pub(super) fn names(&self) -> Option<KeyRef> {
        ref_of(&self.id).filter(|key| key.label.as_str().as_bytes() == self.label)
    }

    /// What the key is for.
    pub(super) fn kind(&self) -> Option<KeyKind> {
        match self.key_type? {
            KeyType::AES => Some(KeyKind::Kek256),
            KeyType::GENERIC_SECRET | KeyType::SHA256_HMAC => Some(KeyKind::Mac256),
            KeyType::EC_EDWARDS => Some(KeyKind::SignEd25519),
            _ => None,
        }
    }

    /// Does the token let the key protect something new?
    pub(super) fn protects(&self, kind: KeyKind) -> bool {
        match kind {
            KeyKind::Kek256 => self.encrypt,
            KeyKind::Mac256 | KeyKind::SignEd25519 => self.sign,
        }
    }

    /// Could the key leave the device?
    pub(super) fn extractable(&self) -> bool {
        self.extractable != Some(false)
    }

    /// Was it made inside?
    pub(super) fn local(&self) -> bool {
        self.local == Some(true)
    }

    /// What makes the key unfit for use, the worst first.
    pub(super) fn finding(&self) -> Option<Finding> {
        let Some(kind) = self.kind() else { return Some(Finding::WrongKind) };
        let second = match kind {
            KeyKind::Kek256 => self.sign,
            KeyKind::Mac256 | KeyKind::SignEd25519 => self.encrypt || self.decrypt,
        };
        // An Edwards key has one size; the others state theirs.
        let sized = kind == KeyKind::SignEd25519 || self.length == Some(32);
        let only = [mechanism_of(kind)];
        let listed = self.mechanisms.as_ref().is_none_or(|list| list.is_empty() || *list == only);
        [
            (self.extractable != Some(false), Finding::Extractable),
            (self.sensitive != Some(true), Finding::NotSensitive),
            (self.wrap && self.decrypt, Finding::WrapsAndDecrypts),
            (self.wrap, Finding::Wraps),
            (self.unwrap, Finding::Unwraps),
            (self.derive, Finding::Derives),
            (second, Finding::SecondPurpose),
            (self.always_sensitive != Some(true), Finding::NotAlwaysSensitive),
            (self.never_extractable != Some(true), Finding::NotNeverExtractable),
            (self.local != Some(true), Finding::NotLocal),
            (!sized, Finding::WrongKind),
            (!listed, Finding::OtherMechanisms),
        ]
        .into_iter()
        .find_map(|(is, finding)| is.then_some(finding))
    }
}

/// The one mechanism of a kind of key.
pub(super) fn mechanism_of(kind: KeyKind) -> MechanismType {
    match kind {
        KeyKind::Kek256 => MechanismType::AES_GCM,
        KeyKind::Mac256 => MechanismType::SHA256_HMAC,
        KeyKind::SignEd25519 => MechanismType::EDDSA,
    }
}

/// The one object of this key that can be used.
///
/// [`HsmError::KeyNotFound`] may also mean that the token is gone; the caller looks.
pub(super) fn find(session: &Session, key: &KeyRef) -> Result<ObjectHandle, HsmError> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        found.extend(find_class(session, key, class)?);
    }
    match *found.as_slice() {
        [] => Err(HsmError::KeyNotFound),
        [one] => Ok(one),
        _ => Err(HsmError::KeyAmbiguous { found: u32::try_from(found.len()).unwrap_or(u32::MAX) }),
    }
}

/// Every object of this key of one class.
pub(super) fn find_class(
    session: &Session,
    key: &KeyRef,
    class: ObjectClass,
) -> Result<Vec<ObjectHandle>, HsmError> {
    find_id(session, key, class, id_of(key))
}

/// The spare of a key, if an interrupted change left one.
pub(super) fn find_spares(session: &Session, key: &KeyRef) -> Result<Vec<ObjectHandle>, HsmError> {
    let mut found = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        found.extend(find_id(session, key, class, spare_of(key))?);
    }
    Ok(found)
}

fn find_id(
    session: &Session,
    key: &KeyRef,
    class: ObjectClass,
    id: Vec<u8>,
) -> Result<Vec<ObjectHandle>, HsmError> {
    let label = Attribute::Label(key.label.as_str().as_bytes().to_vec());
    let template = [Attribute::Class(class), Attribute::Token(true), label, Attribute::Id(id)];
    session.find_objects(&template).map_err(plain)
}

/// Every key object in the token that names one of ours, with its facts.
pub(super) fn survey(session: &Session) -> Result<Vec<(KeyRef, ObjectHandle, Facts)>, HsmError> {
    let mut keys = Vec::new();
    for class in [ObjectClass::SECRET_KEY, ObjectClass::PRIVATE_KEY] {
        let template = [Attribute::Class(class), Attribute::Token(true)];
        for handle in session.find_objects(&template).map_err(plain)? {
            let facts = Facts::read(session, handle)?;
            if let Some(key) = facts.names() {
                keys.push((key, handle, facts));
            }
        }
    }
    keys.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(keys)
}

/// The public half of a signing key: 32 bytes, which the token keeps bare or as a DER octet string.
pub(super) fn public_half(session: &Session, key: &KeyRef) -> Result<Option<[u8; 32]>, HsmError> {
    let places = find_class(session, key, ObjectClass::PUBLIC_KEY)?;
    let &[place] = places.as_slice() else { return Ok(None) };
    for attribute in session.get_attributes(place, &[AttributeType::EcPoint]).map_err(plain)? {
        if let Attribute::EcPoint(point) = attribute {
            let bare =
                if point.len() == 34 { point.strip_prefix(&[0x04, 0x20]) } else { Some(point.as_slice()) };
            return Ok(bare.and_then(|bytes| bytes.try_into().ok()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_spelling() {
        let key = KeyLabel::KEK_CARD.at(KeyVersion::new(0x1f).unwrap());
        assert_eq!(id_of(&key), b"kek/card#0000001f");
        assert_eq!(ref_of(b"kek/card#0000001f"), Some(key));
        for id in [
            &b"kek/card#1f"[..],
            b"kek/card#0000001F",
            b"kek/card#00000000",
            b"kek/card",
            b"KEK#00000001",
            b"\xff",
        ] {
            assert_eq!(ref_of(id), None, "{id:?}");
        }
    }

    fn kek() -> Facts {
        Facts {
            key_type: Some(KeyType::AES),
            length: Some(32),
            sensitive: Some(true),
            extractable: Some(false),
            always_sensitive: Some(true),
            never_extractable: Some(true),
            local: Some(true),
            encrypt: true,
            decrypt: true,
            mechanisms: Some(vec![MechanismType::AES_GCM]),
            ..Facts::default()
        }
    }

    #[test]
    fn every_unsafe_attribute_is_found_and_named() {
        assert_eq!(kek().finding(), None);
        type Spoil = fn(&mut Facts);
        let cases: [(Spoil, Finding); 12] = [
            (|f| f.extractable = Some(true), Finding::Extractable),
            (|f| f.extractable = None, Finding::Extractable),
            (|f| f.sensitive = Some(false), Finding::NotSensitive),
            (|f| f.always_sensitive = Some(false), Finding::NotAlwaysSensitive),
            (|f| f.never_extractable = None, Finding::NotNeverExtractable),
            (|f| f.local = Some(false), Finding::NotLocal),
            (|f| f.wrap = true, Finding::WrapsAndDecrypts),
            (|f| (f.wrap, f.decrypt) = (true, false), Finding::Wraps),
            (|f| f.unwrap = true, Finding::Unwraps),
            (|f| f.derive = true, Finding::Derives),
            (|f| f.sign = true, Finding::SecondPurpose),
            (|f| f.length = Some(16), Finding::WrongKind),
        ];
        for (spoil, finding) in cases {
            let mut facts = kek();
            spoil(&mut facts);
            assert_eq!(facts.finding(), Some(finding));
        }
    }
}

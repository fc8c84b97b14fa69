//! The acts on keys, and on people's second factors, that two people must agree to, each as one canonical text: what they read, what is hashed, and,
//! where the device has officers, what its tickets are bound to.

use super::letters;
use hsm::{KeyLabel, KeyRef, KeyVersion};
use sha2::{Digest, Sha256};
use tokens::{Principal, Tenant};

/// One act.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// A key gets a new version, and what the old one protects is moved to it.
    Rotate(KeyLabel),
    /// An old version protects nothing new from then on.
    Retire(KeyRef),
    /// A retired version is destroyed in the device.
    Destroy(KeyRef),
    /// Every card and data key of a tenant is destroyed.
    Shred(Tenant),
    /// Every key moves to the device of `[hsm.target]`; the text names its provider.
    Migrate(Target),
    /// The transcript of a key ceremony, by its SHA-256, is put into the log.
    Ceremony([u8; 32]),
    /// A person's second factor is taken away, so that another can be enrolled (PCI DSS 8.3.3).
    ResetFactor(Owner),
}

/// A person, with the tenant that the account is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// Who.
    pub principal: Principal,
    /// Of which tenant; none is the whole installation.
    pub tenant: Option<Tenant>,
}

impl Owner {
    /// `anna@north-clinic`, or `anna` of the whole installation.
    pub fn text(&self) -> String {
        match &self.tenant {
            Some(tenant) => format!("{}@{tenant}", self.principal),
            None => self.principal.to_string(),
        }
    }

    /// Reads that text.
    pub fn parse(text: &str) -> Option<Owner> {
        let (principal, tenant) = match text.split_once('@') {
            Some((principal, tenant)) => (principal, Some(Tenant::parse(tenant).ok()?)),
            None => (text, None),
        };
        Some(Owner { principal: Principal::parse(principal).ok()?, tenant })
    }
}

/// A device that keys can move to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The software HSM.
    Simulator,
    /// A PKCS#11 module.
    Pkcs11,
}

impl Target {
    /// The name in the settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Target::Simulator => "simulator",
            Target::Pkcs11 => "pkcs11",
        }
    }

    /// The target of that name.
    pub fn from_name(name: &str) -> Option<Target> {
        [Target::Simulator, Target::Pkcs11].into_iter().find(|target| target.as_str() == name)
    }
}

/// The labels that move, in their order: what is looked up by most requests last.
pub const MOVING: [KeyLabel; 4] =
    [KeyLabel::SIGN_AUDIT, KeyLabel::MAC_REQUEST, KeyLabel::MAC_PAN, KeyLabel::KEK_CARD];

impl Act {
    /// The canonical text. For acts of the device it is the device's own.
    pub fn text(&self) -> String {
        match self {
            Act::Rotate(label) => format!("rotate {label}"),
            Act::Retire(key) => format!("status {key} deactivated"),
            Act::Destroy(key) => format!("destroy {key}"),
            Act::Shred(tenant) => format!("shred {tenant}"),
            Act::Migrate(target) => format!("migrate {}", target.as_str()),
            Act::Ceremony(transcript) => format!("ceremony {}", letters::spelt(transcript)),
            Act::ResetFactor(owner) => format!("reset-factor {}", owner.text()),
        }
    }

    /// Reads a canonical text.
    pub fn parse(text: &str) -> Option<Act> {
        let (verb, rest) = text.split_once(' ')?;
        let act = match verb {
            "rotate" => Act::Rotate(KeyLabel::new(rest).ok()?),
            "status" => Act::Retire(key(rest.strip_suffix(" deactivated")?)?),
            "destroy" => Act::Destroy(key(rest)?),
            "shred" => Act::Shred(Tenant::parse(rest).ok()?),
            "migrate" => Act::Migrate(Target::from_name(rest)?),
            "ceremony" => Act::Ceremony(letters::read(rest)?.try_into().ok()?),
            "reset-factor" => Act::ResetFactor(Owner::parse(rest)?),
            _ => return None,
        };
        (act.text() == text).then_some(act)
    }

    /// SHA-256 of the text.
    pub fn hash(&self) -> [u8; 32] {
        Sha256::digest(self.text()).into()
    }

    /// The kind of job that carries it out.
    pub fn kind(&self) -> &'static str {
        match self {
            Act::Rotate(_) => "rotate",
            Act::Retire(_) => "retire",
            Act::Destroy(_) => "destroy",
            Act::Shred(_) => "shred",
            Act::Migrate(_) => "migrate",
            Act::Ceremony(_) => "ceremony",
            Act::ResetFactor(_) => "reset_factor",
        }
    }

    /// What the job works on.
    pub fn subject(&self) -> String {
        match self {
            Act::Rotate(label) => label.to_string(),
            Act::Retire(key) | Act::Destroy(key) => key.to_string(),
            Act::Shred(tenant) => tenant.to_string(),
            Act::Migrate(target) => target.as_str().to_owned(),
            Act::Ceremony(transcript) => letters::spelt(transcript),
            Act::ResetFactor(owner) => owner.text(),
        }
    }

    /// Whose data it is about, when it is about one tenant's.
    pub fn tenant(&self) -> Option<&Tenant> {
        match self {
            Act::Shred(tenant) => Some(tenant),
            Act::ResetFactor(owner) => owner.tenant.as_ref(),
            _ => None,
        }
    }

    /// Whom it is done to, who is then neither first nor second person.
    pub fn done_to(&self) -> Option<&Principal> {
        match self {
            Act::ResetFactor(owner) => Some(&owner.principal),
            _ => None,
        }
    }

    /// The acts of a device with officers that it takes, each of which needs two tickets.
    pub fn device_acts(&self) -> Vec<String> {
        match self {
            Act::Rotate(_) | Act::Retire(_) | Act::Destroy(_) => vec![self.text()],
            Act::Shred(_) | Act::Ceremony(_) | Act::ResetFactor(_) => Vec::new(),
            Act::Migrate(_) => MOVING.map(|label| Act::Rotate(label).text()).to_vec(),
        }
    }
}

/// Reads `label#version`.
pub fn key(text: &str) -> Option<KeyRef> {
    let (label, version) = text.split_once('#')?;
    let version = KeyVersion::new(version.parse().ok()?)?;
    Some(KeyLabel::new(label).ok()?.at(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_act_reads_back_from_its_text_and_from_no_other() {
        let key = KeyLabel::KEK_CARD.at(KeyVersion::FIRST);
        for act in [
            Act::Rotate(KeyLabel::KEK_CARD),
            Act::Retire(key.clone()),
            Act::Destroy(key),
            Act::Shred(Tenant::parse("north").unwrap()),
            Act::Migrate(Target::Pkcs11),
            Act::Ceremony([0xa5; 32]),
            Act::ResetFactor(Owner::parse("anna@north").unwrap()),
            Act::ResetFactor(Owner::parse("vera").unwrap()),
        ] {
            assert_eq!(Act::parse(&act.text()), Some(act.clone()));
            assert_eq!(Act::parse(&format!("{} ", act.text())), None);
        }
        for wrong in [
            "",
            "rotate",
            "status kek/card#1 active",
            "destroy kek/card#01",
            "destroy kek/card",
            "migrate x",
            "ceremony ab",
            "reset-factor",
            "reset-factor anna@",
            "reset-factor @north",
            "reset-factor Anna",
        ] {
            assert_eq!(Act::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn acts_of_the_device_are_spelt_as_the_device_spells_them() {
        let key = KeyLabel::MAC_PAN.at(KeyVersion::FIRST);
        assert_eq!(Act::Rotate(KeyLabel::MAC_PAN).text(), "rotate mac/pan");
        assert_eq!(Act::Retire(key.clone()).text(), "status mac/pan#1 deactivated");
        assert_eq!(Act::Destroy(key).text(), "destroy mac/pan#1");
    }
}

//! Two officers and their device, in this process: they rotate, retire and destroy its keys, each act by a ticket of
//! either of them.

use super::meanwhile::{Meanwhile, Opening};
use hsm::{
    Approval, Hsm, HsmQueue, KeyKind, KeyLabel, KeyRef, KeySpec, KeyStatus, KeyVersion, QueueSettings,
};
use hsm_sim::device::{AccountName, Device};
use std::sync::Arc;
use zeroize::Zeroizing;

pub(crate) struct Officers {
    device: Arc<Device>,
}

impl Officers {
    pub(super) fn of_a_new_device() -> Officers {
        Officers { device: Arc::new(Device::in_memory(hsm::Realm::Test).unwrap()) }
    }

    pub(super) fn queue(&self) -> HsmQueue {
        let device = Arc::clone(&self.device);
        HsmQueue::start(QueueSettings::default(), move || Ok(Box::new(Arc::clone(&device)) as Box<dyn Hsm>))
            .unwrap()
    }

    /// Another way to the device, on which something happens while a data key is opened.
    pub(crate) fn queue_with(&self, meanwhile: &Meanwhile) -> HsmQueue {
        let (device, meanwhile) = (Arc::clone(&self.device), meanwhile.clone());
        HsmQueue::start(QueueSettings::default(), move || {
            Ok(Box::new(Opening(Arc::clone(&device), meanwhile.clone())) as Box<dyn Hsm>)
        })
        .unwrap()
    }

    /// The next version of a key, active.
    pub(crate) fn rotate(&self, label: &KeyLabel) -> KeyRef {
        let kind = if *label == KeyLabel::KEK_CARD { KeyKind::Kek256 } else { KeyKind::Mac256 };
        let spec = KeySpec { label: label.clone(), kind, at_least: KeyVersion::FIRST };
        self.device.rotate_key(&spec, &self.agreed(&format!("rotate {label}"))).unwrap().key
    }

    /// Stops a version of a MAC key.
    pub(crate) fn retire(&self, key: &KeyRef) {
        let agreed = self.agreed(&format!("status {key} deactivated"));
        self.device.set_status(key, KeyStatus::Deactivated, &agreed).unwrap();
    }

    /// Destroys a deactivated version.
    pub(crate) fn destroy(&self, key: &KeyRef) {
        self.device.destroy_key(key, &self.agreed(&format!("destroy {key}"))).unwrap();
    }

    fn agreed(&self, act: &str) -> Approval {
        let ticket = |officer| {
            let officer = AccountName::new(officer).unwrap();
            Zeroizing::new(self.device.approve(&officer, act, 60).unwrap())
        };
        Approval::Tickets { first: ticket("first"), second: ticket("second") }
    }
}

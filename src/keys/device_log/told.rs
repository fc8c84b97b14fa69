//! How it stands with the logs of the devices: shared by the rounds that take them and those who tell of it.

use super::shelf::Finding;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something about a device's log that somebody should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DeviceLogTrouble {
    /// It is full and only the device's auditor may take it.
    FullForAuditor,
    /// It does not fit what was stored of it before, or the device's signature does not fit it.
    Broken,
    /// It ends before what was stored of it: the device's state was set back.
    SetBack,
}

impl DeviceLogTrouble {
    /// Every kind.
    pub const ALL: [DeviceLogTrouble; 3] =
        [DeviceLogTrouble::FullForAuditor, DeviceLogTrouble::Broken, DeviceLogTrouble::SetBack];

    /// Its code in readiness and metrics.
    pub fn code(self) -> &'static str {
        match self {
            DeviceLogTrouble::FullForAuditor => "device_log_full",
            DeviceLogTrouble::Broken => "device_log_broken",
            DeviceLogTrouble::SetBack => "device_log_set_back",
        }
    }
}

/// What is known of every device since this gateway started.
#[derive(Debug, Default)]
pub(in crate::keys) struct Told {
    /// By serial number.
    devices: Mutex<BTreeMap<String, Device>>,
    /// Why the last round ended early, by the device's place: one that is away does not say who it is.
    held_up: Mutex<BTreeMap<usize, &'static str>>,
}

#[derive(Debug, Default)]
struct Device {
    full: bool,
    /// Stays until the gateway is started anew: somebody has to look.
    set_back: bool,
    /// As `set_back`, with every reason that was told already.
    broken: Vec<&'static str>,
}

impl Told {
    pub(super) fn full(&self, device: &str, full: bool) {
        self.devices().entry(device.to_owned()).or_default().full = full;
    }

    /// Whether this gateway told of that before.
    pub(super) fn knows(&self, device: &str, finding: Finding) -> bool {
        self.devices().get(device).is_some_and(|told| match finding {
            Finding::Gap => false,
            Finding::SetBack => told.set_back,
            Finding::Broken(why) => told.broken.contains(&why),
        })
    }

    pub(super) fn found(&self, device: &str, finding: Finding) {
        let mut devices = self.devices();
        let told = devices.entry(device.to_owned()).or_default();
        match finding {
            Finding::Gap => {}
            Finding::SetBack => told.set_back = true,
            Finding::Broken(why) if told.broken.contains(&why) => {}
            Finding::Broken(why) => told.broken.push(why),
        }
    }

    /// Notes how a round ended; whether that is another end than the last round's.
    pub(super) fn held_up(&self, place: usize, why: Option<&'static str>) -> bool {
        let mut held_up = self.held_up.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match why {
            Some(why) => held_up.insert(place, why),
            None => held_up.remove(&place),
        };
        before != why
    }

    pub(super) fn troubles(&self) -> Vec<(String, DeviceLogTrouble)> {
        let devices = self.devices();
        let of = |trouble, told: &Device| match trouble {
            DeviceLogTrouble::FullForAuditor => told.full,
            DeviceLogTrouble::Broken => !told.broken.is_empty(),
            DeviceLogTrouble::SetBack => told.set_back,
        };
        let each = |(device, told): (&String, &Device)| {
            let troubles = DeviceLogTrouble::ALL.into_iter().filter(|trouble| of(*trouble, told));
            troubles.map(|trouble| (device.clone(), trouble)).collect::<Vec<_>>()
        };
        devices.iter().flat_map(each).collect()
    }

    fn devices(&self) -> MutexGuard<'_, BTreeMap<String, Device>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What goes wrong with real devices, on order: latency, errors, lost replies, lost sessions, too few places, and the
//! pace of a make of device. It sits on the wire before the device, so that neither device nor session knows of it,
//! and is reached only through a handle of its own, which no device of the live realm has. Kept out: keys.

mod control;
mod personality;
mod relay;
mod script;

pub(crate) use control::serve as serve_control;
pub use control::{Answer, Control, Order, ask};
pub use personality::Personality;
pub(crate) use relay::relay;
pub use script::{Fault, Rule, Script, ScriptFault};

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use personality::Bucket;
use script::Running;

/// What is ordered at the moment, shared by every connection.
#[derive(Default)]
pub struct Faults(Mutex<Ordered>);

#[derive(Default)]
struct Ordered {
    script: Option<Running>,
    personality: Option<(Personality, Bucket)>,
}

/// What is to happen to one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// How long it waits before the device sees it.
    pub(crate) wait: Duration,
    /// What else, if anything.
    pub(crate) fault: Option<Fault>,
}

impl Faults {
    /// Orders a script, in place of the one before.
    pub fn set_script(&self, script: Script) {
        self.lock().script = Some(Running::new(script));
    }

    /// Orders the pace of a make of device.
    pub fn set_personality(&self, personality: Personality) {
        self.lock().personality = Some((personality, Bucket::full(personality, Instant::now())));
    }

    /// Takes every order back.
    pub fn clear(&self) {
        *self.lock() = Ordered::default();
    }

    /// How many connections may be there at once, where a script says so.
    #[must_use]
    pub fn capacity(&self) -> Option<u16> {
        self.lock().script.as_ref().and_then(Running::capacity)
    }

    /// How often each rule of the script struck.
    #[must_use]
    pub fn struck(&self) -> Vec<u64> {
        self.lock().script.as_ref().map(Running::struck).unwrap_or_default()
    }

    /// The ordered personality.
    #[must_use]
    pub fn personality(&self) -> Option<Personality> {
        self.lock().personality.as_ref().map(|(personality, _)| *personality)
    }

    /// Decides over a request of this command number.
    pub(crate) fn fate(&self, command: u8) -> Fate {
        let mut ordered = self.lock();
        let mut fate = ordered.script.as_mut().map(|script| script.fate(command)).unwrap_or_default();
        if let Some((personality, bucket)) = &mut ordered.personality {
            fate.wait += personality.latency() + bucket.take(*personality, Instant::now());
        }
        fate
    }

    fn lock(&self) -> MutexGuard<'_, Ordered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The contract with a hardware security module: names, contexts, data keys, errors, the trait [`Hsm`], the
//! async front [`HsmQueue`], and the suite [`conformance`] that holds every provider to the same words.
//! Kept out: any provider, any transport, any card data type, anything of pangate's other crates.

pub mod conformance;
mod context;
mod data_key;
mod error;
mod names;
pub mod pkcs11;
mod queue;
mod shared;
mod verbs;

pub use context::{CONTEXT_DOMAIN, Context};
pub use data_key::{DataKey, SEALED_IV_LEN, SEALED_KEY_LEN, SealedDataKey, WrapSuite};
pub use error::{ErrorClass, Finding, HsmError, InputFault, NameFault};
pub use names::{Kcv, KeyFilter, KeyInfo, KeyKind, KeyLabel, KeyRef, KeyStatus, KeyVersion, Realm};
pub use queue::{HsmQueue, QueueLoad, QueueSettings};
pub use verbs::{
    Approval, Capabilities, Capability, DestructionRecord, DeviceInfo, DeviceLogHead, DeviceLogPage, Health,
    Hsm, IvSource, KeySpec, MAX_BATCH, MAX_MESSAGE, MAX_RANDOM,
};

//! A shared device is a device: lets several sessions in one process stand on one provider. Kept out: all else.

use std::sync::Arc;

use crate::context::Context;
use crate::data_key::{DataKey, SealedDataKey};
use crate::error::HsmError;
use crate::names::{KeyFilter, KeyInfo, KeyRef, KeyStatus};
use crate::verbs::{
    Approval, DestructionRecord, DeviceInfo, DeviceLogHead, DeviceLogPage, Health, Hsm, KeySpec,
};

impl<T: Hsm + ?Sized> Hsm for Arc<T> {
    fn describe(&self) -> Result<DeviceInfo, HsmError> {
        (**self).describe()
    }

    fn health(&self) -> Result<Health, HsmError> {
        (**self).health()
    }

    fn random(&self, out: &mut [u8]) -> Result<(), HsmError> {
        (**self).random(out)
    }

    fn keys(&self, filter: &KeyFilter) -> Result<Vec<KeyInfo>, HsmError> {
        (**self).keys(filter)
    }

    fn new_data_key(&self, kek: &KeyRef, context: &Context) -> Result<(DataKey, SealedDataKey), HsmError> {
        (**self).new_data_key(kek, context)
    }

    fn open_data_key(&self, sealed: &SealedDataKey, context: &Context) -> Result<DataKey, HsmError> {
        (**self).open_data_key(sealed, context)
    }

    fn reseal_data_key(
        &self,
        sealed: &SealedDataKey,
        from: &Context,
        to_kek: &KeyRef,
        to: &Context,
    ) -> Result<SealedDataKey, HsmError> {
        (**self).reseal_data_key(sealed, from, to_kek, to)
    }

    fn mac(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 32], HsmError> {
        (**self).mac(key, message)
    }

    fn mac_many(&self, key: &KeyRef, messages: &[&[u8]]) -> Result<Vec<[u8; 32]>, HsmError> {
        (**self).mac_many(key, messages)
    }

    fn sign(&self, key: &KeyRef, message: &[u8]) -> Result<[u8; 64], HsmError> {
        (**self).sign(key, message)
    }

    fn create_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        (**self).create_key(spec, approval)
    }

    fn rotate_key(&self, spec: &KeySpec, approval: &Approval) -> Result<KeyInfo, HsmError> {
        (**self).rotate_key(spec, approval)
    }

    fn set_status(&self, key: &KeyRef, status: KeyStatus, approval: &Approval) -> Result<(), HsmError> {
        (**self).set_status(key, status, approval)
    }

    fn destroy_key(&self, key: &KeyRef, approval: &Approval) -> Result<DestructionRecord, HsmError> {
        (**self).destroy_key(key, approval)
    }

    fn drain_log(&self, after: u64, max: u16) -> Result<DeviceLogPage, HsmError> {
        (**self).drain_log(after, max)
    }

    fn signed_log_head(&self) -> Result<DeviceLogHead, HsmError> {
        (**self).signed_log_head()
    }
}

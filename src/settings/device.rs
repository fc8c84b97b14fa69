//! `[hsm]`, the device that holds the keys, and `[hsm.target]` of the same shape, the one that they move to.

use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Which kind of HSM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HsmProvider {
    /// The software HSM, a process of its own. Not certified.
    Simulator,
    /// Any device with a PKCS#11 library.
    Pkcs11,
}

/// Where a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HsmDevice {
    /// The software HSM.
    Simulator {
        /// Its Unix socket.
        socket: PathBuf,
    },
    /// A token of a PKCS#11 device.
    Pkcs11 {
        /// The vendor's library, an absolute path.
        module: PathBuf,
        /// The token's label.
        token_label: String,
    },
}

/// `[hsm]` or `[hsm.target]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Written")]
pub struct HsmAccess {
    /// Where it is.
    pub device: HsmDevice,
    /// File that holds the PIN, mode 0600.
    pub pin_file: PathBuf,
    /// Sessions with the device.
    pub workers: usize,
    /// The device that keys can move to.
    pub target: Option<Box<HsmAccess>>,
}

/// As it stands in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    provider: HsmProvider,
    socket: Option<PathBuf>,
    module: Option<PathBuf>,
    token_label: Option<String>,
    pin_file: PathBuf,
    #[serde(default = "super::defaults::hsm_workers")]
    workers: usize,
    target: Option<Box<HsmAccess>>,
}

impl TryFrom<Written> for HsmAccess {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<HsmAccess, &'static str> {
        let Written { provider, socket, module, token_label, pin_file, workers, target } = written;
        let device = match (provider, socket, module, token_label) {
            (HsmProvider::Simulator, Some(socket), None, None) => HsmDevice::Simulator { socket },
            (HsmProvider::Pkcs11, None, Some(module), Some(token_label)) if module.is_absolute() => {
                HsmDevice::Pkcs11 { module, token_label }
            }
            (HsmProvider::Pkcs11, None, Some(_), Some(_)) => {
                return Err(
                    "module of a PKCS#11 device must be an absolute path: no library is searched for",
                );
            }
            (HsmProvider::Simulator, ..) => {
                return Err(
                    "provider = \"simulator\" needs socket, and takes neither module nor token_label",
                );
            }
            (HsmProvider::Pkcs11, ..) => {
                return Err("provider = \"pkcs11\" needs module and token_label, and takes no socket");
            }
        };
        if target.as_ref().is_some_and(|target| target.target.is_some()) {
            return Err("[hsm.target] has no target of its own");
        }
        if target.as_ref().is_some_and(|target| target.device == device) {
            return Err("[hsm.target] is the device of [hsm]");
        }
        Ok(HsmAccess { device, pin_file, workers, target })
    }
}

impl HsmAccess {
    /// Whether the device asks two officers of its own for a change of keys.
    pub fn has_officers(&self) -> bool {
        matches!(self.device, HsmDevice::Simulator { .. })
    }

    /// Relative paths are relative to the settings' folder; a module's is absolute.
    pub(super) fn resolve(&mut self, folder: &Path) {
        self.pin_file = folder.join(&self.pin_file);
        if let HsmDevice::Simulator { socket } = &mut self.device {
            *socket = folder.join(&*socket);
        }
        if let Some(target) = &mut self.target {
            target.resolve(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<HsmAccess, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    const TOKEN: &str = "provider = \"pkcs11\"\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\n\
                         token_label = \"lab\"\npin_file = \"pin\"\n";
    const SOCKET: &str = "provider = \"simulator\"\nsocket = \"hsm.sock\"\npin_file = \"hsm.pin\"\n";

    #[test]
    fn each_provider_is_read_with_its_own_keys() {
        let token = read(TOKEN).unwrap();
        assert!(matches!(token.device, HsmDevice::Pkcs11 { .. }) && !token.has_officers());
        assert!(read(SOCKET).unwrap().has_officers());
        assert!(read(&TOKEN.replace("module", "socket")).unwrap_err().contains("needs module"));
        assert!(read(&SOCKET.replace("socket = ", "module = ")).unwrap_err().contains("needs socket"));
        assert!(read(&format!("{SOCKET}token_label = \"lab\"\n")).is_err());
    }

    #[test]
    fn a_module_that_would_be_searched_for_is_refused() {
        let text = TOKEN.replace("/usr/lib/softhsm/", "");
        assert!(read(&text).unwrap_err().contains("absolute"));
    }

    #[test]
    fn a_target_has_the_same_shape_and_is_another_device() {
        let moving = read(&format!("{SOCKET}[target]\n{TOKEN}")).unwrap();
        assert!(matches!(moving.target.unwrap().device, HsmDevice::Pkcs11 { .. }));
        assert!(read(&format!("{SOCKET}[target]\n{SOCKET}")).unwrap_err().contains("is the device of [hsm]"));
        let nested = format!("{SOCKET}[target]\n{TOKEN}[target.target]\n{SOCKET}");
        assert!(read(&nested).unwrap_err().contains("no target of its own"));
    }

    #[test]
    fn paths_are_relative_to_the_settings_but_for_the_module() {
        let mut moving = read(&format!("{SOCKET}[target]\n{TOKEN}")).unwrap();
        moving.resolve(Path::new("/etc/pangate"));
        assert_eq!(moving.device, HsmDevice::Simulator { socket: PathBuf::from("/etc/pangate/hsm.sock") });
        assert_eq!(moving.target.unwrap().pin_file, PathBuf::from("/etc/pangate/pin"));
    }
}

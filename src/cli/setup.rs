//! What `init`, `demo` and `user` share: files with the right permissions, certificates, a first credential.

use super::user::console;
use crate::credential::{self, Grant};
use crate::record::{Event, Recorder};
use audit::{Action, Resource};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use secrecy::SecretString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use store::{Store, StoreError};
use tokens::Realm;

/// The routes policy that a new folder starts with.
pub const ROUTES: &str = include_str!("../../policy/routes.toml");

/// Makes a folder that only its owner may enter; its parents too, where they are missing.
///
/// # Errors
/// The system's word.
pub fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a new file of mode 0600.
///
/// # Errors
/// The system's word; an existing file is left alone.
pub fn write_secret(path: &Path, text: &str) -> io::Result<()> {
    write_new(path, text, 0o600)
}

/// Writes a new file that others may read.
///
/// # Errors
/// The system's word; an existing file is left alone.
pub fn write_public(path: &Path, text: &str) -> io::Result<()> {
    write_new(path, text, 0o644)
}

fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A secret of 40 random letters (188 bits), for a PIN or a bearer token between our own processes.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn random_secret() -> io::Result<String> {
    tokens::random_letters(40).map_err(io::Error::other)
}

/// A certificate authority of one's own, with server certificates signed by it.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

impl Authority {
    /// Makes the authority and writes `ca.pem` and `ca.key` into `folder`.
    ///
    /// # Errors
    /// The certificate library's or the system's word.
    pub fn create(folder: &Path) -> io::Result<Authority> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "pangate local authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        write_secret(&folder.join("ca.key"), &key.serialize_pem())?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(io::Error::other)?;
        write_public(&folder.join("ca.pem"), &issuer.pem())?;
        Ok(Authority { issuer, folder: folder.to_owned() })
    }

    /// Signs a server certificate for the names and writes `{stem}.pem` and `{stem}.key`.
    ///
    /// # Errors
    /// The certificate library's or the system's word.
    pub fn server(&self, stem: &str, names: &[String]) -> io::Result<()> {
        let mut params = CertificateParams::new(names).map_err(io::Error::other)?;
        params.distinguished_name.push(DnType::CommonName, stem);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate().map_err(io::Error::other)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(io::Error::other)?;
        write_secret(&self.folder.join(format!("{stem}.key")), &key.serialize_pem())?;
        write_public(&self.folder.join(format!("{stem}.pem")), &certificate.pem())
    }
}

/// Issues a credential, recorded in the same transaction. The key is returned this once.
///
/// # Errors
/// The store's error.
pub async fn issue(
    store: &Store,
    recorder: &Recorder,
    realm: Realm,
    grant: Grant,
) -> Result<SecretString, StoreError> {
    let recorder = recorder.clone();
    store
        .commit(move |work| {
            Box::pin(async move {
                let key = credential::issue(work, realm, &grant).await?;
                let mut origin = console();
                origin.tenant = grant.tenant;
                let event = Event::success(Action::CredentialCreate, Resource::Credential(grant.principal));
                let _receipt = recorder.append(work, &origin, event).await?;
                Ok(key)
            })
        })
        .await
}

/// One of our other programs, which stand beside this one.
///
/// # Errors
/// When it is not there; the message says how to build it.
pub fn sibling(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if path.is_file() {
        return Ok(path);
    }
    let message = format!("{} is missing; run: cargo build --release --workspace", path.display());
    Err(io::Error::new(io::ErrorKind::NotFound, message))
}

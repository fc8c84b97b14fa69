//! TLS set-up in one place, both directions: one explicit provider (aws-lc-rs, which brings X25519MLKEM768), TLS 1.2
//! and 1.3, no early data. Reads files; opens no connection.

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The listener's configuration; a new one holds for the connections after it.
pub type ServerTls = Arc<ArcSwap<ServerConfig>>;

/// A TLS file cannot be used. Says which one and what to do; quotes nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{file}: cannot be read ({source}); check the path and its permissions")]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Others than the owner may read the private key.
    #[error("{file}: others may read this private key; run: chmod 0600 {file}")]
    TooOpen {
        /// The file.
        file: PathBuf,
    },
    /// No PEM certificate in it.
    #[error("{file}: holds no PEM certificate; it must start with -----BEGIN CERTIFICATE-----")]
    NoCertificate {
        /// The file.
        file: PathBuf,
    },
    /// No PEM private key in it.
    #[error("{file}: holds no PEM private key (PKCS#8, PKCS#1 or SEC1, not encrypted)")]
    NoKey {
        /// The file.
        file: PathBuf,
    },
    /// Certificate and key do not fit, or rustls cannot use them.
    #[error(
        "the certificate and the private key cannot be used together; check that they belong to each other"
    )]
    Unusable,
}

/// The listener's configuration from a PEM chain and a PEM private key of mode 0600.
///
/// # Errors
/// [`TlsError`], which names the file.
pub fn server_config(chain: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let certificates = certificates(chain)?;
    let key = private_key(key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(|_| TlsError::Unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Stateless tickets: resuming costs no memory per client. Their key changes every few hours.
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(|_| TlsError::Unusable)?;
    // A replayed first flight could charge twice.
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

/// A configuration for calling an upstream that believes this CA file and nothing else.
///
/// # Errors
/// [`TlsError`], which names the file.
pub fn client_config(ca: &Path) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(|_| TlsError::NoCertificate { file: ca.to_owned() })?;
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TlsError::Unusable)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// The one provider. Never the process default: with two in the build, that panics.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(file)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate { file: file.to_owned() })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { file: file.to_owned() });
    }
    Ok(certificates)
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let mode = std::fs::metadata(file)
        .map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })?
        .permissions()
        .mode();
    if mode & 0o077 != 0 {
        return Err(TlsError::TooOpen { file: file.to_owned() });
    }
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|_| TlsError::NoKey { file: file.to_owned() })
}

fn read(file: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    std::fs::read(file)
        .map(Zeroizing::new)
        .map_err(|source| TlsError::Unreadable { file: file.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        let file = folder.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let chain = written(folder.path(), "a.pem", &pair.cert.pem(), 0o644);
        let key = written(folder.path(), "a.key", &pair.signing_key.serialize_pem(), 0o640);
        let refusal = server_config(&chain, &key).unwrap_err();
        assert!(matches!(refusal, TlsError::TooOpen { .. }));
        assert!(refusal.to_string().contains("chmod 0600"));
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(server_config(&chain, &key).is_ok());
        assert!(client_config(&chain).is_ok());
    }

    #[test]
    fn files_without_what_they_should_hold_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let chain = written(folder.path(), "a.pem", &pair.cert.pem(), 0o644);
        let empty = written(folder.path(), "empty", "", 0o600);
        let foreign = written(folder.path(), "b.key", &other.signing_key.serialize_pem(), 0o600);
        assert!(matches!(server_config(&empty, &foreign), Err(TlsError::NoCertificate { .. })));
        assert!(matches!(server_config(&chain, &empty), Err(TlsError::NoKey { .. })));
        assert!(matches!(server_config(&chain, &foreign), Err(TlsError::Unusable)));
        assert!(matches!(client_config(&folder.path().join("none")), Err(TlsError::Unreadable { .. })));
    }

    #[test]
    fn the_post_quantum_group_comes_first() {
        let groups = provider().kx_groups.iter().map(|group| group.name()).collect::<Vec<_>>();
        assert_eq!(groups.first(), Some(&rustls::NamedGroup::X25519MLKEM768));
    }
}

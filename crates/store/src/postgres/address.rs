//! Where the database is: `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?PARAMETERS]`, with libpq's
//! parameters (PostgreSQL's manual, 34.1.1.2). Several hosts are one database with its standbys.

use crate::StoreError;
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use std::net::IpAddr;
use std::str::FromStr;

/// The most statements that a connection keeps prepared.
const STATEMENTS: usize = 512;

/// Reads the URL: one set of options for each host, in the order given.
///
/// A host that is not this machine is reached by TLS with its certificate and name verified, or not at all
/// (PCI DSS 4.2.1: strong cryptography on the way).
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, StoreError> {
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or(StoreError::Url)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| one(&format!("postgres://{user}{host}{path}"))).collect()
}

fn one(url: &str) -> Result<PgConnectOptions, StoreError> {
    let options = PgConnectOptions::from_str(url).map_err(|_| StoreError::Url)?;
    let chosen = url.split_once('?').is_some_and(|(_, parameters)| {
        parameters.split('&').any(|one| one.starts_with("sslmode=") || one.starts_with("ssl-mode="))
    });
    let options = if is_here(&options) {
        // Over the Unix socket or the loopback nobody listens in; TLS is used there when it is asked for.
        if chosen { options } else { options.ssl_mode(PgSslMode::Disable) }
    } else if !chosen {
        options.ssl_mode(PgSslMode::VerifyFull)
    } else if matches!(options.get_ssl_mode(), PgSslMode::VerifyFull) {
        options
    } else {
        return Err(StoreError::Tls);
    };
    Ok(options.application_name("pangate").statement_cache_capacity(STATEMENTS).disable_statement_logging())
}

fn is_here(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some()
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_one_database() {
        let found = parse("postgres://gate:s%40cret@db1:5441,db2,[::1]:5443/vault").unwrap();
        let hosts: Vec<_> = found.iter().map(|one| (one.get_host(), one.get_port())).collect();
        assert_eq!(hosts, [("db1", 5441), ("db2", 5432), ("[::1]", 5443)]);
        assert!(found.iter().all(|one| one.get_database() == Some("vault") && one.get_username() == "gate"));
    }

    #[test]
    fn a_host_elsewhere_is_verified_or_not_reached() {
        let mode = |url: &str| {
            parse(url).map(|found| {
                found.into_iter().map(|one| format!("{:?}", one.get_ssl_mode())).collect::<Vec<_>>()
            })
        };
        assert_eq!(mode("postgres://u@db.example/v").unwrap(), ["VerifyFull"]);
        assert_eq!(mode("postgres://u@127.0.0.1,db.example/v").unwrap(), ["Disable", "VerifyFull"]);
        assert_eq!(mode("postgres:///v?host=/run/postgresql&user=u").unwrap(), ["Disable"]);
        assert_eq!(
            mode("postgres://u@localhost/v?sslmode=verify-full&sslrootcert=/ca.pem").unwrap(),
            ["VerifyFull"]
        );
        for weaker in ["disable", "allow", "prefer", "require", "verify-ca"] {
            assert_eq!(
                mode(&format!("postgres://u@db.example/v?sslmode={weaker}")),
                Err(StoreError::Tls),
                "{weaker}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for url in ["postgres:", "mysql://u@h/v", "postgres://u@h:port/v", "postgres://u@h:70000/v"] {
            assert_eq!(parse(url).map(|_| ()), Err(StoreError::Url), "{url}");
        }
    }
}

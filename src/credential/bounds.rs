//! What an API key is bound to beside its role and tenant: the networks that it may be used from, and the routes that it
//! may be used for. Both are judged from memory, on every request.

use crate::answer::{Code, Problem};
use ipnet::IpNet;
use std::net::IpAddr;
use store::{Row, StoreError};

/// Most networks, and most routes, of one key.
const MOST: usize = 64;

/// The bounds of one key; empty lists bind nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bounds {
    networks: Vec<IpNet>,
    routes: Vec<String>,
}

impl Bounds {
    /// Reads networks (`10.1.0.0/16`, `2001:db8::/32`, or one address) and routes (by the names of [`crate::routes`]).
    ///
    /// # Errors
    /// One sentence that says which is wrong and what is taken.
    pub fn read(networks: &[String], routes: &[String]) -> Result<Bounds, String> {
        if networks.len() > MOST || routes.len() > MOST {
            return Err(format!("a key is bound to at most {MOST} networks and {MOST} routes"));
        }
        let networks = networks.iter().map(|text| {
            network(text).ok_or_else(|| format!("{text} is no network; write 10.1.0.0/16 or 2001:db8::/32"))
        });
        let networks = networks.collect::<Result<Vec<IpNet>, String>>()?;
        let known = |route: &&String| !crate::routes::LABELS.contains(&route.as_str());
        if let Some(unknown) = routes.iter().find(known) {
            return Err(format!("{unknown} is no route; choose of {}", crate::routes::LABELS.join(", ")));
        }
        Ok(Bounds { networks, routes: routes.to_vec() })
    }

    /// The networks as they are stored: one a line, or nothing.
    pub(super) fn stored_networks(&self) -> Option<String> {
        let lines: Vec<String> = self.networks.iter().map(ToString::to_string).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// The routes as they are stored: one a line, or nothing.
    pub(super) fn stored_routes(&self) -> Option<String> {
        (!self.routes.is_empty()).then(|| self.routes.join("\n"))
    }

    /// `networks, routes` of a row. A network that cannot be read binds to nowhere, not to everywhere.
    pub(super) fn of(row: &Row) -> Result<Bounds, StoreError> {
        let lines = |text: Option<String>| -> Vec<String> {
            text.unwrap_or_default().lines().map(str::to_owned).collect()
        };
        let networks = lines(row.optional_text("networks")?);
        let networks =
            networks.iter().map(|text| network(text).ok_or(StoreError::Corrupt { column: "networks" }));
        Ok(Bounds {
            networks: networks.collect::<Result<Vec<IpNet>, StoreError>>()?,
            routes: lines(row.optional_text("routes")?),
        })
    }

    /// The networks, for a list.
    pub fn networks(&self) -> Vec<String> {
        self.networks.iter().map(ToString::to_string).collect()
    }

    /// The routes, for a list.
    pub fn routes(&self) -> &[String] {
        &self.routes
    }

    /// Whether a call from that address to that route is within them.
    ///
    /// # Errors
    /// `network_not_allowed` or `route_not_allowed`.
    pub(super) fn admit(&self, from: Option<IpAddr>, route: &str) -> Result<(), Problem> {
        // An IPv4 caller on an IPv6 socket is still that IPv4 caller.
        let inside =
            |from: IpAddr| self.networks.iter().any(|network| network.contains(&from.to_canonical()));
        if !self.networks.is_empty() && !from.is_some_and(inside) {
            let detail = "This key is bound to other networks; call from one of them, or have an administrator issue \
                          a key for yours. If it is not you who called, have the key revoked";
            return Err(Problem::new(Code::NetworkNotAllowed, detail));
        }
        if !self.routes.is_empty() && !self.routes.iter().any(|allowed| allowed == route) {
            let detail = "This key is bound to other routes; `pangate user list` names them";
            return Err(Problem::new(Code::RouteNotAllowed, detail));
        }
        Ok(())
    }
}

fn network(text: &str) -> Option<IpNet> {
    let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(networks: &[&str], routes: &[&str]) -> Bounds {
        let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        Bounds::read(&owned(networks), &owned(routes)).unwrap()
    }

    #[test]
    fn an_address_is_inside_or_outside_whatever_socket_it_came_by() {
        let bounds = bounds(&["10.1.0.0/16", "192.0.2.7", "2001:db8::/32"], &[]);
        let admits = |from: &str| bounds.admit(from.parse().ok(), "tokens_create").is_ok();
        for inside in ["10.1.0.0", "10.1.255.255", "192.0.2.7", "2001:db8::1", "::ffff:10.1.2.3"] {
            assert!(admits(inside), "{inside}");
        }
        for outside in ["10.2.0.0", "192.0.2.8", "2001:db9::1", "::ffff:10.2.0.1", "::1", "nonsense"] {
            assert!(!admits(outside), "{outside}");
        }
        assert!(Bounds::default().admit(None, "anything").is_ok());
    }

    #[test]
    fn only_networks_and_routes_that_there_are_are_taken() {
        let read = |network: &str, route: &str| Bounds::read(&[network.to_owned()], &[route.to_owned()]);
        assert!(read("10.1.0.0/16", "tokens_create").is_ok());
        for wrong in ["", "10.1.0.0/33", "10.1", "example", "10.1.0.0/16 "] {
            assert!(read(wrong, "tokens_create").is_err(), "{wrong}");
        }
        assert!(read("10.1.0.0/16", "tokens_steal").is_err());
        let bounds = bounds(&[], &["tokens_create"]);
        assert!(bounds.admit(None, "tokens_create").is_ok() && bounds.admit(None, "pass").is_err());
    }
}

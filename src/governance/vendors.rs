//! `policy/vendors/`: to whom data may go. A host without a live record for the class of data cannot be connected to.
//! HIPAA 45 CFR 164.308(b), 164.502(e); PCI DSS 4.0.1, 12.8.

mod reading;

use super::Folder;
use super::network::{Network, is_public};
use super::people::Notice;
use policy::Fault;
use std::fmt::Write as _;
use std::net::IpAddr;
use time::Date;

/// A class of data that can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Egress {
    /// Tokens and masked cards: worth nothing outside.
    Token,
    /// Protected health information: accounts, statements, notes; a business associate's agreement is needed.
    Phi,
    /// Card numbers: an attestation of compliance is needed.
    Pan,
}

impl Egress {
    const ALL: [Egress; 3] = [Egress::Token, Egress::Phi, Egress::Pan];

    /// The class's name in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Egress::Token => "token",
            Egress::Phi => "phi",
            Egress::Pan => "pan",
        }
    }
}

/// Why nothing may be sent to a host. Names of hosts are the policy's and the settings' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoEgress {
    /// No record names the host for that class of data.
    #[error(
        "no record in policy/vendors lets this class of data go to the host; add one, approved by two people"
    )]
    Unlisted,
    /// A record names it, but the agreement or the attestation that the class needs has run out.
    #[error("the host's record in policy/vendors has run out; renew the agreement or the attestation there")]
    Expired,
    /// The host's name leads to an address that its record does not allow.
    #[error(
        "the host's name leads to an address outside the networks of its record in policy/vendors; if the host moved, \
         change the record, else look after the name service"
    )]
    Address,
}

impl NoEgress {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            NoEgress::Unlisted => "vendor_unlisted",
            NoEgress::Expired => "vendor_expired",
            NoEgress::Address => "vendor_address",
        }
    }
}

/// One vendor, as the file says.
#[derive(Debug)]
struct Vendor {
    file: String,
    name: String,
    hosts: Vec<String>,
    networks: Vec<Network>,
    classes: Vec<Egress>,
    /// Our own program: bound by our own policies, not by an agreement.
    ours: bool,
    /// The last day of the business associate's agreement.
    baa_until: Option<Date>,
    /// The last day of the attestation of PCI DSS compliance.
    aoc_until: Option<Date>,
}

impl Vendor {
    fn is_live(&self, class: Egress, today: Date) -> bool {
        let holds = |until: Option<Date>| until.is_some_and(|until| until >= today);
        match class {
            _ if self.ours => true,
            Egress::Token => true,
            Egress::Phi => holds(self.baa_until),
            Egress::Pan => holds(self.aoc_until),
        }
    }

    fn leads_to(&self, address: IpAddr) -> bool {
        if self.networks.is_empty() {
            return is_public(address);
        }
        self.networks.iter().any(|network| network.holds(address))
    }
}

/// Every vendor on record.
#[derive(Debug)]
pub struct Vendors(Vec<Vendor>);

impl Vendors {
    /// Reads the records.
    ///
    /// # Errors
    /// Every fault that was found.
    pub fn of(folder: &Folder) -> Result<Vendors, Vec<Fault>> {
        reading::vendors(folder).map(Vendors)
    }

    /// Whether data of those classes may go to a host on that day, as far as its name tells; of an address in a name's
    /// place, whether a record names just that address.
    ///
    /// # Errors
    /// [`NoEgress`].
    pub fn permits(&self, host: &str, classes: &[Egress], today: Date) -> Result<(), NoEgress> {
        self.record(host, classes, today).and_then(|vendor| match literal(host) {
            Some(address) if !vendor.leads_to(address) => Err(NoEgress::Address),
            _ => Ok(()),
        })
    }

    /// Whether data of those classes may go to a host at those addresses, to which its name led just now. One address
    /// that the record does not allow refuses them all: an honest name service does not mix them.
    ///
    /// # Errors
    /// [`NoEgress`].
    pub fn permits_at(
        &self,
        host: &str,
        addresses: &[IpAddr],
        classes: &[Egress],
        today: Date,
    ) -> Result<(), NoEgress> {
        let vendor = self.record(host, classes, today)?;
        if addresses.iter().all(|address| vendor.leads_to(*address)) {
            Ok(())
        } else {
            Err(NoEgress::Address)
        }
    }

    fn record(&self, host: &str, classes: &[Egress], today: Date) -> Result<&Vendor, NoEgress> {
        let host = plain(host);
        let mut named = self.0.iter().filter(|vendor| vendor.hosts.contains(&host)).peekable();
        let mut why = NoEgress::Unlisted;
        for vendor in named.by_ref() {
            if classes.iter().all(|class| vendor.classes.contains(class)) {
                if classes.iter().all(|class| vendor.is_live(*class, today)) {
                    return Ok(vendor);
                }
                why = NoEgress::Expired;
            }
        }
        Err(why)
    }

    /// What is due on that day, or so many days later.
    pub fn notices(&self, today: Date, warn_before_days: u16) -> Vec<Notice> {
        let soon = today.saturating_add(time::Duration::days(warn_before_days.into()));
        let mut notices = Vec::new();
        for vendor in self.0.iter().filter(|vendor| !vendor.ours) {
            for (class, until, what) in [
                (Egress::Phi, vendor.baa_until, "the business associate's agreement"),
                (Egress::Pan, vendor.aoc_until, "the attestation of PCI DSS compliance"),
            ] {
                if let Some(until) = until.filter(|until| *until <= soon && vendor.classes.contains(&class)) {
                    notices.push(Notice {
                        code: if until < today { "vendor_expired" } else { "vendor_expires" },
                        file: vendor.file.clone(),
                        subject: vendor.name.clone(),
                        text: format!("{what} holds until {until}"),
                    });
                }
            }
        }
        notices
    }
}

/// A host's name as records spell it: small letters, no brackets, no dot at the end.
fn plain(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The address that stands in a name's place.
fn literal(host: &str) -> Option<IpAddr> {
    plain(host).parse().ok()
}

/// The record of a companion of one's own at that host, for a new folder.
pub fn companion_record(host: &str) -> String {
    let host = plain(host);
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (hosts, networks) = if local {
        (
            vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()],
            "\"127.0.0.0/8\", \"::1/128\"",
        )
    } else {
        let networks = "\"10.0.0.0/8\", \"172.16.0.0/12\", \"192.168.0.0/16\", \"fc00::/7\"";
        (vec![host], networks)
    };
    let mut text = String::from(
        "# The claims-and-statements companion, a program of the organisation's own. policy/README.md explains records.\n\
         name = \"companion\"\nours = true\n",
    );
    let _ = writeln!(text, "hosts = {hosts:?}");
    let _ = writeln!(text, "# Where the hosts' names may lead; narrow it to the companion's own network.");
    let _ = writeln!(text, "networks = [{networks}]");
    text.push_str("classes = [\"token\", \"phi\"]\n");
    text
}

#[cfg(test)]
mod tests;

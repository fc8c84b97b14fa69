//! Reads and checks the files of `policy/vendors/`.

use super::{Egress, Network, Vendor, literal, plain};
use crate::governance::Folder;
use crate::governance::record::{self, Day};
use policy::{Fault, line_of};
use serde::Deserialize;
use std::collections::BTreeSet;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    hosts: Vec<Spanned<String>>,
    #[serde(default)]
    networks: Vec<Spanned<String>>,
    classes: Vec<Spanned<String>>,
    #[serde(default)]
    ours: bool,
    approved: Option<Approved>,
    baa: Option<Agreement>,
    pci_aoc: Option<Agreement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Approved {
    by: Spanned<Vec<String>>,
    #[serde(rename = "on")]
    _on: Day,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Agreement {
    signed: Day,
    expires: Spanned<Day>,
    document_sha256: Option<Spanned<String>>,
}

pub(super) fn vendors(folder: &Folder) -> Result<Vec<Vendor>, Vec<Fault>> {
    let (mut vendors, mut faults) = (Vec::new(), Vec::new());
    for (file, text) in folder.below("vendors/").filter(|(file, _)| file.ends_with(".toml")) {
        match record::parse::<File>(file, text) {
            Ok(read) => {
                let mut fault = |at: usize, problem: String, remedy: &str| {
                    faults.push(Fault::new(file, problem, remedy).at(line_of(text, at)));
                };
                vendors.push(check(file, read, &mut fault));
            }
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(vendors) } else { Err(faults) }
}

fn check(file: &str, read: File, fault: &mut impl FnMut(usize, String, &str)) -> Vendor {
    let start = read.name.span().start;
    let hosts: Vec<String> = read.hosts.iter().map(|host| plain(host.get_ref())).collect();
    for host in &read.hosts {
        if !is_host(host.get_ref()) {
            let remedy = "write a host's whole name or an address, without scheme, port, path or *";
            fault(host.span().start, format!("`{}` is no host", host.get_ref()), remedy);
        }
    }
    let mut networks = Vec::new();
    for network in &read.networks {
        match Network::parse(network.get_ref()) {
            Some(network) => networks.push(network),
            None => {
                let problem = format!("`{}` is no network", network.get_ref());
                fault(network.span().start, problem, "write it as 10.0.0.0/8 or 2001:db8::/32");
            }
        }
    }
    let mut classes = Vec::new();
    for class in &read.classes {
        match Egress::ALL.into_iter().find(|known| known.as_str() == class.get_ref()) {
            Some(class) => classes.push(class),
            None => {
                let problem = format!("there is no class `{}`", class.get_ref());
                fault(class.span().start, problem, "use token, phi or pan");
            }
        }
    }
    if !read.ours {
        let people: BTreeSet<&String> =
            read.approved.iter().flat_map(|approved| approved.by.get_ref()).collect();
        if people.len() < 2 {
            let at = read.approved.as_ref().map_or(start, |approved| approved.by.span().start);
            let remedy = "add [approved] with by = [two people] and on = a day";
            fault(at, "the vendor is not approved by two people".to_owned(), remedy);
        }
        for (class, agreement, remedy) in [
            (Egress::Phi, &read.baa, "add [baa] with signed and expires, or take phi out of the classes"),
            (
                Egress::Pan,
                &read.pci_aoc,
                "add [pci_aoc] with signed and expires, or take pan out of the classes",
            ),
        ] {
            if classes.contains(&class) && agreement.is_none() {
                fault(start, format!("{} may not go there without an agreement", class.as_str()), remedy);
            }
        }
    }
    for agreement in read.baa.iter().chain(&read.pci_aoc) {
        if agreement.expires.get_ref() < &agreement.signed {
            let problem = "it expires before it was signed".to_owned();
            fault(agreement.expires.span().start, problem, "correct the dates");
        }
        if let Some(hash) = agreement.document_sha256.iter().find(|hash| !record::is_sha256(hash.get_ref())) {
            fault(hash.span().start, "the document's hash is no SHA-256".to_owned(), record::SHA256);
        }
    }
    let until = |agreement: &Option<Agreement>| agreement.as_ref().map(|held| held.expires.get_ref().0);
    Vendor {
        file: file.to_owned(),
        name: read.name.get_ref().clone(),
        hosts,
        networks,
        classes,
        ours: read.ours,
        baa_until: until(&read.baa),
        aoc_until: until(&read.pci_aoc),
    }
}

/// A whole name or an address: what looks like a number and is no address is refused, for resolvers read it as one.
fn is_host(text: &str) -> bool {
    if literal(text).is_some() {
        return true;
    }
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let name = plain(text);
    name.len() <= 253
        && name.split('.').all(label)
        && name.rsplit('.').next().is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
        && !name.split('.').any(|label| label.starts_with("0x"))
}

//! Log arithmetic that an outsider can repeat: typed entries, canonical leaves, the RFC 6962 tree, proofs.
//!
//! Pure: no clock, no file, no network, no vault code, so that an auditor's verifier links this crate alone. An
//! [`Entry`] is built from closed types, none of which can hold free text, so none can carry a card number.

mod entry;
mod leaf;
mod name;
mod place;
mod proof;
mod tree;
mod verify;
mod word;

pub use entry::{Actor, Entry, Resource, Source};
pub use leaf::{LeafError, leaf_bytes, parse};
pub use name::{KeyName, LogName, NameError, Reason, RouteName};
pub use proof::{ProofError, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion};
pub use tree::{Frontier, FrontierError, Hash, HashText, empty_root, leaf_hash, node_hash, root};
pub use verify::{Fault, FaultKind, Report, Verifier, verify};
pub use word::{Action, ActorRole, Outcome};

//! The companion: accounts, statements and a double-entry ledger, by token only.
//!
//! It is outside PCI scope, and stays there: it links nothing that can open a sealed card (P7), and refuses any
//! request in which it sees a card number. A payment goes `door` → `routes` → `intake` → `payment` →
//! `gateway` → `ledger`; each file uses only what stands further along.

pub mod access;
pub mod accounts;
pub mod answer;
pub mod body;
pub mod database;
pub mod demo_data;
pub mod door;
pub mod gateway;
pub mod ids;
pub mod intake;
pub mod ledger;
pub mod order;
mod patience;
pub mod payment;
pub mod record;
pub mod refund;
pub mod routes;
pub mod settings;
pub mod views;

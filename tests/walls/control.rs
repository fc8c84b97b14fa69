//! expect: compiles
//! The positive control: what is allowed compiles with the same command.
use pangate::permit::{Permit, Refund};

fn tenant(permit: &Permit<Refund>) -> &str {
    permit.tenant().as_str()
}

fn wire(revealed: &vault::Revealed) -> usize {
    revealed.wire().len()
}

fn main() {
    let _ = (tenant, wire);
}

//! expect: E0308
//! A permit to tokenize does not refund.
use pangate::permit::{Permit, Refund, Tokenize};

fn refund(_: Permit<Refund>) {}

fn mistake(permit: Permit<Tokenize>) {
    refund(permit);
}

fn main() {}

//! expect: E0382
//! A permit is spent by use.
use pangate::permit::{Permit, Refund};

fn refund(_: Permit<Refund>) {}

fn mistake(permit: Permit<Refund>) {
    refund(permit);
    refund(permit);
}

fn main() {}

//! expect: E0451
//! A permit comes from the policy alone.
use pangate::permit::{Judge, OneTenant, Permit, Refund};

fn forge(judge: Judge, scope: OneTenant) -> Permit<Refund> {
    Permit { judge, scope, act: std::marker::PhantomData }
}

fn main() {}

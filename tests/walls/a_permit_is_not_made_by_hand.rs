//! expect: E0451
//! A permit comes from the policy alone.
use pangate::permit::{Permit, Refund};

fn forge(caller: pangate::caller::Caller, scope: pangate::permit::OneTenant) -> Permit<Refund> {
    Permit { caller, scope, act: std::marker::PhantomData }
}

fn main() {}

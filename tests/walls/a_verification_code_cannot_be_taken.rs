//! expect: E0616
//! A settled card hands its code only to the holder inside the vault.

fn take(settled: &mut vault::Settled) {
    let _ = settled.cvc.take();
}

fn main() {}

//! expect: E0603
//! A receipt comes from appending to the audit log alone.
fn forge() -> pangate::record::Receipt {
    pangate::record::Receipt(())
}

fn main() {}

//! expect: E0451
//! A receipt comes from appending to the audit log alone.
fn forge() -> pangate::record::Receipt {
    pangate::record::Receipt { position: 7 }
}

fn main() {}

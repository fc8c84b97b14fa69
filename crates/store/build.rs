//! A new migration file must rebuild the crate that embeds it; cargo cannot see that by itself.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}

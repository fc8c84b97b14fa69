//! expect: E0603
//! `Pan` lives in a private module; outside the card room it has no name.

use vault::clear::pan::Pan;

fn main() {
    let _: Option<Pan> = None;
}

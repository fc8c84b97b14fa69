//! expect: E0308
//! The companion's sender takes `Scrubbed`; a card in the clear is another type.

fn to_the_companion(_: vault::Scrubbed) {}

fn send(card: vault::Revealed) {
    to_the_companion(card);
}

fn main() {}

//! expect: E0277
//! A log line with a card in it does not compile.

fn log(card: &vault::Revealed) {
    println!("{card:?}");
}

fn main() {}

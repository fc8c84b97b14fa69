//! expect: E0061
//! An unrecorded success has no answer.
fn mistake() -> pangate::answer::Answer {
    pangate::answer::Answer::done(&"done")
}

fn main() {}

//! expect: E0451
//! Only the last look makes a `Scrubbed`; a gateway that could build one could forward what was never searched.

fn forward(head: vault::Head) -> vault::Scrubbed {
    vault::Scrubbed { head, content_type: None, body: Default::default() }
}

fn main() {}

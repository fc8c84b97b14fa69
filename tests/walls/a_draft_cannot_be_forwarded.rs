//! expect: E0599
//! A draft has no bytes to send before it settled and was searched.

fn forward(draft: vault::MessageDraft) -> vault::Scrubbed {
    draft.scrub()
}

fn main() {}

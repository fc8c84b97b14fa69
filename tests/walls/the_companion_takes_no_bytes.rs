//! expect: E0308
//! The companion's sender takes what was scrubbed, nothing else.
async fn mistake(companion: &pangate::upstream::companion::Companion) {
    let _ = companion.send("{}").await;
}

fn main() {}

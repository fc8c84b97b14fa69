//! Page images: after each checkpoint PostgreSQL writes the whole page into its log when it changes for the first time.
//! Tokens are random, so a new one changes a random leaf of each index that is ordered by token; in a large vault that
//! is nearly always a page which has not changed since the checkpoint.

/// Bytes of a page.
pub(crate) const PAGE: f64 = 8192.0;
/// How full the leaves of an index are after it was built at once.
pub(crate) const BUILT: f64 = 0.9;
/// How full they are after random insertions: the natural logarithm of 2 (Yao, 1978).
pub(crate) const GROWN: f64 = std::f64::consts::LN_2;

/// Leaves of an index of so many cards, at so many bytes a card in an index that was built at once.
fn leaves(cards: f64, bytes: f64, fill: f64) -> f64 {
    cards * bytes * BUILT / fill / PAGE
}

/// Bytes of page images for each token, when `tokens` come between two checkpoints, for one index that grew.
pub(crate) fn images_for_each(cards: f64, bytes: f64, tokens: f64) -> f64 {
    let leaves = leaves(cards, bytes, GROWN);
    let touched = leaves * -(-tokens / leaves).exp_m1();
    // The free middle of a page is left out of its image.
    touched * PAGE * GROWN / tokens
}

/// The same for the next token after `tokens` have come, in an index that was built at once: what a bench sees.
pub(crate) fn image_of_next(cards: f64, bytes: f64, tokens: f64) -> f64 {
    (-tokens / leaves(cards, bytes, BUILT)).exp() * PAGE * BUILT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_written_whole_once_between_two_checkpoints() {
        let (cards, bytes) = (1e6, 80.0);
        // Far fewer tokens than pages: each meets a page of its own.
        assert!((images_for_each(cards, bytes, 10.0) / (PAGE * GROWN) - 1.0).abs() < 0.01);
        // Far more: all pages once, however many tokens.
        let all = leaves(cards, bytes, GROWN) * PAGE * GROWN;
        assert!((images_for_each(cards, bytes, 1e9) * 1e9 / all - 1.0).abs() < 0.01);
        assert!(image_of_next(cards, bytes, 0.0) > image_of_next(cards, bytes, 1e4));
    }
}

//! A page of a list, newest first: how much of it and after which row.

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Rows, 1 to [`Page::MOST`].
    pub limit: u32,
    /// The last id of the page before.
    pub after: Option<String>,
}

impl Page {
    /// Rows when nobody says how many.
    pub const USUAL: u32 = 20;
    /// Most rows of one page.
    pub const MOST: u32 = 100;
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether older rows follow.
    pub has_more: bool,
}

impl<T> List<T> {
    /// Cuts `limit + 1` fetched rows to a page.
    pub(super) fn cut(mut rows: Vec<T>, limit: u32) -> List<T> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = rows.len() > limit;
        rows.truncate(limit);
        List { rows, has_more }
    }
}

//! The Merkle tree of RFC 6962 section 2.1 (RFC 9162 section 2.1): leaf and node hashes, roots, and a frontier
//! that appends without the leaves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt;

/// A SHA-256 hash: of a leaf, of a node, or a root.
pub type Hash = [u8; 32];

/// The hash of one leaf: SHA-256 over `00` and the leaf. The prefix keeps a leaf from passing for a node.
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(leaf).finalize().into()
}

/// The hash of a node: SHA-256 over `01`, the left hash and the right hash.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// The root of a tree without leaves: SHA-256 of nothing.
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// The root over leaf hashes in order.
pub fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [only] => *only,
        many => {
            let (left, right) = many.split_at_checked(split(many.len())).unwrap_or((many, &[]));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The largest power of two below `count`, where a tree of `count` (2 or more) leaves divides.
pub(crate) fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

/// A hash in base64, as checkpoints print it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HashText<'a>(pub &'a Hash);

impl fmt::Display for HashText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

/// The right edge of a growing tree: the roots of its complete subtrees, largest first. Enough to append and to
/// know the root; 64 hashes at most.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// The bytes are no frontier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a frontier: 8 bytes of size and 32 bytes for each of its set bits; rebuild it from the entries")]
pub struct FrontierError;

impl Frontier {
    /// The frontier of an empty tree.
    pub fn new() -> Self {
        Frontier::default()
    }

    /// How many leaves the tree has; also the position of the next.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds the next leaf, by its hash, and returns its position.
    pub fn append(&mut self, leaf_hash: Hash) -> u64 {
        let position = self.size;
        let mut peak = leaf_hash;
        // Each trailing one of the old size is a complete subtree of the height that was just completed.
        for _ in 0..position.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                peak = node_hash(&left, &peak);
            }
        }
        self.peaks.push(peak);
        self.size = position.saturating_add(1);
        position
    }

    /// The root of the tree as it is now.
    pub fn root(&self) -> Hash {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| node_hash(&left, &right))
            .unwrap_or_else(empty_root)
    }

    /// The frontier as bytes: the size (big-endian) and the peaks.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        bytes.extend(self.peaks.iter().flatten());
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] wrote. It proves nothing: compare the root with a signed one.
    ///
    /// # Errors
    /// [`FrontierError`] for any other length.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, hashes) = bytes.split_first_chunk::<8>().ok_or(FrontierError)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = hashes.as_chunks::<32>();
        if rest.is_empty() && u32::try_from(peaks.len()) == Ok(size.count_ones()) {
            Ok(Frontier { size, peaks: peaks.to_vec() })
        } else {
            Err(FrontierError)
        }
    }
}

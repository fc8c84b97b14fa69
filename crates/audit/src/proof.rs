//! Inclusion and consistency proofs of RFC 9162 sections 2.1.3 and 2.1.4: made from leaf hashes, checked with
//! nothing but two roots.

use crate::tree::{Hash, node_hash, root, split};

/// Why a proof does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// The position is beyond the tree, or the first size is zero or above the second.
    #[error("position or sizes are out of range")]
    Range,
    /// The proof has more or fewer hashes than a proof of these sizes has.
    #[error("the proof has the wrong number of hashes")]
    Length,
    /// The hashes lead to another root: the log was altered, or the proof belongs to another log.
    #[error("the proof leads to another root: the log was altered, or this proof belongs to another log")]
    Root,
}

/// The path from the leaf at `position` to the root over `leaves`, sibling first.
///
/// # Errors
/// [`ProofError::Range`] when there is no such leaf.
pub fn inclusion_proof(leaves: &[Hash], position: u64) -> Result<Vec<Hash>, ProofError> {
    let mut position = usize::try_from(position).map_err(|_| ProofError::Range)?;
    if position >= leaves.len() {
        return Err(ProofError::Range);
    }
    let mut path = Vec::new();
    let mut tree = leaves;
    while tree.len() > 1 {
        let (left, right) = tree.split_at_checked(split(tree.len())).ok_or(ProofError::Range)?;
        if position < left.len() {
            path.push(root(right));
            tree = left;
        } else {
            path.push(root(left));
            position -= left.len();
            tree = right;
        }
    }
    path.reverse();
    Ok(path)
}

/// Checks that `leaf` is at `position` of the tree of `size` leaves whose root is `expected` (RFC 9162, 2.1.3.2).
///
/// # Errors
/// [`ProofError`] when it is not shown to be.
pub fn verify_inclusion(
    leaf: &Hash,
    position: u64,
    size: u64,
    proof: &[Hash],
    expected: &Hash,
) -> Result<(), ProofError> {
    if position >= size {
        return Err(ProofError::Range);
    }
    let (mut place, mut last, mut hash) = (position, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if hash == *expected { Ok(()) } else { Err(ProofError::Root) }
}

/// The proof that the tree over the first `first` of `leaves` is a prefix of the tree over all of them.
///
/// # Errors
/// [`ProofError::Range`] when `first` is zero or above the number of leaves.
pub fn consistency_proof(leaves: &[Hash], first: u64) -> Result<Vec<Hash>, ProofError> {
    let mut first = usize::try_from(first).map_err(|_| ProofError::Range)?;
    if first == 0 || first > leaves.len() {
        return Err(ProofError::Range);
    }
    let mut proof = Vec::new();
    let mut tree = leaves;
    // Whether the old tree is exactly the left part so far, so that the verifier has its root already.
    let mut whole = true;
    while first != tree.len() {
        let (left, right) = tree.split_at_checked(split(tree.len())).ok_or(ProofError::Range)?;
        if first <= left.len() {
            proof.push(root(right));
            tree = left;
        } else {
            proof.push(root(left));
            first -= left.len();
            tree = right;
            whole = false;
        }
    }
    if !whole {
        proof.push(root(tree));
    }
    proof.reverse();
    Ok(proof)
}

/// Checks that the log of `first` leaves with root `first_root` was only appended to until it had `second`
/// leaves with root `second_root` (RFC 9162, 2.1.4.2).
///
/// # Errors
/// [`ProofError`] when it is not shown to be.
pub fn verify_consistency(
    first: u64,
    second: u64,
    proof: &[Hash],
    first_root: &Hash,
    second_root: &Hash,
) -> Result<(), ProofError> {
    if first == 0 || first > second {
        return Err(ProofError::Range);
    }
    if first == second {
        if !proof.is_empty() {
            return Err(ProofError::Length);
        }
        return if first_root == second_root { Ok(()) } else { Err(ProofError::Root) };
    }
    // A complete old tree is a node of the new one; its root then stands for the proof's first hash.
    let mut path = proof.iter();
    let start = if first.is_power_of_two() { first_root } else { path.next().ok_or(ProofError::Length)? };
    let (mut place, mut last) = (first - 1, second - 1);
    while place & 1 == 1 {
        place >>= 1;
        last >>= 1;
    }
    let (mut old, mut new) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return Err(ProofError::Length);
        }
        if place & 1 == 1 || place == last {
            old = node_hash(sibling, &old);
            new = node_hash(sibling, &new);
            while place & 1 == 0 && place != 0 {
                place >>= 1;
                last >>= 1;
            }
        } else {
            new = node_hash(&new, sibling);
        }
        place >>= 1;
        last >>= 1;
    }
    if last != 0 {
        return Err(ProofError::Length);
    }
    if old == *first_root && new == *second_root { Ok(()) } else { Err(ProofError::Root) }
}

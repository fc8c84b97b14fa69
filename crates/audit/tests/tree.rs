//! The tree against the published vectors of Certificate Transparency, and the laws of its proofs.
#![expect(clippy::unwrap_used, reason = "a test's setup that fails is a failed test")]

use audit::{
    Frontier, Hash, HashText, consistency_proof, empty_root, inclusion_proof, leaf_hash, root,
    verify_consistency, verify_inclusion,
};
use proptest::prelude::*;

fn unhex(text: &str) -> Vec<u8> {
    let (pairs, _) = text.as_bytes().as_chunks::<2>();
    pairs.iter().map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hash(text: &str) -> Hash {
    unhex(text).try_into().unwrap()
}

/// The eight leaves of the certificate-transparency project's merkle tree tests.
fn published_leaves() -> Vec<Hash> {
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
        .map(|leaf| leaf_hash(&unhex(leaf)))
        .to_vec()
}

/// Their roots, for sizes 1 to 8, from the same place.
const PUBLISHED_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

fn some_leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

fn frontier_over(leaves: &[Hash]) -> Frontier {
    let mut frontier = Frontier::new();
    for leaf in leaves {
        frontier.append(*leaf);
    }
    frontier
}

#[test]
fn roots_are_those_of_the_published_tree() {
    assert_eq!(empty_root(), hash("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_eq!(HashText(&empty_root()).to_string(), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    assert_eq!(root(&[]), empty_root());
    assert_eq!(Frontier::new().root(), empty_root());
    let leaves = published_leaves();
    for (size, expected) in (1..).zip(PUBLISHED_ROOTS) {
        assert_eq!(root(&leaves[..size]), hash(expected), "size {size}");
        assert_eq!(frontier_over(&leaves[..size]).root(), hash(expected), "frontier of size {size}");
    }
}

#[test]
fn proofs_are_those_of_the_published_tree() {
    let leaves = published_leaves();
    let first_of_eight = [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ];
    assert_eq!(inclusion_proof(&leaves, 0).unwrap(), first_of_eight.map(hash));
    let six_to_eight = [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ];
    assert_eq!(consistency_proof(&leaves, 6).unwrap(), six_to_eight.map(hash));
}

#[test]
fn every_inclusion_proof_up_to_64_holds_and_no_altered_one_does() {
    for size in 1..=64u64 {
        let leaves = some_leaves(size);
        let head = root(&leaves);
        for position in 0..size {
            let leaf = leaves[usize::try_from(position).unwrap()];
            let proof = inclusion_proof(&leaves, position).unwrap();
            let check = |place, size, proof: &[Hash]| verify_inclusion(&leaf, place, size, proof, &head);
            assert_eq!(check(position, size, &proof), Ok(()), "{position} of {size}");
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at][31] ^= 1;
                assert!(check(position, size, &altered).is_err());
                altered.remove(at);
                assert!(check(position, size, &altered).is_err());
            }
            let mut longer = proof.clone();
            longer.push(head);
            assert!(check(position, size, &longer).is_err());
            assert!(check(size, size, &proof).is_err());
            if position + 1 < size {
                assert!(check(position + 1, size, &proof).is_err());
            }
        }
        assert!(inclusion_proof(&leaves, size).is_err());
    }
}

#[test]
fn every_consistency_proof_up_to_64_holds_and_no_altered_one_does() {
    for second in 1..=64u64 {
        let leaves = some_leaves(second);
        let head = root(&leaves);
        for first in 1..=second {
            let old = root(&leaves[..usize::try_from(first).unwrap()]);
            let proof = consistency_proof(&leaves, first).unwrap();
            let check =
                |proof: &[Hash], old: &Hash, new: &Hash| verify_consistency(first, second, proof, old, new);
            assert_eq!(check(&proof, &old, &head), Ok(()), "{first} to {second}");
            let mut forged = old;
            forged[0] ^= 1;
            assert!(check(&proof, &forged, &head).is_err());
            assert!(check(&proof, &old, &forged).is_err());
            for at in 0..proof.len() {
                let mut altered = proof.clone();
                altered[at][0] ^= 1;
                assert!(check(&altered, &old, &head).is_err(), "{first} to {second}, hash {at}");
                altered.remove(at);
                assert!(check(&altered, &old, &head).is_err());
            }
            let mut longer = proof;
            longer.push(head);
            assert!(check(&longer, &old, &head).is_err());
        }
        assert!(consistency_proof(&leaves, 0).is_err());
        assert!(consistency_proof(&leaves, second + 1).is_err());
    }
}

#[test]
fn a_frontier_of_another_length_is_refused() {
    let bytes = frontier_over(&some_leaves(11)).to_bytes();
    assert!(Frontier::parse(&bytes).is_ok());
    assert!(Frontier::parse(&bytes[..bytes.len() - 1]).is_err());
    assert!(Frontier::parse(&bytes[..bytes.len() - 32]).is_err());
    assert!(Frontier::parse(&[&bytes[..], &[0; 32]].concat()).is_err());
    assert!(Frontier::parse(&bytes[..7]).is_err());
}

proptest! {
    #[test]
    fn a_frontier_knows_the_root_after_every_append_and_every_restart(
        leaves in prop::collection::vec(any::<[u8; 32]>(), 0..200),
    ) {
        let mut frontier = Frontier::new();
        for (position, leaf) in leaves.iter().enumerate() {
            frontier = Frontier::parse(&frontier.to_bytes()).unwrap();
            prop_assert_eq!(frontier.append(*leaf), u64::try_from(position).unwrap());
            prop_assert_eq!(frontier.root(), root(&leaves[..=position]));
        }
    }

    #[test]
    fn whoever_alters_drops_repeats_or_swaps_entries_changes_the_root(
        leaves in prop::collection::hash_set(any::<[u8; 32]>(), 2..100),
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        bit in 0u8..8,
        byte in 0usize..32,
    ) {
        let leaves: Vec<Hash> = leaves.into_iter().collect();
        let (at, other) = (at.index(leaves.len()), other.index(leaves.len()));
        let head = root(&leaves);
        let mut altered = leaves.clone();
        altered[at][byte] ^= 1 << bit;
        prop_assert_ne!(root(&altered), head);
        let mut dropped = leaves.clone();
        dropped.remove(at);
        prop_assert_ne!(root(&dropped), head);
        let mut repeated = leaves.clone();
        repeated.insert(at, leaves[at]);
        prop_assert_ne!(root(&repeated), head);
        if at != other {
            let mut swapped = leaves.clone();
            swapped.swap(at, other);
            prop_assert_ne!(root(&swapped), head);
        }
    }

    #[test]
    fn any_proof_is_judged_without_a_panic(
        proof in prop::collection::vec(any::<[u8; 32]>(), 0..70), a in any::<u64>(), b in any::<u64>(),
    ) {
        let head = [7; 32];
        prop_assert!(verify_inclusion(&head, a, b, &proof, &[8; 32]).is_err());
        prop_assert!(verify_consistency(a, b, &proof, &head, &[8; 32]).is_err());
    }
}

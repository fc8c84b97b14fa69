//! Shares make their key again, and everything else makes none.

use proptest::prelude::*;

use super::*;

pub(in crate::ceremony) fn root(byte: u8) -> RootKey {
    RootKey::fill_with(|bytes| -> Result<(), ()> {
        bytes.iter_mut().zip(0_u8..).for_each(|(out, at)| *out = byte.wrapping_mul(31) ^ at.wrapping_mul(7));
        Ok(())
    })
    .unwrap()
}

pub(in crate::ceremony) fn people(count: usize) -> Vec<Custodian> {
    ["anna", "ben", "carla", "dora", "emil", "fritz", "gina"]
        .iter()
        .take(count)
        .map(|name| name.parse().unwrap())
        .collect()
}

pub(in crate::ceremony) fn twin(share: &Share) -> Share {
    Share::decode(share.encode().as_slice()).unwrap()
}

fn five(root: &RootKey) -> Vec<Share> {
    split(root, [7; 16], Realm::Test, 3, &people(5)).unwrap()
}

fn pick(shares: &[Share], which: &[usize]) -> Vec<Share> {
    which.iter().map(|&at| twin(&shares[at])).collect()
}

#[test]
fn every_three_of_five_make_the_key_and_no_two_do() {
    let key = root(1);
    let shares = five(&key);
    let mut tried = 0;
    for mask in 0_u32..32 {
        let which: Vec<_> = (0..5).filter(|at| mask >> at & 1 == 1).collect();
        let made = combine(&pick(&shares, &which));
        if which.len() >= 3 {
            assert_eq!(made.unwrap().expose(), key.expose(), "{which:?}");
            tried += 1;
        } else {
            assert!(matches!(made, Err(CombineError::TooFew { .. })), "{which:?}");
        }
    }
    assert_eq!(tried, 16);
}

#[test]
fn a_share_or_a_custodian_given_twice_is_refused() {
    let shares = five(&root(1));
    assert_eq!(combine(&pick(&shares, &[0, 1, 1])).err(), Some(CombineError::SameShare(2)));
    let mut again = pick(&shares, &[0, 1, 2]);
    again[2].custodian = again[1].custodian.clone();
    assert_eq!(combine(&again).err(), Some(CombineError::SameCustodian(again[1].custodian.clone())));
    let mut names = people(5);
    names[4] = names[0].clone();
    let made = split(&root(1), [7; 16], Realm::Test, 3, &names);
    assert!(matches!(made, Err(SplitError::SameCustodian(_))));
}

#[test]
fn shares_of_two_splits_of_the_same_key_do_not_mix() {
    let key = root(1);
    let (one, two) = (five(&key), five(&key));
    let mixed = vec![twin(&one[0]), twin(&one[1]), twin(&two[2])];
    assert_eq!(combine(&mixed).err(), Some(CombineError::MixedSets));
    // Even when the label of the set is forged, the key that comes out is not taken for the right one.
    let mut forged = mixed;
    forged[2].set = one[0].set.clone();
    assert_eq!(combine(&forged).err(), Some(CombineError::CheckValue));
}

#[test]
fn a_set_that_claims_a_lower_threshold_makes_no_key() {
    let mut two = pick(&five(&root(1)), &[0, 1]);
    two.iter_mut().for_each(|share| share.set.threshold = 2);
    // The arithmetic gives some key with two shares; only the check value knows that it is the wrong one.
    assert_eq!(combine(&two).err(), Some(CombineError::CheckValue));
}

#[test]
fn a_share_whose_label_was_altered_is_named() {
    let mut three = pick(&five(&root(1)), &[0, 2, 4]);
    three[1].custodian = "mallory".parse().unwrap();
    assert_eq!(combine(&three).err(), Some(CombineError::Altered("mallory".parse().unwrap())));
}

#[test]
fn numbers_that_leave_one_person_in_charge_are_refused() {
    for (threshold, count) in [(0, 5), (1, 5), (6, 5), (1, 1), (2, 1), (3, 0)] {
        let made = split(&root(1), [7; 16], Realm::Test, threshold, &people(count));
        assert!(matches!(made, Err(SplitError::Numbers)), "{threshold} of {count}");
    }
    assert!(split(&root(1), [7; 16], Realm::Test, 2, &people(2)).is_ok());
}

#[test]
fn too_few_shares_say_nothing_about_the_key() {
    // With a threshold of 3, any two shares of two different keys are equally likely: byte counts over many splits
    // of an all-zero and an all-one key cannot be told apart. A coefficient that is never zero would show as a part
    // that never equals the key's byte (RUSTSEC-2024-0398 in another crate).
    let key = root(0);
    let mut same = 0_u32;
    for _ in 0..40 {
        for share in split(&key, [7; 16], Realm::Test, 2, &people(5)).unwrap() {
            same += share
                .part
                .expose_secret()
                .iter()
                .zip(key.expose())
                .filter(|(a, b)| a == b)
                .map(|_| 1)
                .sum::<u32>();
        }
    }
    // 40 splits of 5 shares of 32 bytes: 25 expected, by chance; 0 has probability 1e-11.
    assert!((1..=80).contains(&same), "{same}");
}

/// Multiplication in GF(256) with the polynomial of AES (FIPS 197, 4.2), bit by bit.
fn times(mut a: u8, mut b: u8) -> u8 {
    let mut product = 0;
    while b != 0 {
        if b & 1 == 1 {
            product ^= a;
        }
        let carry = a & 0x80 != 0;
        a <<= 1;
        if carry {
            a ^= 0x1b;
        }
        b >>= 1;
    }
    product
}

/// The reciprocal, found by trying all.
fn reciprocal(a: u8) -> u8 {
    (1..=255).find(|&b| times(a, b) == 1).unwrap()
}

#[test]
fn schoolbook_interpolation_agrees_on_what_the_shares_mean() {
    // FIPS 197, 4.2.1: 57 times 83 is c1.
    assert_eq!(times(0x57, 0x83), 0xc1);
    let key = root(9);
    let shares = pick(&five(&key), &[4, 1, 3]);
    for at in 0..32 {
        let mut byte = 0;
        for one in &shares {
            let mut weight = 1;
            for other in shares.iter().filter(|other| other.id != one.id) {
                weight = times(weight, times(other.id, reciprocal(other.id ^ one.id)));
            }
            byte ^= times(weight, one.part.expose_secret()[at]);
        }
        assert_eq!(byte, key.expose()[at]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_corrupted_share_never_makes_a_key(at in 0usize..32, flip in 1u8.., who in 0usize..3) {
        let mut three = pick(&five(&root(3)), &[0, 1, 4]);
        let mut part = *three[who].part.expose_secret();
        part[at] ^= flip;
        three[who].part = SecretBox::init_with_mut(|out: &mut [u8; 32]| *out = part);
        prop_assert_eq!(combine(&three).err(), Some(CombineError::CheckValue));
    }

    #[test]
    fn a_share_with_any_byte_altered_or_cut_does_not_decode(at in 0usize..200, flip in 1u8..) {
        let share = &five(&root(3))[2];
        let good = share.encode().as_slice().to_vec();
        let at = at % good.len();
        let mut bad = good.clone();
        bad[at] ^= flip;
        prop_assert!(Share::decode(&bad).is_err());
        prop_assert!(Share::decode(&good[..at]).is_err());
        prop_assert!(Share::decode(&good).is_ok());
    }
}

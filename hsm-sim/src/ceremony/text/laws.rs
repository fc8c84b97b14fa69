//! What a custodian copies wrongly is noticed, on the line where it happened.

use super::*;
use crate::ceremony::shamir::laws::{people, root};
use crate::ceremony::split;

fn paper() -> String {
    let shares = split(&root(5), [3; 16], hsm::Realm::Test, 3, &people(5)).unwrap();
    write_share(&shares[1]).to_string()
}

fn lines(paper: &str) -> Vec<String> {
    paper.lines().map(str::to_owned).collect()
}

fn numbered(lines: &[String]) -> Vec<usize> {
    (0..lines.len()).filter(|&at| lines[at].trim_start().starts_with(|c: char| c.is_ascii_digit())).collect()
}

#[test]
fn a_share_survives_paper_and_careless_typing() {
    let paper = paper();
    let share = read_share(&paper).unwrap();
    assert_eq!(share.custodian().as_str(), "ben");
    assert_eq!(write_share(&share).as_str(), paper);
    let careless: String = lines(&paper)
        .iter()
        .filter(|line| line.trim_start().starts_with(|c: char| c.is_ascii_digit()))
        .map(|line| {
            let line = line.trim_start();
            let (number, rest) = line.split_once(' ').unwrap();
            let rest = rest.trim().to_lowercase().replace(' ', "-").replace('0', "o").replace('1', "l");
            format!("\t{number} {rest}\r\n")
        })
        .collect();
    assert_eq!(write_share(&read_share(&careless).unwrap()).as_str(), paper);
}

#[test]
fn every_wrong_character_and_every_swap_is_found_on_its_line() {
    let paper = paper();
    let all = lines(&paper);
    let mut tried = 0;
    for (number, at) in (1_usize..).zip(numbered(&all)) {
        let (head, body) = all[at].split_at(3);
        let places: Vec<usize> = (0..body.len()).filter(|&i| body.as_bytes()[i] != b' ').collect();
        for &i in &places {
            for other in ALPHABET {
                if body.as_bytes()[i] == *other {
                    continue;
                }
                let mut typed = body.as_bytes().to_vec();
                typed[i] = *other;
                let mut altered = all.clone();
                altered[at] = head.to_owned() + std::str::from_utf8(&typed).unwrap();
                assert_eq!(read_share(&altered.join("\n")).err(), Some(ShareTextError::Line(number)));
                tried += 1;
            }
        }
        for (a, &i) in places.iter().enumerate() {
            for &j in &places[a + 1..] {
                let mut typed = body.as_bytes().to_vec();
                typed.swap(i, j);
                if typed == body.as_bytes() {
                    continue;
                }
                let mut altered = all.clone();
                altered[at] = head.to_owned() + std::str::from_utf8(&typed).unwrap();
                assert_eq!(read_share(&altered.join("\n")).err(), Some(ShareTextError::Line(number)));
            }
        }
    }
    assert!(tried > 5000, "{tried}");
}

#[test]
fn lines_left_out_doubled_or_swapped_are_found() {
    let all = lines(&paper());
    let numbered = numbered(&all);
    for &at in &numbered {
        let mut missing = all.clone();
        missing.remove(at);
        assert!(read_share(&missing.join("\n")).is_err());
        let mut doubled = all.clone();
        doubled.insert(at, all[at].clone());
        assert!(read_share(&doubled.join("\n")).is_err());
    }
    let mut swapped = all.clone();
    swapped.swap(numbered[0], numbered[1]);
    assert!(matches!(read_share(&swapped.join("\n")), Err(ShareTextError::Order(1))));
    assert!(read_share("").is_err() && read_share("1 ").is_err() && read_share("1").is_err());
}

#[test]
fn a_line_of_another_share_is_found() {
    let shares = split(&root(5), [3; 16], hsm::Realm::Test, 3, &people(5)).unwrap();
    let (one, two) = (lines(&write_share(&shares[0])), lines(&write_share(&shares[1])));
    for at in numbered(&one) {
        if one[at] != two[at] {
            let mut mixed = one.clone();
            mixed[at] = two[at].clone();
            assert_eq!(read_share(&mixed.join("\n")).err(), Some(ShareTextError::Whole));
        }
    }
}

proptest::proptest! {
    #[test]
    fn whatever_is_typed_is_answered(text in "([0-9]{1,2} [0-9A-Za-z -]{0,30}\n|.{0,40}\n){0,20}") {
        // Any answer but a panic; by chance nothing passes a sum of sixty-four bits.
        proptest::prop_assert!(read_share(&text).is_err());
    }

    #[test]
    fn cut_and_mixed_papers_are_refused(from in 0usize..40, to in 0usize..40) {
        let all = lines(&paper());
        let part: Vec<String> = all.iter().skip(from).take(to).cloned().collect();
        let whole = numbered(&all).iter().all(|&at| at >= from && at < from + to);
        proptest::prop_assert_eq!(read_share(&part.join("\n")).is_ok(), whole);
    }
}

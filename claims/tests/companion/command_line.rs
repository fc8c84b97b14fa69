//! The command line and what the program is made of.

use crate::house::House;
use std::process::Command;

fn claims(arguments: &[&str]) -> (i32, String, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_claims")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code().unwrap(), text(done.stdout), text(done.stderr))
}

#[test]
fn help_suffices_and_misuse_exits_with_2() {
    let (code, help, _) = claims(&["--help"]);
    assert_eq!(code, 0);
    for word in ["serve", "init", "seed", "CLAIMS_SECTION__KEY", "gateway_token_file"] {
        assert!(help.contains(word), "{word}");
    }
    assert_eq!(claims(&["fly"]).0, 2);
    assert_eq!(claims(&["serve"]).0, 2);
    let (code, _, error) = claims(&["serve", "--config", "/nowhere/claims.toml"]);
    assert_eq!(code, 2);
    assert!(error.contains("/nowhere/claims.toml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn init_may_be_repeated_and_serve_wants_a_database() {
    let mut house = House::open().await;
    assert_eq!(house.run(&["init"]).0, 0);
    assert_eq!(house.balance().await, "48200.00");
    house.kill();
    std::fs::remove_file(house.folder.path().join("claims.db")).unwrap();

    assert_eq!(house.run(&["serve"]).0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::open().await;
    house.pay("k", &house.payment("1.00")).await;
    for name in ["claims.db", "claims.db-wal"] {
        let mode = std::fs::metadata(house.folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name}");
    }
}

#[test]
fn the_companion_links_nothing_that_can_reach_a_card() {
    let manifest = include_str!("../../Cargo.toml");
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap();
    for room in ["vault", "hsm", "hsm-sim", "store", "pangate"] {
        assert!(!dependencies.lines().any(|line| line.split([' ', '=']).next() == Some(room)), "{room}");
    }
}

use super::*;
use time::macros::date;

const VENDOR: &str = "name = \"clearing\"\nhosts = [\"api.clearing.example\"]\nclasses = [\"token\", \"phi\"]\n\
    [approved]\nby = [\"ada\", \"otto\"]\non = 2026-01-02\n\
    [baa]\nsigned = 2026-01-01\nexpires = 2026-12-31\n";

fn read(text: &str) -> Result<Vendors, Vec<Fault>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("vendors")).unwrap();
    std::fs::write(folder.path().join("vendors/clearing.toml"), text).unwrap();
    Vendors::of(&Folder::read(folder.path()).unwrap())
}

#[test]
fn data_goes_only_where_a_live_record_lets_its_class_go() {
    let vendors = read(VENDOR).unwrap();
    let (today, later) = (date!(2026 - 12 - 31), date!(2027 - 01 - 01));
    let host = "api.clearing.example";
    assert_eq!(vendors.permits(host, &[Egress::Token, Egress::Phi], today), Ok(()));
    assert_eq!(vendors.permits("API.Clearing.example.", &[Egress::Phi], today), Ok(()));
    // The agreement ran out: health data stops, tokens go on.
    assert_eq!(vendors.permits(host, &[Egress::Token, Egress::Phi], later), Err(NoEgress::Expired));
    assert_eq!(vendors.permits(host, &[Egress::Token], later), Ok(()));
    assert_eq!(vendors.permits(host, &[Egress::Pan], today), Err(NoEgress::Unlisted));
    for other in [
        "clearing.example",
        "x.api.clearing.example",
        "api.clearing.example.evil.example",
        "api-clearing.example",
        "203.0.113.7",
        "[::1]",
        "127.1",
        "2130706433",
        "",
    ] {
        assert_eq!(vendors.permits(other, &[Egress::Token], today), Err(NoEgress::Unlisted), "{other}");
    }
}

#[test]
fn a_name_that_leads_inside_is_rebinding() {
    let vendors = read(VENDOR).unwrap();
    let at = |addresses: &[&str]| {
        let addresses: Vec<IpAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        vendors.permits_at("api.clearing.example", &addresses, &[Egress::Token], date!(2026 - 02 - 01))
    };
    assert_eq!(at(&["93.184.216.34", "2606:2800:220:1::1"]), Ok(()));
    for inside in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:192.168.0.1", "fd00::1"] {
        assert_eq!(at(&[inside]), Err(NoEgress::Address), "{inside}");
        assert_eq!(at(&["93.184.216.34", inside]), Err(NoEgress::Address), "{inside} among others");
    }
}

#[test]
fn an_address_in_a_names_place_needs_a_record_of_its_own_and_its_networks() {
    let today = date!(2026 - 02 - 01);
    let ours = read(&companion_record("127.0.0.1")).unwrap();
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        assert_eq!(ours.permits(host, &[Egress::Token, Egress::Phi], today), Ok(()), "{host}");
    }
    assert_eq!(ours.permits("127.0.0.2", &[Egress::Token], today), Err(NoEgress::Unlisted));
    assert_eq!(ours.permits("localhost", &[Egress::Pan], today), Err(NoEgress::Unlisted));
    let outside = companion_record("127.0.0.1").replace("127.0.0.0/8", "203.0.113.0/24");
    let outside = read(&outside).unwrap();
    assert_eq!(outside.permits("127.0.0.1", &[Egress::Token], today), Err(NoEgress::Address));
    assert!(read(&companion_record("claims.internal")).is_ok());
}

#[test]
fn a_bad_record_is_refused_with_its_line() {
    for (from, to, line, said) in [
        ("api.clearing.example", "*.clearing.example", 2, "no host"),
        ("api.clearing.example", "https://clearing.example", 2, "no host"),
        ("api.clearing.example", "0x7f.1", 2, "no host"),
        ("api.clearing.example", "127.1", 2, "no host"),
        ("\"phi\"", "\"phii\"", 3, "phii"),
        ("\"phi\"", "\"phi\", \"pan\"", 1, "pan may not go there"),
        ("[\"ada\", \"otto\"]", "[\"ada\", \"ada\"]", 5, "two people"),
        ("expires = 2026-12-31", "expires = 2025-12-31", 9, "before"),
        ("signed = 2026-01-01\nexpires", "signd = 2026-01-01\nexpires", 8, "signd"),
        ("[baa]\nsigned = 2026-01-01\nexpires = 2026-12-31\n", "", 1, "phi may not go there"),
    ] {
        let text = VENDOR.replacen(from, to, 1);
        assert_ne!(text, VENDOR);
        let faults = read(&text).unwrap_err();
        let named = faults.iter().any(|fault| fault.line == Some(line) && fault.problem.contains(said));
        assert!(named, "{to}: {faults:#?}");
    }
}

#[test]
fn an_agreement_is_renewed_in_time() {
    let vendors = read(VENDOR).unwrap();
    let codes = |today| vendors.notices(today, 30).into_iter().map(|notice| notice.code).collect::<Vec<_>>();
    assert_eq!(codes(date!(2026 - 11 - 30)), Vec::<&str>::new());
    assert_eq!(codes(date!(2026 - 12 - 01)), ["vendor_expires"]);
    assert_eq!(codes(date!(2027 - 01 - 01)), ["vendor_expired"]);
}

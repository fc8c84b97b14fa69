//! The PKCS#11 provider on SoftHSM2 keeps the contract, the whole of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code; a failure must stop the test")]

mod softhsm;

use hsm::{Approval, Hsm, HsmError};
use softhsm::{alone, conformance_keys};

#[test]
fn softhsm2_conforms() {
    alone("softhsm2_conforms", |softhsm| {
        let device = softhsm.prepared();
        let connect = || -> Result<Box<dyn Hsm>, HsmError> { Ok(Box::new(device.session())) };
        let report = hsm::conformance::run_all(&connect, &conformance_keys(), &|_| Approval::Caller);
        println!("PKCS#11 on SoftHSM2: {}", report.summary());
        assert!(report.holds(), "{:#?}", report.failed);
        assert!(report.skipped.is_empty(), "{:?}", report.skipped);
        assert!(report.total() > 50, "{}", report.total());
    });
}

//! Answers that are added together with their acts, in the same rows.

use super::{Claim, NO_MAC};
use crate::answer::{Answer, Code, Problem};
use crate::record::now_us;
use store::{Column, Kind, Rows, Sheet, Value};

static ANSWERS: Sheet = Sheet {
    table: "idempotency",
    columns: &[
        Column { name: "tenant", kind: Kind::Text },
        Column { name: "principal", kind: Kind::Text },
        Column { name: "endpoint", kind: Kind::Text },
        Column { name: "idempotency_key", kind: Kind::Text },
        Column { name: "request_mac", kind: Kind::Bytes },
        Column { name: "request_mac_version", kind: Kind::Integer },
        Column { name: "state", kind: Kind::Text },
        Column { name: "owner", kind: Kind::Text },
        Column { name: "status", kind: Kind::Small },
        Column { name: "content_type", kind: Kind::Text },
        Column { name: "body", kind: Kind::Bytes },
        Column { name: "created_at", kind: Kind::Time },
        Column { name: "done_at", kind: Kind::Time },
    ],
    needs: None,
    numbered: None,
};

impl Claim {
    /// Lays the key with its answer out as a row, for an act that comes to be with the same rows. When the key is taken
    /// the row finds no place, and [`Claim::take`] tells what became of it.
    ///
    /// # Errors
    /// A problem when the request has no MAC, which is a defect.
    pub fn lay_out(&self, rows: &mut Rows, answer: &Answer) -> Result<(), Problem> {
        let (version, mac) = self.request_macs.first().ok_or(Problem::new(Code::Internal, NO_MAC))?;
        let now = now_us();
        let mut values = self.key_values();
        values.extend([
            Value::from(mac),
            Value::from(*version),
            Value::from("done"),
            Value::from(self.owner.text()),
            Value::from(answer.status().as_u16()),
            Value::from(answer.content_type()),
            Value::from(answer.body()),
            Value::from(now),
            Value::from(now),
        ]);
        rows.add(&ANSWERS, values);
        Ok(())
    }
}

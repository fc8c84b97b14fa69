//! An argument on its way to PostgreSQL, written in the type that the statement wants: the server is asked once, when
//! a statement is prepared, what its parameters are.

use super::kind::{EPOCH_US, Kind};
use super::numeric;
use crate::Value;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Encode, Postgres, Type};

/// Why a value did not fit its parameter. A mistake in the program; names no value.
#[derive(Debug, thiserror::Error)]
#[error("an argument does not fit its parameter")]
struct DoesNotFit;

/// One value, or one column of many rows.
enum Given<'v> {
    One(&'v Value),
    Many(Vec<&'v Value>),
}

/// What is given for a parameter, with the type it is written in.
pub(super) struct Argument<'v> {
    given: Given<'v>,
    wanted: Option<PgTypeInfo>,
}

impl<'v> Argument<'v> {
    pub(super) fn one(value: &'v Value) -> Argument<'v> {
        Argument { given: Given::One(value), wanted: None }
    }

    pub(super) fn many(values: Vec<&'v Value>) -> Argument<'v> {
        Argument { given: Given::Many(values), wanted: None }
    }

    pub(super) fn written_as(self, wanted: PgTypeInfo) -> Argument<'v> {
        Argument { wanted: Some(wanted), ..self }
    }
}

impl Type<Postgres> for Argument<'_> {
    fn type_info() -> PgTypeInfo {
        // The server finds the type out by itself.
        PgTypeInfo::with_oid(Oid(0))
    }
}

impl Encode<'_, Postgres> for Argument<'_> {
    fn encode_by_ref(&self, out: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let wanted = self.wanted.as_ref().ok_or(DoesNotFit)?;
        match &self.given {
            Given::One(Value::Null) => return Ok(IsNull::Yes),
            Given::One(value) => write(value, Kind::of(wanted).ok_or(DoesNotFit)?, out)?,
            Given::Many(values) => write_array(values, wanted, out)?,
        }
        Ok(IsNull::No)
    }
}

fn write(value: &Value, kind: Kind, out: &mut Vec<u8>) -> Result<(), DoesNotFit> {
    match (value, kind) {
        (Value::Integer(number), Kind::Int8) => out.extend_from_slice(&number.to_be_bytes()),
        (Value::Integer(number), Kind::Int4) => {
            out.extend_from_slice(&i32::try_from(*number).map_err(|_| DoesNotFit)?.to_be_bytes());
        }
        (Value::Integer(number), Kind::Int2) => {
            out.extend_from_slice(&i16::try_from(*number).map_err(|_| DoesNotFit)?.to_be_bytes());
        }
        (Value::Integer(number), Kind::Time) => {
            out.extend_from_slice(&number.checked_sub(EPOCH_US).ok_or(DoesNotFit)?.to_be_bytes());
        }
        (Value::Integer(number), Kind::Numeric) => numeric::encode(*number, out),
        (Value::Integer(number @ (0 | 1)), Kind::Boolean) => out.push(u8::from(*number == 1)),
        (Value::Text(text), Kind::Text) => out.extend_from_slice(text.as_bytes()),
        (Value::Bytes(bytes), Kind::Bytes) => out.extend_from_slice(bytes),
        _ => return Err(DoesNotFit),
    }
    Ok(())
}

/// An array of one dimension (src/backend/utils/adt/arrayfuncs.c, `array_recv`).
fn write_array(values: &[&Value], wanted: &PgTypeInfo, out: &mut Vec<u8>) -> Result<(), DoesNotFit> {
    let (kind, element) = Kind::of_array(wanted).ok_or(DoesNotFit)?;
    let has_null = values.iter().any(|value| matches!(value, Value::Null));
    let length = i32::try_from(values.len()).map_err(|_| DoesNotFit)?;
    for word in [1, i32::from(has_null), element.cast_signed(), length, 1] {
        out.extend_from_slice(&word.to_be_bytes());
    }
    for value in values {
        if matches!(value, Value::Null) {
            out.extend_from_slice(&(-1_i32).to_be_bytes());
            continue;
        }
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        write(value, kind, out)?;
        let written = i32::try_from(out.len() - at - 4).map_err(|_| DoesNotFit)?;
        if let Some(length) = out.get_mut(at..at + 4) {
            length.copy_from_slice(&written.to_be_bytes());
        }
    }
    Ok(())
}

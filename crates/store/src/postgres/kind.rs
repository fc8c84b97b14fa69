//! Which of our four kinds of value a PostgreSQL type holds, by its object id (src/include/catalog/pg_type.dat).

use sqlx::postgres::PgTypeInfo;

/// A type as it stands on the wire in binary form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Int2,
    Int4,
    Int8,
    Numeric,
    /// Microseconds since 2000-01-01 UTC.
    Time,
    Text,
    Bytes,
}

impl Kind {
    /// The kind of a column or parameter; none for a type that no table of ours has.
    pub(super) fn of(found: &PgTypeInfo) -> Option<Kind> {
        Some(match found.oid()?.0 {
            16 => Kind::Boolean,
            17 => Kind::Bytes,
            20 => Kind::Int8,
            21 => Kind::Int2,
            23 => Kind::Int4,
            // "char"-like texts: name, text, unknown, bpchar, varchar.
            19 | 25 | 705 | 1042 | 1043 => Kind::Text,
            1184 => Kind::Time,
            1700 => Kind::Numeric,
            _ => return None,
        })
    }

    /// The kind of an array's elements, with the elements' object id.
    pub(super) fn of_array(found: &PgTypeInfo) -> Option<(Kind, u32)> {
        Some(match found.oid()?.0 {
            1001 => (Kind::Bytes, 17),
            1005 => (Kind::Int2, 21),
            1007 => (Kind::Int4, 23),
            1009 => (Kind::Text, 25),
            1016 => (Kind::Int8, 20),
            1185 => (Kind::Time, 1184),
            _ => return None,
        })
    }
}

/// Microseconds between 1970-01-01, from which we count, and 2000-01-01, from which PostgreSQL does.
pub(super) const EPOCH_US: i64 = 946_684_800_000_000;

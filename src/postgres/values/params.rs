//! Parameters: declared types, and values in Postgres' text format, so that a client's value is never part of SQL.

use std::error::Error;
use std::fmt;

use bytes::BytesMut;
use tokio_postgres::types::{to_sql_checked, Format, IsNull, ToSql, Type};

use crate::core::values::value::{ArgType, ScalarType};

/// One value as Postgres' input function for the declared type reads it; None is NULL.
pub(in crate::postgres) struct TextParam<'a>(pub(in crate::postgres) Option<&'a str>);

/// Shows no value: the driver logs parameters.
impl fmt::Debug for TextParam<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "…" } else { "NULL" })
    }
}

impl ToSql for TextParam<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

pub(in crate::postgres) fn declared_types(params: &[ArgType]) -> Vec<Type> {
    params.iter().copied().map(declared_type).collect()
}

/// The type that a parameter is sent as.
pub(in crate::postgres) fn declared_type(ty: ArgType) -> Type {
    let (scalar, array) = match ty.scalar {
        ScalarType::Int => (Type::INT8, Type::INT8_ARRAY),
        ScalarType::Float => (Type::FLOAT8, Type::FLOAT8_ARRAY),
        ScalarType::Numeric => (Type::NUMERIC, Type::NUMERIC_ARRAY),
        ScalarType::Bool => (Type::BOOL, Type::BOOL_ARRAY),
        ScalarType::Text => (Type::TEXT, Type::TEXT_ARRAY),
        ScalarType::Uuid => (Type::UUID, Type::UUID_ARRAY),
        ScalarType::Date => (Type::DATE, Type::DATE_ARRAY),
        ScalarType::Timestamp => (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
        ScalarType::TimestampTz => (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
        ScalarType::Json => (Type::JSONB, Type::JSONB_ARRAY),
    };
    match ty.array {
        true => array,
        false => scalar,
    }
}

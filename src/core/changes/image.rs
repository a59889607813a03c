//! The present values of a row, as its section's `row` statement gave them or a client told them: a JSON object.
//!
//! Whether a row of these values meets a predicate is decided in `meets`, which errs towards true: a cached result that
//! is dropped without need costs one fetch, one that is kept in error is wrong.

mod comparable;
mod decimal;
mod listed;
mod meets;
mod page;
#[cfg(test)]
mod tests;
mod truth;

use crate::core::values::json_text::{JsonError, Reader};

pub(in crate::core) use self::comparable::{Comparable, Seen};
pub(in crate::core) use self::listed::list_of;
pub(in crate::core) use self::meets::{resolve, Resolved};

/// Bytes of an image that a client gives: one of lists of numbers takes a millisecond or two.
const MAX_BYTES: usize = 64 << 10;

/// Postgres has no rows of more.
const MAX_COLUMNS: usize = 1_664;

/// Columns of a row, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    columns: Box<[(Box<str>, Cell)]>,
}

/// What a row has in a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    /// A string, a number as it was spelled, `true` or `false`.
    Scalar(Box<str>),
    /// Scalars; None is null.
    Array(Box<[Option<Box<str>>]>),
    /// An object, or a list that holds lists or objects: nothing that a predicate compares.
    Other,
}

/// What is wrong with an image, as a predicate: "the image …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("is not UTF-8 from byte {at} on")]
    Utf8 { at: usize },
    #[error("must be an object such as {{\"id\":5,\"size\":150}}, got {got}")]
    NotObject { got: Box<str> },
    #[error("may hold {MAX_BYTES} bytes, got {got}; give the columns that a match or an on compares")]
    TooLarge { got: usize },
    #[error("may have {MAX_COLUMNS} columns, as a row of Postgres has")]
    TooManyColumns,
    #[error("has the column '{column}' twice; each may be given once")]
    DuplicateColumn { column: Box<str> },
    #[error(transparent)]
    Json(#[from] JsonError),
}

impl Image {
    /// Of a client, within limits: it is read in one piece.
    pub fn from_client(raw: &[u8]) -> Result<Image, ImageError> {
        if raw.len() > MAX_BYTES {
            return Err(ImageError::TooLarge { got: raw.len() });
        }
        Image::from_json(raw)
    }

    pub fn from_json(raw: &[u8]) -> Result<Image, ImageError> {
        let text = std::str::from_utf8(raw).map_err(|error| ImageError::Utf8 { at: error.valid_up_to() })?;
        let mut reader = Reader::new(text);
        if reader.peek() != Some(b'{') {
            return Err(ImageError::NotObject { got: reader.describe()?.into() });
        }
        reader.take(b'{');
        let mut columns = Vec::new();
        let mut more = !reader.take(b'}');
        while more {
            let column: Box<str> = reader.key()?.into();
            columns.push((column, read_cell(&mut reader)?));
            if columns.len() > MAX_COLUMNS {
                return Err(ImageError::TooManyColumns);
            }
            more = reader.goes_on(b'}')?;
        }
        reader.end()?;
        columns.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(twice) = columns.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let column = crate::core::values::value::shorten(twice[0].0.as_bytes()).into();
            return Err(ImageError::DuplicateColumn { column });
        }
        Ok(Image { columns: columns.into() })
    }

    pub fn get(&self, column: &str) -> Option<&Cell> {
        let at = self.columns.binary_search_by(|(name, _)| (**name).cmp(column)).ok()?;
        Some(&self.columns[at].1)
    }
}

fn read_cell(reader: &mut Reader) -> Result<Cell, JsonError> {
    match reader.peek() {
        Some(b'{') => {
            reader.copy_value(&mut Vec::new())?;
            Ok(Cell::Other)
        }
        Some(b'[') => {
            let mut list = reader.clone();
            reader.copy_value(&mut Vec::new())?;
            list.take(b'[');
            let mut elements = Vec::new();
            let mut more = !list.take(b']');
            while more {
                if matches!(list.peek(), Some(b'[' | b'{')) {
                    return Ok(Cell::Other);
                }
                elements.push(read_scalar(&mut list)?);
                more = list.goes_on(b']')?;
            }
            Ok(Cell::Array(elements.into()))
        }
        _ => Ok(read_scalar(reader)?.map_or(Cell::Null, Cell::Scalar)),
    }
}

/// None is null.
fn read_scalar(reader: &mut Reader) -> Result<Option<Box<str>>, JsonError> {
    match reader.peek() {
        Some(b'"') => Ok(Some(reader.string()?.into())),
        Some(b'-' | b'0'..=b'9') => Ok(Some(reader.number()?.into())),
        _ => Ok(Some(reader.word()?).filter(|word| *word != "null").map(Box::from)),
    }
}

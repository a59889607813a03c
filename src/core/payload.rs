//! Temporary stand-in.
use super::batch::OrderKeys;
use super::job::{Job, Order};
use serde_json::Value;
use std::hash::{DefaultHasher, Hash, Hasher};

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PayloadError(String);
#[derive(Debug)]
pub struct Checked {
    pub json: Vec<u8>,
    pub order: OrderKeys,
}

pub fn check(job: &Job, raw: &[u8]) -> Result<Checked, PayloadError> {
    let value: Value = serde_json::from_slice(raw).map_err(|e| PayloadError(e.to_string()))?;
    let Value::Object(map) = &value else { return Err(PayloadError("not an object".into())) };
    for field in &job.data {
        if !field.optional && map.get(&*field.name).is_none() {
            return Err(PayloadError(format!("field '{}' is missing", field.name)));
        }
    }
    let mut order = OrderKeys::new();
    if let Order::Fields(names) = &job.order {
        for name in names {
            if let Some(v) = map.get(&**name) {
                let mut h = DefaultHasher::new();
                v.to_string().hash(&mut h);
                order.push(h.finish());
            }
        }
    }
    Ok(Checked { json: value.to_string().into_bytes(), order })
}

pub fn write_record(n: u64, tenant: Option<&str>, json: &[u8], out: &mut Vec<u8>) {
    let _ = tenant;
    let text = String::from_utf8_lossy(json);
    let rest = text.trim_start_matches('{');
    let comma = if rest.trim() == "}" { "" } else { "," };
    out.extend_from_slice(format!("{{\"n\":{n},\"data\":{text}{comma}{rest}").as_bytes());
}

pub fn text_params(_: &Job, json: &[u8]) -> Result<Vec<(Box<str>, Option<String>)>, PayloadError> {
    let Ok(Value::Object(map)) = serde_json::from_slice(json) else { return Err(PayloadError("no".into())) };
    Ok(map
        .into_iter()
        .map(|(k, v)| {
            let t = match v {
                Value::Null => None,
                Value::String(s) => Some(s),
                other => Some(other.to_string()),
            };
            (k.into(), t)
        })
        .collect())
}

//! A model's `config.json`, read key by key.
//!
//! Invariant: a key of the wrong kind is an error that names it; a key that is absent or null has the default of
//! diffusers' class.

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// diffusers' `config.json`.
#[derive(Debug, Clone)]
pub(in crate::model) struct Config {
    keys: Map<String, Value>,
}

impl Config {
    pub(in crate::model) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let invalid = || Error::invalid("config.json holds no JSON object");
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(keys)) => Ok(Self { keys }),
            Ok(_) => Err(invalid()),
            Err(error) => Err(invalid().with_source(error)),
        }
    }

    /// The class it configures: `_class_name`.
    pub(in crate::model) fn class(&self) -> Option<&str> {
        self.keys.get("_class_name")?.as_str()
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn wrong(key: &str, value: &Value, wanted: &str) -> Error {
        Error::invalid(format!(
            "config.json: `{key}` is {value} where {wanted} is known"
        ))
    }

    pub(super) fn number(&self, key: &str, default: u64) -> Result<u64> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_u64()
            .ok_or_else(|| Self::wrong(key, value, "a whole number"))
    }

    pub(super) fn numbers(&self, key: &str, default: &[u64]) -> Result<Vec<u64>> {
        let Some(value) = self.get(key) else {
            return Ok(default.to_vec());
        };
        let numbers = value
            .as_array()
            .map(|list| list.iter().map(Value::as_u64).collect::<Option<_>>());
        numbers
            .flatten()
            .ok_or_else(|| Self::wrong(key, value, "a list of whole numbers"))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_bool()
            .ok_or_else(|| Self::wrong(key, value, "true or false"))
    }

    pub(in crate::model) fn float(&self, key: &str, default: f64) -> Result<f64> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        value
            .as_f64()
            .filter(|number| number.is_finite())
            .ok_or_else(|| Self::wrong(key, value, "a number"))
    }

    /// Refuses any value but `only`; an absent key is taken to say it.
    pub(super) fn expect(&self, key: &str, only: &Value) -> Result<()> {
        match self.get(key) {
            Some(value) if value != only => Err(Self::wrong(key, value, &format!("only {only}"))),
            _ => Ok(()),
        }
    }
}

/// Whether a graph can be written for levels of `widths` channels that norms cut into `groups`.
pub(super) fn are_plausible(widths: &[u64], layers_per_block: u64, groups: u64) -> bool {
    let fits = |width: &u64| (1..=8192).contains(width) && width.is_multiple_of(groups);
    (1..=16).contains(&layers_per_block) && groups > 0 && widths.iter().all(fits)
}

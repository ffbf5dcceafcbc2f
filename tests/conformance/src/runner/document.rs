//! Settings of scenarios as the documents that bindings read.

use serde_json::{Map, Value};

/// The terms of a call as a document; bytes unless the scenario says otherwise.
pub(super) fn terms(settings: &toml::Table, plan: Option<String>) -> Result<String, String> {
    let mut document = document(settings)?;
    document.entry("content_type").or_insert("application/grpc+bytes".into());
    if let Some(plan) = plan {
        let metadata = document.entry("metadata").or_insert(Map::new().into());
        metadata.as_object_mut().ok_or("metadata is a table")?.insert("do".into(), plan.into());
    }
    Ok(Value::from(document).to_string())
}

/// Settings as they are written in a scenario.
pub(super) fn document(settings: &toml::Table) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => Ok(fields),
        _ => Err(format!("{settings} is no document")),
    }
}

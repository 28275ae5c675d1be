//! Whether an answer is one that the description of its server has.
//!
//! Objects are taken as closed here, so that what is answered but not described is found. Patterns
//! of strings are left to `scripts/openapi.py`.

#[cfg(test)]
use serde::Serialize;
use serde_json::{Map, Value};

use super::Reply;
#[cfg(test)]
use crate::http::openapi::{self, Describe};

const PROBLEM: &str = "application/problem+json";

/// Holds `reply` to the description.
pub(super) fn check(
    description: &Value,
    method: &[u8],
    target: &[u8],
    reply: &Reply,
) -> Result<(), String> {
    if reply.status == 500 {
        return Err(format!("500: {}", String::from_utf8_lossy(&reply.body)));
    }
    // What follows a number sign never reaches a handler.
    let path = target.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let Some(methods) = methods_of(description, path) else {
        return expect_problem(reply, &[404], "unknown-path");
    };
    let is_head = method == b"HEAD";
    let name = if is_head { "get".into() } else { String::from_utf8_lossy(method).to_lowercase() };
    let is_upper = method.iter().all(u8::is_ascii_uppercase);
    let Some(operation) = methods.get(&name).filter(|_| is_upper) else {
        return refused_method(methods, reply);
    };
    let status = reply.status.to_string();
    let response = operation["responses"].get(&status);
    let response = response.ok_or_else(|| format!("{name} has no status {status}"))?;
    let name = response["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    let response = name.map_or(response, |name| &description["components"]["responses"][name]);
    check_body(description, response, reply, is_head)
}

/// The operations of the template that a path is of.
fn methods_of<'a>(description: &'a Value, path: &[u8]) -> Option<&'a Map<String, Value>> {
    let paths = description["paths"].as_object()?;
    let found = paths.iter().find(|(template, _)| is_of(template, path));
    found.and_then(|(_, methods)| methods.as_object())
}

fn is_of(template: &str, path: &[u8]) -> bool {
    let (wanted, got) = (template.split('/'), path.split(|byte| *byte == b'/'));
    let fits = |(wanted, got): (&str, &[u8])| {
        if wanted.starts_with('{') { !got.is_empty() } else { wanted.as_bytes() == got }
    };
    wanted.clone().count() == got.clone().count() && wanted.zip(got).all(fits)
}

fn refused_method(methods: &Map<String, Value>, reply: &Reply) -> Result<(), String> {
    expect_problem(
        reply,
        &[405, 413],
        if reply.status == 413 { "body-too-large" } else { "method-not-allowed" },
    )?;
    let allowed = reply.header("allow").unwrap_or_default().to_lowercase();
    let missing = methods.keys().find(|method| !allowed.split(',').any(|one| one == *method));
    match missing {
        Some(method) if reply.status == 405 => Err(format!("`allow: {allowed}` lacks {method}")),
        _ => Ok(()),
    }
}

fn expect_problem(reply: &Reply, statuses: &[u16], code: &str) -> Result<(), String> {
    if !statuses.contains(&reply.status) {
        return Err(format!("{} instead of {statuses:?}", reply.status));
    }
    if reply.header("content-type") != Some(PROBLEM) {
        return Err(format!("{:?} is no problem", reply.header("content-type")));
    }
    let problem: Value = serde_json::from_slice(&reply.body)
        .map_err(|error| error.to_string())
        .or_else(|error| {
            // The answer to HEAD has no body.
            if reply.body.is_empty() { Ok(Value::Null) } else { Err(error) }
        })?;
    let got = &problem["code"];
    if problem.is_null() || got == code { Ok(()) } else { Err(format!("{got} instead of {code}")) }
}

fn check_body(
    description: &Value,
    response: &Value,
    reply: &Reply,
    is_head: bool,
) -> Result<(), String> {
    let got = reply.header("content-type").unwrap_or_default();
    let content = response["content"].get(got);
    let content = content.ok_or_else(|| format!("the media type is `{got}`"))?;
    for (name, header) in response["headers"].as_object().into_iter().flatten() {
        if header["required"] == true && reply.header(&name.to_lowercase()).is_none() {
            return Err(format!("there is no header {name}"));
        }
    }
    if is_head || !got.ends_with("json") {
        return Ok(());
    }
    let body = serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
    Schemas { all: &description["components"]["schemas"] }
        .check(&content["schema"], &body)
        .map_err(|fault| format!("{fault} in {body}"))
}

/// Holds what `serde` makes of a value to the schema of its type.
#[cfg(test)]
pub(crate) fn check_value<T: Describe + Serialize>(value: &T) -> Result<(), String> {
    let mut known = openapi::Schemas::default();
    let schema = T::schema(&mut known);
    let all = &known.into_components()["schemas"];
    let value = serde_json::to_value(value).map_err(|error| error.to_string())?;
    Schemas { all }.check(&schema, &value).map_err(|fault| format!("{fault} in {value}"))
}

/// The schemas that others refer to.
#[derive(Clone, Copy)]
struct Schemas<'a> {
    all: &'a Value,
}

impl Schemas<'_> {
    fn check(self, schema: &Value, value: &Value) -> Result<(), String> {
        if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
            self.check(&self.all[name], value).map_err(|fault| format!("{name}: {fault}"))?;
        }
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.check(part, value)?;
        }
        for choice in ["anyOf", "oneOf"] {
            let Some(parts) = schema[choice].as_array() else { continue };
            if !parts.iter().any(|part| self.check(part, value).is_ok()) {
                return Err(format!("none of {choice}"));
            }
        }
        check_scalar(schema, value)?;
        self.check_items(schema, value)?;
        self.check_properties(schema, value)
    }

    fn check_items(self, schema: &Value, value: &Value) -> Result<(), String> {
        let Some(items) = value.as_array().filter(|_| schema.get("items").is_some()) else {
            return Ok(());
        };
        let bound = |name: &str, none: u64| schema[name].as_u64().unwrap_or(none);
        if !(bound("minItems", 0)..=bound("maxItems", u64::MAX)).contains(&(items.len() as u64)) {
            return Err(format!("{} items", items.len()));
        }
        items.iter().try_for_each(|item| self.check(&schema["items"], item))
    }

    fn check_properties(self, schema: &Value, value: &Value) -> Result<(), String> {
        let Some(fields) = value.as_object() else { return Ok(()) };
        let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for name in names {
            fields.get(name).ok_or_else(|| format!("there is no `{name}`"))?;
        }
        let Some(known) = schema["properties"].as_object() else { return Ok(()) };
        for (name, field) in fields {
            let Some(schema) = known.get(name) else {
                // Parts of `allOf`, and outlines of documents, name only some.
                let is_closed = schema["type"] == "object" && !known.contains_key("openapi");
                if is_closed {
                    return Err(format!("`{name}` is not described"));
                }
                continue;
            };
            self.check(schema, field).map_err(|fault| format!("{name}: {fault}"))?;
        }
        Ok(())
    }
}

fn check_scalar(schema: &Value, value: &Value) -> Result<(), String> {
    let is_of = |name: &str| match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    if schema["type"].as_str().is_some_and(|name| !is_of(name)) {
        return Err(format!("{value} is no {}", schema["type"]));
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return Err(format!("{value} is none of {}", schema["enum"]));
    }
    let Some(number) = value.as_u64() else { return Ok(()) };
    let (least, most) = (schema["minimum"].as_u64(), schema["maximum"].as_u64());
    if number < least.unwrap_or(0) || number > most.unwrap_or(u64::MAX) {
        return Err(format!("{number} is out of range"));
    }
    Ok(())
}

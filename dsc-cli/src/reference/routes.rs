//! What each role serves over HTTP, from the descriptions that the roles serve themselves.

use serde_json::{Map, Value};

use super::{
    Page,
    text::{code, plain, sentence, table},
};
use crate::role::openapi::ROLES;

/// A page for each role.
pub(super) fn pages() -> Vec<Page> {
    ROLES.iter().map(|(role, describe)| page(role, &describe())).collect()
}

/// The role that serves nothing but what every role serves; its page describes that.
const PLAIN: &str = "validator";

fn page(role: &str, description: &Value) -> Page {
    let mut operations = operations(description);
    let is_plain = role == PLAIN;
    operations.retain(|operation| is_plain || operation.is_own());
    let common = common(&operations);
    let mut body = paragraphs(&description["info"]["description"]);
    body += &format!("The same as [{role}.json](../../openapi/{role}.json), for people.\n\n");
    let rows: Vec<_> = operations.iter().map(Operation::line).collect();
    body += &table(["route", ""], &rows);
    if !is_plain {
        body +=
            &format!("And what every role serves: [health, metrics, description]({PLAIN}.md).\n\n");
    }
    body += "## Answers of every route\n\n";
    body += &table(["status", "code", "when"], &common.iter().map(fault_row).collect::<Vec<_>>());
    for operation in &operations {
        body += &operation.text(&common);
    }
    body += "## Objects\n\nA field is there unless it may be left out.\n\n";
    for (name, schema) in object(&description["components"]["schemas"]) {
        body += &format!("### {name}\n\n{}", schema_text(schema));
    }
    let title = format!("HTTP: {role}");
    Page::new(format!("http/{role}.md"), &title, &body)
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn paragraphs(value: &Value) -> String {
    let mut made = String::new();
    for part in text(value).split("\n\n").filter(|part| !part.is_empty()) {
        made += &format!("{}\n\n", sentence(part));
    }
    made
}

/// A status, a code, and when it is given.
type FaultRow = (String, String, String);

fn fault_row((status, name, when): &FaultRow) -> [String; 3] {
    [status.clone(), code(name), plain(when)]
}

/// One route with one method.
struct Operation {
    route: String,
    content: Value,
    /// Answers that are no faults: status, form, meaning.
    answers: Vec<[String; 3]>,
    faults: Vec<FaultRow>,
}

fn operations(description: &Value) -> Vec<Operation> {
    let mut found = Vec::new();
    for (path, methods) in object(&description["paths"]) {
        for (method, content) in object(methods) {
            let route = format!("{} {path}", method.to_uppercase());
            found.push(Operation::new(route, content.clone(), &description["components"]));
        }
    }
    found
}

/// Faults that every route has.
fn common(operations: &[Operation]) -> Vec<FaultRow> {
    let Some(first) = operations.first() else { return Vec::new() };
    let is_common = |fault: &&FaultRow| operations.iter().all(|one| one.faults.contains(fault));
    first.faults.iter().filter(is_common).cloned().collect()
}

impl Operation {
    fn new(route: String, content: Value, components: &Value) -> Self {
        let (mut answers, mut faults) = (Vec::new(), Vec::new());
        for (status, response) in object(&content["responses"]) {
            let name = text(&response["$ref"]).rsplit('/').next().unwrap_or_default();
            let response = components["responses"].get(name).unwrap_or(response);
            let (form, schema) = form(response);
            if form == "application/problem+json" {
                faults.extend(faults_of(status, text(&response["description"])));
            } else {
                let meaning = plain(text(&response["description"]));
                answers.push([status.clone(), described_form(&form, schema), meaning]);
            }
        }
        Self { route, content, answers, faults }
    }

    /// Whether the role has it and others do not.
    fn is_own(&self) -> bool {
        self.route.contains(" /v1/")
    }

    fn anchor(&self) -> String {
        let kept = self.route.to_lowercase().replace(' ', "-");
        kept.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    }

    fn line(&self) -> [String; 2] {
        let link = format!("[{}](#{})", code(&self.route), self.anchor());
        [link, sentence(text(&self.content["summary"]))]
    }

    fn text(&self, common: &[FaultRow]) -> String {
        let content = &self.content;
        let mut made =
            format!("## `{}`\n\n{}\n\n", self.route, sentence(text(&content["summary"])));
        made += &paragraphs(&content["description"]);
        if content["security"].is_array() {
            made += "Administrative: needs `Authorization: Bearer TOKEN` unless it comes from a \
                     program of the same machine.\n\n";
        }
        made += &table(["parameter", "in", "form", ""], &self.parameters());
        let (form, schema) = form(&content["requestBody"]);
        if !form.is_empty() {
            let meaning = sentence(text(&content["requestBody"]["description"]));
            made += &format!("Body, {}: {meaning}\n\n", described_form(&form, schema));
        }
        made += &table(["status", "form", ""], &self.answers);
        let own: Vec<_> = self.faults.iter().filter(|fault| !common.contains(fault)).collect();
        let rows: Vec<_> = own.into_iter().map(fault_row).collect();
        made + &table(["status", "code", "when"], &rows)
    }

    fn parameters(&self) -> Vec<[String; 4]> {
        let parameters = self.content["parameters"].as_array().into_iter().flatten();
        let row = |parameter: &Value| {
            let is_required = parameter["required"] == true;
            let place = text(&parameter["in"]).to_owned();
            let place = if is_required { place } else { format!("{place}, optional") };
            let (name, meaning) = (text(&parameter["name"]), text(&parameter["description"]));
            [code(name), place, expression(&parameter["schema"]), plain(meaning)]
        };
        parameters.map(row).collect()
    }
}

/// The form of a body and its schema.
fn form(body: &Value) -> (String, &Value) {
    let first = object(&body["content"]).next();
    first
        .map_or((String::new(), &Value::Null), |(form, content)| (form.clone(), &content["schema"]))
}

/// JSON by its schema, anything else by its media type.
fn described_form(form: &str, schema: &Value) -> String {
    if form == "application/json" { expression(schema) } else { code(form) }
}

/// Splits "`code`: when", one a paragraph.
fn faults_of<'a>(status: &'a str, description: &'a str) -> impl Iterator<Item = FaultRow> + 'a {
    description.split("\n\n").map(move |line| {
        let (name, when) = line.split_once(": ").unwrap_or(("", line));
        (status.to_owned(), name.trim_matches('`').to_owned(), when.to_owned())
    })
}

/// What a value looks like, in a few words.
fn expression(schema: &Value) -> String {
    let joined = |parts: &Vec<Value>| parts.iter().map(expression).collect::<Vec<_>>().join(" or ");
    if let Some(path) = schema["$ref"].as_str() {
        let name = path.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(parts) = schema["anyOf"].as_array().or_else(|| schema["oneOf"].as_array()) {
        return joined(parts);
    }
    if let Some(value) = schema.get("const") {
        return code(&value.to_string());
    }
    if let Some(values) = schema["enum"].as_array() {
        let values: Vec<_> = values.iter().map(|value| code(&value.to_string())).collect();
        return values.join(" or ");
    }
    named(schema)
}

fn named(schema: &Value) -> String {
    let kind = text(&schema["type"]);
    match (kind, text(&schema["format"])) {
        ("array", _) => format!("list of {}", expression(&schema["items"])),
        ("object", _) if schema["properties"].is_object() => inline(schema),
        ("integer", format) if !format.is_empty() => format.to_owned(),
        _ => kind.to_owned(),
    }
}

/// The fields of an object without a name of its own.
fn inline(schema: &Value) -> String {
    let fields = object(&schema["properties"]);
    let fields: Vec<_> =
        fields.map(|(name, field)| format!("{} {}", code(name), expression(field))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn schema_text(schema: &Value) -> String {
    let mut made = paragraphs(&schema["description"]);
    if let Some(fields) = schema["properties"].as_object() {
        return made + &fields_table(fields, &schema["required"]);
    }
    let alternatives = schema["oneOf"].as_array().or_else(|| schema["anyOf"].as_array());
    let Some(alternatives) = alternatives else {
        let pattern = schema["pattern"].as_str().filter(|pattern| pattern.len() < 80);
        let pattern = pattern.map(|pattern| format!(" matching {}", code(pattern)));
        made += &format!("Form: {}{}.\n\n", expression(schema), pattern.unwrap_or_default());
        return made;
    };
    for (index, one) in alternatives.iter().enumerate() {
        let lead = if index == 0 { "One of" } else { "or" };
        match one["properties"].as_object() {
            Some(fields) => {
                made += &format!("{lead}\n\n{}", fields_table(fields, &one["required"]));
            }
            None => made += &format!("{lead} {}\n\n", expression(one)),
        }
    }
    made
}

fn fields_table(fields: &Map<String, Value>, required: &Value) -> String {
    let is_required =
        |name: &str| required.as_array().is_some_and(|names| names.iter().any(|own| own == name));
    let rows: Vec<_> = fields
        .iter()
        .map(|(name, field)| {
            let may = if is_required(name) { "" } else { "May be left out. " };
            let meaning = format!("{may}{}", sentence(text(&field["description"])));
            [code(name), expression(field), meaning.trim().to_owned()]
        })
        .collect();
    table(["field", "form", ""], &rows)
}

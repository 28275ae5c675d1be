//! What one route takes and answers.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Describe, Fields, Group, Schemas,
    schema::{Field, FieldsOf, SchemaOf},
};
use crate::http::problem::MEDIA_TYPE;

const JSON: &str = "application/json";
const BINARY: &str = "application/octet-stream";

/// A status, a code, and when a route answers them instead.
pub(super) type Fault = (u16, &'static str, &'static str);

/// Codes of rules that are broken: too many to list at each route.
const ANY_RULE: &str = "RULE";

/// The description of one route: what it takes, what it answers, and which errors.
#[derive(Clone, Debug)]
pub struct Operation {
    id: &'static str,
    summary: &'static str,
    about: &'static str,
    path: Option<(&'static str, &'static str, SchemaOf)>,
    query: Option<FieldsOf>,
    header: Option<(&'static str, &'static str, SchemaOf)>,
    body: Option<Content>,
    answer: Content,
    faults: Vec<Fault>,
}

/// What is in a body.
#[derive(Clone, Debug)]
struct Content {
    media_type: &'static str,
    about: &'static str,
    schema: SchemaOf,
    examples: Vec<Value>,
}

impl Content {
    fn new(media_type: &'static str, about: &'static str, schema: SchemaOf) -> Self {
        Self { media_type, about, schema, examples: Vec::new() }
    }

    fn value(&self, known: &mut Schemas) -> Value {
        let mut content = json!({ "schema": (self.schema)(known) });
        let examples = self.examples.iter().enumerate();
        let examples: Map<_, _> =
            examples.map(|(at, value)| (at.to_string(), json!({ "value": value }))).collect();
        if !examples.is_empty() {
            content["examples"] = Value::Object(examples);
        }
        json!({ self.media_type: content })
    }
}

fn bytes(_: &mut Schemas) -> Value {
    json!({ "type": "string", "format": "binary" })
}

fn text(_: &mut Schemas) -> Value {
    json!({ "type": "string" })
}

impl Operation {
    /// A route that answers nothing yet; `id` is unique within a role.
    pub fn new(id: &'static str, summary: &'static str) -> Self {
        let (path, query, header, body) = (None, None, None, None);
        let (about, faults) = ("", Vec::new());
        let answer = Content::new("text/plain", "", text);
        Self { id, summary, about, path, query, header, body, answer, faults }
    }

    /// Says more about it.
    #[must_use]
    pub const fn about(mut self, about: &'static str) -> Self {
        self.about = about;
        self
    }

    /// Takes a part of the path.
    #[must_use]
    pub fn path<T: Describe>(self, name: &'static str, about: &'static str) -> Self {
        Self { path: Some((name, about, T::bare)), ..self }
    }

    /// Takes a query.
    #[must_use]
    pub fn query<T: Fields>(self) -> Self {
        Self { query: Some(T::fields), ..self }
    }

    /// Takes a header, which may be left out.
    #[must_use]
    pub fn header<T: Describe>(self, name: &'static str, about: &'static str) -> Self {
        Self { header: Some((name, about, T::bare)), ..self }
    }

    /// Takes a body in JSON.
    #[must_use]
    pub fn takes_json<T: Describe>(self, about: &'static str, example: Value) -> Self {
        let mut content = Content::new(JSON, about, T::bare);
        content.examples.push(example);
        Self { body: Some(content), ..self }
            .fault(400, "malformed-json", "the body is not JSON")
            .fault(400, "invalid-json", "the body is not the object that is described")
            .fault(415, "unsupported-media-type", "the body is not said to be JSON")
    }

    /// Takes a body in the canonical encoding.
    #[must_use]
    pub fn takes_binary(self, about: &'static str) -> Self {
        Self { body: Some(Content::new(BINARY, about, bytes)), ..self }
    }

    /// Answers JSON.
    #[must_use]
    pub fn json<T: Describe>(self, about: &'static str) -> Self {
        Self { answer: Content::new(JSON, about, T::schema), ..self }
    }

    /// Answers the canonical encoding.
    #[must_use]
    pub fn binary(self, about: &'static str) -> Self {
        Self { answer: Content::new(BINARY, about, bytes), ..self }
    }

    /// Answers text.
    #[must_use]
    pub fn text(self, media_type: &'static str, about: &'static str) -> Self {
        Self { answer: Content::new(media_type, about, text), ..self }
    }

    /// May answer a problem with this status and code.
    #[must_use]
    pub fn fault(mut self, status: u16, code: &'static str, when: &'static str) -> Self {
        self.faults.push((status, code, when));
        self
    }

    /// May answer 422 with the code of a rule that is broken.
    #[must_use]
    pub fn rules(self, when: &'static str) -> Self {
        self.fault(422, ANY_RULE, when)
    }

    /// The names that its query may hold.
    pub(super) fn keys(&self) -> Vec<&'static str> {
        let fields = self.query.map(|fields| fields(&mut Schemas::default()));
        fields.into_iter().flatten().map(|field| field.name).collect()
    }

    /// The description of this route, served among those of `group`.
    pub(super) fn value(&self, group: Group, known: &mut Schemas) -> Value {
        let mut value = json!({
            "operationId": self.id,
            "summary": self.summary,
            "responses": self.responses(group, known),
        });
        if !self.about.is_empty() {
            value["description"] = self.about.into();
        }
        let parameters = self.parameters(known);
        if !parameters.is_empty() {
            value["parameters"] = parameters.into();
        }
        if let Some(body) = &self.body {
            value["requestBody"] = json!({ "description": body.about, "required": true, "content": body.value(known) });
        }
        if group == Group::Admin {
            // Programs of the same machine need no token.
            value["security"] = json!([{ "token": [] }, {}]);
        }
        value
    }

    fn parameters(&self, known: &mut Schemas) -> Vec<Value> {
        let path = self.path.map(|(name, about, schema)| {
            let schema = schema(known);
            json!({
                "name": name, "in": "path", "required": true, "description": about, "schema": schema
            })
        });
        let header = self.header.map(|(name, about, schema)| {
            let schema = schema(known);
            json!({
                "name": name, "in": "header", "required": false, "description": about,
                "schema": schema
            })
        });
        let query = self.query.map(|fields| fields(known)).unwrap_or_default();
        path.into_iter().chain(query.into_iter().map(parameter)).chain(header).collect()
    }

    fn responses(&self, group: Group, known: &mut Schemas) -> Value {
        let answer =
            json!({ "description": self.answer.about, "content": self.answer.value(known) });
        let mut responses = Map::from_iter([("200".to_owned(), answer)]);
        let mut by_status: BTreeMap<u16, Vec<Fault>> = BTreeMap::new();
        for fault in self.faults.iter().copied().chain(group.faults()) {
            by_status.entry(fault.0).or_default().push(fault);
        }
        for (status, faults) in by_status {
            let response = problem(status, &faults, known);
            let is_own = self.faults.iter().any(|fault| fault.0 == status);
            let response = if is_own { response } else { shared(&faults, response, known) };
            responses.insert(status.to_string(), response);
        }
        Value::Object(responses)
    }
}

fn parameter(field: Field) -> Value {
    let Field { name, is_optional, bare: mut schema, .. } = field;
    let about = schema.as_object_mut().and_then(|keywords| keywords.remove("description"));
    json!({
        "name": name, "in": "query", "required": !is_optional, "description": about,
        "schema": schema
    })
}

/// A response of all routes of a group: it is written once, and called after its codes.
fn shared(faults: &[Fault], response: Value, known: &mut Schemas) -> Value {
    let codes: Vec<&str> = faults.iter().map(|(_, code, _)| *code).collect();
    known.response(&codes.join("."), response)
}

/// The response of one status, which `faults` share.
fn problem(status: u16, faults: &[Fault], known: &mut Schemas) -> Value {
    let code = if faults.iter().any(|(_, code, _)| *code == ANY_RULE) {
        json!({ "type": "string", "pattern": "^[a-z]+(-[a-z]+)*$" })
    } else {
        let codes: Vec<&str> = faults.iter().map(|(_, code, _)| *code).collect();
        json!({ "enum": codes })
    };
    let line = |(_, code, when): &Fault| match *code {
        ANY_RULE => (*when).to_owned(),
        code => format!("`{code}`: {when}"),
    };
    let about: Vec<String> = faults.iter().map(line).collect();
    let these = json!({ "properties": { "status": { "const": status }, "code": code } });
    let schema = json!({ "allOf": [super::Problem::bare(known), these] });
    let mut response = json!({
        "description": about.join("\n\n"), "content": { MEDIA_TYPE: { "schema": schema } }
    });
    let (name, about, schema) = match status {
        401 | 403 => ("WWW-Authenticate", "How to say who asks.", json!({ "const": "Bearer" })),
        429 | 503 => (
            "Retry-After",
            "Seconds after which the same may be asked again; not given if waiting may not help.",
            json!({ "type": "integer", "minimum": 1 }),
        ),
        _ => return response,
    };
    // A 401 always has it; a 503 may be without.
    let is_required = matches!(status, 401 | 403 | 429);
    response["headers"] =
        json!({ name: { "description": about, "required": is_required, "schema": schema } });
    response
}

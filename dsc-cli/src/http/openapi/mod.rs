//! The routes of a role together with their description in `OpenAPI` 3.1.
//!
//! # Invariants
//!
//! 1. A route cannot be added without its description, nor a description without its route.
//! 2. A query holds only names that the description of its route has, each at most once; those of
//!    probes are passed over.
//!
//! `role/openapi.rs` compares the descriptions with docs/openapi/, and `scripts/openapi.py` holds
//! running roles to them.

mod operation;
mod schema;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Query, Request, State},
    handler::Handler,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use serde_json::{Map, Value, json};

use self::operation::Fault;
pub(crate) use self::schema::describe;
pub use self::{
    operation::Operation,
    schema::{Describe, Field, Fields, FieldsOf, SchemaOf, Schemas, answered, asked},
};
use super::Problem;

/// How routes are served: what bounds them, and who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Small bodies and quick answers.
    Quick,
    /// Bodies that hold a block.
    Bulk,
    /// Bodies with many transactions, read while they come in.
    Streaming,
    /// Answers that wait for something to happen, or never end.
    Waiting,
    /// Verbs for this machine, or whoever has the token.
    Admin,
}

impl Group {
    /// What any route of the group may answer, whatever it is for.
    fn faults(self) -> Vec<Fault> {
        let mut faults = vec![
            (
                400,
                "invalid-query",
                "the query holds an unknown name, one twice, or a value out of range",
            ),
            (400, "bad-request", "the body breaks off"),
            (408, "body-timed-out", "the body took too long to arrive"),
            (413, "body-too-large", "the body is larger than this server takes"),
            (500, "internal", "a fault of this server; its log says more"),
            (501, "unsupported-transfer-coding", "the body is in another coding than `chunked`"),
            (503, "too-many-connections", "every connection of this server is in use"),
        ];
        if self != Self::Streaming {
            faults.push((503, "overloaded", "too many large requests or answers at once"));
            faults.push((504, "timed-out", "the work took too long; it may still be carried out"));
        }
        if self == Self::Waiting {
            faults.push((503, "shutting-down", "this server is about to end"));
        }
        if self == Self::Admin {
            faults.push((401, "token-required", "only an administrator may do this"));
            faults.push((403, "wrong-token", "the token is another"));
        }
        faults
    }
}

#[derive(Clone, Debug)]
struct Route {
    method: &'static str,
    path: &'static str,
    operation: Operation,
}

/// Routes, each with its description.
#[derive(Debug)]
pub struct Routes<S = ()> {
    router: Router<S>,
    described: Vec<Route>,
}

impl<S: Clone + Send + Sync + 'static> Default for Routes<S> {
    fn default() -> Self {
        Self { router: Router::new(), described: Vec::new() }
    }
}

impl<S: Clone + Send + Sync + 'static> Routes<S> {
    /// No routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route that changes nothing.
    #[must_use]
    pub fn get<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.add("get", path, get(handler), operation)
    }

    /// Adds a route that takes something.
    #[must_use]
    pub fn post<T: 'static>(
        self,
        path: &'static str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.add("post", path, post(handler), operation)
    }

    /// Adds a route whose query is passed over: probes put what they like there.
    pub(super) fn probe<T: 'static>(
        mut self,
        path: &'static str,
        handler: impl Handler<T, S>,
        operation: Operation,
    ) -> Self {
        self.router = self.router.route(path, get(handler));
        self.described.push(Route { method: "get", path, operation });
        self
    }

    fn add(
        mut self,
        method: &'static str,
        path: &'static str,
        handler: MethodRouter<S>,
        operation: Operation,
    ) -> Self {
        let keys: Arc<[&'static str]> = operation.keys().into();
        let handler = handler.route_layer(from_fn_with_state(keys, check_query));
        self.router = self.router.route(path, handler);
        self.described.push(Route { method, path, operation });
        self
    }

    pub(super) fn with_state<T>(self, state: S) -> Routes<T>
    where
        T: Clone + Send + Sync + 'static,
    {
        Routes { router: self.router.with_state(state), described: self.described }
    }
}

impl Routes {
    /// The routes without their description.
    pub(super) fn into_router(self) -> Router {
        self.router
    }
}

/// Refuses names that are not in the description, or are there twice.
async fn check_query(
    State(keys): State<Arc<[&'static str]>>,
    request: Request,
    next: Next,
) -> Response {
    match unknown_key(&keys, &request) {
        None => next.run(request).await,
        Some(problem) => problem.into_response(),
    }
}

fn unknown_key(keys: &[&str], request: &Request) -> Option<Problem> {
    request.uri().query().filter(|query| !query.is_empty())?;
    let malformed = |detail: String| Some(Problem::malformed("invalid-query", detail));
    let pairs = match Query::<Vec<(String, String)>>::try_from_uri(request.uri()) {
        Ok(Query(pairs)) => pairs,
        Err(error) => return malformed(error.body_text()),
    };
    for (at, (key, value)) in pairs.iter().enumerate() {
        if !keys.contains(&key.as_str()) {
            let known = if keys.is_empty() { "none".into() } else { keys.join(", ") };
            return malformed(format!("the query has no `{key}`; it takes: {known}"));
        }
        if value.starts_with('+') {
            // What reads numbers would pass over it.
            return malformed(format!("`{key}` begins with a plus"));
        }
        if pairs.iter().take(at).any(|(other, _)| other == key) {
            return malformed(format!("`{key}` is in the query twice"));
        }
    }
    None
}

/// All routes of a role by how they are served.
#[derive(Debug)]
pub struct Outline<S = ()> {
    role: &'static str,
    about: &'static str,
    groups: Vec<(Group, Routes<S>)>,
}

impl<S: Clone + Send + Sync + 'static> Outline<S> {
    /// The outline of a role without routes of its own.
    pub fn new(role: &'static str, about: &'static str) -> Self {
        Self { role, about, groups: Vec::new() }
    }

    /// Adds routes.
    #[must_use]
    pub fn add(mut self, group: Group, routes: Routes<S>) -> Self {
        self.groups.push((group, routes));
        self
    }

    /// Describes every route added so far further.
    #[must_use]
    pub fn each(mut self, describe: impl Fn(Operation) -> Operation) -> Self {
        for route in self.groups.iter_mut().flat_map(|(_, routes)| &mut routes.described) {
            route.operation = describe(route.operation.clone());
        }
        self
    }

    /// Gives the handlers what they work on.
    pub fn with_state(self, state: &S) -> Outline {
        let Self { role, about, groups } = self;
        let bound = |(group, routes): (_, Routes<S>)| (group, routes.with_state(state.clone()));
        Outline { role, about, groups: groups.into_iter().map(bound).collect() }
    }

    /// The description in `OpenAPI` 3.1, with what every site serves beside these routes.
    pub fn description(&self) -> Value {
        let probes = super::site::probes().described;
        let probes = probes.iter().map(|route| (Group::Quick, route));
        let own = |(group, routes): &'_ (Group, Routes<S>)| {
            let group = *group;
            routes.described.clone().into_iter().map(move |route| (group, route))
        };
        let own: Vec<_> = self.groups.iter().flat_map(own).collect();
        let routes = own.iter().map(|(group, route)| (*group, route)).chain(probes);
        document(self.role, self.about, routes)
    }

    pub(super) const fn role(&self) -> &'static str {
        self.role
    }
}

impl Outline {
    pub(super) fn into_groups(self) -> impl Iterator<Item = (Group, Router)> {
        self.groups.into_iter().map(|(group, routes)| (group, routes.into_router()))
    }
}

const ABOUT: &str = "\
Bulk bodies are in the canonical encoding (docs/protocol.md) as application/octet-stream; all else is \
JSON. Amounts are decimal strings of coins; 64-bit targets are decimal strings; times and spans are \
milliseconds. Errors are problem+json (RFC 9457) with a stable `code`; a path that is not here is 404 \
`unknown-path`, a method that is not here 405 `method-not-allowed` with `Allow`. HEAD is answered \
where GET is. Sizes and times that bound requests are settings of the server (`http.*`).";

fn document<'a>(
    role: &str,
    about: &str,
    routes: impl Iterator<Item = (Group, &'a Route)>,
) -> Value {
    let (mut known, mut paths, mut has_admin) = (Schemas::default(), Map::new(), false);
    for (group, Route { method, path, operation }) in routes {
        has_admin |= group == Group::Admin;
        let methods = paths.entry(*path).or_insert_with(|| json!({}));
        methods[*method] = operation.value(group, &mut known);
    }
    let mut components = known.into_components();
    if has_admin {
        let about = "The token of the role's token file; programs of the same machine need none.";
        components["securitySchemes"] =
            json!({ "token": { "type": "http", "scheme": "bearer", "description": about } });
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("DataSys Coin: {role}"),
            "version": env!("CARGO_PKG_VERSION"),
            "description": format!("{about}\n\n{ABOUT}"),
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": components,
    })
}

/// An `OpenAPI` document.
#[derive(Debug)]
pub(super) struct Document;

impl Describe for Document {
    fn bare(_: &mut Schemas) -> Value {
        json!({
            "type": "object",
            "required": ["openapi", "info", "paths", "components"],
            "properties": { "openapi": { "const": "3.1.0" } },
        })
    }
}

/// What a client is told of an error.
impl Describe for Problem {
    fn bare(known: &mut Schemas) -> Value {
        known.named("Problem", |known| {
            let fields = vec![
                Field::new::<String>("type", "`urn:dsc:problem:` and the code.", known),
                Field::new::<String>("title", "The name of the status.", known),
                Field::new::<u16>("status", "The status.", known),
                Field::new::<String>("code", "The error, for programs; stable.", known),
                Field::new::<String>("detail", "This occurrence, for people.", known),
                Field::new::<Option<String>>("hint", "What may help, if anything is known.", known),
            ];
            let mut schema = answered("An error (RFC 9457).", fields);
            schema["required"] = json!(["type", "title", "status", "code", "detail"]);
            schema["properties"]["type"]["pattern"] = "^urn:dsc:problem:[a-z]+(-[a-z]+)*$".into();
            schema["properties"]["status"] =
                json!({ "type": "integer", "minimum": 400, "maximum": 599 });
            schema
        })
    }
}

//! `dsc openapi`: what a role serves over HTTP, in `OpenAPI` 3.1.

use std::fmt;

use clap::builder::PossibleValuesParser;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    exit::Failure,
    output::{Document, Output},
    role::openapi::ROLES,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Role to describe; without it, every one by name
    #[arg(value_parser = PossibleValuesParser::new(ROLES.map(|(role, _)| role)))]
    role: Option<String>,
}

/// Descriptions by role.
#[derive(Serialize)]
struct Descriptions {
    roles: Map<String, Value>,
    #[serde(skip)]
    is_one: bool,
}

impl Document for Descriptions {
    const SCHEMA: &'static str = "dsc.openapi/1";

    /// One role's description stands alone, for tools that read such.
    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.roles.values().next().filter(|_| self.is_one) {
            Some(description) => f.write_str(&pretty(description)),
            None => f.write_str(&pretty(&Value::Object(self.roles.clone()))),
        }
    }
}

/// JSON as it is committed.
pub(crate) fn pretty(description: &Value) -> String {
    format!("{description:#}\n")
}

/// Starts nothing and asks nobody.
pub(crate) fn run(args: &Args, output: &Output) -> Result<(), Failure> {
    let is_wanted = |role: &str| args.role.as_deref().is_none_or(|wanted| wanted == role);
    let wanted = ROLES.into_iter().filter(|(role, _)| is_wanted(role));
    let roles = wanted.map(|(role, describe)| (role.to_owned(), describe())).collect();
    output.document(&Descriptions { roles, is_one: args.role.is_some() })
}

//! `dsc health`: are roles alive, and ready?

use std::fmt;

use serde::Serialize;

use super::Context;
use crate::{
    config::keys::{self, Kind},
    exit::Failure,
    http::{Client, ClientError},
    output::{Document, note},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Roles to probe [default: all three servers]
    #[arg(value_parser = ["blockchain", "pool", "metronome"])]
    roles: Vec<String>,
    /// Probe whatever role is at this address
    #[arg(long, value_name = "URL", value_parser = parse_url, conflicts_with = "roles")]
    url: Option<String>,
}

fn parse_url(text: &str) -> Result<String, String> {
    Kind::Url.check(text).map(|()| text.to_owned()).map_err(|kind| format!("expected {kind}"))
}

#[derive(Debug, Serialize)]
pub(crate) struct Probed {
    role: String,
    url: String,
    ready: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) roles: Vec<Probed>,
}

impl Document for Health {
    const SCHEMA: &'static str = "dsc.health/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.roles.iter().try_for_each(|role| writeln!(f, "{:12} {} ready", role.role, role.url))
    }
}

/// Standard output lists the roles; the first that is not ready is the failure.
pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let probed = targets(args, context).into_iter().map(|(role, url)| probe(&role, &url, context));
    let (ready, failed): (Vec<_>, Vec<_>) = probed.partition(Result::is_ok);
    let roles: Vec<Probed> = ready.into_iter().flatten().collect();
    let Some(failure) = failed.into_iter().find_map(Result::err) else {
        return context.output.document(&Health { roles });
    };
    // The answer is the failure; what is well is said to people beside it.
    for role in &roles {
        note(format_args!("{:12} {} ready", role.role, role.url));
    }
    Err(failure)
}

/// The roles that were asked for, and where they are.
pub(crate) fn targets(args: &Args, context: &Context<'_>) -> Vec<(String, String)> {
    if let Some(url) = &args.url {
        return vec![(String::new(), url.clone())];
    }
    let url_of = |role: &str| context.config.text(&format!("{role}.url")).to_owned();
    let asked = if args.roles.is_empty() {
        let all = keys::KEYS.iter().filter_map(|key| key.name.strip_suffix(".url"));
        all.map(str::to_owned).collect()
    } else {
        args.roles.clone()
    };
    asked.into_iter().map(|role| (role.clone(), url_of(&role))).collect()
}

/// Whether the role at `url` is `role`, alive and ready.
pub(crate) fn probe(role: &str, url: &str, context: &Context<'_>) -> Result<Probed, Failure> {
    let client = Client::from_config(url, &context.config)?;
    let alive: serde_json::Value = client.get_json("/healthz")?;
    let found = alive["role"].as_str().unwrap_or_default();
    if found.is_empty() {
        let reason = format!("it is not a role of dsc: {alive}");
        return Err(ClientError::Malformed { url: url.to_owned(), reason }.into());
    }
    if !role.is_empty() && role != found {
        let message = format!("the role at {url} is {found}, not {role}");
        return Err(Failure::configuration("wrong-role", message)
            .with_hint(format_args!("point to the {role} with its --{role}-url flag")));
    }
    let _: serde_json::Value = client.get_json("/readyz")?;
    Ok(Probed { role: found.to_owned(), url: url.to_owned(), ready: true })
}

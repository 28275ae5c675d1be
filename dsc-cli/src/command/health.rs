//! `dsc health`: are roles alive, and ready?

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Context;
use crate::{
    config::keys::Kind,
    exit::Failure,
    http::{Client, ClientError},
    output::{Document, note},
};

/// What a network cannot do without; a monitor is only looked at.
const SERVERS: [&str; 3] = ["blockchain", "pool", "metronome"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Roles to probe, every server of each [default: all three roles]
    #[arg(value_parser = SERVERS)]
    roles: Vec<String>,
    /// Probe whatever role is at this address
    #[arg(long, value_name = "URL", value_parser = parse_url, conflicts_with = "roles")]
    url: Option<String>,
}

fn parse_url(text: &str) -> Result<String, String> {
    Kind::Url.check(text).map(|()| text.to_owned()).map_err(|kind| format!("expected {kind}"))
}

/// A condition of readiness, as a role tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Seen {
    name: String,
    ok: bool,
    detail: String,
}

#[derive(Deserialize)]
struct Readiness {
    checks: Vec<Seen>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Probed {
    role: String,
    url: String,
    ready: bool,
    checks: Vec<Seen>,
}

impl fmt::Display for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:12} {} ready", self.role, self.url)?;
        self.checks.iter().try_for_each(|Seen { name, detail, .. }| write!(f, "; {name}: {detail}"))
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Health {
    pub(crate) roles: Vec<Probed>,
}

impl Document for Health {
    const SCHEMA: &'static str = "dsc.health/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.roles.iter().try_for_each(|role| writeln!(f, "{role}"))
    }
}

/// Standard output lists the roles; the first that is not ready is the failure.
pub(crate) fn run(args: &Args, context: &Context<'_>) -> Result<(), Failure> {
    let probed = targets(args, context).into_iter().map(|(role, url)| probe(&role, &url, context));
    let (ready, failed): (Vec<_>, Vec<_>) = probed.partition(Result::is_ok);
    let roles: Vec<Probed> = ready.into_iter().flatten().collect();
    let mut failed = failed.into_iter().filter_map(Result::err);
    let Some(failure) = failed.next() else {
        return context.output.document(&Health { roles });
    };
    // The answer is the first failure; the others, and what is well, are said to people beside it.
    roles.iter().for_each(note);
    failed.for_each(|other| note(format_args!("{}: {other}", other.code())));
    Err(failure)
}

/// The roles that were asked for, and where they are.
pub(crate) fn targets(args: &Args, context: &Context<'_>) -> Vec<(String, String)> {
    if let Some(url) = &args.url {
        return vec![(String::new(), url.clone())];
    }
    let urls_of = |role: &str| context.config.text(&format!("{role}.url")).split(',');
    let all = || SERVERS.map(str::to_owned).to_vec();
    let asked = if args.roles.is_empty() { all() } else { args.roles.clone() };
    let each = |role: String| urls_of(&role).map(move |url| (role.clone(), url.to_owned()));
    asked.into_iter().flat_map(each).collect()
}

/// Whether the role at `url` is `role`, alive and ready.
pub(crate) fn probe(role: &str, url: &str, context: &Context<'_>) -> Result<Probed, Failure> {
    let name = SERVERS.into_iter().find(|known| *known == role).unwrap_or_default();
    let client = Client::from_config(url, &context.config)?.named(name);
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
    let Readiness { checks } =
        client.get_json("/readyz").map_err(|error| with_advice(found, error))?;
    Ok(Probed { role: found.to_owned(), url: url.to_owned(), ready: true, checks })
}

/// A role that is not ready, with what to do about it.
fn with_advice(role: &str, error: ClientError) -> Failure {
    let advice = match &error {
        ClientError::Problem(problem) => advice(role, &problem.detail),
        _ => None,
    };
    let failure = Failure::from(error);
    match advice {
        Some(advice) => failure.with_hint(advice),
        None => failure,
    }
}

/// What helps a role whose checks say this.
fn advice(role: &str, detail: &str) -> Option<String> {
    let lacks = |what: &str| detail.contains(what);
    let missing = ["blockchain", "pool", "metronome"]
        .into_iter()
        .find(|other| *other != role && lacks(&format!("{other}: no answer")));
    if let Some(other) = missing {
        return Some(format!(
            "start the {other} (`dsc health {other}` says how it stands), or give the {role} \
             --{other}-url"
        ));
    }
    if lacks("journal: ") && role == "pool" {
        return Some("it takes in what it had acknowledged: ask again in a moment".into());
    }
    if lacks("with which this ledger ends") {
        return Some(
            "the engine is empty, or another one than before: stop the server, `dsc engine copy \
             --from` its folder `ledger`, and start it again"
                .into(),
        );
    }
    if lacks("its parent's is ") {
        return Some(
            "a lease with a higher number has made blocks: if this one is to go on alone, start it \
             with --epoch and that number (metronome.epoch)"
                .into(),
        );
    }
    if lacks("engine: ") {
        return Some(
            "`dsc engine check` with the settings of that role says what it finds of the engine"
                .into(),
        );
    }
    let is_stuck = role == "metronome" && lacks("tip: ");
    is_stuck.then(|| {
        "no block is made: `dsc metronome status` shows the round and who proves, its log what \
         was refused; are the clocks right?"
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_role_lacks_is_told_with_what_to_do() {
        let of = |role, detail| advice(role, detail).unwrap_or_default();
        let gone = "the metronome is not ready: blockchain: no answer: cannot connect to x";
        assert!(of("metronome", gone).starts_with("start the blockchain (`dsc health blockchain`"));
        assert!(of("validator", "metronome: no answer: x").contains("--metronome-url"));
        assert!(of("pool", "the pool is not ready: journal: what it holds").contains("again"));
        assert!(of("metronome", "tip: block 7, 2m00s old").contains("metronome status"));
        assert_eq!(advice("blockchain", "ledger: torn"), None);
        let other = "engine: the log has not got block 12 (ab), with which this ledger ends";
        assert!(of("blockchain", other).contains("dsc engine copy"));
        let lower = "blockchain: no block can be made: the block's epoch is 0, its parent's is 1";
        assert!(of("metronome", lower).contains("--epoch"));
        assert!(of("pool", "engine: not reached since 5 ms").contains("dsc engine check"));
    }
}

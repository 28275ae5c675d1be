//! The figures that roles serve for Prometheus, as they serve them.

use std::collections::BTreeMap;

use axum::{body::Body, http::Request};
use dsc_lib::{
    address::Address,
    proof::{Fingerprint, Miner, ProofKind},
    role::validator::Validator,
};
use http_body_util::BodyExt;
use tower_service::Service;

use super::{
    Page,
    text::{code, sentence, table},
};
use crate::{http::Limits, role, shutdown::Shutdown, testing::Sites};

/// What is known of one figure.
#[derive(Default)]
struct Figure {
    kind: String,
    help: String,
    labels: String,
    roles: Vec<&'static str>,
}

/// Every figure of every role.
pub(super) fn page() -> Page {
    let figures = figures();
    let rows: Vec<_> = figures
        .iter()
        .map(|(name, figure)| {
            let (labels, roles) = (code(&figure.labels), figure.roles.join(", "));
            let labels = if figure.labels.is_empty() { String::new() } else { labels };
            [code(name), figure.kind.clone(), labels, roles, sentence(&figure.help)]
        })
        .collect();
    let body = format!(
        "`GET /metrics` of every role, in the text format of Prometheus. Generated from what the \
         roles serve. No label holds an address or an id.\n\n{}",
        table(["name", "kind", "labels", "roles", "meaning"], &rows)
    );
    Page::new("metrics.md", "Metrics", &body)
}

fn figures() -> BTreeMap<String, Figure> {
    let sites = Sites::new();
    let mut figures = BTreeMap::new();
    for (index, role) in Sites::ROLES.iter().enumerate() {
        // The second answer counts the request of the first.
        for _ in 0..2 {
            let reply = sites.answer(index, b"GET", b"/metrics", &[], b"").unwrap();
            read(role, std::str::from_utf8(&reply.body).unwrap(), &mut figures);
        }
    }
    read("validator", &of_a_validator(), &mut figures);
    figures
}

fn of_a_validator() -> String {
    let miner = Miner { address: Address([1; 32]), fingerprint: Fingerprint([2; 16]) };
    let validator = Validator::new(miner, ProofKind::all().next().unwrap());
    let validator = role::validator::Server::new(validator);
    let site = role::validator::site(&validator, &Limits::default(), &Shutdown::new());
    let request = Request::get("/metrics").header("host", "127.0.0.1").body(Body::empty());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = runtime.block_on(async {
        let Ok(response) = site.into_router().call(request.unwrap()).await;
        response.into_body().collect().await.unwrap().to_bytes()
    });
    String::from_utf8(body.to_vec()).unwrap()
}

fn read(role: &'static str, exposition: &str, figures: &mut BTreeMap<String, Figure>) {
    let mut current = String::new();
    for line in exposition.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) => {
                current = name.to_owned();
                let figure = figures.entry(current.clone()).or_default();
                let part = if what == "HELP" { &mut figure.help } else { &mut figure.kind };
                rest.clone_into(part);
                if !figure.roles.contains(&role) {
                    figure.roles.push(role);
                }
            }
            _ => {
                if let Some(figure) = figures.get_mut(&current) {
                    figure.labels = labels(line);
                }
            }
        }
    }
}

/// The names of the labels of a sample.
fn labels(sample: &str) -> String {
    let Some((_, rest)) = sample.split_once('{') else { return String::new() };
    let Some((inside, _)) = rest.rsplit_once('}') else { return String::new() };
    let names = inside.split("\",").filter_map(|label| label.split_once('='));
    names.map(|(name, _)| name).filter(|name| *name != "le").collect::<Vec<_>>().join(", ")
}

//! The metronome over HTTP.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    response::Response,
    routing::{get, post},
};
use dsc_lib::{
    codec,
    proof::ProofEntry,
    role::{
        HandIn,
        metronome::{Metronome, OpenRound, Status},
    },
};

use super::{
    Shared, genesis,
    query::{Asked, Round, bounded},
    refused,
    transport::{HandInBody, ReceiptBody},
};
use crate::{
    clock::Time,
    crash::{self, Point},
    http::{Check, Json, Limits, Problem, Site, Token},
    shutdown::Shutdown,
};

#[derive(Clone)]
struct Server {
    shared: Arc<Shared<Metronome>>,
    time: Time,
}

/// The routes of a metronome.
pub(crate) fn site(
    shared: &Arc<Shared<Metronome>>,
    time: &Time,
    limits: &Limits,
    shutdown: &Shutdown,
    token: Option<Token>,
) -> Site {
    let server = Server { shared: shared.clone(), time: time.clone() };
    let quick = Router::new()
        .route("/v1/genesis", get(chain_genesis))
        .route("/v1/status", get(status))
        .route("/v1/proofs", post(hand_in))
        .with_state(server.clone());
    let waiting = Router::new().route("/v1/round", get(round)).with_state(server.clone());
    let admin = Router::new()
        .route("/v1/start", post(start))
        .route("/v1/stop", post(stop))
        .with_state(server.clone());
    Site::new("metronome", limits.clone(), shutdown.clone())
        .routes(quick)
        .waiting(waiting)
        .admin(admin, token)
        .ready(move || checks(&server))
}

fn checks(server: &Server) -> Vec<Check> {
    let metronome = server.shared.lock();
    let (status, followed) = (metronome.status(server.time.now()), !metronome.replica().is_fresh());
    drop(metronome);
    let detail = status.fault.clone().unwrap_or_else(|| "followed".into());
    vec![Check { name: "blockchain", ok: followed && status.fault.is_none(), detail }]
}

async fn chain_genesis(State(server): State<Server>) -> Result<Response, Problem> {
    server.shared.with(|metronome| genesis(metronome.replica().state().chain())).await
}

async fn status(State(server): State<Server>) -> Result<Json<Status>, Problem> {
    let now = server.time.now();
    server.shared.with(move |metronome| metronome.status(now)).await.map(Json)
}

/// Another round than the one known; waits until it opens.
async fn round(
    State(server): State<Server>,
    Asked(asked): Asked<Round>,
) -> Json<Option<OpenRound>> {
    let look = |metronome: &mut Metronome| {
        metronome.round_other_than(server.time.now(), asked.after, asked.challenge)
    };
    Json(server.shared.until(bounded(asked.wait), look).await)
}

async fn hand_in(
    State(server): State<Server>,
    Json(body): Json<HandInBody>,
) -> Result<Json<ReceiptBody>, Problem> {
    let hand_in = read_hand_in(body)?;
    let taken = server.shared.lock().hand_in(server.time.now(), &hand_in);
    crash::point(Point::MetronomeProofTaken);
    taken.map(|receipt| Json(ReceiptBody { receipt })).map_err(|refusal| refused(&refusal))
}

fn read_hand_in(body: HandInBody) -> Result<HandIn, Problem> {
    let malformed = |error: &dyn std::fmt::Display| {
        Problem::malformed("not-canonical", format_args!("the proof entry: {error}"))
    };
    let Some(text) = body.entry else { return Ok(body.report) };
    let bytes = hex::decode(text).map_err(|error| malformed(&error))?;
    let entry: ProofEntry = codec::decode(&bytes).map_err(|error| malformed(&error))?;
    if entry.miner != body.report.miner {
        return Err(Problem::rejected(
            "wrong-miner",
            "the proof is of another miner than reported",
        ));
    }
    Ok(HandIn { proof: Some(entry.proof), ..body.report })
}

async fn start(State(server): State<Server>) -> Result<Json<Status>, Problem> {
    turn(server, Metronome::start).await
}

async fn stop(State(server): State<Server>) -> Result<Json<Status>, Problem> {
    turn(server, Metronome::stop).await
}

async fn turn(server: Server, how: fn(&mut Metronome)) -> Result<Json<Status>, Problem> {
    let Server { shared, time } = server;
    let turned = move |metronome: &mut Metronome| {
        how(metronome);
        metronome.status(time.now())
    };
    let status = shared.clone().with(turned).await?;
    shared.changed();
    Ok(Json(status))
}

//! The metronome over HTTP.

pub(crate) mod peers;

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use dsc_lib::{
    codec,
    proof::{ProofEntry, ProofKind},
    role::{
        HandIn,
        metronome::{Metronome, OpenRound, Receipt, Status},
    },
    units::Millis,
};
use serde_json::json;

use self::peers::Offers;
use super::{
    Shared, genesis,
    query::{Asked, Round, bounded},
    refused, tip_text,
    transport::{HandInBody, ReceiptBody},
};
use crate::{
    clock::Time,
    crash::{self, Point},
    http::{
        Check, Client, Json, Limits, Problem, Site, Token,
        openapi::{Group, Operation, Outline, Routes},
    },
    metrics::{self, Sort},
    shutdown::Shutdown,
};

/// A block is late after this many planned times between blocks, and this time.
const LATE_INTERVALS: u64 = 10;
const LATE_MS: u64 = 10_000;
/// When to ask one of several again that has no round.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A metronome and the clock it goes by.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    shared: Arc<Shared<Metronome>>,
    time: Time,
    /// When it began to serve.
    since: Millis,
    /// What it has as one of several, if there are others.
    several: Option<Several>,
}

/// What a metronome has beside its role that is one of several.
#[derive(Clone, Debug)]
pub(crate) struct Several {
    /// Where the other metronomes are told of proofs.
    pub(crate) offers: Offers,
    /// The servers that it follows.
    pub(crate) blockchain: Client,
}

impl Server {
    pub(crate) fn new(
        shared: &Arc<Shared<Metronome>>,
        time: &Time,
        several: Option<Several>,
    ) -> Self {
        Self { shared: shared.clone(), time: time.clone(), since: time.now(), several }
    }

    /// Another round than the one known; a refusal where one of several knows of none but an old
    /// one, because nobody tells it of blocks.
    fn look(&self, metronome: &Metronome, asked: &Round) -> Option<Result<OpenRound, Problem>> {
        let now = self.time.now();
        let is_deaf = self.several.as_ref().is_some_and(|several| several.blockchain.is_stale());
        if is_deaf && !metronome.leads(now) {
            return Some(Err(no_round("the blockchain server hears nothing of the others")));
        }
        metronome.round_other_than(now, asked.after, asked.challenge).map(Ok)
    }

    /// No other round has opened here. Whoever waits for one is sent on to the next metronome if
    /// this one does not know of any, or is in trouble and may not hear of it.
    async fn none_here(self) -> Result<Json<Option<OpenRound>>, Problem> {
        let now = self.time.now();
        let look = move |metronome: &mut Metronome| {
            (metronome.round(now).is_some(), metronome.fault().map(str::to_owned))
        };
        match self.shared.with(look).await? {
            (true, None) => Ok(Json(None)),
            (_, fault) => Err(no_round(&fault.unwrap_or_else(|| "no round is open".into()))),
        }
    }
}

fn no_round(why: &str) -> Problem {
    Problem::unavailable("no-round", why).with_retry_after(RETRY_AFTER)
}

/// The routes of a metronome.
pub(crate) fn site(
    server: Server,
    limits: &Limits,
    shutdown: &Shutdown,
    token: Option<&Token>,
) -> Site {
    let figures = server.clone();
    Site::of(outline().with_state(&server), limits, shutdown, token)
        .ready(move || checks(&server))
        .metrics(move |text| write_figures(&figures, text))
}

/// Every route, and what each is for.
pub(crate) fn outline() -> Outline<Server> {
    let status_ = Operation::new("status", "How the metronome stands")
        .json::<Status>("The round, and the validators that it hears from.");
    let admin = Routes::new().post("/v1/start", start, switch("start", "Make blocks")).post(
        "/v1/stop",
        stop,
        switch("stop", "Make no more blocks"),
    );
    Outline::new("metronome", ABOUT)
        .add(
            Group::Quick,
            Routes::new()
                .get("/v1/genesis", chain_genesis, super::openapi::genesis())
                .get("/v1/status", status, status_)
                .post("/v1/proofs", hand_in, described_hand_in()),
        )
        .add(Group::Waiting, Routes::new().get("/v1/round", round, described_round()))
        .add(Group::Admin, admin)
}

const ABOUT: &str = "Opens rounds, takes proofs and makes blocks. Port 7703 unless told otherwise.";

fn described_hand_in() -> Operation {
    let miner = json!({
        "address": dsc_lib::hash::Digest::ZERO,
        "fingerprint": "00010203-0405-0607-0809-0a0b0c0d0e0f",
    });
    let footprint = json!({ "ram_bytes": 1_048_576, "disk_bytes": 0 });
    let example = json!({
        "height": 42, "miner": miner, "kind": "work", "attempts": 1000, "spent": 500,
        "footprint": footprint, "entry": null,
    });
    Operation::new("handIn", "Hand in what a validator did in a round")
        .about(
            "The report is shown, not believed: no rule depends on it. A proof pays only the miner \
             that it is bound to.",
        )
        .takes_json::<HandInBody>("The report, and the proof if one was found.", example)
        .json::<ReceiptBody>("What became of it.")
        .fault(400, "not-canonical", "the entry is not that of a proof")
        .rules(
            "the round is closed (`round-closed`), the miner or engine is another than reported \
             (`wrong-miner`, `wrong-kind`), or the proof is not valid (`unknown-proof-kind`, \
             `bad-proof`, `target-missed`)",
        )
}

fn described_round() -> Operation {
    Operation::new("round", "The open round")
        .about("Waits for another round than the one that is known.")
        .query::<Round>()
        .json::<Option<OpenRound>>("The round; null if no other one opened in time.")
        .fault(503, "no-round", "one of several metronomes has no round open, or is in trouble")
}

fn switch(id: &'static str, summary: &'static str) -> Operation {
    Operation::new(id, summary).json::<Status>("How it stands now.")
}

fn checks(server: &Server) -> Vec<Check> {
    let now = server.time.now();
    let metronome = server.shared.lock();
    let (status, followed) = (metronome.status(now), !metronome.replica().is_fresh());
    let state = metronome.replica().state();
    let (height, time) = (state.height(), state.tip().time);
    drop(metronome);
    let detail = status.fault.clone().unwrap_or_else(|| "followed".into());
    // A chain that was at rest until this one was started may take its time.
    let late = now.since(time.max(server.since));
    let tip = tip_check(&status, late, &tip_text(height, now.since(time)));
    let mut checks =
        vec![Check { name: "blockchain", ok: followed && status.fault.is_none(), detail }, tip];
    checks.extend(server.several.as_ref().map(|_| lease_check(&status)));
    checks
}

/// Somebody leads, unless this one was stopped and knows why nobody does.
fn lease_check(status: &Status) -> Check {
    let detail = match &status.leader {
        Some(_) if status.leading => format!("leads with lease {}", status.epoch),
        Some(url) => format!("stands by; {url} leads"),
        None => "no metronome leads".into(),
    };
    Check { name: "lease", ok: status.leader.is_some() || !status.running, detail }
}

/// Blocks come about when they should, unless none are wanted.
fn tip_check(status: &Status, late: Millis, tip: &str) -> Check {
    let max = status.interval.0.saturating_mul(LATE_INTERVALS).saturating_add(LATE_MS);
    if !status.running {
        let detail = format!("{tip}; stopped: `dsc metronome start` makes it go on");
        return Check { name: "tip", ok: true, detail };
    }
    Check { name: "tip", ok: late.0 <= max, detail: tip.to_owned() }
}

fn write_figures(server: &Server, text: &mut String) {
    let status = server.shared.lock().status(server.time.now());
    let about = "Whether it makes blocks; 0 after `metronome stop`.";
    metrics::gauge(text, "dsc_metronome_running", about, u8::from(status.running));
    let about = "Whether it leads: of several metronomes one does, the only one always.";
    metrics::gauge(text, "dsc_metronome_leading", about, u8::from(status.leading));
    let about = "Number of the lease that it held last; 0 if it never held one.";
    metrics::gauge(text, "dsc_metronome_epoch", about, status.epoch);
    let about = "Planned time between blocks.";
    let interval = metrics::seconds_of(status.interval.0);
    metrics::gauge(text, "dsc_metronome_interval_seconds", about, interval);
    metrics::family(text, "dsc_validators", Sort::Gauge, "Validators it hears from, by proof.");
    for kind in ProofKind::all() {
        let count = status.validators.iter().filter(|report| report.kind == kind).count();
        metrics::sample(text, "dsc_validators", &[("proof", kind.name())], count);
    }
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
) -> Result<Json<Option<OpenRound>>, Problem> {
    let look = |metronome: &mut Metronome| server.look(metronome, &asked);
    match server.shared.until(bounded(asked.wait), look).await {
        Some(found) => found.map(|round| Json(Some(round))),
        None if server.several.is_some() => server.none_here().await,
        None => Ok(Json(None)),
    }
}

async fn hand_in(
    State(server): State<Server>,
    Json(body): Json<HandInBody>,
) -> Result<Json<ReceiptBody>, Problem> {
    let hand_in = read_hand_in(body)?;
    let taken = server.shared.lock().hand_in(server.time.now(), &hand_in);
    crash::point(Point::MetronomeProofTaken);
    offer(&server, hand_in, taken.as_ref().ok());
    taken.map(|receipt| Json(ReceiptBody { receipt })).map_err(|refusal| refused(&refusal))
}

/// Has the other metronomes know of a proof that is better than what was known here.
fn offer(server: &Server, hand_in: HandIn, receipt: Option<&Receipt>) {
    let HandIn { height, miner, proof, .. } = hand_in;
    if let (Some(several), Some(Receipt::Best), Some(proof)) = (&server.several, receipt, proof) {
        several.offers.add(height, ProofEntry { miner, proof });
    }
}

fn read_hand_in(body: HandInBody) -> Result<HandIn, Problem> {
    let malformed = |error: &dyn std::fmt::Display| {
        Problem::malformed("not-canonical", format_args!("the proof entry: {error}"))
    };
    let (mut hand_in, entry) = body.into_parts();
    let Some(text) = entry else { return Ok(hand_in) };
    let bytes = hex::decode(text).map_err(|error| malformed(&error))?;
    let entry: ProofEntry = codec::decode(&bytes).map_err(|error| malformed(&error))?;
    if entry.miner != hand_in.miner {
        return Err(Problem::rejected(
            "wrong-miner",
            "the proof is of another miner than reported",
        ));
    }
    hand_in.proof = Some(entry.proof);
    Ok(hand_in)
}

async fn start(State(server): State<Server>) -> Result<Json<Status>, Problem> {
    turn(server, Metronome::start).await
}

async fn stop(State(server): State<Server>) -> Result<Json<Status>, Problem> {
    turn(server, Metronome::stop).await
}

async fn turn(server: Server, how: fn(&mut Metronome)) -> Result<Json<Status>, Problem> {
    let Server { shared, time, .. } = server;
    let turned = move |metronome: &mut Metronome| {
        how(metronome);
        metronome.status(time.now())
    };
    let status = shared.clone().with(turned).await?;
    shared.changed();
    Ok(Json(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metronome_whose_blocks_do_not_come_is_not_ready_unless_it_was_stopped() {
        let interval = Millis(1_000);
        let mut status = Status {
            running: true,
            leading: true,
            epoch: 0,
            leader: None,
            round: None,
            interval,
            validators: Vec::new(),
            fault: None,
        };
        assert!(tip_check(&status, Millis(20_000), "block 7").ok);
        assert!(!tip_check(&status, Millis(20_001), "block 7").ok);
        status.running = false;
        let stopped = tip_check(&status, Millis(90_000), "block 7");
        assert!(stopped.ok && stopped.detail.contains("metronome start"), "{stopped:?}");
    }
}

//! Calls between roles over HTTP.

use dsc_lib::{
    address::Address,
    codec::{self, List},
    genesis::{BLOCK_BYTES_MAX, BLOCK_TRANSACTIONS_MAX},
    hash::Digest,
    ledger::SNAPSHOT_ACCOUNTS_MAX,
    proof::{Fingerprint, Footprint, Miner, ProofEntry, ProofKind},
    role::{Answer, Call, HandIn, Lost, NOT_HERE, Refusal, Sought, metronome::Receipt},
    transaction::Encoded,
    units::{Height, Millis},
};
use serde::{Deserialize, Serialize};

use super::describe::Hex;
use crate::{
    config::Config,
    http::{Client, ClientError, object_of, openapi::describe},
    memory,
};

/// Encoded blocks in one answer.
pub(crate) type BlockList = List<List<u8, 0, { 1 << 28 }>, 0, { 1 << 20 }>;
/// Transactions in one answer.
pub(crate) type TransactionList = List<Encoded, 0, BLOCK_TRANSACTIONS_MAX>;

/// Bytes of the largest snapshot: its accounts, and a tip in less than the rest. It grows with the
/// ledger, so no setting may bound it: a pool or metronome that cannot read it never starts again.
const SNAPSHOT_BYTES_MAX: u64 = SNAPSHOT_ACCOUNTS_MAX as u64 * 48 + (1 << 16);
/// Bytes of the largest answer that holds blocks or their transactions.
pub(crate) const BULK_BYTES_MAX: u64 = BLOCK_BYTES_MAX + (8 << 20);

/// Bytes of a snapshot that is read at most where `allowance` bytes of RAM are to be had: to decode
/// it takes several times as much, and not every server is what it says.
pub(crate) const fn snapshot_bytes_max(allowance: u64) -> u64 {
    let max = allowance / 4;
    if max < SNAPSHOT_BYTES_MAX { max } else { SNAPSHOT_BYTES_MAX }
}

/// What a validator hands in, as JSON: the proof is hexadecimal. It takes no other names, on any
/// level.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandInBody {
    height: Height,
    #[serde(deserialize_with = "object_of")]
    miner: MinerBody,
    kind: ProofKind,
    attempts: u64,
    spent: Millis,
    #[serde(deserialize_with = "object_of")]
    footprint: FootprintBody,
    /// The canonical proof entry.
    entry: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MinerBody {
    address: Address,
    fingerprint: Fingerprint,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FootprintBody {
    ram_bytes: u64,
    disk_bytes: u64,
}

impl HandInBody {
    fn new(hand_in: &HandIn) -> Self {
        let HandIn { height, miner, kind, attempts, spent, footprint, proof } = hand_in.clone();
        let Miner { address, fingerprint } = miner;
        let Footprint { ram_bytes, disk_bytes } = footprint;
        let entry = proof.map(|proof| hex::encode(codec::encode(&ProofEntry { miner, proof })));
        let (miner, footprint) =
            (MinerBody { address, fingerprint }, FootprintBody { ram_bytes, disk_bytes });
        Self { height, miner, kind, attempts, spent, footprint, entry }
    }

    /// The report without its proof, and the entry that holds that.
    pub(crate) fn into_parts(self) -> (HandIn, Option<String>) {
        let Self { height, miner, kind, attempts, spent, footprint, entry } = self;
        let MinerBody { address, fingerprint } = miner;
        let FootprintBody { ram_bytes, disk_bytes } = footprint;
        let (miner, footprint) =
            (Miner { address, fingerprint }, Footprint { ram_bytes, disk_bytes });
        (HandIn { height, miner, kind, attempts, spent, footprint, proof: None }, entry)
    }
}

describe! { asked HandInBody as "HandIn": "What a validator did in a round." {
    height: "The round.",
    miner: "Who.",
    kind: "With which engine.",
    attempts: "Tries made in this round.",
    spent: "Time spent on them.",
    footprint: "What the prover holds.",
    entry as Option<Hex>: "The proof entry in the canonical encoding, in hexadecimal; null if none \
                           was found.",
}}

describe! { asked MinerBody as "MinerReported": "Who is paid for a proof." {
    address: "Whose account is paid.",
    fingerprint: "Which of the owner's validators it is.",
}}

describe! { asked FootprintBody as "FootprintReported": "What a prover holds." {
    ram_bytes: "Bytes in RAM.",
    disk_bytes: "Bytes on disk.",
}}

describe! { answered ReceiptBody as "Receipt": "What became of a hand-in." {
    receipt: "`best` of its engine so far, `outbid` by another, or `noted` without a proof.",
}}

/// What became of a hand-in.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReceiptBody {
    pub(crate) receipt: Receipt,
}

/// Where the three servers are.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    pub(crate) blockchain: Client,
    pub(crate) pool: Client,
    pub(crate) metronome: Client,
}

impl Transport {
    /// The servers that the configuration names.
    pub(crate) fn from_config(config: &Config) -> Result<Self, ClientError> {
        let client = |role| Client::of_role(role, config);
        Ok(Self {
            blockchain: client("blockchain")?,
            pool: client("pool")?,
            metronome: client("metronome")?,
        })
    }

    /// Servers where nobody listens.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn nobody() -> Self {
        let time = std::time::Duration::from_secs(5);
        let client = Client::new("http://127.0.0.1:1", time, time, 1 << 20).unwrap();
        Self { blockchain: client.clone(), pool: client.clone(), metronome: client }
    }

    /// The same servers, to be waited for no longer than this.
    pub(crate) fn within(self, time: std::time::Duration) -> Self {
        Self {
            blockchain: self.blockchain.within(time),
            pool: self.pool.within(time),
            metronome: self.metronome.within(time),
        }
    }

    /// Makes a call and waits for the answer.
    pub(crate) fn call(&self, call: &Call) -> Result<Answer, Lost> {
        settle(self.carry(call))
    }

    fn carry(&self, call: &Call) -> Result<Answer, ClientError> {
        Ok(match call {
            Call::Snapshot => {
                let max = snapshot_bytes_max(memory::allowance());
                Answer::Snapshot(self.blockchain.get_within("/v1/snapshot", max)?)
            }
            Call::Blocks { from, wait } => Answer::Blocks(self.blocks(*from, *wait)?),
            Call::SubmitBlock(bytes) => {
                Answer::BlockAccepted(self.blockchain.submit_bytes("/v1/blocks", bytes)?)
            }
            Call::ChainInfo => Answer::ChainInfo(self.blockchain.get_json("/v1/info")?),
            Call::Summaries { before, max } => {
                let path = format!("/v1/summaries?before={before}&limit={}", (*max).max(1));
                Answer::Summaries(self.blockchain.get_json(&path)?)
            }
            Call::Audit => Answer::Audit(self.blockchain.get_json("/v1/audit")?),
            Call::Inclusion(Sought { id, since, as_of, .. }) => {
                let path = format!("/v1/transactions/{id}/proof?since={since}");
                let ledger = self.blockchain.clone().at_least(*as_of);
                Answer::Inclusion(found(ledger.get_json(&path))?)
            }
            Call::Account(address) => {
                Answer::Account(self.blockchain.get_json(&format!("/v1/accounts/{address}"))?)
            }
            Call::SubmitTransactions(transactions) => {
                let body = codec::encode_list(transactions.iter().map(Encoded::bytes));
                Answer::TransactionsSubmitted(self.pool.submit_bytes("/v1/transactions", &body)?)
            }
            Call::Take(height) => Answer::Transactions(self.take(*height)?),
            Call::PoolStatus(id) => {
                Answer::PoolStatus(found(self.pool.get_json(&format!("/v1/transactions/{id}")))?)
            }
            Call::NextSequence(address) => {
                Answer::NextSequence(self.pool.get_json(&format!("/v1/accounts/{address}"))?)
            }
            Call::PoolCounts => Answer::PoolCounts(self.pool.get_json("/v1/counts")?),
            Call::PoolActivity => Answer::PoolActivity(self.pool.get_json("/v1/activity")?),
            Call::Round { after, challenge, wait } => {
                Answer::Round(self.round(*after, *challenge, *wait)?)
            }
            Call::HandIn(hand_in) => Answer::HandedIn(self.hand_in(hand_in)?),
            Call::MetronomeStatus => {
                Answer::MetronomeStatus(self.metronome.get_json("/v1/status")?)
            }
            other => {
                let url = self.blockchain.base().to_owned();
                return Err(ClientError::Malformed { url, reason: format!("no route: {other:?}") });
            }
        })
    }

    fn blocks(&self, from: Height, wait: Millis) -> Result<Vec<Vec<u8>>, ClientError> {
        let path = format!("/v1/blocks?from={from}&wait={wait}");
        let bytes = self.blockchain.get_within(&path, BULK_BYTES_MAX)?;
        let blocks: BlockList = decoded(&self.blockchain, &bytes)?;
        Ok(blocks.into_vec().into_iter().map(List::into_vec).collect())
    }

    fn take(&self, height: Height) -> Result<Vec<Encoded>, ClientError> {
        let bytes =
            self.pool.get_within(&format!("/v1/pending?height={height}"), BULK_BYTES_MAX)?;
        let transactions: TransactionList = decoded(&self.pool, &bytes)?;
        Ok(transactions.into_vec())
    }

    fn round(
        &self,
        after: Option<Height>,
        challenge: Option<Digest>,
        wait: Millis,
    ) -> Result<Option<dsc_lib::role::metronome::OpenRound>, ClientError> {
        let after = after.map(|height| format!("after={height}&")).unwrap_or_default();
        let challenge = challenge.map(|asked| format!("challenge={asked}&")).unwrap_or_default();
        self.metronome.get_json(&format!("/v1/round?{after}{challenge}wait={wait}"))
    }

    fn hand_in(&self, hand_in: &HandIn) -> Result<Receipt, ClientError> {
        let body = HandInBody::new(hand_in);
        let ReceiptBody { receipt } = self.metronome.post_json("/v1/proofs", &body)?;
        Ok(receipt)
    }
}

fn decoded<T: codec::Decode<()>>(client: &Client, bytes: &[u8]) -> Result<T, ClientError> {
    codec::decode(bytes).map_err(|error| ClientError::Malformed {
        url: client.base().to_owned(),
        reason: error.to_string(),
    })
}

/// An answer of "there is none" is an answer.
pub(crate) fn found<T>(result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(ClientError::Problem(problem)) if problem.code == "not-found" => Ok(None),
        Err(error) => Err(error),
    }
}

/// A rule that was broken is an answer, and that what is asked for is older than all that servers
/// have; everything else leaves the outcome open.
fn settle(result: Result<Answer, ClientError>) -> Result<Answer, Lost> {
    match result {
        Ok(answer) => Ok(answer),
        Err(ClientError::Problem(problem)) if problem.status == 422 || problem.code == NOT_HERE => {
            Ok(Answer::Refused(Refusal::new(problem.code, problem.detail)))
        }
        Err(error) => Err(Lost::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{Router, routing::get};

    use super::*;
    use crate::{
        http::{Limits, Site, bind, serve},
        shutdown::Shutdown,
    };

    #[test]
    fn a_snapshot_has_to_fit_the_memory_of_the_machine() {
        assert_eq!(snapshot_bytes_max(4 << 20), 1 << 20);
        assert_eq!(snapshot_bytes_max(u64::MAX), SNAPSHOT_BYTES_MAX);
    }

    /// Anybody may make accounts for nothing: no setting may keep roles from reading them all.
    #[test]
    fn a_snapshot_may_be_larger_than_other_answers() {
        let listener = bind("test", "--listen", "127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (limits, shutdown) = (Limits::default(), Shutdown::new());
        let answers = Router::new()
            .route("/v1/snapshot", get(async || vec![7; 1000]))
            .route("/v1/info", get(async || vec![7; 1000]));
        let site = Site::new("test", limits.clone(), shutdown.clone()).routes(answers);
        let (router, ending) = (site.into_router(), shutdown.clone());
        let served = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(serve(router, listener, &limits, &ending)).unwrap();
        });
        let time = Duration::from_secs(10);
        let client = Client::new(&url, time, time, 100).unwrap();
        let transport =
            Transport { blockchain: client.clone(), pool: client.clone(), metronome: client };
        let snapshot = transport.call(&Call::Snapshot);
        let info = transport.call(&Call::ChainInfo);
        drop(transport);
        shutdown.request();
        served.join().unwrap();
        assert_eq!(snapshot, Ok(Answer::Snapshot(vec![7; 1000])));
        assert!(info.unwrap_err().reason.contains("larger than 100 bytes"));
    }
}

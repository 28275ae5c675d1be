//! Pays over HTTP and checks the proof that the payment is on the ledger.
//!
//! The wallet of `dsc-lib` says which calls to make; this program carries them. It pays from the
//! first development account, whose key everybody has, so it works with `dsc dev`:
//!
//! ```text
//! $ cargo run --release --bin dsc -- dev --reset &
//! $ cargo run --release --package dsc-examples --example http_client -- \
//!     http://127.0.0.1:7701 http://127.0.0.1:7702
//! dsc-dev: transaction ... is in block ..., proved
//! ```

use std::{
    env, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use dsc_lib::{
    address::Address,
    codec,
    genesis::{Chain, GENESIS_BYTES_MAX, Genesis},
    keys::SecretKey,
    role::{
        Active, Answer, Call, Lost, Next,
        wallet::{End, Order, Payment},
    },
    transaction::{self, Encoded, Memo, Payments},
    units::{Amount, Millis},
};
use serde::de::DeserializeOwned;
use ureq::{Agent, Body, http::Response};

const SENDER: &str = include_str!("../dsc-cli/dev-keys/account-00.pem");
const RECEIVER: &str = include_str!("../dsc-cli/dev-keys/account-01.pem");
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> anyhow::Result<()> {
    let mut urls = env::args().skip(1);
    let mut url = |default: &str| urls.next().unwrap_or_else(|| default.into());
    let servers = Servers {
        agent: Agent::config_builder().http_status_as_error(false).build().into(),
        blockchain: url("http://127.0.0.1:7701"),
        pool: url("http://127.0.0.1:7702"),
    };
    let chain = servers.chain()?;
    let receiver = SecretKey::from_pkcs8_pem(RECEIVER)?.public().address();
    let mut payment = order(&chain, receiver)?;
    let end = servers.settle(&mut payment)?;
    let End::Confirmed { height } = end else { bail!("the payment failed: {end:?}") };
    let id = payment.id().context("a payment that ended was signed")?;
    let inclusion = payment.inclusion().context("a confirmed payment is proved")?;
    inclusion.verify(&chain, &id)?;
    println!("{}: transaction {id} is in block {height}, proved", chain.network());
    Ok(())
}

fn order(chain: &Chain, to: Address) -> anyhow::Result<Payment> {
    let amount = "1.5".parse()?;
    let order = Order {
        payments: Payments::new(vec![transaction::Payment { to, amount }])?,
        fee: Amount::from_units(1_000),
        memo: Memo::default(),
        lifetime: 100,
        confirmations: 1,
    };
    Ok(Payment::new(chain.clone(), SecretKey::from_pkcs8_pem(SENDER)?, order))
}

struct Servers {
    agent: Agent,
    blockchain: String,
    pool: String,
}

impl Servers {
    /// The rules of the chain, from its genesis; whoever knows the genesis hash compares it here.
    fn chain(&self) -> anyhow::Result<Chain> {
        let bytes = self.bytes(&format!("{}/v1/genesis", self.blockchain))?;
        let genesis: Genesis = codec::decode_bounded(&bytes, GENESIS_BYTES_MAX)?;
        Ok(genesis.check()?)
    }

    /// Makes the calls that the payment asks for until it has ended.
    fn settle(&self, payment: &mut Payment) -> anyhow::Result<End> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let now = Millis(u64::try_from(start.elapsed().as_millis())?);
            match payment.next(now) {
                Next::Call(call) => payment.answer(now, self.carry(&call).map_err(Lost::new)),
                Next::Wait(until) => thread::sleep(Duration::from_millis(until.since(now).0)),
                _ => break,
            }
        }
        payment.end().cloned().with_context(|| format!("still on its way: {:?}", payment.fault()))
    }

    fn carry(&self, call: &Call) -> anyhow::Result<Answer> {
        let Self { blockchain, pool, .. } = self;
        Ok(match call {
            Call::ChainInfo => Answer::ChainInfo(self.json(&format!("{blockchain}/v1/info"))?),
            Call::Inclusion(sought) => {
                let path = format!("{blockchain}/v1/transactions/{}/proof", sought.id);
                Answer::Inclusion(self.found(&path)?)
            }
            Call::Account(address) => {
                Answer::Account(self.json(&format!("{blockchain}/v1/accounts/{address}"))?)
            }
            Call::PoolStatus(id) => {
                Answer::PoolStatus(self.found(&format!("{pool}/v1/transactions/{id}"))?)
            }
            Call::NextSequence(address) => {
                Answer::NextSequence(self.json(&format!("{pool}/v1/accounts/{address}"))?)
            }
            Call::SubmitTransactions(transactions) => self.submit(transactions)?,
            other => bail!("a payment does not make the call {other:?}"),
        })
    }

    /// Sends the canonical encoding of a list: its count and the transactions.
    fn submit(&self, transactions: &[Encoded]) -> anyhow::Result<Answer> {
        let mut body = (transactions.len() as u64).to_le_bytes().to_vec();
        for transaction in transactions {
            body.extend(codec::encode(transaction));
        }
        let url = format!("{}/v1/transactions", self.pool);
        let request = self.agent.post(&url).content_type("application/octet-stream");
        let mut answer = request.send(&body)?;
        if answer.status() == 422 {
            return Ok(Answer::Refused(read(&mut answer)?));
        }
        Ok(Answer::TransactionsSubmitted(read(&mut expect_success(&url, answer)?)?))
    }

    fn bytes(&self, url: &str) -> anyhow::Result<Vec<u8>> {
        let mut answer = expect_success(url, self.agent.get(url).call()?)?;
        Ok(answer.body_mut().read_to_vec()?)
    }

    fn json<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<T> {
        read(&mut expect_success(url, self.agent.get(url).call()?)?)
    }

    /// Nothing if the server answers that there is nothing.
    fn found<T: DeserializeOwned>(&self, url: &str) -> anyhow::Result<Option<T>> {
        let answer = self.agent.get(url).call()?;
        if answer.status() == 404 {
            return Ok(None);
        }
        read(&mut expect_success(url, answer)?).map(Some)
    }
}

fn expect_success(url: &str, mut answer: Response<Body>) -> anyhow::Result<Response<Body>> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    bail!("{url}: {} {}", answer.status(), answer.body_mut().read_to_string()?)
}

fn read<T: DeserializeOwned>(answer: &mut Response<Body>) -> anyhow::Result<T> {
    Ok(serde_json::from_slice(&answer.body_mut().read_to_vec()?)?)
}

//! What commands share that talk to a running network: where it is, which chain it keeps, and how
//! a transaction stands on it.

use std::time::Duration;

use dsc_lib::{
    address::{Address, Prefix},
    codec,
    genesis::Chain,
    hash::Digest,
    mempool::Status,
    role::{
        Active, Next,
        blockchain::{ConfirmedList, Info},
        wallet::Payment,
    },
    transaction::TransactionId,
    units::Height,
};

use super::{Context, role::ChainArgs, watched::Watched};
use crate::{
    clock::Time,
    duration,
    exit::{Exit, Failure},
    http::{Client, ClientError},
    keystore::{KeyName, Keystore, NAME_LEN_MAX},
    network,
    role::{
        span,
        transport::{Transport, found},
        view::LocatedView,
    },
    shutdown::Shutdown,
};

/// Pause before a server that did not answer is asked again.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Longest question for blocks: Ctrl-C is heard when it ends.
const ASK_MAX: Duration = Duration::from_secs(1);

/// Flags of commands that may wait for a transaction's end.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Wait {
    /// Return once the pool has the transaction; do not wait for confirmation
    #[arg(long = "async")]
    pub(crate) is_async: bool,
    /// Blocks to wait for, counting the one the transaction is in
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) confirmations: u64,
    /// Longest wait for confirmation
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    pub(crate) timeout: Duration,
}

/// A network that answers, and the wallet's folder.
#[derive(Debug)]
pub(crate) struct Remote<'a> {
    context: &'a Context<'a>,
    pub(crate) chain: Chain,
    pub(crate) transport: Transport,
    time: Time,
    shutdown: Shutdown,
}

/// The keys in the data folder.
pub(crate) fn keystore(context: &Context<'_>) -> Keystore {
    Keystore::new(context.config.path("general.data_dir").join("wallet"))
}

/// The key or the address that `text` names; an address has to be of this kind of network.
pub(crate) fn account(
    text: &str,
    keystore: &Keystore,
    prefix: Prefix,
) -> Result<(Option<KeyName>, Address), Failure> {
    if text.len() > NAME_LEN_MAX {
        return Ok((None, Address::from_text(text, prefix)?));
    }
    let name: KeyName = text.parse().map_err(|error| {
        Failure::usage(format!("`{text}` is neither an address nor a key: {error}"))
            .with_hint("copy the whole address; `dsc wallet list` shows your own")
    })?;
    let address = keystore.public(&name)?.address();
    Ok((Some(name), address))
}

/// Refuses what is neither a key here nor an address of any network, before anybody is asked.
pub(crate) fn check_account(text: &str, keystore: &Keystore) -> Result<(), Failure> {
    if text.len() > NAME_LEN_MAX {
        Address::from_any_text(text)?;
        return Ok(());
    }
    account(text, keystore, Prefix::Development).map(drop)
}

/// Reads a transaction id.
pub(crate) fn transaction_id(text: &str) -> Result<TransactionId, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("`{text}` is not a transaction id: {error}"))
            .with_hint("an id is what `dsc wallet send` and `dsc wallet history` print")
    })
}

/// The other servers' half of [`Remote::open`].
type Asked = fn(&Transport) -> &Client;

impl<'a> Remote<'a> {
    /// Asks the pool which chain this is: for commands that pay.
    pub(crate) fn of_pool(args: &ChainArgs, context: &'a Context<'a>) -> Result<Self, Failure> {
        Self::open(args, context, |transport| &transport.pool)
    }

    /// Asks the blockchain server which chain this is: for commands that look.
    pub(crate) fn of_blockchain(
        args: &ChainArgs,
        context: &'a Context<'a>,
    ) -> Result<Self, Failure> {
        Self::open(args, context, |transport| &transport.blockchain)
    }

    fn open(args: &ChainArgs, context: &'a Context<'a>, asked: Asked) -> Result<Self, Failure> {
        let shutdown = Shutdown::on_signals().map_err(|error| Failure::other("signals", error))?;
        Self::open_until(args, context, asked, shutdown)
    }

    /// As [`Remote::of_blockchain`], for a command that listens to signals already.
    pub(crate) fn of_blockchain_until(
        args: &ChainArgs,
        context: &'a Context<'a>,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        Self::open_until(args, context, |transport| &transport.blockchain, shutdown)
    }

    fn open_until(
        args: &ChainArgs,
        context: &'a Context<'a>,
        asked: Asked,
        shutdown: Shutdown,
    ) -> Result<Self, Failure> {
        let transport = Transport::from_config(&context.config)?;
        let chain = network::chain(args.genesis.as_deref(), asked(&transport))?;
        Ok(Self { context, chain, transport, time: Time::new(), shutdown })
    }

    /// The keys in the data folder.
    pub(crate) fn keystore(&self) -> Keystore {
        keystore(self.context)
    }

    /// The key or the address on this chain that `text` names.
    pub(crate) fn account(&self, text: &str) -> Result<(Option<KeyName>, Address), Failure> {
        account(text, &self.keystore(), self.chain.prefix())
    }

    /// An address as this network writes it.
    pub(crate) fn text_of(&self, address: Address) -> String {
        address.to_text(self.chain.prefix())
    }

    /// Makes the payment's calls until it has ended; or only until the pool has it.
    pub(crate) fn drive(&self, payment: &mut Payment, wait: &Wait) -> Result<(), Failure> {
        let transport = self.hurried(wait.timeout);
        let deadline = self.time.now().plus(millis(wait.timeout));
        while payment.end().is_none() && !(wait.is_async && payment.is_submitted()) {
            let now = self.time.now();
            if now >= deadline {
                return Err(self.unknown(payment, wait.timeout));
            }
            match payment.next(now) {
                Next::Call(call) => payment.answer(self.time.now(), transport.call(&call)),
                Next::Wait(until) => {
                    self.rest(span(until.min(deadline).since(now)), payment.id())?;
                }
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// The servers, with no call longer than the whole wait.
    fn hurried(&self, timeout: Duration) -> Transport {
        let most = self.context.config.time("client.request_time");
        let time = most.min(timeout).max(Duration::from_millis(1));
        let hurry = |client: &Client| client.clone().with_request_time(time);
        let Transport { blockchain, pool, metronome } = &self.transport;
        Transport { blockchain: hurry(blockchain), pool: hurry(pool), metronome: hurry(metronome) }
    }

    /// Sleeps; Ctrl-C ends the wait, not the transaction.
    fn rest(&self, time: Duration, id: Option<TransactionId>) -> Result<(), Failure> {
        if !self.shutdown.sleep(time) {
            return Ok(());
        }
        Err(match id {
            None => Failure::interrupted("interrupted before anything was sent"),
            Some(id) => Failure::interrupted(format!("no longer waiting for transaction {id}"))
                .with_hint(self.status_command(&id)),
        })
    }

    /// The failure of a payment whose wait has ended before it has.
    fn unknown(&self, payment: &Payment, timeout: Duration) -> Failure {
        let after = duration::display(timeout);
        let fault = payment.fault().map(|fault| format!(": {fault}")).unwrap_or_default();
        let Some(id) = payment.id() else {
            let message = format!("the pool named no sequence within {after}{fault}");
            return Failure::unreachable("pool-unreachable", message)
                .with_hint("nothing was sent; `dsc health` shows which role is missing");
        };
        self.still_open(&id, format_args!("after {after}{fault}"))
    }

    fn still_open(&self, id: &TransactionId, detail: impl std::fmt::Display) -> Failure {
        let message = format!("transaction {id} is not confirmed {detail}");
        Failure::outcome_unknown("not-confirmed", message).with_hint(self.status_command(id))
    }

    /// The command that tells how a transaction stands, to be pasted as it is.
    fn status_command(&self, id: &TransactionId) -> String {
        let urls = ["blockchain", "pool"].into_iter().filter_map(|role| {
            let setting = self.context.config.setting(&format!("{role}.url"));
            let key = crate::config::keys::find(setting.key)?;
            (setting.value != key.default).then(|| format!(" --{role}-url {}", setting.value))
        });
        format!("dsc tx status {id}{}", urls.collect::<String>())
    }

    /// A slow task that ends with this command.
    pub(crate) fn watched(&self) -> Watched {
        Watched::until(self.shutdown.clone(), self.context)
    }

    /// The failure of a task that was asked to stop, if it was.
    pub(crate) fn check(&self, task: &str) -> Result<(), Failure> {
        if self.shutdown.is_requested() {
            return Err(Failure::interrupted(format!("{task} was interrupted")));
        }
        Ok(())
    }

    /// Sleeps; returns whether the command was asked to stop.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        self.shutdown.sleep(time)
    }

    /// What the blocks from `from` on confirmed; waits a while if there is none yet.
    pub(crate) fn confirmed(&self, from: Height, most: Duration) -> Result<ConfirmedList, Failure> {
        confirmed(&self.transport.blockchain, from, most)
    }

    /// Where the blockchain server stands.
    pub(crate) fn info(&self) -> Result<Info, Failure> {
        Ok(self.transport.blockchain.get_json("/v1/info")?)
    }

    /// The height of the block that comes next.
    pub(crate) fn next_height(&self) -> Result<Height, Failure> {
        next_height(&self.transport.blockchain)
    }

    /// Waits until the ledger has a transaction, and checks the proof of it. A server that goes away
    /// may come back.
    pub(crate) fn wait_for(&self, id: &TransactionId, wait: &Wait) -> Result<Status, Failure> {
        let deadline = self.time.now().plus(millis(wait.timeout));
        loop {
            // The height first: what comes after it wakes the wait below.
            let asked = self.next_height().and_then(|next| Ok((next, self.look(id, wait)?)));
            let left = span(deadline.since(self.time.now()));
            let fault = match asked {
                Ok((_, Some(ended))) => return Ok(ended),
                Ok((next, None)) => self.confirmed(next, left).err(),
                Err(failure) => Some(failure),
            };
            if let Some(failure) = fault.as_ref().filter(|failure| !is_passing(failure)) {
                return Err(failure.clone());
            }
            if self.time.now() >= deadline {
                let fault = fault.map(|failure| format!(": {failure}")).unwrap_or_default();
                let after = duration::display(wait.timeout);
                return Err(self.still_open(id, format_args!("after {after}{fault}")));
            }
            let pause = if fault.is_some() { RETRY_PAUSE } else { Duration::ZERO };
            self.rest(pause, Some(*id))?;
        }
    }

    /// How a transaction has ended, if it has, as deep as was asked for.
    fn look(&self, id: &TransactionId, wait: &Wait) -> Result<Option<Status>, Failure> {
        match self.standing(id)?.map(|standing| standing.status) {
            Some(Status::Confirmed { height }) => {
                let is_deep = self.checked_depth(id)? >= Some(wait.confirmations);
                Ok(is_deep.then_some(Status::Confirmed { height }))
            }
            ended @ Some(Status::Rejected { .. } | Status::Expired { .. }) => Ok(ended),
            _ => Ok(None),
        }
    }

    /// How many blocks deep a transaction is, by its checked proof; nothing if there is none yet.
    fn checked_depth(&self, id: &TransactionId) -> Result<Option<u64>, Failure> {
        let Some(inclusion) = inclusion(&self.transport.blockchain, id)? else { return Ok(None) };
        inclusion.verify(&self.chain, id).map_err(|fault| {
            Failure::corrupt("inclusion-invalid", format!("the server's inclusion proof: {fault}"))
                .with_hint("do not trust this blockchain server; ask another one")
        })?;
        Ok(Some(inclusion.tip.0.saturating_sub(inclusion.header.height.0).saturating_add(1)))
    }

    /// How a transaction stands.
    pub(crate) fn standing(&self, id: &TransactionId) -> Result<Option<Standing>, Failure> {
        standing(&self.transport, id)
    }
}

fn millis(time: Duration) -> dsc_lib::units::Millis {
    dsc_lib::units::Millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Whether a role that does not answer well now may do so later.
pub(crate) fn is_passing(failure: &Failure) -> bool {
    matches!(failure.exit(), Exit::Unreachable | Exit::OutcomeUnknown)
}

/// What the blocks from `from` on confirmed; waits for `most` or a second if there is none yet.
pub(crate) fn confirmed(
    blockchain: &Client,
    from: Height,
    most: Duration,
) -> Result<ConfirmedList, Failure> {
    let wait = most.min(ASK_MAX).as_millis();
    let bytes = blockchain.get_bytes(&format!("/v1/confirmed?from={from}&wait={wait}"))?;
    codec::decode(&bytes).map_err(|error| Failure::other("answer-malformed", error))
}

/// The height of the block that comes next.
pub(crate) fn next_height(blockchain: &Client) -> Result<Height, Failure> {
    let info: Info = blockchain.get_json("/v1/info")?;
    Ok(info.height.map_or(Height(0), |height| Height(height.0.saturating_add(1))))
}

/// The proof that a transaction is on the ledger, not checked.
pub(crate) fn inclusion(
    blockchain: &Client,
    id: &TransactionId,
) -> Result<Option<dsc_lib::role::blockchain::Inclusion>, ClientError> {
    found(blockchain.get_json(&format!("/v1/transactions/{id}/proof")))
}

/// How a transaction stands, and the transaction itself once it is on the ledger.
#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) status: Status,
    pub(crate) located: Option<LocatedView>,
}

/// Asks the pool, and the ledger about what the pool does not hold: the ledger has the last word.
pub(crate) fn standing(
    transport: &Transport,
    id: &TransactionId,
) -> Result<Option<Standing>, Failure> {
    let held = found(transport.pool.get_json::<Status>(&format!("/v1/transactions/{id}")));
    if let Ok(Some(status @ (Status::Submitted | Status::Unconfirmed { .. }))) = held {
        return Ok(Some(Standing { status, located: None }));
    }
    if let Some(located) = located(&transport.blockchain, id)? {
        let status = Status::Confirmed { height: located.height };
        return Ok(Some(Standing { status, located: Some(located) }));
    }
    Ok(held?.map(|status| Standing { status, located: None }))
}

/// A transaction on the ledger.
pub(crate) fn located(
    blockchain: &Client,
    id: &TransactionId,
) -> Result<Option<LocatedView>, Failure> {
    Ok(found(blockchain.get_json(&format!("/v1/transactions/{id}")))?)
}

/// The failure that a transaction ended in, if it did not get onto the ledger.
pub(crate) fn refused(id: &Digest, status: &Status) -> Option<Failure> {
    match status {
        Status::Rejected { code, reason } => {
            let message = format!("transaction {id} was rejected: {reason}");
            Some(Failure::new(Exit::Rejected, code.clone(), message).with_hint(advice(code)))
        }
        Status::Expired { height } => {
            let message = format!("transaction {id} expired at height {height}");
            Some(
                Failure::rejected("expired", message)
                    .with_hint("nothing was paid; send again, with a longer --lifetime"),
            )
        }
        _ => None,
    }
}

/// What to do about a transaction that was rejected for this reason.
fn advice(code: &str) -> &'static str {
    match code {
        "insufficient-funds" => "`dsc wallet balance` shows what there is; fees count too",
        "sequence-used" | "sequence-taken" | "wrong-sequence" => {
            "another transaction took its place: sign a new one with `dsc wallet send`"
        }
        "pool-full" | "sender-full" => "wait for pending transactions to confirm, then send again",
        "bad-signature" => {
            "it was changed after it was signed, or signed for another chain: check --genesis and \
             the --*-url flags"
        }
        "expires-too-late" => "choose a shorter --lifetime",
        _ => "nothing was paid; mend what the reason names and send again",
    }
}

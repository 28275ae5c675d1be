//! What accounts have and what touched them, and coins from the faucet.

use std::{fmt, str::FromStr};

use dsc_lib::{
    address::Address,
    mempool::Status,
    role::pool::Outcome,
    units::{Amount, Height},
};
use serde::Serialize;

use super::{
    Context,
    memo::{is_sealed_view, plain},
};
use crate::{
    command::{
        remote::{Remote, Wait, check_account, keystore, refused},
        role::ChainArgs,
        tx::TransactionDocument,
    },
    exit::Failure,
    output::{Document, steady},
    role::{blockchain::AccountView, pool::FaucetBody, query::LIMIT_MAX, view::EventView},
};

#[derive(Debug, clap::Args)]
pub(super) struct Balance {
    /// Name of a key, or an address [default: every key]
    #[arg(value_name = "NAME|ADDRESS")]
    account: Option<String>,
    #[command(flatten)]
    at_least: AtLeast,
    #[command(flatten)]
    chain: ChainArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// Name of a key, or an address
    #[arg(value_name = "NAME|ADDRESS")]
    account: String,
    /// Most events to list
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 50,
        value_parser = clap::value_parser!(u64).range(1..=LIMIT_MAX)
    )]
    limit: u64,
    /// List what is older than this place
    #[arg(long, value_name = "HEIGHT:INDEX")]
    before: Option<PlaceArg>,
    #[command(flatten)]
    at_least: AtLeast,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Which state of the ledger is wanted.
#[derive(Debug, clap::Args)]
struct AtLeast {
    /// Wait for this height: whoever was told that a payment is in its block sees it
    #[arg(long, value_name = "HEIGHT")]
    at_least: Option<u64>,
}

impl AtLeast {
    /// The servers, to be asked for that state.
    fn of<'a>(&self, mut remote: Remote<'a>) -> Remote<'a> {
        let blockchain = remote.transport.blockchain.clone();
        remote.transport.blockchain = blockchain.at_least(self.at_least.map(Height));
        remote
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Faucet {
    /// Name of a key, or an address
    #[arg(value_name = "NAME|ADDRESS")]
    account: String,
    /// Coins
    #[arg(value_name = "AMOUNT", default_value = "100")]
    amount: Amount,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    chain: ChainArgs,
}

/// A place in the order of all transactions, as people write it.
#[derive(Clone, Copy, Debug)]
struct PlaceArg {
    height: u64,
    index: u32,
}

impl FromStr for PlaceArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':');
        let place = parts.and_then(|(height, index)| {
            Some(Self { height: height.parse().ok()?, index: index.parse().ok()? })
        });
        place.ok_or("expected HEIGHT:INDEX, such as 12:0")
    }
}

/// What one account has.
#[derive(Debug, Serialize)]
struct BalanceDocument {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    address: String,
    balance: Amount,
    /// Transactions sent.
    sequence: u64,
    /// The block after which this was so.
    height: Option<Height>,
}

impl BalanceDocument {
    fn ask(remote: &Remote<'_>, name: Option<String>, address: Address) -> Result<Self, Failure> {
        let path = format!("/v1/accounts/{address}");
        let view: AccountView = remote.transport.blockchain.get_json(&path)?;
        let AccountView { balance, sequence, height, .. } = view;
        Ok(Self { name, address: remote.text_of(address), balance, sequence, height })
    }
}

impl Document for BalanceDocument {
    const SCHEMA: &'static str = "dsc.balance/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.balance)
    }
}

/// What every account of the wallet has.
#[derive(Debug, Serialize)]
struct Balances {
    accounts: Vec<BalanceDocument>,
    total: Amount,
}

impl Document for Balances {
    const SCHEMA: &'static str = "dsc.balances/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.accounts.iter().filter_map(|account| account.name.as_deref());
        let width = names.map(str::len).max().unwrap_or_default().max("total".len());
        for account in &self.accounts {
            let name = account.name.as_deref().unwrap_or(&account.address);
            writeln!(f, "{name:width$} {}", account.balance)?;
        }
        writeln!(f, "{:width$} {}", "total", self.total)
    }
}

/// Shows what one account has, or every account of the wallet.
pub(super) fn balance(args: &Balance, context: &Context<'_>) -> Result<(), Failure> {
    args.account.iter().try_for_each(|text| check_account(text, &keystore(context)))?;
    let remote = args.at_least.of(Remote::of_blockchain(&args.chain, context)?);
    let Some(account) = &args.account else { return balances(&remote, context) };
    let (name, address) = remote.account(account)?;
    let name = name.map(|name| name.to_string());
    context.output.document(&BalanceDocument::ask(&remote, name, address)?)
}

fn balances(remote: &Remote<'_>, context: &Context<'_>) -> Result<(), Failure> {
    let ask = |entry: crate::keystore::Entry| {
        let address = entry.public?.address();
        BalanceDocument::ask(remote, Some(entry.name.to_string()), address)
    };
    let accounts: Vec<_> =
        remote.keystore().list()?.into_iter().map(ask).collect::<Result<_, Failure>>()?;
    let total = Amount::checked_sum(accounts.iter().map(|account| account.balance));
    let total = total.ok_or_else(|| {
        Failure::corrupt("supply-broken", "the balances together exceed all coins there can be")
    })?;
    context.output.document(&Balances { accounts, total })
}

/// What touched an account.
#[derive(Debug, Serialize)]
struct HistoryDocument {
    address: String,
    events: Vec<Touched>,
    /// The place to list older events from, if there may be any.
    next: Option<String>,
}

impl Document for HistoryDocument {
    const SCHEMA: &'static str = "dsc.history/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            event.line(f, &self.address)?;
        }
        match &self.next {
            Some(next) => writeln!(f, "older: --before {next}"),
            None => Ok(()),
        }
    }
}

/// Something that touched an account.
#[derive(Debug, Serialize)]
pub(super) struct Touched {
    #[serde(flatten)]
    event: EventView,
    /// Whether its memo is sealed.
    sealed: bool,
}

impl From<EventView> for Touched {
    fn from(event: EventView) -> Self {
        let memo = event.transaction.as_ref().map(|transaction| &transaction.memo);
        Self { sealed: memo.is_some_and(|memo| is_sealed_view(memo)), event }
    }
}

impl Touched {
    /// One line for people, as the owner of `address` sees it.
    pub(super) fn line(&self, f: &mut fmt::Formatter<'_>, address: &str) -> fmt::Result {
        let EventView { height, received, transaction, .. } = &self.event;
        let Some(transaction) = transaction else {
            return writeln!(f, "{height:>8} +{received} reward");
        };
        let (id, memo) = (transaction.id, self.memo(&transaction.memo));
        if transaction.sender != address {
            let sender = steady(&transaction.sender);
            return writeln!(f, "{height:>8} +{received} from {sender} {id}{memo}");
        }
        let amounts = transaction.payments.iter().map(|payment| payment.amount);
        let paid = Amount::checked_sum(amounts.chain([transaction.fee])).unwrap_or_default();
        let to: Vec<_> = transaction.payments.iter().map(|p| p.to.as_str()).collect();
        let back = if *received == Amount::ZERO { String::new() } else { format!(" +{received}") };
        writeln!(f, "{height:>8} -{paid}{back} to {} {id}{memo}", steady(&summary(&to)))
    }

    fn memo(&self, memo: &str) -> String {
        match (self.sealed, memo) {
            (true, _) => " (sealed memo)".to_owned(),
            (false, "") => String::new(),
            (false, memo) => format!(" \"{}\"", plain(memo)),
        }
    }
}

/// The first of several, and how many there are more.
fn summary(to: &[&str]) -> String {
    match to {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// Lists what touched an account.
pub(super) fn history(args: &History, context: &Context<'_>) -> Result<(), Failure> {
    check_account(&args.account, &keystore(context))?;
    let remote = args.at_least.of(Remote::of_blockchain(&args.chain, context)?);
    let (_, address) = remote.account(&args.account)?;
    let before = args
        .before
        .map(|PlaceArg { height, index }| format!("&before_height={height}&before_index={index}"));
    let before = before.unwrap_or_default();
    let path = format!("/v1/accounts/{address}/transactions?limit={}{before}", args.limit);
    let events: Vec<EventView> = remote.transport.blockchain.get_json(&path)?;
    let is_full = events.len() as u64 >= args.limit;
    let last = events.last().filter(|_| is_full);
    let next = last.map(|event| format!("{}:{}", event.height, event.index));
    let (address, events) = (remote.text_of(address), events.into_iter().map(Touched::from));
    let events = events.collect();
    context.output.document(&HistoryDocument { address, events, next })
}

/// Has the faucet pay an account.
pub(super) fn faucet(args: &Faucet, context: &Context<'_>) -> Result<(), Failure> {
    if args.amount == Amount::ZERO {
        return Err(Failure::usage("the faucet cannot pay nothing"));
    }
    check_account(&args.account, &keystore(context))?;
    let remote = Remote::of_pool(&args.chain, context)?;
    let (_, address) = remote.account(&args.account)?;
    let body = FaucetBody { address, amount: args.amount };
    let outcome: Outcome = remote.transport.pool.post_json("/v1/faucet", &body)?;
    let (Outcome::Added { id } | Outcome::Known { id, .. }) = outcome else {
        return Err(Failure::other("answer-malformed", "the pool answered something else"));
    };
    let status =
        if args.wait.is_async { Status::Submitted } else { remote.wait_for(&id, &args.wait)? };
    if let Some(failure) = refused(&id, &status) {
        return Err(failure);
    }
    context.output.document(&TransactionDocument { id, status, index: None, transaction: None })
}

//! What touches accounts, as it gets onto the ledger.
//!
//! # Invariants
//!
//! 1. Each event is told once and in the order of the ledger, whatever happens to the connection.
//! 2. A server that answers with another chain ends the watch: its events are no continuation. It is asked
//!    after each answer, for a connection that was lost between two questions is made again unseen.

use std::{fmt, time::Duration};

use dsc_lib::{address::Address, units::Height};
use serde::Serialize;

use super::{Context, accounts::Touched};
use crate::{
    command::{
        remote::{RETRY_PAUSE, Remote, is_passing},
        role::ChainArgs,
    },
    exit::Failure,
    output::{Document, note},
    role::view::EventView,
};

/// Events in one answer.
const PAGE: usize = 100;
/// Longest question for blocks.
const ASK_TIME: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    /// Name of a key, or an address [default: every key]
    #[arg(value_name = "NAME|ADDRESS")]
    account: Option<String>,
    /// First height to tell of [default: the next one]
    #[arg(long, value_name = "HEIGHT")]
    since: Option<u64>,
    /// End after so many events
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    chain: ChainArgs,
}

/// An account that is watched.
#[derive(Clone, Debug)]
struct Account {
    name: Option<String>,
    address: Address,
}

/// Something that touched an account that is watched.
#[derive(Debug, Serialize)]
struct Seen {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    address: String,
    #[serde(flatten)]
    touched: Touched,
    /// Whether there is more than one account, so that lines name theirs.
    #[serde(skip)]
    is_one_of_many: bool,
}

impl Document for Seen {
    const SCHEMA: &'static str = "dsc.watch/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one_of_many {
            write!(f, "{} ", self.name.as_ref().unwrap_or(&self.address))?;
        }
        self.touched.line(f, &self.address)
    }
}

/// Tells what touches accounts until Ctrl-C.
pub(super) fn watch(args: &Watch, context: &Context<'_>) -> Result<(), Failure> {
    let remote = Remote::of_blockchain(&args.chain, context)?;
    let accounts = accounts(&remote, args.account.as_deref())?;
    let next = args.since.map_or_else(|| remote.next_height(), |height| Ok(Height(height)))?;
    let names = accounts.iter().map(|account| account.name(&remote)).collect::<Vec<_>>();
    note(format_args!("watching {} from block {next}; Ctrl-C ends", names.join(", ")));
    let left = args.count.unwrap_or(u64::MAX);
    Watching { remote: &remote, context, accounts, next, left }.run()
}

fn accounts(remote: &Remote<'_>, named: Option<&str>) -> Result<Vec<Account>, Failure> {
    if let Some(text) = named {
        let (name, address) = remote.account(text)?;
        return Ok(vec![Account { name: name.map(|name| name.to_string()), address }]);
    }
    let entries = remote.keystore().list()?.into_iter();
    let accounts: Vec<_> = entries
        .map(|entry| {
            let address = entry.public?.address();
            Ok(Account { name: Some(entry.name.to_string()), address })
        })
        .collect::<Result<_, Failure>>()?;
    if accounts.is_empty() {
        return Err(Failure::usage("there is no key to watch")
            .with_hint("name an address, or make a key with `dsc wallet create NAME`"));
    }
    Ok(accounts)
}

impl Account {
    fn name(&self, remote: &Remote<'_>) -> String {
        self.name.clone().unwrap_or_else(|| remote.text_of(self.address))
    }
}

struct Watching<'a> {
    remote: &'a Remote<'a>,
    context: &'a Context<'a>,
    accounts: Vec<Account>,
    /// The first height that was not told of.
    next: Height,
    /// Events still to tell.
    left: u64,
}

impl Watching<'_> {
    fn run(mut self) -> Result<(), Failure> {
        let mut is_lost = false;
        while self.left > 0 && !self.remote.sleep(Duration::ZERO) {
            match self.turn() {
                Ok(()) if is_lost => {
                    note("connected again");
                    is_lost = false;
                }
                Ok(()) => {}
                Err(failure) if is_passing(&failure) => {
                    if !is_lost {
                        note(format_args!("{failure}; trying again"));
                    }
                    is_lost = true;
                    self.remote.sleep(RETRY_PAUSE);
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(())
    }

    /// Waits for a block for a while, and tells of what came.
    fn turn(&mut self) -> Result<(), Failure> {
        let blocks = self.remote.confirmed(self.next, ASK_TIME)?;
        let Some(last) = blocks.last().map(|block| block.height) else { return self.check_chain() };
        let end = Height(last.0.saturating_add(1));
        let mut events = Vec::new();
        for account in &self.accounts {
            let touched = self.between(account, end)?;
            events.extend(touched.into_iter().map(|event| (account.clone(), event)));
        }
        self.check_chain()?;
        events.sort_by_key(|(_, event)| (event.height, event.index));
        self.next = end;
        self.tell(events)
    }

    /// A chain that was made anew has other events at the same heights.
    fn check_chain(&self) -> Result<(), Failure> {
        let now = self.remote.info()?.chain;
        if now == self.remote.chain.hash() {
            return Ok(());
        }
        let message = format!("the server came back with another chain, {now}");
        Err(Failure::rejected("wrong-chain", message)
            .with_hint("watch again, if that chain is the one you mean"))
    }

    /// What touched an account from the next height to before `end`, newest first.
    fn between(&self, account: &Account, end: Height) -> Result<Vec<EventView>, Failure> {
        let (mut height, mut index, mut all) = (end, 0, Vec::new());
        loop {
            let path = format!(
                "/v1/accounts/{}/transactions?limit={PAGE}&before_height={height}&before_index={index}",
                account.address
            );
            let page: Vec<EventView> = self.remote.transport.blockchain.get_json(&path)?;
            let is_last = page.len() < PAGE;
            let old = page.iter().position(|event| event.height < self.next);
            let fresh = old.unwrap_or(page.len());
            if let Some(event) = page.last() {
                (height, index) = (event.height, event.index);
            }
            all.extend(page.into_iter().take(fresh));
            if is_last || old.is_some() {
                return Ok(all);
            }
            self.remote.check("watching")?;
        }
    }

    fn tell(&mut self, events: Vec<(Account, EventView)>) -> Result<(), Failure> {
        let is_one_of_many = self.accounts.len() > 1;
        for (account, event) in events {
            if self.left == 0 {
                break;
            }
            let address = self.remote.text_of(account.address);
            let touched = Touched::from(event);
            self.context.output.event(&Seen {
                name: account.name,
                address,
                touched,
                is_one_of_many,
            })?;
            self.left = self.left.saturating_sub(1);
        }
        Ok(())
    }
}

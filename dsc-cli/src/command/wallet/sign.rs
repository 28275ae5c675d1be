//! Signing without sending: one payment to paste, or many into a file.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    codec,
    genesis::Chain,
    hash::Digest,
    keys::SecretKey,
    proof::Progress,
    role::pool::NextSequence,
    transaction::{Draft, Encoded, PAYMENTS_MAX, Payment, Transaction},
    units::{Amount, Height},
};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    Context,
    payer::PayerArgs,
    payments::{self, Entry, Part},
    send::{Terms, tell_apart},
};
use crate::{
    clock::SystemClock,
    command::{
        input, prepared,
        remote::{self, Remote},
        role::ChainArgs,
        watched::Watched,
    },
    exit::Failure,
    keystore::Keystore,
    network,
    output::Document,
    role::view::TransactionView,
};

#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// Coins, such as 12.5
    #[arg(value_name = "AMOUNT", required_unless_present = "file", requires = "second")]
    first: Option<String>,
    /// Who receives them: an address, or the name of a key (either order is understood)
    #[arg(value_name = "ADDRESS")]
    second: Option<String>,
    /// Payments, one a line: `ADDRESS,AMOUNT[,MEMO]` or `{"address":..,"amount":..}`; - is standard
    /// input
    #[arg(long, value_name = "FILE", conflicts_with = "first", requires = "out")]
    file: Option<PathBuf>,
    /// New file for what was signed, which `dsc wallet submit` sends [default: standard
    /// output; --file needs it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Payments of the file in one transaction
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = PAYMENTS_MAX as u16,
        value_parser = clap::value_parser!(u16).range(1..=256)
    )]
    per_transaction: u16,
    /// Transactions that the payer has sent before: with --expires and --genesis nobody is asked
    #[arg(long, value_name = "NUMBER", requires_all = ["expires", "genesis"])]
    sequence: Option<u64>,
    /// Last height at which it may get onto the ledger, instead of --lifetime
    #[arg(long, value_name = "HEIGHT", requires = "sequence")]
    expires: Option<u64>,
    #[command(flatten)]
    payer: PayerArgs,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    chain: ChainArgs,
}

/// A signed transaction that was not sent.
#[derive(Debug, Serialize)]
struct Signed {
    id: Digest,
    bytes: String,
    transaction: TransactionView,
}

impl Document for Signed {
    const SCHEMA: &'static str = "dsc.tx.signed/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.bytes)
    }
}

/// Transactions in a file.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    transactions: usize,
    payments: usize,
    amount: Amount,
    /// Of the first transaction; the others follow.
    sequence: u64,
    expires: Height,
    seconds: f64,
}

impl Document for Written {
    const SCHEMA: &'static str = "dsc.signed/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { transactions, payments, amount, expires, .. } = self;
        writeln!(
            f,
            "{} holds {transactions} transactions with {payments} payments of {amount} coins \
             together, good until height {expires}",
            self.file.display()
        )
    }
}

/// Where the payer stands.
struct Start {
    chain: Chain,
    /// The network, if there is one to ask.
    next: Option<NextSequence>,
    key: SecretKey,
    parts: Vec<Part>,
}

/// Signs; standard output or the file is what was signed.
pub(super) fn sign(args: &Sign, context: &Context<'_>) -> Result<(), Failure> {
    args.out.as_deref().map_or(Ok(()), prepared::check_new)?;
    let start = args.start(context)?;
    let Some(out) = &args.out else { return one(args, &start, context) };
    let (watched, clock) = (Watched::new(context)?, SystemClock::new());
    let total = start.parts.len() as u64;
    watched.update("sign", 0, total);
    let done = std::sync::atomic::AtomicU64::new(0);
    let signed = start.parts.par_iter().enumerate().map(|(index, part)| {
        watched.check("signing")?;
        let transaction = args.sign(&start, index as u64, part)?;
        let count = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        watched.update("sign", count, total);
        Ok(Encoded::from(transaction))
    });
    let signed: Vec<Encoded> = signed.collect::<Result<_, Failure>>()?;
    let seconds = clock.elapsed().as_secs_f64();
    prepared::write(out, &start.chain, &signed)?;
    let payments = start.parts.iter().map(|part| part.payments.len()).sum();
    let (sequence, expires) = args.from(&start);
    let (file, transactions, amount) = (out.clone(), signed.len(), total_of(&start.parts)?);
    context.output.document(&Written {
        file,
        transactions,
        payments,
        amount,
        sequence,
        expires,
        seconds,
    })
}

fn one(args: &Sign, start: &Start, context: &Context<'_>) -> Result<(), Failure> {
    let part = start.parts.first();
    let part = part.ok_or_else(|| Failure::usage("there is nothing to sign"))?;
    let transaction = args.sign(start, 0, part)?;
    context.output.document(&Signed {
        id: transaction.id(&start.chain.hash()),
        bytes: hex::encode(codec::encode(&transaction)),
        transaction: TransactionView::new(&start.chain, &transaction),
    })
}

fn total_of(parts: &[Part]) -> Result<Amount, Failure> {
    let payments = parts.iter().flat_map(|part| &*part.payments);
    payments::total(payments.map(|payment| payment.amount))
}

impl Sign {
    /// Finds out everything before a passphrase is asked for.
    fn start(&self, context: &Context<'_>) -> Result<Start, Failure> {
        if let (Some(first), Some(second)) = (&self.first, &self.second) {
            input::check_address(tell_apart(first, second)?.1)?;
            self.terms.memo.check()?;
        }
        let offline = self.sequence.and(self.chain.genesis.as_deref());
        let remote = match offline {
            Some(_) => None,
            None => Some(Remote::of_pool(&self.chain, context)?),
        };
        let chain = match (&remote, offline) {
            (None, Some(path)) => network::read_genesis(path)?,
            (Some(remote), _) => remote.chain.clone(),
            (None, None) => return Err(Failure::usage("--sequence needs --genesis")),
        };
        let keystore = remote::keystore(context);
        let parts = self.parts(&chain, remote.as_ref(), &keystore)?;
        total_of(&parts)?;
        let key = self.payer.key(&chain, &keystore)?;
        let path = format!("/v1/accounts/{}", key.public().address());
        let next =
            remote.as_ref().map(|remote| remote.transport.pool.get_json(&path)).transpose()?;
        Ok(Start { chain, next, key, parts })
    }

    fn parts(
        &self,
        chain: &Chain,
        remote: Option<&Remote<'_>>,
        keystore: &Keystore,
    ) -> Result<Vec<Part>, Failure> {
        let memo = &self.terms.memo;
        let entries = match (&self.file, &self.first, &self.second) {
            (Some(file), ..) => payments::read(file, chain.prefix(), memo)?,
            (None, Some(first), Some(second)) => {
                let (amount, to) = tell_apart(first, second)?;
                let (_, to) = remote::account(to, keystore, chain.prefix())?;
                let payment = Payment { to, amount };
                vec![Entry { line: 1, payment, memo: memo.text().to_owned() }]
            }
            _ => return Err(Failure::usage("name an amount and a recipient, or --file")),
        };
        let keys = memo.keys(chain, keystore.clone(), remote)?;
        payments::parts(&entries, usize::from(self.per_transaction), memo, &keys)
    }

    /// Sequence of the first transaction, and expiry of all.
    fn from(&self, start: &Start) -> (u64, Height) {
        let next = start.next.unwrap_or(NextSequence { sequence: 0, height: Height(0) });
        let expires = next.height.0.saturating_add(self.terms.lifetime);
        (self.sequence.unwrap_or(next.sequence), Height(self.expires.unwrap_or(expires)))
    }

    fn sign(&self, start: &Start, index: u64, part: &Part) -> Result<Transaction, Failure> {
        let (sequence, expires) = self.from(start);
        let sequence = sequence.saturating_add(index);
        let chain = start.chain.hash();
        let memo = part.memo.memo(&chain, &start.key.public().address())?;
        let (fee, payments) = (self.terms.fee, part.payments.clone());
        Ok(Draft { sequence, expires, fee, payments, memo }.sign(&chain, &start.key))
    }
}

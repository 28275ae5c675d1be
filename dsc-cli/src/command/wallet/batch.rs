//! Many payments from one file, up to 256 in one transaction.
//!
//! # Invariants
//!
//! 1. A payment is signed anew only if the transaction that was signed for it before can never get
//!    on the ledger: its sequence is taken there, or its last height has passed.
//! 2. What is signed is on disk before it is sent, so an interrupted command is resumed by
//!    repeating it: nobody is paid twice, nobody is left out.
//! 3. Nothing is signed unless every line is right and the coins suffice.

mod report;
mod run;

use std::{
    fs,
    path::{Path, PathBuf},
};

use dsc_lib::{hash::Digest, transaction::PAYMENTS_MAX};

use self::{report::Plan, run::Run};
use super::{
    Context,
    journal::{Head, Journal},
    payer::PayerArgs,
    payments::{self, Entry, Part},
    send::Terms,
};
use crate::{
    command::{
        remote::{Remote, Wait},
        role::ChainArgs,
    },
    exit::Failure,
    output::note,
};

#[derive(Debug, clap::Args)]
pub(super) struct SendMany {
    /// Payments, one a line: `ADDRESS,AMOUNT[,MEMO]` or `{"address":..,"amount":..}`; - is standard
    /// input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Say what it would cost, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Where it is kept what was signed, so that the same command goes on after an interruption
    /// [default: FILE.sent; for standard input, in the data folder]
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    #[command(flatten)]
    payer: PayerArgs,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    wait: Wait,
    #[command(flatten)]
    chain: ChainArgs,
}

/// Pays everybody in a file.
pub(super) fn send_many(args: &SendMany, context: &Context<'_>) -> Result<(), Failure> {
    let remote = Remote::of_pool(&args.chain, context)?;
    let (chain, keystore) = (&remote.chain, remote.keystore());
    let memo = &args.terms.memo;
    let entries = payments::read(&args.file, chain.prefix(), memo)?;
    payments::total(entries.iter().map(|entry| entry.payment.amount))?;
    let keys = memo.keys(chain, remote.keystore(), Some(&remote))?;
    let parts = payments::parts(&entries, PAYMENTS_MAX, memo, &keys)?;
    let payer = args.payer.payer(chain, &keystore)?;
    let digest = digest(&entries, memo.is_sealed());
    let payer_text = remote.text_of(payer.address());
    let head = Head::new(chain.hash(), chain.network(), payer_text, digest);
    let state = args.state_path(&digest, context);
    // A dry run begins no journal, but looks into the one there is.
    let is_begun = state.symlink_metadata().is_ok();
    let journal = if args.dry_run && !is_begun {
        None
    } else {
        make_folder(&state)?;
        Some(Journal::open(&state, &head)?)
    };
    let mut run = Run::begin(&remote, &args.terms, &parts, payer.address(), journal.as_ref())?;
    run.check_funds()?;
    let Some(mut journal) = journal.filter(|_| !args.dry_run) else {
        return context.output.document(&Plan::new(&run, &state)?);
    };
    if run.is_all_paid() {
        let (file, state) = (args.file.display(), state.display());
        note(format_args!(
            "all of {file} was paid before: nothing is sent; move {state} away to pay it again"
        ));
    }
    if run.has_unsigned() {
        let key = args.payer.open(payer, &keystore)?;
        let signed = run.sign(&key, &mut journal)?;
        note(format_args!("signed {signed} transactions, kept in {}", state.display()));
    }
    run.deliver(&args.wait).map_err(|failure| resumable(&failure))?;
    context.output.document(&run.report(&state)?)
}

impl SendMany {
    fn state_path(&self, digest: &Digest, context: &Context<'_>) -> PathBuf {
        if let Some(path) = &self.state {
            return path.clone();
        }
        if self.file == Path::new("-") {
            let folder = context.config.path("general.data_dir").join("send-many");
            return folder.join(format!("{:016x}.sent", digest.first64()));
        }
        let mut path = self.file.clone().into_os_string();
        path.push(".sent");
        path.into()
    }
}

fn make_folder(state: &Path) -> Result<(), Failure> {
    let Some(folder) = state.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| Failure::file("make", folder, &error))
}

/// What the payments are, whatever the form of their lines.
fn digest(entries: &[Entry], is_sealed: bool) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[u8::from(is_sealed)]);
    for Entry { payment, memo, .. } in entries {
        hasher.update(&payment.to.0).update(&payment.amount.units().to_le_bytes());
        hasher.update(&(memo.len() as u64).to_le_bytes()).update(memo.as_bytes());
    }
    Digest(hasher.finalize().into())
}

/// A failure after which the same command goes on.
fn resumable(failure: &Failure) -> Failure {
    let again = "run the same command again: it goes on, and nobody is paid twice";
    let hint = match failure.hint() {
        Some(hint) if hint.contains("same command again") => hint.to_owned(),
        Some(hint) => format!("{hint}; then {again}"),
        None => again.to_owned(),
    };
    failure.clone().with_hint(hint)
}

#[cfg(test)]
mod tests {
    use dsc_lib::{address::Address, transaction::Payment, units::Amount};

    use super::*;

    fn entry(line: usize, amount: u64, memo: &str) -> Entry {
        let payment = Payment { to: Address([7; 32]), amount: Amount::from_units(amount) };
        Entry { line, payment, memo: memo.to_owned() }
    }

    #[test]
    fn a_list_is_told_by_its_payments() {
        let list = [entry(1, 1, "x"), entry(2, 2, "")];
        let moved = [entry(5, 1, "x"), entry(9, 2, "")];
        assert_eq!(digest(&list, false), digest(&moved, false));
        let others = [
            digest(&list, true),
            digest(&list[..1], false),
            digest(&[entry(1, 1, "y"), entry(2, 2, "")], false),
            digest(&[entry(1, 1, "x"), entry(2, 3, "")], false),
            digest(&[entry(2, 2, ""), entry(1, 1, "x")], false),
        ];
        assert!(others.iter().all(|other| *other != digest(&list, false)));
    }

    #[test]
    fn a_hint_says_that_the_command_goes_on() {
        let hint = |failure: &Failure| resumable(failure).hint().unwrap().to_owned();
        let again = "run the same command again: it goes on, and nobody is paid twice";
        assert_eq!(hint(&Failure::interrupted("x")), again);
        let lost = Failure::unreachable("x", "y").with_hint("start it");
        assert_eq!(hint(&lost), format!("start it; then {again}"));
        assert_eq!(hint(&resumable(&lost)), format!("start it; then {again}"));
    }
}

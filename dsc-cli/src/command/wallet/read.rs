//! Reading memos, sealed ones with the recipient's key.
//!
//! # Invariants
//!
//! 1. What is shown is from a transaction that is proved to be on the ledger and that its sender
//!    signed.
//! 2. A passphrase is asked for only if the memo is sealed and the key is paid by the transaction.

use std::{fmt, path::PathBuf};

use dsc_lib::{
    address::Address,
    codec,
    keys::SecretKey,
    seal::{self, OpenError},
    transaction::{Transaction, TransactionId},
    units::Height,
};
use serde::Serialize;

use super::{
    Context, KeyName, PassphraseArgs,
    memo::plain,
    payer::{dev_account, kept},
};
use crate::{
    command::{
        remote::{Remote, inclusion, transaction_id},
        role::ChainArgs,
    },
    exit::Failure,
    key_file,
    output::Document,
};

#[derive(Debug, clap::Args)]
pub(super) struct Read {
    /// The transaction's id
    #[arg(value_name = "ID")]
    id: String,
    /// Key that was paid [default: the one of this wallet that was]
    #[arg(long = "as", value_name = "NAME", conflicts_with_all = ["key", "dev_account"])]
    reader: Option<KeyName>,
    /// File of the key that was paid: PKCS#8 PEM
    #[arg(long, value_name = "FILE", conflicts_with = "dev_account")]
    key: Option<PathBuf>,
    /// Published account that was paid, from 0; on development networks only
    #[arg(long, value_name = "NUMBER")]
    dev_account: Option<usize>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    chain: ChainArgs,
}

/// What kind of memo it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    /// There is none.
    None,
    /// Readable by everyone.
    Open,
    /// It was sealed, and has been opened.
    Sealed,
}

/// What a memo says.
#[derive(Debug, Serialize)]
struct MemoDocument {
    id: TransactionId,
    height: Height,
    sender: String,
    kind: Kind,
    /// Who could open it.
    #[serde(skip_serializing_if = "Option::is_none")]
    reader: Option<String>,
    /// What it says, if that is text.
    text: Option<String>,
    /// In hexadecimal, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<String>,
}

impl Document for MemoDocument {
    const SCHEMA: &'static str = "dsc.memo/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, &self.text, &self.bytes) {
            (Kind::None, ..) => Ok(()),
            (_, Some(text), _) => writeln!(f, "{}", plain(text)),
            (_, None, bytes) => writeln!(f, "0x{}", bytes.as_deref().unwrap_or_default()),
        }
    }
}

/// Shows the memo of a transaction; opens it if it is sealed.
pub(super) fn read(args: &Read, context: &Context<'_>) -> Result<(), Failure> {
    let id = transaction_id(&args.id)?;
    let remote = Remote::of_blockchain(&args.chain, context)?;
    let (height, transaction) = proved(&remote, &id)?;
    let sender = transaction.sender.address();
    let mut document = MemoDocument {
        id,
        height,
        sender: remote.text_of(sender),
        kind: Kind::None,
        reader: None,
        text: None,
        bytes: None,
    };
    if seal::is_sealed(&transaction.memo) {
        let key = args.key(&remote, &transaction)?;
        let opened = seal::open(&transaction.memo, &key, &remote.chain.hash(), &sender);
        let opened = opened.map_err(|error| closed(&error))?;
        document.reader = Some(remote.text_of(key.public().address()));
        document.say(Kind::Sealed, &opened);
    } else if !transaction.memo.is_empty() {
        document.say(Kind::Open, &transaction.memo);
    }
    context.output.document(&document)
}

impl MemoDocument {
    fn say(&mut self, kind: Kind, bytes: &[u8]) {
        self.kind = kind;
        match std::str::from_utf8(bytes) {
            Ok(text) => self.text = Some(text.to_owned()),
            Err(_) => self.bytes = Some(hex::encode(bytes)),
        }
    }
}

/// A transaction that is on the ledger, by its checked proof, and its height.
fn proved(remote: &Remote<'_>, id: &TransactionId) -> Result<(Height, Transaction), Failure> {
    let Some(found) = inclusion(&remote.transport.blockchain, id)? else {
        return Err(absent(remote, id));
    };
    let invalid = |fault: &dyn fmt::Display| {
        Failure::corrupt("inclusion-invalid", format!("the server's inclusion proof: {fault}"))
            .with_hint("do not trust this blockchain server; ask another one")
    };
    found.verify(&remote.chain, id).map_err(|fault| invalid(&fault))?;
    let transaction: Transaction =
        codec::decode(&found.transaction).map_err(|fault| invalid(&fault))?;
    transaction.check(&remote.chain.hash()).map_err(|fault| invalid(&fault))?;
    Ok((found.header.height, transaction))
}

fn absent(remote: &Remote<'_>, id: &TransactionId) -> Failure {
    if let Ok(Some(_)) = remote.standing(id) {
        let message = format!("transaction {id} is not on the ledger yet");
        return Failure::outcome_unknown("not-confirmed", message)
            .with_hint(format!("`dsc wait tx {id}` returns when it is"));
    }
    Failure::not_found("unknown-transaction", format!("the ledger has no transaction {id}"))
        .with_hint("an id is what `dsc wallet send` and `dsc wallet history` print")
}

fn closed(error: &OpenError) -> Failure {
    let failure = Failure::rejected("memo-not-opened", error);
    match error {
        OpenError::Refused => failure.with_hint(
            "it was sealed to another key, or copied from another's transaction, or changed",
        ),
        _ => failure.with_hint("docs/protocol.md 6.1 says what a sealed memo is"),
    }
}

impl Read {
    /// The key that opens; asks for its passphrase if it has one.
    fn key(&self, remote: &Remote<'_>, transaction: &Transaction) -> Result<SecretKey, Failure> {
        if let Some(index) = self.dev_account {
            return dev_account(index, &remote.chain);
        }
        if let Some(path) = &self.key {
            return key_file::read(path, &self.passphrase.source()?);
        }
        let name = match &self.reader {
            Some(name) => name.clone(),
            None => paid(remote, transaction)?,
        };
        kept(&remote.keystore(), &name, &self.passphrase)
    }
}

/// The key of the wallet that a transaction pays.
fn paid(remote: &Remote<'_>, transaction: &Transaction) -> Result<KeyName, Failure> {
    let is_paid = |address: Address| transaction.payments.iter().any(|p| p.to == address);
    let entries = remote.keystore().list()?.into_iter();
    let mut names = entries.filter_map(|entry| {
        let key = entry.public.ok()?;
        is_paid(key.address()).then_some(entry.name)
    });
    match (names.next(), names.next()) {
        (Some(name), None) => Ok(name),
        (None, _) => Err(Failure::not_found(
            "no-key",
            "the memo is sealed, and the transaction pays no key of this wallet",
        )
        .with_hint("only the recipient can open it, not even the sender; --key names a key file")),
        (Some(_), Some(_)) => {
            Err(Failure::usage("the transaction pays several keys of this wallet")
                .with_hint("name the one it was sealed to with --as NAME"))
        }
    }
}

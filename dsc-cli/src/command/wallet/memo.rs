//! Memos: text for the recipient, sealed or readable by everyone, and how either is shown.
//!
//! # Invariants
//!
//! 1. A text is sealed only to a key that hashes to the address that is paid, whoever gave the key.
//! 2. Nothing of a memo steers a terminal.
//! 3. A memo that is too long is found out before anybody is asked anything.

use std::{cell::RefCell, collections::HashMap, fs, path::PathBuf};

use dsc_lib::{
    address::Address,
    codec,
    genesis::Chain,
    hash::Digest,
    keys::PublicKey,
    seal,
    transaction::{MEMO_BYTES_MAX, Memo, Transaction, TransactionId},
};

use crate::{
    command::remote::{Remote, inclusion},
    entropy::OsEntropy,
    exit::Failure,
    keystore::Keystore,
    role::{blockchain::AccountView, view::EventView},
};

/// Events in one answer, when a key is looked for.
const PAGE: usize = 100;

/// Which text goes with a payment.
#[derive(Debug, clap::Args)]
pub(super) struct MemoArgs {
    /// Text for the recipient, readable by everyone unless it is sealed: 512 bytes at most
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    memo: String,
    /// Seal the memo: only the recipient can read it, and it has 234 bytes at most
    #[arg(long)]
    seal: bool,
    /// Recipient's public key to seal the memo to, as `dsc wallet show NAME --pem` writes it
    /// [default: the one the recipient has signed with on this chain]
    #[arg(long, value_name = "FILE")]
    seal_to: Option<PathBuf>,
}

impl MemoArgs {
    /// The text given for every payment.
    pub(super) fn text(&self) -> &str {
        &self.memo
    }

    /// Whether memos are to be sealed.
    pub(super) fn is_sealed(&self) -> bool {
        self.seal || self.seal_to.is_some()
    }

    /// Finds out early that nothing would be sealed, or that the text is too long.
    pub(super) fn check(&self) -> Result<(), Failure> {
        if self.is_sealed() && self.memo.is_empty() {
            return Err(Failure::usage("there is no memo to seal").with_hint("add --memo TEXT"));
        }
        self.check_len(&self.memo).map_err(Failure::usage)
    }

    /// Whether a text fits, in the way in which it is sent.
    pub(super) fn check_len(&self, text: &str) -> Result<(), String> {
        let (how, max) = if self.is_sealed() {
            ("a sealed memo", seal::TEXT_BYTES_MAX)
        } else {
            ("a memo", MEMO_BYTES_MAX)
        };
        if text.len() <= max {
            return Ok(());
        }
        Err(format!("the memo has {} bytes, {how} has at most {max}", text.len()))
    }

    /// The memo of a payment to `to`.
    pub(super) fn wording(&self, to: &Address, keys: &Keys<'_>) -> Result<Wording, Failure> {
        let reader = self.is_sealed().then(|| keys.of(to)).transpose()?;
        Ok(Wording::new(&self.memo, reader.as_ref()))
    }

    /// Where the keys of recipients come from.
    pub(super) fn keys<'a>(
        &self,
        chain: &'a Chain,
        keystore: Keystore,
        remote: Option<&'a Remote<'a>>,
    ) -> Result<Keys<'a>, Failure> {
        let given = self.seal_to.as_ref().map(|path| {
            let text = fs::read_to_string(path).map_err(|e| Failure::file("read", path, &e))?;
            PublicKey::from_spki_pem(&text).map_err(|error| {
                Failure::corrupt("invalid-key", format!("{}: {error}", path.display()))
                    .with_hint("`dsc wallet show NAME --pem` writes the public half of a key")
            })
        });
        let known = RefCell::default();
        Ok(Keys { chain, keystore, remote, given: given.transpose()?, known })
    }
}

/// The public keys of those who are paid.
#[derive(Debug)]
pub(super) struct Keys<'a> {
    chain: &'a Chain,
    keystore: Keystore,
    remote: Option<&'a Remote<'a>>,
    given: Option<PublicKey>,
    known: RefCell<HashMap<Address, PublicKey>>,
}

impl Keys<'_> {
    /// The key that owns `address`.
    pub(super) fn of(&self, address: &Address) -> Result<PublicKey, Failure> {
        if let Some(key) = self.known.borrow().get(address) {
            return Ok(*key);
        }
        let key = self.find(address)?;
        self.known.borrow_mut().insert(*address, key);
        Ok(key)
    }

    fn find(&self, address: &Address) -> Result<PublicKey, Failure> {
        if let Some(key) = &self.given {
            return self.check_given(key, address);
        }
        let own = self.keystore.list()?.into_iter().filter_map(|entry| entry.public.ok());
        if let Some(key) = own.into_iter().find(|key| key.address() == *address) {
            return Ok(key);
        }
        match self.remote {
            Some(remote) => signed_with(remote, address),
            None => Err(Failure::usage("without a network nobody knows the recipient's key")
                .with_hint(ask_for_key(&address.to_text(self.chain.prefix())))),
        }
    }

    fn check_given(&self, key: &PublicKey, address: &Address) -> Result<PublicKey, Failure> {
        if key.address() == *address {
            return Ok(*key);
        }
        let text = |address: &Address| address.to_text(self.chain.prefix());
        let (got, expected) = (text(&key.address()), text(address));
        let message =
            format!("the key of --seal-to is that of {got}, the payment is to {expected}");
        Err(Failure::rejected("wrong-recipient-key", message).with_hint(ask_for_key(&expected)))
    }
}

fn ask_for_key(address: &str) -> String {
    format!(
        "ask the owner of {address} for what `dsc wallet show NAME --pem` writes, and name that file \
         with --seal-to"
    )
}

/// The key that `address` has signed a transaction with: the server is believed only as far as the
/// key hashes to the address.
fn signed_with(remote: &Remote<'_>, address: &Address) -> Result<PublicKey, Failure> {
    let id = sent_by(remote, address)?;
    let found = inclusion(&remote.transport.blockchain, &id)?;
    let bytes = found.map(|inclusion| inclusion.transaction).unwrap_or_default();
    let sender = codec::decode::<Transaction>(&bytes).map(|transaction| transaction.sender);
    sender.ok().filter(|key| key.address() == *address).ok_or_else(|| {
        Failure::other(
            "answer-malformed",
            "the blockchain server's answer has not the key asked for",
        )
        .with_hint("do not trust this blockchain server; ask another one")
    })
}

/// A transaction that `address` sent.
fn sent_by(remote: &Remote<'_>, address: &Address) -> Result<TransactionId, Failure> {
    let server = &remote.transport.blockchain;
    let text = remote.text_of(*address);
    let AccountView { sequence, .. } = server.get_json(&format!("/v1/accounts/{address}"))?;
    let never = || {
        let message = format!("{text} has never sent anything, so the chain does not have its key");
        Failure::not_found("no-public-key", message).with_hint(ask_for_key(&text))
    };
    if sequence == 0 {
        return Err(never());
    }
    let mut before = String::new();
    loop {
        remote.check("looking for the recipient's key")?;
        let path = format!("/v1/accounts/{address}/transactions?limit={PAGE}{before}");
        let events: Vec<EventView> = server.get_json(&path)?;
        let sent = events.iter().filter_map(|event| event.transaction.as_ref());
        if let Some(transaction) = sent.into_iter().find(|found| found.sender == text) {
            return Ok(transaction.id);
        }
        let last = events.last().filter(|_| events.len() == PAGE).ok_or_else(never)?;
        before = format!("&before_height={}&before_index={}", last.height, last.index);
    }
}

/// The memo of one transaction, before it is known who sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wording {
    text: String,
    /// To whom it is sealed.
    reader: Option<Box<PublicKey>>,
}

impl Wording {
    /// A text, sealed to `reader` if there is one.
    pub(super) fn new(text: &str, reader: Option<&PublicKey>) -> Self {
        Self { text: text.to_owned(), reader: reader.map(|key| Box::new(*key)) }
    }

    /// The memo of a transaction from `sender`; sealing it again gives other bytes.
    pub(super) fn memo(&self, chain: &Digest, sender: &Address) -> Result<Memo, Failure> {
        let bytes = self.text.as_bytes();
        match &self.reader {
            Some(reader) => {
                let sealed = seal::seal(bytes, reader, chain, sender, &mut OsEntropy);
                sealed.map_err(Failure::usage)
            }
            None => Memo::new(bytes.to_vec())
                .map_err(|error| Failure::usage(format!("the memo has {} bytes", error.count))),
        }
    }
}

/// Whether a memo is sealed, told from the form in which servers show it: no text can have it, being
/// shorter.
pub(crate) fn is_sealed_view(memo: &str) -> bool {
    let magic = format!("0x{}", hex::encode(seal::MAGIC));
    memo.len() == 2 + 2 * seal::SEALED_BYTES && memo.starts_with(&magic)
}

/// A memo, as servers show it, for people.
pub(crate) fn shown(memo: &str) -> String {
    if is_sealed_view(memo) {
        return "(sealed: `dsc wallet read ID` opens it for the recipient)".to_owned();
    }
    plain(memo)
}

/// Text from a stranger on one line: whatever could steer a terminal or hide is spelled out.
pub(crate) fn plain(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        match c {
            '"' | '\'' => shown.push(c),
            c => shown.extend(c.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use dsc_lib::testing::{ALICE, BOB, address, chain};

    use super::*;
    use crate::exit::Exit;

    fn args(memo: &str, seal: bool) -> MemoArgs {
        MemoArgs { memo: memo.to_owned(), seal, seal_to: None }
    }

    #[test]
    fn a_memo_is_bounded_as_it_is_sent() {
        assert!(args(&"x".repeat(512), false).check().is_ok());
        assert!(args(&"x".repeat(234), true).check().is_ok());
        let said = |memo: &str, seal| args(memo, seal).check().unwrap_err().to_string();
        let long = "the memo has 513 bytes, a memo has at most 512";
        assert_eq!(said(&"x".repeat(513), false), long);
        let long = "the memo has 235 bytes, a sealed memo has at most 234";
        assert_eq!(said(&"x".repeat(235), true), long);
        assert_eq!(said("", true), "there is no memo to seal");
    }

    #[test]
    fn a_key_has_to_be_that_of_the_address() {
        let chain = chain();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bob.pem");
        fs::write(&path, BOB.public().to_spki_pem()).unwrap();
        let args = MemoArgs { seal_to: Some(path.clone()), ..args("x", false) };
        assert!(args.is_sealed());
        let keystore = Keystore::new(folder.path());
        let keys = args.keys(&chain, keystore.clone(), None).unwrap();
        assert_eq!(keys.of(&address(&BOB)).unwrap(), *BOB.public());
        let failure = keys.of(&address(&ALICE)).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Rejected, "wrong-recipient-key"));
        fs::write(&path, "no key").unwrap();
        let failure = args.keys(&chain, keystore.clone(), None).unwrap_err();
        assert_eq!((failure.exit(), failure.code()), (Exit::Corrupt, "invalid-key"));
        let without = MemoArgs { seal_to: None, seal: true, ..args };
        let keys = without.keys(&chain, keystore, None).unwrap();
        let failure = keys.of(&address(&ALICE)).unwrap_err();
        assert!(failure.hint().unwrap().contains("--seal-to"), "{failure}");
    }

    #[test]
    fn a_sealed_memo_is_told_from_a_text_that_looks_alike() {
        let (chain, sender) = (Digest([7; 32]), address(&ALICE));
        let wording = Wording::new("text", Some(BOB.public()));
        let memo = wording.memo(&chain, &sender).unwrap();
        assert_eq!(seal::open(&memo, &BOB, &chain, &sender).unwrap()[..], *b"text");
        let view = crate::role::view::memo_text(&memo);
        assert!(is_sealed_view(&view));
        assert!(!is_sealed_view(&view[..512]), "the longest text");
        let plain = Wording::new("text", None).memo(&chain, &sender).unwrap();
        assert_eq!(plain[..], *b"text");
    }

    #[test]
    fn nothing_steers_the_terminal() {
        assert_eq!(plain("it's \"fine\" \u{e4}"), "it's \"fine\" \u{e4}");
        assert_eq!(plain("a\u{1b}[2Jb\r\n\u{202e}"), "a\\u{1b}[2Jb\\r\\n\\u{202e}");
    }
}

//! One payment: signed, sent and followed until the ledger has it.

use dsc_lib::{
    hash::Digest,
    mempool::Status,
    role::wallet::{End, Order, Payment as Sending},
    transaction::{Memo, Payment, Payments},
    units::Amount,
};

use super::{Context, memo::MemoArgs, payer::PayerArgs};
use crate::{
    command::{
        input,
        remote::{Remote, Wait, refused},
        role::ChainArgs,
        tx::TransactionDocument,
    },
    exit::Failure,
    role::view::TransactionView,
};

#[derive(Debug, clap::Args)]
pub(super) struct Send {
    #[command(flatten)]
    what: OrderArgs,
    #[command(flatten)]
    wait: Wait,
}

/// Whom to pay how much.
#[derive(Debug, clap::Args)]
struct OrderArgs {
    /// Coins, such as 12.5
    #[arg(value_name = "AMOUNT")]
    first: String,
    /// Who receives them: an address, or the name of a key (either order is understood)
    #[arg(value_name = "ADDRESS")]
    second: String,
    #[command(flatten)]
    payer: PayerArgs,
    #[command(flatten)]
    terms: Terms,
    #[command(flatten)]
    chain: ChainArgs,
}

/// What a payment carries besides its amounts.
#[derive(Debug, clap::Args)]
pub(super) struct Terms {
    /// Coins for the winner of the block
    #[arg(long, value_name = "AMOUNT", default_value = "0")]
    pub(super) fee: Amount,
    #[command(flatten)]
    pub(super) memo: MemoArgs,
    /// Heights from now within which it may get onto the ledger
    #[arg(
        long,
        value_name = "HEIGHTS",
        default_value_t = 1000,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    pub(super) lifetime: u64,
}

impl Terms {
    pub(super) fn order(&self, payments: Payments, memo: Memo, confirmations: u64) -> Order {
        let (fee, lifetime) = (self.fee, self.lifetime);
        Order { payments, fee, memo, lifetime, confirmations }
    }
}

/// Tells the amount from the recipient, in either order.
pub(super) fn tell_apart<'a>(
    first: &'a str,
    second: &'a str,
) -> Result<(Amount, &'a str), Failure> {
    let (amount, to) = match (first.parse::<Amount>(), second.parse::<Amount>()) {
        (Ok(amount), Err(_)) => (amount, second),
        (Err(_), Ok(amount)) => (amount, first),
        (Ok(_), Ok(_)) => {
            return Err(Failure::usage(format!("`{first}` and `{second}` are both amounts"))
                .with_hint("name the recipient: dsc wallet send AMOUNT ADDRESS"));
        }
        (Err(of_first), Err(of_second)) => {
            // The only one that starts as a number does is meant to be the amount, else the first.
            let (text, error) = if starts_as_number(second) && !starts_as_number(first) {
                (second, of_second)
            } else {
                (first, of_first)
            };
            return Err(Failure::new(
                crate::exit::Exit::Usage,
                "invalid-amount",
                format!("`{text}` is not an amount: {error}"),
            )
            .with_hint("write coins as digits with a point: dsc wallet send 12.5 ADDRESS"));
        }
    };
    if amount == Amount::ZERO {
        return Err(Failure::usage("a payment of nothing cannot be sent"));
    }
    Ok((amount, to))
}

fn starts_as_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | ','))
}

impl OrderArgs {
    /// What to pay, and the network to pay on.
    fn open<'a>(&self, context: &'a Context<'a>) -> Result<(Remote<'a>, Payment), Failure> {
        let (amount, to) = tell_apart(&self.first, &self.second)?;
        input::check_address(to)?;
        self.terms.memo.check()?;
        let remote = Remote::of_pool(&self.chain, context)?;
        let (_, to) = remote.account(to)?;
        Ok((remote, Payment { to, amount }))
    }
}

/// Pays somebody.
pub(super) fn send(args: &Send, context: &Context<'_>) -> Result<(), Failure> {
    let (remote, payment) = args.what.open(context)?;
    let terms = &args.what.terms;
    let keys = terms.memo.keys(&remote.chain, remote.keystore(), Some(&remote))?;
    let wording = terms.memo.wording(&payment.to, &keys)?;
    let key = args.what.payer.key(&remote.chain, &remote.keystore())?;
    let memo = wording.memo(&remote.chain.hash(), &key.public().address())?;
    let payments =
        Payments::new(vec![payment]).map_err(|error| Failure::other("payments", error))?;
    let order = terms.order(payments, memo, args.wait.confirmations);
    let mut sending = Sending::new(remote.chain.clone(), key, order);
    follow(&remote, &mut sending, &args.wait, context)
}

/// Makes a payment's calls, and says how it stands then.
pub(super) fn follow(
    remote: &Remote<'_>,
    sending: &mut Sending,
    wait: &Wait,
    context: &Context<'_>,
) -> Result<(), Failure> {
    remote.drive(sending, wait)?;
    let (id, status) = outcome(sending)?;
    if let Some(failure) = refused(&id, &status) {
        return Err(failure);
    }
    let index = sending.inclusion().and_then(|found| u32::try_from(found.proof.index).ok());
    let view = |transaction| TransactionView::new(&remote.chain, transaction);
    let transaction = sending.transaction().map(view);
    context.output.document(&TransactionDocument { id, status, index, transaction })
}

/// How a payment that is no longer driven stands.
pub(super) fn outcome(sending: &Sending) -> Result<(Digest, Status), Failure> {
    let id = sending.id().ok_or_else(|| Failure::other("unsigned", "nothing was signed"))?;
    Ok((
        id,
        match sending.end() {
            Some(End::Confirmed { height }) => Status::Confirmed { height: *height },
            Some(End::Expired { height }) => Status::Expired { height: *height },
            Some(End::Rejected(refusal)) => {
                Status::Rejected { code: refusal.code.clone(), reason: refusal.reason.clone() }
            }
            _ => Status::Submitted,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amount_and_recipient_are_told_apart_in_either_order() {
        for (first, second) in [("12.5", "bob"), ("bob", "12.5")] {
            let (amount, to) = tell_apart(first, second).unwrap();
            assert_eq!((amount.to_string().as_str(), to), ("12.5", "bob"));
        }
    }

    #[test]
    fn what_is_no_amount_is_named() {
        let said = |first, second| tell_apart(first, second).unwrap_err().to_string();
        assert_eq!(said("1", "2"), "`1` and `2` are both amounts");
        assert_eq!(said("0", "bob"), "a payment of nothing cannot be sent");
        let expected = "`12,5` is not an amount: an amount is digits with at most one point, \
                        such as 12.5";
        assert_eq!(said("12,5", "dscd1abcdef"), expected);
        assert_eq!(said("dscd1abcdef", "12,5"), expected);
        for amount in ["0.123456789", "99999999999999999999999", "-1"] {
            assert!(said(amount, "bob").starts_with(&format!("`{amount}` is not an amount")));
            assert!(said("bob", amount).starts_with(&format!("`{amount}` is not an amount")));
        }
    }
}

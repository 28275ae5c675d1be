//! The monitor's server without sockets.

use axum::{Router, body::Body, http::Request};
use dsc_lib::{
    mempool::{Latency, Note, Status},
    role::{
        Active, Lost, Next, Refusal,
        blockchain::{Audit, Blockchain, Winner},
        pool::{Activity, Pool},
    },
    testing::{ALICE, BOB, address, chain, next_block, pay},
    units::{Amount, Height, Millis},
};
use tower_service::Service;

use super::{pages::TransactionPage, *};
use crate::{
    role::{blockchain::Record, pool::HeldRecord},
    testing::check_value,
};

/// The router of a monitor that nobody answers.
fn router(limits: &Limits) -> Router {
    let shared = Shared::new(Monitor::new(Millis(1000)));
    let asked = Server::new(shared, Transport::nobody(), limits);
    site(&asked, limits, &Shutdown::new()).into_router()
}

async fn get(router: &mut Router, path: &str) -> Response {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let Ok(response) = router.call(request).await;
    response
}

#[tokio::test]
async fn streams_leave_room_and_end_with_their_reader() {
    let mut router = router(&Limits { connections_max: 4, ..Limits::default() });
    let open = [get(&mut router, "/v1/events").await, get(&mut router, "/v1/events").await];
    assert!(open.iter().all(|stream| stream.status() == 200));
    let refused = get(&mut router, "/v1/events").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    drop(open);
    assert_eq!(get(&mut router, "/v1/events").await.status(), 200);
}

#[tokio::test]
async fn before_anybody_was_asked_there_is_a_history_and_no_explorer() {
    let mut router = router(&Limits::default());
    assert_eq!(get(&mut router, "/v1/history").await.status(), 200);
    for path in ["/v1/report", "/v1/blocks", "/v1/blocks/0", "/v1/search?q=1"] {
        assert_eq!(get(&mut router, path).await.status(), 503, "{path}");
    }
}

#[test]
fn every_page_is_as_it_is_described() {
    let mut monitor = Monitor::new(Millis(1000));
    assert_eq!(check_value(&HistoryPage::new(&monitor)), Ok(()));
    while let Next::Call(_) = monitor.next(Millis(5000)) {
        monitor.answer(Millis(5000), Err(Lost::new("nobody is there")));
    }
    assert_eq!(check_value(&HistoryPage::new(&monitor)), Ok(()));
    let winner = Winner {
        kind: dsc_lib::proof::ENGINES[0].kind,
        miner: dsc_lib::proof::Miner {
            address: address(&BOB),
            fingerprint: dsc_lib::proof::Fingerprint([7; 16]),
        },
    };
    let mut server = Blockchain::new(dsc_lib::ledger::Ledger::in_memory(chain()));
    let block = next_block(server.ledger().state(), vec![], vec![]);
    server.submit(&block.to_bytes()).unwrap();
    let recent = server.recent_summaries(Height(1), 1);
    let won = dsc_lib::role::blockchain::Summary { winner: Some(winner), ..*recent[0] };
    for summary in [&*recent[0], &won] {
        assert_eq!(check_value(summary), Ok(()));
        assert_eq!(check_value(&BlockRow::new(summary, Prefix::Main)), Ok(()));
    }
    let audit = Audit { height: None, balances: None, issued: Amount::ZERO, holds: false };
    assert_eq!(check_value(&Some(audit)), Ok(()));
    let mut pool = Pool::new(chain(), dsc_lib::mempool::Limits::default());
    let payment = pay(&ALICE, 0, address(&BOB), 1).check(&chain().hash()).unwrap();
    pool.submit(Arc::new(payment));
    let activity = Activity { fault: Some("a fault".into()), ..pool.activity() };
    assert_eq!(check_value(&activity), Ok(()));
    assert_eq!(check_value(&Latency::default()), Ok(()));
}

#[test]
fn a_transaction_is_shown_from_whatever_is_known_of_it() {
    let payment = pay(&ALICE, 0, address(&BOB), 1);
    let id = payment.id(&chain().hash());
    let transaction = dsc_lib::codec::encode(&payment);
    let record = Record {
        height: Height(7),
        index: 3,
        block_hash: id,
        block_time: Millis(900),
        tip: Height(9),
        transaction: transaction.clone(),
    };
    let note = Note {
        id,
        sender: address(&ALICE),
        to: None,
        payments: 2,
        amount: Amount::from_units(5),
        fee: Amount::ZERO,
        submitted: Millis(100),
        unconfirmed: None,
        confirmed: None,
    };
    let (code, reason) = ("evicted".to_owned(), "made room".to_owned());
    let refusal = Refusal::new(code.clone(), &reason);
    let rejected = HeldRecord {
        status: Status::Rejected { code, reason },
        note: Some(note),
        transaction: None,
    };
    let pending =
        HeldRecord { status: Status::Submitted, note: None, transaction: Some(transaction) };
    let page = |record, held| {
        let page = TransactionPage::new(id, record, held, Prefix::Development);
        page.inspect(|page| assert_eq!(check_value(page), Ok(())))
            .map(|page| serde_json::to_value(page).unwrap())
    };
    let states = |page: &serde_json::Value| {
        let steps = page["timeline"].as_array().unwrap().iter();
        steps.map(|step| step["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None), None);
    let both = page(Some(&record), Some(&pending)).unwrap();
    assert_eq!((&both["state"], &both["confirmations"]), (&"confirmed".into(), &3.into()));
    assert_eq!(states(&both), ["submitted", "unconfirmed", "confirmed"]);
    let held = page(None, Some(&pending)).unwrap();
    assert_eq!(
        (&held["state"], held["payments"].as_array().unwrap().len()),
        (&"submitted".into(), 1)
    );
    let gone = page(None, Some(&rejected)).unwrap();
    assert_eq!(
        (&gone["reason"]["code"], &gone["payments"]),
        (&refusal.code.into(), &serde_json::Value::Null)
    );
    assert_eq!(
        (states(&gone), &gone["amount"]),
        (vec!["submitted".into(), "rejected".into()], &"0.00000005".into())
    );
    for one in [&rejected, &pending] {
        assert_eq!(check_value(one), Ok(()));
        let text = serde_json::to_string(one).unwrap();
        let read: HeldRecord = serde_json::from_str(&text).unwrap();
        assert_eq!(read.transaction, one.transaction);
    }
    assert_eq!(check_value(&record), Ok(()));
}

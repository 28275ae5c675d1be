//! Pictures of known states.

use super::{
    super::{
        feed::News,
        model::{History, Latency, Round},
    },
    *,
};

const NOW: u64 = 1_700_000_010_000;

fn validator_of(proof: &str, alive: bool) -> Validator {
    Validator {
        fingerprint: format!("{proof}-fingerprint"),
        proof: proof.into(),
        won: 12,
        share: 0.25,
        rate: 123_456.0,
        ram_bytes: 64 << 20,
        disk_bytes: 0,
        last_seen: NOW - 1_500,
        alive,
    }
}

fn sample(second: u64) -> Sample {
    Sample {
        time: NOW - 10_000 + second * 1000,
        height: Some(40 + second),
        final_height: None,
        tip_time: Some(NOW - 2_100),
        interval: Some(6_000),
        transactions: Some(second * second),
        submitted_total: (second != 3).then_some(second * 2),
        pool_submitted: Some(second % 4),
        pool_unconfirmed: Some(0),
        latency: second
            .is_multiple_of(2)
            .then_some(Latency { p50: number(100 * second), max: 0.0 }),
        accounts: Some(14),
        supply: Some("2048000".into()),
        supply_ok: Some(true),
        round: Some(Round { height: 51, closes_in: 3_000 }),
        validators_alive: 1,
        validators: vec![validator_of("work", true), validator_of("space", false)],
        faults: Vec::new(),
    }
}

fn state() -> State {
    let block = |height, transactions, winner: Option<&str>| Block {
        height,
        transactions,
        winner: winner.map(Into::into),
    };
    let row = |id: &str, state: &str, payments, height| Transaction {
        id: id.repeat(64),
        amount: "12.5".into(),
        payments,
        state: state.into(),
        height,
    };
    State::of(History {
        network: Some("dsc-dev".into()),
        id: "7-1".into(),
        samples: (0..=10).map(sample).collect(),
        now: Some(sample(10)),
        blocks: vec![
            block(50, 3, Some("work")),
            block(49, 0, Some("space")),
            block(48, 1, Some("memory")),
            block(47, 0, None),
        ],
        recent: vec![row("a", "confirmed", 1, Some(50)), row("b", "submitted", 3, None)],
    })
}

fn drawn(state: &State, width: usize, height: usize) -> String {
    let mut canvas = Canvas::new(width, height);
    draw(&mut canvas, state, NOW);
    canvas.text()
}

#[test]
fn everything_is_on_one_screen() {
    let expected = include_str!("expected.txt");
    assert_eq!(drawn(&state(), 100, 24), expected);
}

#[test]
fn any_size_is_drawn_and_cut() {
    for (width, height) in [(0, 0), (1, 1), (20, 5), (80, 3), (200, 60)] {
        let text = drawn(&state(), width, height);
        assert!(text.lines().count() <= height, "{width} x {height}");
        assert!(text.lines().all(|line| line.chars().count() <= width), "{width} x {height}");
    }
}

#[test]
fn what_is_not_known_or_wrong_is_said() {
    let text = drawn(&State::default(), 100, 24);
    assert!(text.contains("block ?  tip ?  ? tx/s  pool ? + ?"), "{text}");
    assert!(text.contains("? coins, balances not checked yet"), "{text}");
    let mut state = state();
    let mut bad = sample(10);
    (bad.supply_ok, bad.tip_time) = (Some(false), Some(NOW - 60_000));
    bad.faults = vec!["pool: \u{1b}[2Jgone".into()];
    state.take(News::Sample(Box::new(bad)));
    let text = drawn(&state, 100, 24);
    for said in ["BALANCES DO NOT ADD UP", "tip 60.0 s of 6.0 s LATE", "no answer: pool: ?[2Jgone"]
    {
        assert!(text.contains(said), "{said}: {text}");
    }
}

#[test]
fn old_news_is_told_from_new() {
    let mut state = state();
    assert!(drawn(&state, 100, 24).starts_with("dsc top  dsc-dev  block 50"));
    state.take(News::Lost("nobody there".into()));
    let text = drawn(&state, 100, 24);
    assert!(text.starts_with("NOTHING HEARD FOR 0.0 s; as it was then:  dsc-dev"), "{text}");
    assert!(text.contains("no answer: monitor: nobody there"), "{text}");
    state.take(News::Back);
    let mut canvas = Canvas::new(100, 24);
    draw(&mut canvas, &state, NOW + 6_000);
    assert!(canvas.text().starts_with("NOTHING HEARD FOR 6.0 s"), "{}", canvas.text());
}

#[test]
fn news_changes_what_is_shown() {
    let mut state = state();
    let block = Block { height: 51, transactions: 1, winner: None };
    state.take(News::Block(block.clone()));
    state.take(News::Block(block));
    assert_eq!(state.blocks.iter().map(|b| b.height).collect::<Vec<_>>(), [51, 50, 49, 48, 47]);
    let done = Transaction { state: "confirmed".into(), ..state.recent[1].clone() };
    state.take(News::Recent(vec![done.clone()]));
    assert_eq!((state.recent.len(), &state.recent[0]), (2, &done));
    for second in 11..700 {
        state.take(News::Sample(Box::new(sample(second))));
    }
    assert_eq!((state.samples.len(), state.now.as_ref().unwrap().height), (600, Some(739)));
}

#[test]
fn bars_show_gaps_and_the_newest() {
    assert_eq!(bars(&[Some(0.0), None, Some(4.0), Some(8.0)], 9), "\u{2581} \u{2585}\u{2588}");
    assert_eq!(bars(&[Some(9.0), Some(0.0), Some(0.0)], 2), "\u{2581}\u{2581}");
    assert_eq!(bars(&[], 5), "");
}

#[test]
fn the_plain_table_has_the_same_figures() {
    let text = plain(&state());
    for said in ["block 50", "blocks, newest first: WsM. (", "space-fi", "GONE", "in 3 payments"] {
        assert!(text.contains(said), "{said}: {text}");
    }
    let mut of_several = state();
    of_several.now.as_mut().unwrap().final_height = Some(49);
    assert!(plain(&of_several).contains("block 50 (final 49)  tip"));
}

//! Who is connected: how many there are, how many from one address, and who waits for what.
//!
//! # Invariants
//!
//! 1. There are no more connections than allowed, and no more from one address of another machine.
//! 2. While any connection is between requests, a newcomer gets in: the one that has been so for
//!    longest is cut, of another machine and of the address with most connections if there is one.
//!
//! So whoever opens connections and sends nothing shuts out nobody but himself.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;

/// The connections of a server.
#[derive(Clone, Debug)]
pub(super) struct Roster {
    entries: Arc<Mutex<Entries>>,
    max: usize,
    per_address_max: usize,
}

#[derive(Debug, Default)]
struct Entries {
    by_number: HashMap<u64, Entry>,
    by_address: HashMap<IpAddr, usize>,
    /// Counts arrivals and ends of requests: what is older has the lower number.
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    address: IpAddr,
    is_local: bool,
    /// Requests under way.
    requests: u32,
    /// Since when there is none.
    idle_since: u64,
    cut: Arc<Notify>,
}

impl Roster {
    pub(super) fn new(max: usize, per_address_max: usize) -> Self {
        Self { entries: Arc::default(), max, per_address_max }
    }

    /// Takes a connection in, if there is room for it. One of this machine itself counts for the
    /// whole only: every role of a machine, and a proxy before it, has the same address.
    pub(super) fn enter(&self, address: IpAddr, is_local: bool) -> Option<Arc<Seat>> {
        let address = party(address);
        let mut entries = lock(&self.entries);
        let count = entries.by_address.get(&address).copied().unwrap_or_default();
        if !is_local && count >= self.per_address_max {
            return None;
        }
        if entries.by_number.len() >= self.max {
            let number = entries.longest_idle()?;
            entries.remove(number).inspect(|entry| entry.cut.notify_one());
        }
        let (number, cut) = (entries.tick(), Arc::new(Notify::new()));
        let (requests, idle_since) = (0, number);
        let entry = Entry { address, is_local, requests, idle_since, cut: cut.clone() };
        entries.by_number.insert(number, entry);
        *entries.by_address.entry(address).or_default() += 1;
        drop(entries);
        let caller = Caller((!is_local).then_some(address));
        Some(Arc::new(Seat { entries: self.entries.clone(), number, caller, cut }))
    }
}

/// Whoever has an address of IPv6 has all others with its first 64 bits.
fn party(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address @ IpAddr::V4(_) => address,
    }
}

fn lock(entries: &Mutex<Entries>) -> MutexGuard<'_, Entries> {
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Entries {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// The connection that a newcomer may have the place of.
    fn longest_idle(&self) -> Option<u64> {
        let idle = self.by_number.iter().filter(|(_, entry)| entry.requests == 0);
        let worst = idle.min_by_key(|(_, entry)| {
            let neighbours = self.by_address.get(&entry.address);
            (entry.is_local, Reverse(neighbours), entry.idle_since)
        });
        worst.map(|(number, _)| *number)
    }

    fn remove(&mut self, number: u64) -> Option<Entry> {
        let entry = self.by_number.remove(&number)?;
        if let Some(count) = self.by_address.get_mut(&entry.address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.address);
            }
        }
        Some(entry)
    }
}

/// The address of a client of another machine, among the extensions of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) Option<IpAddr>);

/// The place of a connection, until it is dropped or given to another.
#[derive(Debug)]
pub(super) struct Seat {
    entries: Arc<Mutex<Entries>>,
    number: u64,
    caller: Caller,
    cut: Arc<Notify>,
}

impl Seat {
    pub(super) const fn caller(&self) -> Caller {
        self.caller
    }

    /// Waits until the place is given to another.
    pub(super) async fn cut(&self) {
        self.cut.notified().await;
    }

    /// Notes that a request has come, until its answer is out.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        if let Some(entry) = lock(&self.entries).by_number.get_mut(&self.number) {
            entry.requests += 1;
        }
        Busy(self.clone())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.entries).remove(self.number);
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Busy {
    /// The same answer, which ends the request when it is out.
    pub(super) fn until_out(self, body: Body) -> Body {
        if body.is_end_stream() { body } else { Body::new(Counted { body, _busy: self }) }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut entries = lock(&self.0.entries);
        let now = entries.tick();
        if let Some(entry) = entries.by_number.get_mut(&self.0.number) {
            entry.requests -= 1;
            entry.idle_since = now;
        }
    }
}

/// The body of an answer that counts as a request under way.
struct Counted {
    body: Body,
    _busy: Busy,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
    const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3));

    fn is_cut(seat: &Seat) -> bool {
        !lock(&seat.entries).by_number.contains_key(&seat.number)
    }

    #[test]
    fn one_address_of_another_machine_has_its_share() {
        let roster = Roster::new(10, 2);
        let seats: Vec<_> = (0..2).map(|_| roster.enter(THERE, false).unwrap()).collect();
        assert!(roster.enter(THERE, false).is_none());
        assert!(roster.enter(ELSEWHERE, false).is_some());
        assert!((0..5).all(|_| roster.enter(HERE, true).is_some()), "this machine has no share");
        drop(seats);
        assert!(roster.enter(THERE, false).is_some(), "who goes makes room");
        assert!(lock(&roster.entries).by_address.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let roster = Roster::new(10, 2);
        let of = |text: &str| roster.enter(text.parse().unwrap(), false);
        let _seats = ["2001:db8::1", "2001:db8::2"].map(|text| of(text).unwrap());
        assert!(of("2001:db8::3").is_none());
        assert!(of("2001:db8:0:1::3").is_some());
        assert!(["::ffff:192.0.2.1", "::ffff:192.0.2.2"].map(of).iter().all(Option::is_some));
    }

    #[test]
    fn a_newcomer_takes_the_place_of_the_one_that_was_idle_for_longest() {
        let roster = Roster::new(3, 3);
        let [first, second, third] = [(); 3].map(|()| roster.enter(THERE, false).unwrap());
        drop(first.begin());
        let fourth = roster.enter(ELSEWHERE, false).unwrap();
        assert_eq!([&first, &second, &third].map(|seat| is_cut(seat)), [false, true, false]);
        let _busy = [third.begin(), fourth.begin()];
        let fifth = roster.enter(ELSEWHERE, false).unwrap();
        assert!(is_cut(&first) && !is_cut(&third) && !is_cut(&fourth));
        let _last = fifth.begin();
        assert!(roster.enter(ELSEWHERE, false).is_none(), "nobody who is served is cut");
        drop((first, second));
        assert_eq!(lock(&roster.entries).by_number.len(), 3, "who was cut leaves nothing twice");
    }

    #[test]
    fn the_address_with_most_connections_makes_room_and_this_machine_last() {
        let roster = Roster::new(4, 4);
        let own = roster.enter(HERE, true).unwrap();
        let single = roster.enter(ELSEWHERE, false).unwrap();
        let crowd = [(); 2].map(|()| roster.enter(THERE, false).unwrap());
        let _newcomer = roster.enter(HERE, true).unwrap();
        assert!(is_cut(&crowd[0]) && !is_cut(&own) && !is_cut(&single) && !is_cut(&crowd[1]));
    }

    #[test]
    fn an_answer_counts_as_a_request_until_it_is_out() {
        let roster = Roster::new(1, 1);
        let seat = roster.enter(HERE, true).unwrap();
        let body = seat.begin().until_out(Body::from("answer"));
        assert!(roster.enter(HERE, true).is_none());
        drop(body);
        assert!(roster.enter(HERE, true).is_some() && is_cut(&seat));
        let empty = roster.enter(HERE, true).unwrap().begin().until_out(Body::empty());
        assert!(roster.enter(HERE, true).is_some(), "an empty answer is out at once");
        drop(empty);
    }
}

//! Room for large answers, which are in memory until whoever asked has taken them.
//!
//! # Invariants
//!
//! 1. Large answers are bounded in bytes over all connections, and only a few are made at once.
//! 2. One address of another machine holds its share of them at most, or one answer; all of them
//!    together leave a share to this machine, whose roles follow each other.
//! 3. Nobody waits for others to take their answers: who finds no room may ask again.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::spawn_blocking,
    time::timeout,
};

use super::{Limits, Problem, roster::Caller};

/// An answer of no more bytes does not count: every connection may have one.
const SMALL_BYTES: usize = 64 << 10;
/// Answers made at once.
const MAKING_MAX: usize = 8;
/// Addresses that can fill the room together.
const SHARES: u32 = 4;
/// When somebody who found no room may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The large answers of a site.
#[derive(Debug)]
pub(super) struct Answers {
    making: Arc<Semaphore>,
    room: Arc<Semaphore>,
    kib_max: u32,
    held: Mutex<HashMap<IpAddr, u32>>,
    time: Duration,
}

impl Answers {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        let kib_max = kib(limits.answer_bytes_max());
        Arc::new(Self {
            making: Arc::new(Semaphore::new(MAKING_MAX)),
            room: Arc::new(Semaphore::new(kib_max as usize)),
            kib_max,
            held: Mutex::default(),
            time: limits.request_time,
        })
    }

    fn held(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_share_spent(&self, address: IpAddr) -> bool {
        let (held, share) = (self.held(), self.kib_max / SHARES);
        let own = held.get(&address).copied().unwrap_or_default();
        let all: u32 = held.values().sum();
        own >= share || all >= self.kib_max - share
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn no_room() -> Problem {
    Problem::unavailable("overloaded", "too many large answers are being taken at once")
        .with_retry_after(RETRY_AFTER)
}

/// Where a handler whose answer may be large makes it.
#[derive(Clone, Debug)]
pub struct Room {
    answers: Arc<Answers>,
    /// Whose share it is; nobody's for a program of this machine.
    address: Option<IpAddr>,
}

impl<S: Send + Sync> FromRequestParts<S> for Room {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let answers: Option<&Arc<Answers>> = parts.extensions.get();
        let answers = answers.cloned().ok_or_else(|| Problem::internal("no room for answers"))?;
        let address = parts.extensions.get().and_then(|Caller(address)| *address);
        Ok(Self { answers, address })
    }
}

impl Room {
    /// Makes an answer, which may block, and counts it until it was taken or its connection ended.
    ///
    /// # Errors
    ///
    /// 503 if there is no room for it now, and whatever `make` fails with.
    pub async fn answer<B: AsRef<[u8]> + Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<B, Problem> + Send + 'static,
    ) -> Result<Bytes, Problem> {
        if self.address.is_some_and(|address| self.answers.is_share_spent(address)) {
            return Err(no_room());
        }
        let turn = timeout(self.answers.time, self.answers.making.acquire()).await;
        let _turn = turn.map_err(|_| no_room())?;
        let outcome = spawn_blocking(make).await;
        let bytes = outcome.map_err(|_| Problem::internal("the work on this request failed"))??;
        let len = bytes.as_ref().len();
        if len <= SMALL_BYTES {
            return Ok(Bytes::copy_from_slice(bytes.as_ref()));
        }
        // What is larger than all the room there is takes the whole of it.
        let kib = kib(len).min(self.answers.kib_max);
        let permit = Arc::clone(&self.answers.room).try_acquire_many_owned(kib);
        let share = Share::take(self, kib);
        Ok(Bytes::from_owner(Held { bytes, _room: permit.map_err(|_| no_room())?, _share: share }))
    }

    /// As [`Room::answer`], in the canonical encoding.
    ///
    /// # Errors
    ///
    /// As [`Room::answer`].
    pub async fn binary<B: AsRef<[u8]> + Send + 'static>(
        &self,
        make: impl FnOnce() -> Result<B, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let media_type = HeaderValue::from_static("application/octet-stream");
        let bytes = self.answer(make).await?;
        Ok(([(header::CONTENT_TYPE, media_type)], bytes).into_response())
    }

    /// As [`Room::answer`], in JSON.
    ///
    /// # Errors
    ///
    /// As [`Room::answer`].
    pub async fn json<T: serde::Serialize>(
        &self,
        make: impl FnOnce() -> Result<T, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let media_type = HeaderValue::from_static("application/json");
        let make = || serde_json::to_vec(&make()?).map_err(Problem::internal);
        Ok(([(header::CONTENT_TYPE, media_type)], self.answer(make).await?).into_response())
    }
}

/// What one address holds.
struct Share {
    answers: Arc<Answers>,
    address: Option<IpAddr>,
    kib: u32,
}

impl Share {
    fn take(room: &Room, kib: u32) -> Self {
        let Room { answers, address } = room.clone();
        if let Some(address) = address {
            *answers.held().entry(address).or_default() += kib;
        }
        Self { answers, address, kib }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some(address) = self.address else { return };
        let mut held = self.answers.held();
        if let Some(kib) = held.get_mut(&address) {
            *kib -= self.kib;
            if *kib == 0 {
                held.remove(&address);
            }
        }
    }
}

/// The bytes of an answer with the room they take.
struct Held<B> {
    bytes: B,
    _room: OwnedSemaphorePermit,
    _share: Share,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Held<B> {
    fn as_ref(&self) -> &[u8] {
        self.bytes.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// Rooms for 8 MiB: of this machine, and of two others.
    fn rooms() -> [Room; 3] {
        let limits = Limits { bulk_bytes_max: 4 * MIB, ..Limits::default() };
        let answers = Answers::new(&limits);
        let address = |last| Some(IpAddr::from([192, 0, 2, last]));
        [None, address(1), address(2)].map(|address| Room { answers: answers.clone(), address })
    }

    async fn answer(room: &Room, len: usize) -> Option<Bytes> {
        room.answer(move || Ok(vec![7; len])).await.ok()
    }

    #[tokio::test]
    async fn answers_are_counted_until_they_are_taken() {
        let [here, ..] = rooms();
        let first = answer(&here, 5 * MIB).await.unwrap();
        assert!(answer(&here, 4 * MIB).await.is_none());
        assert!(answer(&here, SMALL_BYTES).await.is_some(), "small ones do not count");
        let (head, rest) = (first.slice(..1), first.slice(1..));
        drop((first, head));
        assert!(answer(&here, 4 * MIB).await.is_none(), "a part is still to be taken");
        drop(rest);
        assert!(answer(&here, 4 * MIB).await.is_some());
        assert!(answer(&here, 80 * MIB).await.is_some(), "alone, one may be of any size");
    }

    #[tokio::test]
    async fn one_address_has_its_share_or_one_answer() {
        let [here, there, elsewhere] = rooms();
        let first = answer(&there, 5 * MIB).await.unwrap();
        assert!(answer(&there, 1).await.is_none());
        let _others = [answer(&elsewhere, MIB).await.unwrap(), answer(&here, MIB).await.unwrap()];
        drop(first);
        assert!(answer(&there, MIB).await.is_some());
        assert!(there.answers.held().len() == 1, "who holds nothing is not remembered");
    }

    #[tokio::test]
    async fn other_machines_leave_a_share_to_this_one() {
        let [here, there, elsewhere] = rooms();
        let third = Room { address: Some(IpAddr::from([192, 0, 2, 3])), ..here.clone() };
        let _held = [answer(&there, 5 * MIB).await.unwrap(), answer(&third, MIB).await.unwrap()];
        assert!(answer(&elsewhere, MIB).await.is_none());
        assert!(answer(&here, 2 * MIB).await.is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_made_takes_no_room() {
        let [here, ..] = rooms();
        let failed = here.answer(|| Err::<Vec<u8>, _>(Problem::not_found("x", "y"))).await;
        assert_eq!(failed.unwrap_err().code(), "x");
        let panicked = here.answer(|| -> Result<Vec<u8>, _> { panic!("as the test asks") }).await;
        assert_eq!(panicked.unwrap_err().code(), "internal");
        assert!(answer(&here, 8 * MIB).await.is_some());
    }
}

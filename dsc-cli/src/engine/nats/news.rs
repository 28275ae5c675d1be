//! Hints that something was put into a stream: the node that leads tells everybody.

use tokio::{sync::watch, time::Instant};

/// The last place that was heard of.
#[derive(Clone, Debug)]
pub(super) struct News(watch::Sender<u64>);

impl Default for News {
    fn default() -> Self {
        Self::from(0)
    }
}

impl From<u64> for News {
    fn from(place: u64) -> Self {
        Self(watch::Sender::new(place))
    }
}

impl News {
    pub(super) fn seen(&self) -> u64 {
        *self.0.borrow()
    }

    /// Something is at `place`.
    pub(super) fn tell(&self, place: u64) {
        self.0.send_if_modified(|seen| {
            let is_news = place > *seen;
            *seen = place.max(*seen);
            is_news
        });
    }

    /// The stream ends at `last`, and `seen` had been heard of before it was asked: what was heard
    /// of a stream that was lost since then must not keep anybody from waiting.
    pub(super) fn correct(&self, seen: u64, last: u64) {
        self.0.send_if_modified(|now| {
            if *now == seen || last > *now {
                *now = last;
            }
            true
        });
    }

    /// Waits until something after `after` is heard of, and says what.
    pub(super) async fn wait(&self, after: u64, until: Instant) -> Option<u64> {
        let mut heard = self.0.subscribe();
        let heard = heard.wait_for(|seen| *seen > after);
        let heard = tokio::time::timeout_at(until, heard).await.ok()?;
        heard.ok().map(|seen| *seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_a_stream_that_was_lost_is_forgotten() {
        let news = News::from(7);
        news.tell(5);
        assert_eq!(news.seen(), 7);
        news.correct(7, 2);
        assert_eq!(news.seen(), 2);
        news.tell(9);
        news.correct(2, 8);
        assert_eq!(news.seen(), 9, "it came while the stream was asked");
        news.correct(2, 10);
        assert_eq!(news.seen(), 10);
    }
}

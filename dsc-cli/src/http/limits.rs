//! What one client may take of a server.

use std::time::Duration;

use crate::config::Config;

/// The bounds of a server.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections open at once.
    pub connections_max: usize,
    /// Those of them from one address of another machine.
    pub connections_per_address_max: usize,
    /// Bytes of a request body.
    pub body_bytes_max: usize,
    /// Bytes of a request body on bulk routes.
    pub bulk_bytes_max: usize,
    /// Wait for the whole head of a request, from the end of the one before.
    pub header_time: Duration,
    /// Wait for the whole body of a request.
    pub body_time: Duration,
    /// Work on a request.
    pub request_time: Duration,
    /// Wait of a long poll for its answer.
    pub wait_time: Duration,
    /// Wait for a client that takes no more bytes of its answer.
    pub write_time: Duration,
    /// Wait for open connections once the server was asked to end.
    pub grace_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 256,
            connections_per_address_max: 64,
            body_bytes_max: 1 << 20,
            bulk_bytes_max: 64 << 20,
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(10),
            request_time: Duration::from_secs(20),
            wait_time: Duration::from_secs(60),
            write_time: Duration::from_secs(20),
            grace_time: Duration::from_millis(2500),
        }
    }
}

impl Limits {
    /// The bounds that `config` sets.
    pub fn from_config(config: &Config) -> Self {
        Self {
            connections_max: config.count("http.connections_max"),
            connections_per_address_max: config.count("http.connections_per_address_max"),
            body_bytes_max: config.count("http.body_bytes_max"),
            bulk_bytes_max: config.count("http.bulk_bytes_max"),
            header_time: config.time("http.header_time"),
            body_time: config.time("http.body_time"),
            request_time: config.time("http.request_time"),
            wait_time: config.time("http.wait_time"),
            write_time: config.time("http.write_time"),
            ..Self::default()
        }
    }

    /// Bytes of request bodies in memory at once, over all connections.
    pub(super) const fn memory_bytes_max(&self) -> usize {
        let bulk = self.bulk_bytes_max.saturating_mul(4);
        let plain = self.body_bytes_max.saturating_mul(16);
        if bulk > plain { bulk } else { plain }
    }

    /// Bytes of large answers in memory at once, over all connections.
    pub(super) const fn answer_bytes_max(&self) -> usize {
        self.bulk_bytes_max.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    #[test]
    fn the_configuration_has_the_same_defaults() {
        let config = Config::load(&Sources::default()).unwrap();
        let (ours, theirs) = (Limits::default(), Limits::from_config(&config));
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
    }
}

//! Every key of the configuration: the one table that reading, checking and printing follow.

use std::net::SocketAddr;

use crate::duration;

/// What a value has to look like.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A file or folder.
    Path,
    /// Where a role is reached, `http://HOST:PORT`.
    Url,
    /// Where a role listens, `IP:PORT`.
    Listen,
    /// A time such as `10s`, more than zero.
    Time,
    /// A whole number within bounds, both included.
    Count {
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// One of a few words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// Checks a value; the error says what is expected.
    ///
    /// # Errors
    ///
    /// What a value of this kind looks like, if `text` is not one.
    pub fn check(self, text: &str) -> Result<(), String> {
        let fits = match self {
            Self::Path => !text.is_empty(),
            Self::Url => is_url(text),
            Self::Listen => text.parse::<SocketAddr>().is_ok(),
            Self::Time => duration::parse(text).is_ok_and(|time| !time.is_zero()),
            Self::Count { min, max } => {
                text.parse::<u64>().is_ok_and(|count| (min..=max).contains(&count))
            }
            Self::Choice(words) => words.contains(&text),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(self) -> String {
        match self {
            Self::Path => "a path".into(),
            Self::Url => "an address such as http://127.0.0.1:7701 (TLS is left to a proxy)".into(),
            Self::Listen => "an address such as 127.0.0.1:7701".into(),
            Self::Time => "a time above zero such as 10s or 1m30s".into(),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }

    /// Whether TOML writes the value as a number, not as a string.
    pub const fn is_number(self) -> bool {
        matches!(self, Self::Count { .. })
    }
}

/// A scheme, a host and a port, without a path.
fn is_url(text: &str) -> bool {
    let Some(authority) = text.strip_prefix("http://") else { return false };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// One key.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Key {
    /// `section.key`.
    pub name: &'static str,
    /// What a value looks like.
    pub kind: Kind,
    /// The value when nobody sets one.
    pub default: &'static str,
    /// What it is for, in one line.
    pub summary: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: &'static str, summary: &'static str) -> Key {
    Key { name, kind, default, summary }
}

const COUNT: Kind = Kind::Count { min: 1, max: 1 << 20 };
const MANY: Kind = Kind::Count { min: 1, max: 1 << 26 };
/// A queue has to take the largest piece of a body that comes at once.
const QUEUE: Kind = Kind::Count { min: 1 << 20, max: 1 << 30 };
const BYTES: Kind = Kind::Count { min: 1 << 10, max: 1 << 30 };

/// The forms of `--log-format`.
pub const LOG_FORMATS: [&str; 2] = ["text", "json"];
/// The forms of `--progress`.
pub const PROGRESS: [&str; 5] = ["auto", "bar", "plain", "json", "none"];

/// All keys, by section.
pub const KEYS: &[Key] = &[
    key("general.data_dir", Kind::Path, "dsc-data", "where chains, keys and vaults are kept"),
    key("general.log_format", Kind::Choice(&LOG_FORMATS), "text", "text or json"),
    key("general.progress", Kind::Choice(&PROGRESS), "auto", "auto, bar, plain, json or none"),
    key("blockchain.url", Kind::Url, "http://127.0.0.1:7701", "where the blockchain is reached"),
    key("blockchain.listen", Kind::Listen, "127.0.0.1:7701", "where the blockchain listens"),
    key("pool.url", Kind::Url, "http://127.0.0.1:7702", "where the pool is reached"),
    key("pool.listen", Kind::Listen, "127.0.0.1:7702", "where the pool listens"),
    key("pool.transactions_max", MANY, "262144", "most transactions held"),
    key("pool.bytes_max", BYTES, "268435456", "most bytes in transactions held"),
    key("pool.per_sender_max", MANY, "131072", "most transactions held of one sender"),
    key("pool.finished_max", MANY, "262144", "ended transactions remembered"),
    key("pool.intake_bytes_max", QUEUE, "33554432", "most bytes waiting to be checked and held"),
    key("metronome.url", Kind::Url, "http://127.0.0.1:7703", "where the metronome is reached"),
    key("metronome.listen", Kind::Listen, "127.0.0.1:7703", "where the metronome listens"),
    key("validator.listen", Kind::Listen, "127.0.0.1:7704", "where a validator listens"),
    key("monitor.listen", Kind::Listen, "127.0.0.1:7700", "where the monitor listens"),
    key("client.connect_time", Kind::Time, "2s", "longest wait for a connection"),
    key("client.request_time", Kind::Time, "30s", "longest wait for an answer"),
    key("http.connections_max", COUNT, "256", "connections open at once"),
    key("http.connections_per_address_max", COUNT, "64", "those of one address of another machine"),
    key("http.body_bytes_max", BYTES, "1048576", "largest request"),
    key("http.bulk_bytes_max", BYTES, "67108864", "largest batch of transactions or block"),
    key("http.header_time", Kind::Time, "10s", "longest wait for the head of a request"),
    key("http.body_time", Kind::Time, "10s", "longest wait for the body of a request"),
    key("http.request_time", Kind::Time, "20s", "longest work on a request"),
    key("http.wait_time", Kind::Time, "60s", "longest wait of a long poll"),
    key("http.write_time", Kind::Time, "20s", "longest wait for a client that reads nothing"),
    key("admin.token_file", Kind::Path, "dsc-data/admin-token", "token for remote administration"),
];

/// Finds a key by name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_names_are_unique() {
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(key.kind.check(key.default), Ok(()), "{}", key.name);
            assert!(KEYS[index + 1..].iter().all(|other| other.name != key.name), "{}", key.name);
            assert_eq!(key.name.split('.').count(), 2, "{}", key.name);
        }
    }

    #[test]
    fn values_of_the_wrong_form_are_refused() {
        let cases = [
            ("general.data_dir", ""),
            ("general.log_format", "xml"),
            ("blockchain.url", "https://127.0.0.1:7701"),
            ("blockchain.url", "http://127.0.0.1"),
            ("blockchain.url", "http://127.0.0.1:0"),
            ("blockchain.url", "http://user@host:1"),
            ("blockchain.url", "http://127.0.0.1:7701/path"),
            ("pool.listen", "localhost:1"),
            ("http.body_time", "0s"),
            ("http.connections_max", "0"),
            ("http.body_bytes_max", "-1"),
        ];
        for (name, value) in cases {
            assert!(find(name).unwrap().kind.check(value).is_err(), "{name} {value}");
        }
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for url in ["http://127.0.0.1:7701", "http://localhost:1/", "http://[::1]:80"] {
            assert_eq!(Kind::Url.check(url), Ok(()), "{url}");
        }
    }
}

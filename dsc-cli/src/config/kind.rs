//! What the value of a setting has to look like.

use std::net::SocketAddr;

use dsc_lib::{
    address::Address,
    proof::{self, Fingerprint},
    units::Amount,
};

use crate::{duration, size::ByteSize};

/// The engine of a role that shares nothing with servers elsewhere.
pub(crate) const EMBEDDED: &str = "embedded";

/// What a value has to look like.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A file or folder.
    Path,
    /// Where a role is reached, `http://HOST:PORT`.
    Url,
    /// Where several are reached, split by commas.
    Urls,
    /// What the servers of a chain share: `embedded`, or the addresses of an engine's nodes.
    Engine,
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
    /// `true` or `false`.
    Switch,
    /// An amount of coins.
    Coins,
    /// An amount of memory or disk.
    Size,
    /// An address that is paid.
    Address,
    /// The UUID of a validator.
    Fingerprint,
    /// Small whole numbers, split by commas.
    Numbers,
    /// `PROOF=COUNT` pairs, split by commas.
    Validators,
    /// The name of a key in the wallet.
    KeyName,
    /// The name of a user.
    User,
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
            Self::Urls => text.split(',').all(is_url),
            Self::Engine => is_engine(text),
            Self::Listen => text.parse::<SocketAddr>().is_ok(),
            Self::Time => duration::parse(text).is_ok_and(|time| !time.is_zero()),
            Self::Count { min, max } => {
                text.parse::<u64>().is_ok_and(|count| (min..=max).contains(&count))
            }
            Self::Choice(words) => words.contains(&text),
            Self::Switch => text.parse::<bool>().is_ok(),
            Self::Coins => text.parse::<Amount>().is_ok(),
            Self::Size => text.parse::<ByteSize>().is_ok(),
            Self::Address => Address::from_any_text(text).is_ok(),
            Self::Fingerprint => text.parse::<Fingerprint>().is_ok(),
            Self::Numbers => text.split(',').all(|number| number.parse::<u32>().is_ok()),
            Self::Validators => text.split(',').all(is_validators),
            Self::KeyName => text.parse::<crate::keystore::KeyName>().is_ok(),
            Self::User => !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()),
        };
        if fits { Ok(()) } else { Err(self.expected()) }
    }

    fn expected(self) -> String {
        match self {
            Self::Path => "a path".into(),
            Self::Url => "an address such as http://127.0.0.1:7701 (TLS is left to a proxy)".into(),
            Self::Urls => "addresses such as http://10.0.0.1:7701,http://10.0.0.2:7701".into(),
            Self::Engine => "embedded, or nodes such as nats://10.0.0.1:4222,10.0.0.2:4222 \
                             (tls:// asks for TLS; no user and password: those are engine.user and \
                             engine.password_file)"
                .into(),
            Self::Listen => "an address such as 127.0.0.1:7701".into(),
            Self::Time => "a time above zero such as 10s or 1m30s".into(),
            Self::Count { min, max: u64::MAX } => format!("a whole number from {min} on"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Choice(words) => format!("one of {}", words.join(", ")),
            Self::Switch => "true or false".into(),
            Self::Coins => "coins such as 12.5".into(),
            Self::Size => "a size such as 512MiB".into(),
            Self::Address => "an address, as `dsc wallet show` prints it".into(),
            Self::Fingerprint => "a UUID such as 00010203-0405-0607-0809-0a0b0c0d0e0f".into(),
            Self::Numbers => "whole numbers split by commas, such as 0,1".into(),
            Self::Validators => "PROOF=COUNT pairs split by commas, such as work=1,space=2".into(),
            Self::KeyName => "the name of a key in the wallet".into(),
            Self::User => "the name of a user, without spaces".into(),
        }
    }

    /// Whether TOML writes the value bare, not as a string.
    pub const fn is_bare(self) -> bool {
        matches!(self, Self::Count { .. } | Self::Switch)
    }

    /// Whether TOML may write the value as an array too.
    pub const fn is_list(self) -> bool {
        matches!(self, Self::Numbers | Self::Validators | Self::Urls | Self::Engine)
    }

    /// What of a value that was refused may be shown: where a password might be, not that.
    pub fn shown(self, text: &str) -> String {
        match (self, text.rsplit_once('@')) {
            (Self::Url | Self::Urls | Self::Engine, Some((_, rest))) => format!("..@{rest}"),
            _ => text.to_owned(),
        }
    }

    /// What help calls a value.
    pub const fn value_name(self) -> &'static str {
        match self {
            Self::Path => "PATH",
            Self::Url => "URL",
            Self::Urls => "URL,..",
            Self::Engine => "embedded|URL,..",
            Self::Listen => "IP:PORT",
            Self::Time => "TIME",
            Self::Count { .. } => "COUNT",
            Self::Choice(_) => "FORM",
            Self::Switch => "BOOL",
            Self::Coins => "COINS",
            Self::Size => "SIZE",
            Self::Address => "ADDRESS",
            Self::Fingerprint => "UUID",
            Self::Numbers => "NUMBER,..",
            Self::Validators => "PROOF=COUNT,..",
            Self::KeyName | Self::User => "NAME",
        }
    }
}

/// A scheme, a host and a port, without a path.
fn is_url(text: &str) -> bool {
    text.strip_prefix("http://").is_some_and(is_authority)
}

/// The engine of one process, or nodes to connect to: only the first needs to say how.
fn is_engine(text: &str) -> bool {
    let mut nodes = text.split(',');
    let scheme = |node: &'_ str| ["nats://", "tls://"].into_iter().find(|s| node.starts_with(s));
    let is_node = |node: &str| is_authority(&node[scheme(node).map_or(0, str::len)..]);
    let is_first = |node: &str| scheme(node).is_some() && is_node(node);
    text == EMBEDDED || (nodes.next().is_some_and(is_first) && nodes.all(is_node))
}

fn is_authority(authority: &str) -> bool {
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
    !host.is_empty() && host.chars().all(is_host) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

fn is_validators(text: &str) -> bool {
    let Some((proof, count)) = text.split_once('=') else { return false };
    proof::find(proof).is_ok() && count.parse::<u32>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for url in ["http://127.0.0.1:7701", "http://localhost:1/", "http://[::1]:80"] {
            assert_eq!(Kind::Url.check(url), Ok(()), "{url}");
        }
        assert_eq!(Kind::Urls.check("http://a:1,http://b:2/"), Ok(()));
    }

    #[test]
    fn an_engine_is_embedded_or_some_nodes() {
        for engine in ["embedded", "nats://a:4222", "nats://a:4222,b:4222,tls://[::1]:4223"] {
            assert_eq!(Kind::Engine.check(engine), Ok(()), "{engine}");
        }
        assert_eq!(Kind::Urls.check("http://a:8222,http://b:8222"), Ok(()));
    }

    #[test]
    fn a_password_in_an_address_is_not_shown() {
        assert_eq!(Kind::Engine.shown("nats://user:secret@a:4222"), "..@a:4222");
        assert_eq!(Kind::Engine.shown("nats//a"), "nats//a");
        assert_eq!(Kind::Path.shown("a@b"), "a@b");
    }

    #[test]
    fn values_of_the_wrong_form_are_refused() {
        let cases = [
            (Kind::Path, ""),
            (Kind::Url, "https://127.0.0.1:7701"),
            (Kind::Url, "http://127.0.0.1"),
            (Kind::Url, "http://127.0.0.1:0"),
            (Kind::Url, "http://user@host:1"),
            (Kind::Url, "http://127.0.0.1:7701/path"),
            (Kind::Url, "http://a:1,http://b:2"),
            (Kind::Urls, "http://a:1,,http://b:2"),
            (Kind::Urls, ""),
            (Kind::Urls, "http://a:1,"),
            (Kind::Urls, "http://a:1,nats://b:1"),
            (Kind::Engine, "nats://user:secret@a:4222"),
            (Kind::Engine, "nats://a:4222,embedded"),
            (Kind::Engine, "nats://a:4222,user:secret@b:4222"),
            (Kind::Engine, "a:4222"),
            (Kind::Engine, "nats://a:4222,"),
            (Kind::Engine, "http://a:4222"),
            (Kind::Engine, "nats://a"),
            (Kind::Listen, "localhost:1"),
            (Kind::Time, "0s"),
            (Kind::Count { min: 1, max: 9 }, "0"),
            (Kind::Count { min: 1, max: 9 }, "10"),
            (Kind::Count { min: 0, max: u64::MAX }, "-1"),
            (Kind::Choice(&["text", "json"]), "xml"),
            (Kind::Switch, "yes"),
            (Kind::Coins, "-1"),
            (Kind::Size, "1 elephant"),
            (Kind::Address, "dscd1"),
            (Kind::Fingerprint, "7"),
            (Kind::Numbers, "0,,1"),
            (Kind::Validators, "luck=1"),
            (Kind::Validators, "work"),
            (Kind::KeyName, "No Name"),
            (Kind::User, "a b"),
        ];
        for (kind, value) in cases {
            let expected = kind.check(value).unwrap_err();
            assert!(!expected.is_empty(), "{kind:?} {value}");
        }
    }
}

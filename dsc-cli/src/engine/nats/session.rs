//! How a connection to the nodes is made, as whom, and what is told of what happens to it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_nats::{ConnectOptions, Event};
use tokio::sync::{broadcast, watch};

use super::{
    super::settings::{Identity, Settings},
    guard::Guard,
    turn::in_turn,
};
use crate::exit::Failure;

/// Two of these without an answer, and another node is connected to.
const PING_TIME: Duration = Duration::from_secs(1);
/// How long the same complaint of a node is no news, and how many are told within that time.
const COMPLAINT_TIME: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 64;
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How to connect: as whom, to which node after which, and what is told of it.
pub(super) fn options(
    settings: &Settings,
    losses: watch::Sender<u64>,
    denied: broadcast::Sender<String>,
    guard: Arc<Guard>,
) -> Result<ConnectOptions, Failure> {
    let complaints = Complaints::default();
    let options = ConnectOptions::new()
        .name("dsc")
        .connection_timeout(settings.connect_time)
        .ping_interval(PING_TIME)
        .max_reconnects(None)
        .reconnect_delay_callback(|tries| {
            let tries = u32::try_from(tries).unwrap_or(u32::MAX);
            Duration::from_millis(50).saturating_mul(tries).min(PAUSE_MAX)
        })
        .reconnect_to_server_callback(in_turn())
        .event_callback(move |event| {
            tell(&event, &losses, &denied, &guard, &complaints);
            std::future::ready(())
        });
    let options = match &settings.ca_file {
        Some(path) => options.add_root_certificates(path.clone()),
        None => options,
    };
    // Nodes tell of one another without a word of TLS: whoever asks for it of one means all.
    let options = options.require_tls(settings.asks_for_tls());
    match &settings.identity {
        Identity::Nobody => Ok(options),
        Identity::User { name, password } => {
            Ok(options.user_and_password(name.clone(), password.text().to_owned()))
        }
        Identity::Credentials(text) => options.credentials(text.text()).map_err(|error| {
            Failure::configuration("engine-credentials", error)
                .with_hint("engine.credentials_file is what `nsc generate creds` writes")
        }),
    }
}

/// Logs what happens to the connection.
fn tell(
    event: &Event,
    losses: &watch::Sender<u64>,
    denied: &broadcast::Sender<String>,
    guard: &Guard,
    complaints: &Complaints,
) {
    match event {
        Event::Connected => {
            guard.look_again();
            tracing::info!("connected to the engine");
        }
        Event::Disconnected => {
            losses.send_modify(|count| *count = count.wrapping_add(1));
            tracing::warn!("the connection to the engine was lost");
        }
        Event::ServerError(error) => {
            if complaints.is_news(&error.to_string(), Instant::now()) {
                tracing::warn!("the engine says: {error}");
            }
            // Nobody may be waiting.
            drop(denied.send(error.to_string()));
        }
        Event::ClientError(error) => tracing::warn!("the connection to the engine: {error}"),
        other => tracing::debug!("the connection to the engine: {other}"),
    }
}

/// What the nodes complain of: the same again is no news for a while.
#[derive(Debug, Default)]
struct Complaints(Mutex<HashMap<String, Instant>>);

impl Complaints {
    fn is_news(&self, text: &str, now: Instant) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.saturating_duration_since(*at) < COMPLAINT_TIME);
        if told.contains_key(text) || told.len() >= COMPLAINTS_MAX {
            return false;
        }
        told.insert(text.to_owned(), now);
        true
    }
}

/// No node could be connected to.
pub(super) fn unreachable(settings: &Settings, error: &dyn std::error::Error) -> Failure {
    let mut reason = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        // Many an error says again what caused it.
        let text = inner.to_string();
        if !reason.contains(&text) {
            reason = format!("{reason}: {text}");
        }
        source = inner.source();
    }
    let nodes = settings.nodes.join(", ");
    let message = format!("no node of the engine can be connected to at {nodes}: {reason}");
    Failure::unreachable("engine-unreachable", message).with_hint(advice(&reason))
}

/// What to do when this is why nobody can be connected to.
fn advice(reason: &str) -> &'static str {
    if reason.contains("authorization") {
        "set engine.user, and engine.password_file to a file with its password, as the accounts of \
         the nodes have them"
    } else if reason.contains("certificate") {
        "set engine.ca_file to the certificate of whoever signed those of the nodes; each is for the \
         name by which engine.url calls its node"
    } else {
        "start nats-server there; check engine.url: it names the ports of clients, 4222 unless told \
         otherwise"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_complaint_is_told_once_in_a_while() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = [("a", 0), ("a", 1), ("b", 1), ("a", 59), ("a", 60), ("b", 60), ("b", 61)]
            .map(|(text, second)| complaints.is_news(text, at(second)));
        assert_eq!(told, [true, false, true, false, true, false, true]);
        let many = (0..100).filter(|n: &u32| complaints.is_news(&n.to_string(), at(62))).count();
        assert_eq!(many, COMPLAINTS_MAX - 2);
    }

    #[test]
    fn what_keeps_nodes_from_being_connected_to_has_its_own_advice() {
        for (reason, expected) in [
            ("authorization violation", "engine.password_file"),
            ("IO error: invalid peer certificate: UnknownIssuer", "engine.ca_file"),
            ("timed out", "4222"),
        ] {
            assert!(advice(reason).contains(expected), "{reason}");
        }
    }
}

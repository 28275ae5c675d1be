//! Each server of the roles that have several, asked for itself.
//!
//! # Invariants
//!
//! 1. A server is asked by a thread of its own, one question at a time: one that is slow holds up
//!    nobody else, and is not asked more often than it answers.

use std::{sync::Arc, time::Duration};

use dsc_lib::role::{
    blockchain,
    metronome::{self, Validator},
    monitor::{Monitor, ServerRow},
};
use serde::de::IgnoredAny;

use crate::{
    exit::Failure,
    http::{Client, ClientError},
    metrics::{self, Sort},
    role::{Shared, spawn, transport::Transport},
    shutdown::Shutdown,
};

const ROLES: [&str; 3] = ["blockchain", "pool", "metronome"];
/// How a server stands.
const STATES: [&str; 3] = ["ready", "not-ready", "silent"];

/// A server, and who asks it.
#[derive(Debug)]
struct Server {
    role: &'static str,
    client: Client,
}

/// Every server of `roles`; none if there is one of each role.
fn all(roles: &Transport) -> Vec<Server> {
    let clients = [&roles.blockchain, &roles.pool, &roles.metronome];
    if clients.iter().all(|client| client.count() == 1) {
        return Vec::new();
    }
    let of = |(role, client): (&'static str, &Client)| {
        client.each().map(move |client| Server { role, client }).collect::<Vec<_>>()
    };
    ROLES.into_iter().zip(clients).flat_map(of).collect()
}

/// How many servers are asked for themselves.
pub(crate) fn count(roles: &Transport) -> usize {
    all(roles).len()
}

/// Asks each server of `roles` once in `interval`, if a role has several.
pub(crate) fn watch(
    roles: &Transport,
    monitor: &Arc<Shared<Monitor>>,
    interval: Duration,
    shutdown: &Shutdown,
) -> Result<(), Failure> {
    for (place, server) in all(roles).into_iter().enumerate() {
        let (monitor, shutdown) = (monitor.clone(), shutdown.clone());
        spawn("server-watch", move || {
            while !shutdown.is_requested() {
                let (row, validators) = server.look();
                let mut monitor = monitor.lock();
                monitor.hear(place, row);
                monitor.overhear(validators);
                drop(monitor);
                shutdown.sleep(interval);
            }
        })?;
    }
    Ok(())
}

impl Server {
    /// What it says of itself now, and, if it is a metronome, of validators.
    fn look(&self) -> (ServerRow, Vec<Validator>) {
        self.ask().unwrap_or_else(|error| {
            (self.row().standing(false, Some(error.to_string())), Vec::new())
        })
    }

    fn row(&self) -> ServerRow {
        ServerRow::new(self.role, self.client.base())
    }

    fn ask(&self) -> Result<(ServerRow, Vec<Validator>), ClientError> {
        let fault = match self.client.get_json::<IgnoredAny>("/readyz") {
            Ok(_) => None,
            Err(ClientError::Problem(problem)) => Some(problem.detail),
            Err(error) => return Err(error),
        };
        let row = self.row().standing(true, fault);
        Ok(match self.role {
            "blockchain" => {
                let info: blockchain::Info = self.client.get_json("/v1/info")?;
                (row.with_chain(&info), Vec::new())
            }
            "metronome" => {
                let status: metronome::Status = self.client.get_json("/v1/status")?;
                (row.with_lease(&status), status.validators)
            }
            _ => (row, Vec::new()),
        })
    }
}

/// How many servers there are, by role and by how they stand; none where there is one of each role.
pub(super) fn write_figures(monitor: &Shared<Monitor>, text: &mut String) {
    let rows = monitor.lock().servers();
    let (name, about) =
        ("dsc_servers", "Servers of a role, where one has several, by how they stand.");
    metrics::family(text, name, Sort::Gauge, about);
    for role in ROLES {
        for state in STATES {
            let stands = |row: &&ServerRow| row.role == role && state_of(row) == state;
            let count = rows.iter().filter(stands).count();
            metrics::sample(text, name, &[("role", role), ("state", state)], count);
        }
    }
}

fn state_of(row: &ServerRow) -> &'static str {
    match (row.alive, row.ready) {
        (true, true) => "ready",
        (true, false) => "not-ready",
        _ => "silent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn rows(monitor: &Shared<Monitor>) -> String {
        let mut text = String::new();
        write_figures(monitor, &mut text);
        text
    }

    #[test]
    fn servers_are_counted_by_how_they_stand() {
        let monitor = Shared::new(Monitor::new(dsc_lib::units::Millis(1000)));
        assert!(rows(&monitor).contains("dsc_servers{role=\"pool\",state=\"ready\"} 0"));
        let row = |role| ServerRow::new(role, "http://a:1");
        let lacks = Some("engine: not reached".to_owned());
        let all = [
            row("pool").standing(true, None),
            row("pool").standing(true, lacks.clone()),
            row("pool").standing(false, lacks),
            row("metronome").standing(true, None),
        ];
        all.into_iter().enumerate().for_each(|(place, row)| monitor.lock().hear(place, row));
        let text = rows(&monitor);
        for state in STATES {
            let sample = format!("dsc_servers{{role=\"pool\",state=\"{state}\"}} 1");
            assert!(text.contains(&sample), "{text}");
        }
        assert!(text.contains("dsc_servers{role=\"metronome\",state=\"ready\"} 1"), "{text}");
    }

    #[test]
    fn where_there_is_one_of_each_role_nobody_is_asked_for_itself() {
        assert_eq!(count(&Transport::nobody()), 0);
        let time = Duration::from_secs(1);
        let two = Client::new("http://127.0.0.1:1,http://127.0.0.1:2", time, time, 1 << 20);
        let several = Transport { pool: two.unwrap(), ..Transport::nobody() };
        let places: Vec<_> = all(&several)
            .iter()
            .map(|server| (server.role, server.client.base().to_owned()))
            .collect();
        let expected = [("blockchain", 1), ("pool", 1), ("pool", 2), ("metronome", 1)]
            .map(|(role, port)| (role, format!("http://127.0.0.1:{port}")));
        assert_eq!(places, expected);
        let (row, _) = all(&several)[1].look();
        assert_eq!((row.alive, row.ready), (false, false));
        assert!(row.fault.as_ref().unwrap().contains("127.0.0.1:1"), "{row:?}");
        assert_eq!(testing::check_value(&row), Ok(()));
    }
}

//! What a role tells the program that started it, if that is systemd: units under contrib/ wait for
//! it (`Type=notify`). Without a supervisor nothing happens.

/// Says that the role serves, and how it stands in one line.
#[cfg(target_os = "linux")]
pub(crate) fn tell_ready(status: &str) {
    tell(&[sd_notify::NotifyState::Ready, sd_notify::NotifyState::Status(status)]);
}

/// Says that the role is about to end.
#[cfg(target_os = "linux")]
pub(crate) fn tell_stopping() {
    tell(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(target_os = "linux")]
fn tell(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the supervisor cannot be told how the role stands");
    }
}

/// Nobody is told on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn tell_ready(_: &str) {}

/// Nobody is told on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) const fn tell_stopping() {}

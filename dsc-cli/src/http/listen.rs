//! Binding the port of a role.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use thiserror::Error;

use crate::output::note;

/// An address that a role cannot listen at.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process listens there.
    #[error("port {} is taken: the {role} cannot listen at {address}", address.port())]
    Taken {
        /// The role.
        role: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag that chooses it.
        flag: &'static str,
    },
    /// The operating system refuses for another reason.
    #[error("the {role} cannot listen at {address}: {source}")]
    Refused {
        /// The role.
        role: &'static str,
        /// The address.
        address: SocketAddr,
        /// The flag that chooses it.
        flag: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl BindError {
    /// The stable code of the error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => "port-taken",
            Self::Refused { .. } => "cannot-listen",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Taken { flag, .. } => {
                format!("stop the other process, or choose a port with {flag} (0: any free one)")
            }
            Self::Refused { flag, .. } => format!("choose another address with {flag}"),
        }
    }
}

/// Listens at `address`; port 0 takes a free one, which the listener then tells.
///
/// An address that other machines can reach is worth a warning on standard error.
///
/// # Errors
///
/// [`BindError`] naming port, role and flag. There is no fallback to another port.
pub fn bind(
    role: &'static str,
    flag: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, BindError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = listen().map_err(|source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::Taken { role, address, flag },
        _ => BindError::Refused { role, address, flag, source },
    })?;
    if !address.ip().is_loopback() {
        note(format_args!("warning: the {role} listens at {address}, open to other machines"));
    }
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: &str = "127.0.0.1:0";

    #[test]
    fn port_0_takes_a_free_port_and_a_taken_one_is_named() {
        let listener = bind("pool", "--listen", ANY.parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        assert_ne!(address.port(), 0);
        let error = bind("pool", "--listen", address).unwrap_err();
        let expected =
            format!("port {} is taken: the pool cannot listen at {address}", address.port());
        assert_eq!(error.to_string(), expected);
        assert!(error.hint().contains("--listen"), "{}", error.hint());
    }

    #[test]
    fn an_address_of_another_machine_is_refused() {
        // From the range that is reserved for documentation.
        let error = bind("pool", "--listen", "192.0.2.1:0".parse().unwrap()).unwrap_err();
        assert!(matches!(error, BindError::Refused { .. }), "{error}");
    }
}

//! Raw connections: what a client sends that does not keep to the rules of HTTP.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use tokio::net::TcpSocket;

use crate::process::Process;

/// Where attackers come from: an address other than that of the roles and honest clients.
pub(crate) const ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
pub(crate) const OTHER_ATTACKER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));
/// Where the roles and honest clients are.
pub(crate) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Longest wait for bytes that have to come.
const READ_TIME: Duration = Duration::from_secs(10);

/// A connection to a role, from another address than the honest clients'.
pub(crate) fn connect(process: &Process) -> TcpStream {
    connect_from(ATTACKER, process).expect("the role listens")
}

/// A connection to a role from an address of one's own.
pub(crate) fn connect_from(from: IpAddr, process: &Process) -> io::Result<TcpStream> {
    let address: SocketAddr = process.address().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.bind((from, 0).into())?;
        socket.connect(address).await
    })?;
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(READ_TIME))?;
    stream.set_write_timeout(Some(READ_TIME))?;
    Ok(stream)
}

/// What came back on a connection until its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    bytes: Vec<u8>,
}

impl Heard {
    /// The status of each answer.
    pub(crate) fn statuses(&self) -> Vec<u16> {
        let text = String::from_utf8_lossy(&self.bytes);
        let heads = text.split("HTTP/1.1 ").skip(1);
        heads.filter_map(|head| head.get(..3)?.parse().ok()).collect()
    }

    pub(crate) fn contains(&self, text: &str) -> bool {
        self.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Sends bytes and listens until the server closes.
pub(crate) fn exchange(process: &Process, bytes: &[u8]) -> Heard {
    let mut stream = connect(process);
    // A server that has heard enough may close before everything was sent.
    drop(stream.write_all(bytes));
    listen(stream)
}

/// Listens until the server closes.
pub(crate) fn listen(mut stream: TcpStream) -> Heard {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server neither answers nor closes: {error}"),
    }
    Heard { bytes }
}

/// A request with a body of its length; `head` is the line of the request and fields, if any.
pub(crate) fn request(head: &str, body: &[u8]) -> Vec<u8> {
    let len = body.len();
    let fields = format!("host: x\r\nconnection: close\r\ncontent-length: {len}\r\n\r\n");
    [head.as_bytes(), b"\r\n", fields.as_bytes(), body].concat()
}

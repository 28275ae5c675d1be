//! Requests to the servers, without sockets.

use dsc_cli::testing::Sites;

thread_local! {
    /// Kept from one request to the next, as a server is.
    static SITES: Sites = Sites::new();
}

/// A server's number, and a request as it stands on the wire but for its line ends: no handler
/// fails, and every answer is one that the server's description allows.
pub fn http(data: &[u8]) {
    let Some((role, request)) = data.split_first() else { return };
    let role = usize::from(*role) % Sites::ROLES.len();
    let (line, mut rest) = line(request);
    let (method, target) = cut(line, b' ');
    let mut headers = Vec::new();
    while let (header @ [_, ..], after) = self::line(rest) {
        headers.push(cut(header, b':'));
        rest = after;
    }
    let body = self::line(rest).1;
    SITES.with(|sites| {
        if let Some(reply) = sites.answer(role, method, target, &headers, body) {
            let found = sites.check(role, method, target, &reply);
            assert_eq!(found, Ok(()), "{} to {}", reply.status, String::from_utf8_lossy(request));
        }
    });
}

/// The first line, and what follows it.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    cut(bytes, b'\n')
}

fn cut(bytes: &[u8], at: u8) -> (&[u8], &[u8]) {
    let place = bytes.iter().position(|byte| *byte == at).unwrap_or(bytes.len());
    (&bytes[..place], bytes.get(place + 1..).unwrap_or_default())
}

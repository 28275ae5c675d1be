//! Who may use administrative verbs: this machine, or the holder of a token.
//!
//! # Invariants
//!
//! 1. Without the token, a request passes only if it comes from loopback, was not forwarded by a
//!    proxy, and was not sent by a page of another site.
//! 2. A token is compared in constant time and never printed.

use std::{
    fmt, fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use subtle::ConstantTimeEq;
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

use super::{Peer, Problem};
use crate::{entropy::OsEntropy, private::exposed};

const LEN_MIN: usize = 32;

/// A token that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Its file cannot be read or made.
    #[error("cannot use the token file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Other users can read its file.
    #[error("the token file {} has mode {mode:03o}, expected 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is too short to keep anybody out.
    #[error("the token in {} has {got} characters, expected at least {LEN_MIN}", path.display())]
    Weak {
        /// The file.
        path: PathBuf,
        /// Its length.
        got: usize,
    },
}

/// The secret that lets another machine administer a role.
#[derive(Clone)]
pub struct Token(Arc<Zeroizing<String>>);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    /// Reads the token of a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if it cannot be read, is open to others, or too short.
    pub fn load(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File { path: path.to_owned(), source };
        if let Some(mode) = exposed(path, &fs::metadata(path).map_err(failed)?) {
            return Err(TokenError::Exposed { path: path.to_owned(), mode });
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let token = Zeroizing::new(text.trim().to_owned());
        if token.len() < LEN_MIN {
            return Err(TokenError::Weak { path: path.to_owned(), got: token.len() });
        }
        Ok(Self(Arc::new(token)))
    }

    /// Reads the token of a file, and makes both if there is no file.
    ///
    /// # Errors
    ///
    /// As [`Token::load`].
    pub fn load_or_create(path: &Path) -> Result<Self, TokenError> {
        match create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(TokenError::File { path: path.to_owned(), source: error })
            }
            _ => Self::load(path),
        }
    }

    /// The token, to be sent in a header.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    fn matches(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let given = given.and_then(|value| value.strip_prefix(b"Bearer ")).unwrap_or_default();
        given.ct_eq(self.0.as_bytes()).into()
    }
}

/// Writes a new token; its file never exists with wider permissions.
fn create(path: &Path) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut bytes: [u8; 32] = OsEntropy.bytes();
    let text = Zeroizing::new(hex::encode(bytes));
    bytes.zeroize();
    options.open(path)?.write_all(text.as_bytes())
}

/// Lets administrators pass.
pub(super) async fn guard(
    State(token): State<Option<Token>>,
    request: Request,
    next: Next,
) -> Response {
    let headers = request.headers();
    if token.is_some_and(|token| token.matches(headers)) || is_local(&request) {
        return next.run(request).await;
    }
    let (status, code) = if headers.contains_key(header::AUTHORIZATION) {
        (StatusCode::FORBIDDEN, "wrong-token")
    } else {
        (StatusCode::UNAUTHORIZED, "token-required")
    };
    let problem = Problem::new(status, code, "only an administrator may do this")
        .with_hint("run the command on the machine of the role, or send its token");
    ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}

/// Whether a program of this machine asks, not a proxy or a page for somebody else.
fn is_local(request: &Request) -> bool {
    let Some(Peer(peer)) = request.extensions().get() else { return false };
    let headers = request.headers();
    let is_direct = !["forwarded", "x-forwarded-for", "x-real-ip", "via"]
        .iter()
        .any(|name| headers.contains_key(*name));
    peer.ip().to_canonical().is_loopback() && is_direct && is_same_site(headers)
}

/// A browser names the site of a page in `Origin`; a name that was rebound to this machine shows
/// in `Host`.
fn is_same_site(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = text(header::HOST) else { return false };
    let name = host.rsplit_once(':').map_or(host, |(name, _port)| name);
    let is_this_machine = matches!(name, "localhost" | "[::1]")
        || name.parse::<std::net::Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
    let origin = text(header::ORIGIN);
    is_this_machine
        && headers.contains_key(header::ORIGIN) == origin.is_some()
        && origin.is_none_or(|origin| origin.strip_prefix("http://") == Some(host))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(peer: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().extension(Peer(peer.parse().unwrap()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn only_programs_of_this_machine_are_local() {
        let host = ("host", "127.0.0.1:7703");
        let local = |headers: &[_]| is_local(&request("127.0.0.1:5", headers));
        assert!(local(&[host]));
        assert!(local(&[("host", "localhost:7703")]));
        assert!(local(&[host, ("origin", "http://127.0.0.1:7703")]));
        assert!(is_local(&request("[::ffff:127.0.0.1]:5", &[host])));
        assert!(is_local(&request("[::1]:5", &[("host", "[::1]:7703")])));
        assert!(!is_local(&request("192.0.2.1:5", &[host])));
        assert!(!local(&[host, ("origin", "http://example.org")]));
        assert!(!local(&[host, ("origin", "null")]));
        assert!(!local(&[host, ("x-forwarded-for", "192.0.2.1")]));
        assert!(!local(&[("host", "rebound.example.org:7703")]));
        assert!(!local(&[]));
    }

    #[test]
    fn a_token_is_made_once_kept_to_its_owner_and_never_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/token");
        let token = Token::load_or_create(&path).unwrap();
        let again = Token::load_or_create(&path).unwrap();
        assert_eq!((token.secret(), token.secret().len()), (again.secret(), 64));
        assert_eq!(format!("{token:?}"), "Token(..)");
        let mut headers = HeaderMap::new();
        assert!(!token.matches(&headers));
        headers.insert("authorization", format!("Bearer {}", token.secret()).parse().unwrap());
        assert!(token.matches(&headers));
        headers.insert("authorization", "Bearer 0".parse().unwrap());
        assert!(!token.matches(&headers));
    }

    #[test]
    fn a_token_that_is_missing_exposed_or_weak_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        assert!(matches!(Token::load(&path), Err(TokenError::File { .. })));
        create(&path).unwrap();
        fs::write(&path, "short").unwrap();
        let error = Token::load(&path).unwrap_err();
        assert!(matches!(error, TokenError::Weak { got: 5, .. }), "{error}");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            let error = Token::load(&path).unwrap_err();
            assert!(error.to_string().ends_with("has mode 644, expected 600"), "{error}");
        }
    }
}

//! How nodes are reached: over TLS, as somebody, and set up as `contrib/nats` says.
//!
//! `tests/data/engine` has an authority, a node's certificate for 127.0.0.1, another authority, and an
//! operator with an account whose key has signed a user's credentials; all are good until 2120.

use std::path::Path;

use super::{common::Place, *};

fn data(name: &str) -> String {
    format!("{}/tests/data/engine/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The engine at `url`, with more settings.
fn reach(
    nodes: &Nodes,
    url: &str,
    more: &[(&'static str, &str)],
) -> Result<(Arc<Link>, Cluster), Failure> {
    let settings = settings(nodes, &[&[("engine.url", url)], more].concat());
    connect_with(&settings, &Names::of(&chain(0)))
}

fn assert_works((_link, cluster): &(Arc<Link>, Cluster)) {
    assert_eq!(cluster.blocks.append(Position(0), &id(1), b"x"), Ok(Position(1)));
}

fn assert_unreachable<T: std::fmt::Debug>(reached: Result<T, Failure>) {
    let failure = reached.unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Unreachable, "engine-unreachable"));
}

#[test]
fn nodes_that_speak_tls_are_reached_by_whoever_knows_who_vouches_for_them() {
    let Some(program) = common::program() else { return };
    let (cert, key) = (data("node.pem"), data("node.key"));
    let tls = format!("tls {{ cert_file: \"{cert}\", key_file: \"{key}\" }}");
    let nodes = Nodes::start(&program, &[SYNCED; 3], &tls);
    let (url, right, wrong) = (nodes.urls(), data("ca.pem"), data("other-ca.pem"));
    let secure = url.replace("nats://", "tls://");
    for url in [&url, &secure] {
        assert_unreachable(reach(&nodes, url, &[("engine.ca_file", &wrong)]));
        assert_unreachable(reach(&nodes, url, &[]));
    }
    // The certificate is not for this name.
    let other_name = secure.replace("127.0.0.1", "localhost");
    assert_unreachable(reach(&nodes, &other_name, &[("engine.ca_file", &right)]));
    assert_works(&reach(&nodes, &url, &[("engine.ca_file", &right)]).unwrap());
}

/// Where TLS is asked for no password goes over a connection without it, to no node of the list nor
/// to one that others tell of.
#[test]
fn tls_that_is_asked_for_is_asked_of_every_node() {
    let Some(program) = common::program() else { return };
    let nodes = Nodes::three(&program);
    let plain = nodes.urls();
    let mixed = format!("tls://127.0.0.1:1,{plain}");
    assert_unreachable(reach(&nodes, &mixed, &[]));
    let ca = data("ca.pem");
    assert_unreachable(reach(&nodes, &plain, &[("engine.ca_file", &ca)]));
    assert_works(&reach(&nodes, &plain, &[]).unwrap());
}

#[test]
fn a_file_of_credentials_says_who_one_is() {
    let Some(program) = common::program() else { return };
    let operator = fs::read_to_string(data("operator.conf")).unwrap();
    let nodes = Nodes::start(&program, &[SYNCED; 3], &operator);
    let url = nodes.urls();
    assert_unreachable(reach(&nodes, &url, &[]));
    let text = fs::read_to_string(data("user.creds")).unwrap();
    let seed = text.lines().find(|line| line.starts_with("SU")).unwrap();
    let with = |text: &str| {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        reach(&nodes, &url, &[("engine.credentials_file", file.path().to_str().unwrap())])
    };
    assert_works(&with(&text).unwrap());
    let without_jwt = text.split_once("-----BEGIN USER").unwrap().1;
    let failure = with(without_jwt).unwrap_err();
    assert_eq!((failure.exit(), failure.code()), (Exit::Configuration, "engine-credentials"));
    assert!(!format!("{failure:?} {failure}").contains(seed), "{failure}");
    // Somebody else's key does not go with what the account's key has signed.
    let other = seed.replace(&seed[10..20], &seed[20..30]);
    assert!(with(&text.replace(seed, &other)).is_err());
}

/// What a file of `contrib/nats` says, with these words replaced, all of which it has.
fn contributed(name: &str, replaced: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contrib/nats").join(name);
    let text = fs::read_to_string(path).unwrap();
    replaced.iter().fold(text, |text, (word, by)| {
        assert!(text.contains(word), "{name} has no {word}");
        text.replace(word, by)
    })
}

/// `contrib/nats/nats-server.conf` with `accounts.conf` on real nodes, but for addresses and paths.
#[test]
fn the_configuration_for_real_hosts_is_one_that_roles_accept() {
    let Some(program) = common::program() else { return };
    let [cert, key, ca] = ["node.pem", "node.key", "ca.pem"].map(data);
    let text = |place: Place<'_>| {
        let Place { name, client, monitor, cluster, routes, store } = place;
        let port = |port: u16| format!("\"127.0.0.1:{port}\"");
        let [first, second, third] = routes else { panic!("three nodes") };
        contributed(
            "nats-server.conf",
            &[
                ("server_name: n1", &format!("server_name: {name}")),
                ("\"0.0.0.0:4222\"", &port(client)),
                ("\"0.0.0.0:8222\"", &port(monitor)),
                ("\"0.0.0.0:6222\"", &port(cluster)),
                ("/var/lib/nats", store.to_str().unwrap()),
                ("nats://n1.example:6222", first),
                ("nats://n2.example:6222", second),
                ("nats://n3.example:6222", third),
                ("/etc/nats/node.pem", &cert),
                ("/etc/nats/node.key", &key),
                ("/etc/nats/ca.pem", &ca),
            ],
        )
    };
    let others = [("accounts.conf", accounts(&Names::of(&chain(0))))];
    let nodes = Nodes::with_files(&program, &others, text);
    let password = tempfile::NamedTempFile::new().unwrap();
    fs::write(password.path(), "blockchain").unwrap();
    let who = [
        ("engine.user", "blockchain"),
        ("engine.password_file", password.path().to_str().unwrap()),
    ];
    let url = nodes.urls().replace("nats://", "tls://");
    assert_unreachable(reach(&nodes, &url, &who));
    let with_ca = [&who[..], &[("engine.ca_file", &ca)]].concat();
    assert_works(&reach(&nodes, &url, &with_ca).unwrap());
    let settings = settings(&nodes, &[&[("engine.url", url.as_str())], &with_ca[..]].concat());
    let status = status::status(&settings, &chain(0)).unwrap();
    assert_eq!(status.streams.len(), 6);
    assert!(status.streams.iter().all(|stream| stream.copies.len() == 2), "{status:?}");
}

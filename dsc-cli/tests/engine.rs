//! `dsc engine` on real nodes of NATS.

mod common;
#[path = "common/nats.rs"]
#[allow(dead_code, reason = "not everything is of use here")]
mod nats;

use common::{Beside, Dsc};
use nats::{Nodes, SYNCED};

/// The arguments of a command on these nodes; the addresses of their monitors go into a file.
fn with<'a>(dsc: &Dsc, nodes: &Nodes, url: &'a str, args: &[&'a str]) -> Vec<&'a str> {
    let text = format!("[engine]\nmonitors = \"{}\"\n", nodes.monitors());
    dsc.write("dsc.toml", text);
    [args, &["--engine", url]].concat()
}

#[test]
fn nodes_are_checked_and_measured() {
    let Some(program) = nats::program() else { return };
    let (dsc, nodes) = (Dsc::offline(), Nodes::three(&program));
    let url = nodes.urls();
    let args = with(&dsc, &nodes, &url, &["engine", "check", "--measure"]);
    let checked = dsc.json("dsc.engine.check/1", &args);
    let names: Vec<_> =
        checked["nodes"].as_array().unwrap().iter().map(|node| &node["name"]).collect();
    assert_eq!(names, ["n0", "n1", "n2"]);
    assert!(names.contains(&&checked["connected"]), "{checked}");
    assert!(checked["measured"]["small"]["p50"].as_u64().unwrap() > 0, "{checked}");
    let text = dsc.text(&args[..2].iter().chain(&args[3..]).copied().collect::<Vec<_>>());
    assert!(text.contains("n2 2.") && text.contains(" syncs always\nconnected to n"), "{text}");
}

#[test]
fn an_engine_that_is_unsafe_or_gone_is_said_to_be() {
    let Some(program) = nats::program() else { return };
    let (dsc, unsafe_one) = (Dsc::offline(), "sync_interval: 1m");
    let mut nodes = Nodes::start(&program, &[SYNCED, unsafe_one, SYNCED], "");
    let url = nodes.urls();
    let args = with(&dsc, &nodes, &url, &["engine", "check"]);
    let error = dsc.error(9, "engine-unsafe", &args);
    assert_eq!(error["faults"][1]["fault"], "not-synced", "{error}");
    assert_eq!(error["faults"][2]["fault"], serde_json::Value::Null);
    nodes.kill(1);
    assert_eq!(dsc.json("dsc.engine.check/1", &args)["nodes"][1]["name"], "");
    nodes.kill(0);
    dsc.fails(6, "engine-unreachable", &args);
}

#[test]
fn addresses_that_cannot_be_used_are_refused() {
    let dsc = Dsc::offline();
    let (message, _) = dsc.fails(9, "engine-embedded", &["engine", "check"]);
    assert!(message.contains("embedded"), "{message}");
    dsc.fails(9, "engine-monitors", &["engine", "check", "--engine", "nats://127.0.0.1:1"]);
    let secret = "nats://me:secret@127.0.0.1:1";
    let (message, _) = dsc.fails(2, "usage", &["engine", "check", "--engine", secret]);
    assert!(message.contains("engine.password_file") && !message.contains("secret"), "{message}");
    let (message, _) = dsc.fails(2, "usage", &["engine", "check", secret]);
    assert!(message.contains("..@127.0.0.1:1") && !message.contains("secret"), "{message}");
    dsc.write("dsc.toml", format!("[engine]\nurl = \"{secret}\"\n"));
    let (message, _) = dsc.fails(9, "invalid-value", &["engine", "check"]);
    assert!(message.contains("..@127.0.0.1:1") && !message.contains("secret"), "{message}");
}

/// A host has one file of settings; whom the engine knows is set for each role that it knows.
#[test]
fn roles_that_share_nothing_need_no_settings_of_the_engine() {
    let dsc = Dsc::offline();
    let text = "[engine]\nurl = \"tls://127.0.0.1:1\"\nuser = \"blockchain\"\n";
    dsc.write("dsc.toml", text);
    dsc.fails(6, "cannot-connect", &["monitor", "--once"]);
    dsc.fails(9, "engine-monitors", &["metronome", "--listen", "127.0.0.1:0", "--dev-key"]);
}

#[test]
fn a_chain_of_one_machine_is_put_into_the_engine() {
    let Some(program) = nats::program() else { return };
    let (dsc, nodes) = (Dsc::offline(), Nodes::three(&program));
    let dev = ["dev", "--port-base", "0", "--validators", "work=1", "--for", "3s"];
    dsc.run(&[&dev[..], &["--block-time", "200ms"]].concat());
    let url = nodes.urls();
    let genesis = ["--genesis", "dsc-data/dev/genesis.json"];
    let status = [&["engine", "status"][..], &genesis].concat();
    let status = with(&dsc, &nodes, &url, &status);
    assert_eq!(dsc.text(&status), "the engine has nothing of this chain\n");
    let copy = ["engine", "copy", "--from", "dsc-data/dev/blockchain/ledger"];
    let copied = dsc.json("dsc.engine.copy/1", &with(&dsc, &nodes, &url, &copy));
    assert!(copied["added"].as_u64().unwrap() > 0, "{copied}");
    assert_eq!(copied["added"], copied["blocks"]);
    let again = dsc.json("dsc.engine.copy/1", &with(&dsc, &nodes, &url, &copy));
    assert_eq!((&again["added"], &again["blocks"]), (&0.into(), &copied["blocks"]));

    let shown = dsc.json("dsc.engine.status/1", &status);
    let streams = shown["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 6, "{shown}");
    let blocks = streams.iter().find(|stream| stream["name"].as_str().unwrap().ends_with("BLOCKS"));
    let blocks = blocks.unwrap();
    assert_eq!((&blocks["last"], &blocks["messages"]), (&copied["blocks"], &copied["blocks"]));
    assert_eq!(blocks["copies"].as_array().unwrap().len(), 2, "{blocks}");
    let text = dsc.text(&status);
    assert!(text.contains(&format!("_BLOCKS: last {}, ", copied["blocks"])), "{text}");
    assert!(text.contains("  copy on n") && text.contains(" current, 0 behind"), "{text}");

    let give_up = ["engine", "give-up", "--position", "1"];
    let give_up = with(&dsc, &nodes, &url, &give_up);
    let (message, _) = dsc.fails(4, "entry-whole", &[&give_up[..], &genesis].concat());
    assert!(message.contains("at position 1"), "{message}");
}

/// Waits until something is so.
#[cfg(target_os = "linux")]
fn until(what: &str, is_so: impl Fn() -> bool) {
    let tries = 1_200;
    let is_so = (0..tries).any(|_| {
        is_so() || {
            std::thread::sleep(std::time::Duration::from_millis(100));
            false
        }
    });
    assert!(is_so, "{what}: it does not come");
}

#[cfg(target_os = "linux")]
#[test]
fn a_cluster_has_its_folder_alone_and_ends_with_the_process_that_started_it() {
    let Some(program) = nats::program() else { return };
    let dsc = Dsc::offline();
    let program = program.to_str().unwrap();
    let args = ["dev", "--cluster", "3", "--nats-server", program, "--port-base", "0"];
    let told = [&args[..], &["--out", "out.json"]].concat();
    let mut cluster = Beside::start(dsc.command(&told));
    let told = || -> Option<serde_json::Value> {
        serde_json::from_slice(&std::fs::read(dsc.path("out.json")).ok()?).ok()
    };
    until("a cluster", || told().is_some());
    let refused = [&args[..], &["--reset"]].concat();
    dsc.fails(1, "data-folder-in-use", &refused);

    let urls = told().unwrap()["urls"].clone();
    let all = urls.as_object().unwrap().values().flat_map(|url| url.as_str().unwrap().split(','));
    let places: Vec<_> = all.map(|url| url.trim_start_matches("http://").to_owned()).collect();
    assert_eq!(places.len(), 7, "{urls}");
    let answers = |place: &String| std::net::TcpStream::connect(place.as_str()).is_ok();
    until("a monitor", || places.iter().all(answers));
    assert_eq!(cluster.end("-KILL"), None);
    until("the end of what it started", || !places.iter().any(answers));
    // The nodes too: they have the same folder.
    until("the end of all", || still_running(&dsc.path("dsc-data")).is_empty());
}

/// Processes that work in a folder below this one.
#[cfg(target_os = "linux")]
fn still_running(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let folder = folder.canonicalize().unwrap();
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let works_in = all.filter_map(|process| std::fs::read_link(process.path().join("cwd")).ok());
    works_in.filter(|place| place.starts_with(&folder)).collect()
}

//! What a newcomer is told when something does not work: what happened, why, and what to do.
//!
//! The texts are in `tests/snapshots`. `INSTA_UPDATE=always cargo test -p dsc-cli --test errors`
//! writes them anew; what differs in each run (ports, folders, digests) stands there in brackets.

mod common;

use std::{fmt::Write as _, fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use common::{Dsc, Network};

const SOMEBODY: &str = "dscd1c5598s0p0h9w23q3pyllyq3mtwhfn3n4k4v9280lwmyx7xqkjddqkwj3fr";
const MISTYPED: &str = "dscd1c5598s0p0h9w23q3pyllyq3mtwhfn3n4k4v9280lwmyx7xqkjddqkwj3fz";

/// What commands said, one after the other.
struct Transcript<'a> {
    dsc: &'a Dsc,
    text: String,
}

impl<'a> Transcript<'a> {
    fn of(dsc: &'a Dsc) -> Self {
        Self { dsc, text: String::new() }
    }

    /// Runs a command that has to fail with a hint, and notes all it says.
    fn fails(&mut self, line: &str) -> &mut Self {
        let args: Vec<_> = line.split(' ').collect();
        let output = self.dsc.run(&args);
        let said = String::from_utf8(output.stderr).unwrap();
        let exit = output.status.code().expect("no signal ended it");
        assert!(exit != 0 && exit != 101, "{line}: exit {exit}, {said}");
        assert!(said.contains("error: ") && said.contains("  hint: "), "{line}: {said}");
        assert!(output.stdout.is_empty(), "{line}: an error belongs on standard error");
        let said = self.without_what_differs(&said);
        let line = self.without_what_differs(line);
        write!(self.text, "$ dsc {line}\n{said}exit {exit}\n\n").unwrap();
        self
    }

    fn without_what_differs(&self, text: &str) -> String {
        let folder = self.dsc.path("").to_string_lossy().trim_end_matches('/').to_owned();
        let text = text.replace(&folder, "[FOLDER]");
        let words = text.split_inclusive(|c: char| !c.is_ascii_alphanumeric());
        let text = words.map(placeholder).collect::<String>();
        let Some((before, height)) = text.split_once("the next block has height ") else {
            return text.replace("127.0.0.1:1:", "127.0.0.1:[PORT]:");
        };
        format!(
            "{before}the next block has height [HEIGHT]{}",
            height.trim_start_matches(|c: char| c.is_ascii_digit())
        )
    }
}

/// A word of output with its separator, or what stands for it.
fn placeholder(word: &str) -> String {
    let (core, end) = match word.char_indices().last() {
        Some((at, last)) if !last.is_ascii_alphanumeric() => word.split_at(at),
        _ => (word, ""),
    };
    let is_digest = core.len() == 64 && core.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_port = core.len() == 5 && core.bytes().all(|byte| byte.is_ascii_digit());
    let stands = match core {
        _ if is_digest => "[DIGEST]",
        _ if is_port => "[PORT]",
        _ => core,
    };
    format!("{stands}{end}")
}

/// A port that somebody listens at.
fn taken() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn when_nothing_runs() {
    let dsc = Dsc::offline();
    dsc.create("alice");
    let pay = format!("wallet send 1 {SOMEBODY} --from alice --passphrase-file passphrase");
    let mut transcript = Transcript::of(&dsc);
    transcript
        .fails("wallet balance alice")
        .fails(&pay)
        .fails("chain info")
        .fails("health pool")
        .fails("metronome status")
        .fails("chain verify")
        .fails("monitor --once");
    insta::assert_snapshot!("nothing_runs", transcript.text);
}

#[test]
fn when_a_name_or_a_number_is_wrong() {
    let dsc = Dsc::offline();
    dsc.create("alice");
    let mut transcript = Transcript::of(&dsc);
    transcript
        .fails("walet")
        .fails("wallet balence")
        .fails("wallet balance carol")
        .fails(&format!("wallet balance {MISTYPED}"))
        .fails("wallet balance dscd1c5598s0p0h9w23q3pyllyq3mtwhfn3n4k4v9280lwmyx7xqkjddq")
        .fails("wallet create alice --passphrase-file passphrase")
        .fails("wallet create Alice --passphrase-file passphrase")
        .fails(&format!("wallet send 1,5 {SOMEBODY}"))
        .fails(&format!("wallet send 0 {SOMEBODY}"))
        .fails(&format!("wallet send 1.123456789 {SOMEBODY}"))
        .fails(&format!("wallet send 999999999999 {SOMEBODY}"))
        .fails("tx status abc")
        .fails("dev --for 1x")
        .fails("dev --validators work")
        .fails("validator --proof wok --address x")
        .fails("validator --proof work --address x")
        .fails("vault plot --size 50 --address x --fingerprint x")
        .fails("genesis --accounts 3");
    insta::assert_snapshot!("wrong_words", transcript.text);
}

#[test]
fn when_a_passphrase_is_wrong_or_missing() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    dsc.create("alice");
    dsc.write("wrong", "battery staple");
    dsc.write("empty", "");
    let pay = format!("wallet send 1 {SOMEBODY} --from alice");
    let mut transcript = Transcript::of(&dsc);
    transcript
        .fails(&format!("{pay} --passphrase-file wrong"))
        .fails(&format!("{pay} --passphrase-file nothing"))
        .fails(&format!("{pay} --passphrase-file empty"))
        .fails(&pay)
        .fails("wallet create bob");
    insta::assert_snapshot!("passphrases", transcript.text);
}

#[test]
fn when_a_payment_cannot_be() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let alice = dsc.create("alice");
    dsc.json("dsc.tx/1", &["wallet", "faucet", &alice, "5"]);
    let genesis = network.genesis().to_string_lossy().into_owned();
    fs::copy(genesis, dsc.path("genesis.json")).unwrap();
    let with = "--from alice --passphrase-file passphrase";
    let offline = "--genesis genesis.json --sequence 0";
    let main = dsc_lib::address::Address::from_any_text(SOMEBODY).unwrap().1;
    let main = main.to_text(dsc_lib::address::Prefix::Main);
    let pay = format!("wallet sign 1 {SOMEBODY} {with} {offline}");
    dsc.text(&words(&format!("{pay} --expires 0 --out late.tx")));
    let unknown = "0".repeat(64);
    let mut transcript = Transcript::of(&dsc);
    transcript
        .fails(&format!("wallet send 100 {SOMEBODY} {with}"))
        .fails(&format!("wallet send 5 {SOMEBODY} --fee 1 {with}"))
        .fails(&format!("wallet send 1 {main} {with}"))
        .fails("wallet submit late.tx --progress none")
        .fails("wallet faucet alice 99999999999")
        .fails(&format!("wallet transaction {unknown}"))
        .fails(&format!("tx show {unknown}"))
        .fails("block show 99999999")
        .fails("block show next")
        .fails("wallet send-many nothing.csv --from alice --passphrase-file passphrase");
    dsc.write("many.csv", format!("{SOMEBODY},1\nnobody at all,1\n"));
    transcript.fails("wallet send-many many.csv --from alice --passphrase-file passphrase");
    insta::assert_snapshot!("payments", transcript.text);
}

#[test]
fn when_ports_folders_and_files_are_not_as_they_should_be() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let (_held, port) = taken();
    dsc.text(&words("genesis --development --accounts 3 --out other.json"));
    dsc.write("broken.json", "{\"version\": 1");
    dsc.write("dsc.old.toml", "[pool]\nlissten = \"127.0.0.1:7702\"\n");
    fs::create_dir(dsc.path("closed")).unwrap();
    let mut transcript = Transcript::of(&dsc);
    transcript
        .fails(&format!("dev --port-base {port}"))
        .fails(&format!("blockchain --genesis other.json --listen 127.0.0.1:{port}"))
        .fails("blockchain --listen 127.0.0.1:0")
        .fails("blockchain --genesis nothing.json --listen 127.0.0.1:0")
        .fails("blockchain --genesis broken.json --listen 127.0.0.1:0")
        .fails("pool --genesis other.json --listen 127.0.0.1:0")
        .fails("metronome --genesis other.json --listen 127.0.0.1:0")
        .fails("genesis --development --accounts 3 --out other.json")
        .fails("config check --config dsc.old.toml")
        .fails("config show --config nothing.toml")
        .fails("vault check nothing.vault")
        .fails("chain import nothing.chain")
        .fails("dev --data-dir passphrase --port-base 0");
    insta::assert_snapshot!("files_and_ports", transcript.text);
}

/// A disk without room is told apart from every other fault of a file.
#[test]
fn when_the_disk_is_full() {
    let dsc = Dsc::offline();
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = dsc.command(&words("config init"));
    let output = command.stdout(full()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!("full_disk", format!("{said}exit {}", output.status.code().unwrap()));
}

/// A key that others can read is not used.
#[test]
fn when_a_key_lies_open() {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    dsc.write("open.pem", dsc_lib::testing::ALICE.to_pkcs8_pem().as_bytes());
    let open = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    open(&dsc.path("open.pem"));
    let mut transcript = Transcript::of(&dsc);
    transcript.fails(&format!("wallet send 1 {SOMEBODY} --key open.pem"));
    insta::assert_snapshot!("open_key", transcript.text);
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

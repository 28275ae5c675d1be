//! Running roles against what is promised of `/metrics`: the format, names and labels, and that the
//! dashboard and the alerts under contrib/ ask for nothing else.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::LazyLock,
    time::Duration,
};

use common::{Dsc, Network};
use dsc_cli::http::Client;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Families that every role is promised to have, by role, with their labels.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("*", "dsc_build_info", &["role", "version"]),
    ("*", "dsc_ready", &["check", "role"]),
    ("*", "dsc_http_request_seconds", &["code", "role", "route"]),
    ("blockchain", "dsc_blocks_total", &["proof"]),
    ("blockchain", "dsc_chain_height", &[]),
    ("blockchain", "dsc_tip_timestamp_seconds", &[]),
    ("blockchain", "dsc_equivocations", &[]),
    ("blockchain", "dsc_chain_final_height", &[]),
    ("blockchain", "dsc_engine_position", &[]),
    ("blockchain", "dsc_engine_silent", &[]),
    ("blockchain", "dsc_engine_skipped_entries_total", &[]),
    ("blockchain", "dsc_engine_gaps_total", &[]),
    ("pool", "dsc_transactions_total", &["state"]),
    ("pool", "dsc_pool_transactions", &["state"]),
    ("pool", "dsc_tx_confirmation_seconds", &[]),
    ("metronome", "dsc_metronome_running", &[]),
    ("metronome", "dsc_metronome_leading", &[]),
    ("metronome", "dsc_metronome_epoch", &[]),
    ("metronome", "dsc_metronome_interval_seconds", &[]),
    ("metronome", "dsc_validators", &["proof"]),
    ("monitor", "dsc_servers", &["role", "state"]),
    ("validator", "dsc_proof_seconds", &["proof"]),
    ("validator", "dsc_proof_attempts_total", &["proof"]),
    ("validator", "dsc_proofs_total", &["proof"]),
    ("validator", "dsc_vault_bytes", &[]),
];

/// What one role says of itself.
type Families = BTreeMap<String, Family>;

#[derive(Debug, Default)]
struct Family {
    sort: String,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Family {
    /// The names of the labels that tell its series apart.
    fn labels(&self) -> BTreeSet<&str> {
        let names = self.samples.iter().flat_map(|sample| sample.labels.keys());
        names.map(String::as_str).filter(|name| *name != "le").collect()
    }
}

/// Reads the text format, and holds it to its rules.
fn read(text: &str) -> Families {
    let (mut families, mut current, mut seen) = (Families::new(), String::new(), BTreeSet::new());
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, about) = help.split_once(' ').unwrap();
            assert!(families.insert(name.to_owned(), Family::default()).is_none(), "{name} twice");
            assert!(about.ends_with('.') && about.is_ascii(), "{line}");
            name.clone_into(&mut current);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, sort) = kind.split_once(' ').unwrap();
            let family = families.get_mut(name).expect(line);
            assert!(
                name == current && family.sort.is_empty() && family.samples.is_empty(),
                "{line}"
            );
            assert!(["counter", "gauge", "histogram"].contains(&sort), "{line}");
            assert_eq!(name.ends_with("_total"), sort == "counter", "{line}");
            sort.clone_into(&mut family.sort);
        } else {
            let sample = read_sample(line);
            let family = families.get_mut(&current).expect(line);
            assert_eq!(base(&sample.name, &family.sort), current, "{line}");
            assert!(seen.insert((sample.name.clone(), sample.labels.clone())), "{line} twice");
            family.samples.push(sample);
        }
    }
    for (name, family) in &families {
        check_family(name, family);
    }
    families
}

/// The family of a sample.
fn base<'a>(name: &'a str, sort: &str) -> &'a str {
    let ends = ["_bucket", "_sum", "_count"];
    let end = ends.iter().find_map(|end| name.strip_suffix(end));
    if sort == "histogram" { end.expect(name) } else { name }
}

fn read_sample(line: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect(line);
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let labels = labels.strip_suffix('}').expect(line);
    // No value of ours holds a quote or a comma.
    let labels = labels.split(',').filter(|label| !label.is_empty()).map(|label| {
        let (name, value) = label.split_once("=\"").expect(line);
        (name.to_owned(), value.strip_suffix('"').expect(line).to_owned())
    });
    Sample { name: name.to_owned(), labels: labels.collect(), value: value.parse().expect(line) }
}

fn check_family(name: &str, family: &Family) {
    assert!(name.starts_with("dsc_") && !name.contains("__"), "{name}");
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
    let wrong = ["_ms", "_millis", "_milliseconds", "_minutes", "_kib", "_count", "_sum"];
    assert!(!wrong.iter().any(|unit| name.ends_with(unit)), "{name} is not in base units");
    assert!(!family.samples.is_empty() || family.sort == "histogram", "{name} has no sample");
    for Sample { labels, value, .. } in &family.samples {
        assert!(value.is_finite() && (family.sort == "gauge" || *value >= 0.0), "{name} {value}");
        for text in labels.values() {
            let is_name =
                text.len() <= 48 && !text.starts_with("dsc1") && !text.starts_with("dscd1");
            assert!(is_name, "{name}: `{text}` is not a word of the program");
        }
    }
    if family.sort == "histogram" {
        check_histogram(name, family);
    }
}

/// Buckets rise to the last, which holds as many as are counted.
fn check_histogram(name: &str, family: &Family) {
    let mut last: BTreeMap<BTreeMap<String, String>, (f64, f64)> = BTreeMap::new();
    for sample in &family.samples {
        let mut labels = sample.labels.clone();
        match labels.remove("le").map(|bound| bound.replace("+Inf", "inf").parse::<f64>().unwrap())
        {
            Some(bound) => {
                let before = last.insert(labels, (bound, sample.value)).unwrap_or((0.0, 0.0));
                assert!(before.0 < bound && before.1 <= sample.value, "{name}: {sample:?}");
            }
            None if sample.name.ends_with("_count") => {
                assert_eq!(last[&labels], (f64::INFINITY, sample.value), "{name}");
            }
            None => assert!(sample.name.ends_with("_sum"), "{name}: {sample:?}"),
        }
    }
}

/// What roles of a chain say after some blocks and payments.
static ROLES: LazyLock<BTreeMap<&'static str, Families>> = LazyLock::new(|| {
    let network = Network::shared();
    let dsc = Dsc::on(&network);
    let validator = Validator::start(&dsc, &network.accounts[0]);
    for amount in ["1", "2"] {
        let to = network.accounts[1].as_str();
        let args = ["wallet", "send", amount, to, "--dev-account", "2", "--confirmations", "2"];
        dsc.text(&args);
    }
    let servers = ["blockchain", "pool", "metronome", "monitor"];
    let urls = servers.map(|role| (role, network.url(role).to_owned()));
    let urls = urls.into_iter().chain([("validator", validator.url.clone())]);
    urls.map(|(role, url)| (role, ask(&url))).collect()
});

fn ask(url: &str) -> Families {
    let client = Client::new(url, PATIENCE, PATIENCE, 1 << 20).unwrap();
    // What probes and strangers ask is counted too.
    client.get_bytes("/healthz?from=a-probe").unwrap();
    client.get_bytes("/nothing/here").unwrap_err();
    read(&String::from_utf8(client.get_bytes("/metrics?from=a-probe").unwrap()).unwrap())
}

/// A validator of its own process: those of `dsc dev` serve nothing.
struct Validator {
    child: Child,
    url: String,
}

impl Validator {
    fn start(dsc: &Dsc, address: &str) -> Self {
        let args = ["validator", "--proof", "memory", "--address", address, "--json"];
        let mut command = dsc.command(&[&args[..], &["--listen", "127.0.0.1:0"]].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        Self { child, url: event["url"].as_str().unwrap().to_owned() }
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_role_has_the_figures_it_is_promised_to_have() {
    for (promised, name, labels) in PROMISED {
        for (role, families) in ROLES.iter().filter(|(role, _)| ["*", **role].contains(promised)) {
            let family = families.get(*name).unwrap_or_else(|| panic!("{role} has no {name}"));
            let wanted: BTreeSet<_> = labels.iter().copied().collect();
            assert_eq!(family.labels(), wanted, "{role}: {name}");
        }
    }
}

#[test]
fn figures_follow_what_happened() {
    let value = |role: &str, name: &str, labels: &[(&str, &str)]| {
        let samples = &ROLES[role][name].samples;
        let is_it =
            |sample: &&Sample| labels.iter().all(|(label, value)| sample.labels[*label] == *value);
        samples.iter().filter(is_it).map(|sample| sample.value).sum::<f64>()
    };
    let height = value("blockchain", "dsc_chain_height", &[]);
    assert!(height >= 3.0);
    assert!((value("blockchain", "dsc_blocks_total", &[]) - height - 1.0).abs() < 0.5);
    assert!(value("pool", "dsc_transactions_total", &[("state", "confirmed")]) >= 2.0);
    assert!((value("metronome", "dsc_metronome_interval_seconds", &[]) - 0.2).abs() < 1e-9);
    assert!((value("metronome", "dsc_metronome_running", &[]) - 1.0).abs() < 1e-9);
}

/// Labels that Prometheus adds.
const ADDED: &[&str] = &["instance", "job", "le"];
/// What else an expression is made of.
const WORDS: &[&str] = &[
    "and",
    "by",
    "count",
    "histogram_quantile",
    "max",
    "min",
    "or",
    "rate",
    "sum",
    "time",
    "up",
    "vector",
];

/// Every expression of the dashboard and of the alerts.
fn expressions() -> Vec<String> {
    let read = |name: &str| {
        std::fs::read_to_string(format!("{}/../contrib/{name}", env!("CARGO_MANIFEST_DIR")))
            .unwrap()
    };
    let dashboard: serde_json::Value = serde_json::from_str(&read("grafana/dsc.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let shown = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let alerts = read("prometheus/alerts.yml");
    let alerts: Vec<_> =
        alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(panels.len() >= 12 && alerts.len() >= 6);
    shown.chain(alerts.into_iter().map(str::to_owned)).collect()
}

/// The names in an expression, without what is in quotes or in brackets.
fn names(expression: &str) -> BTreeSet<String> {
    let (mut names, mut quoted, mut window) = (String::new(), false, false);
    for c in expression.chars() {
        match c {
            '"' => quoted = !quoted,
            '[' => window = true,
            ']' => window = false,
            _ if quoted || window => {}
            c if c.is_ascii_alphanumeric() || c == '_' => names.push(c),
            _ => names.push(' '),
        }
    }
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_alphabetic());
    names.split_whitespace().filter(is_name).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_alerts_ask_for_what_roles_say() {
    let families = ROLES.values().flatten();
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, family) in families {
        known.entry(name).or_default().extend(family.labels());
    }
    for expression in expressions() {
        let mut labels: BTreeSet<&str> = ADDED.iter().copied().collect();
        let (figures, others): (Vec<_>, Vec<_>) =
            names(&expression).into_iter().partition(|name| name.starts_with("dsc_"));
        for figure in &figures {
            let end = ["_bucket", "_count"].iter().find_map(|end| figure.strip_suffix(end));
            let family = known.get(figure.as_str()).or_else(|| known.get(end?));
            labels.extend(family.unwrap_or_else(|| panic!("nobody says {figure}: {expression}")));
        }
        for word in others {
            let is_known = WORDS.contains(&word.as_str()) || labels.contains(word.as_str());
            assert!(is_known, "`{word}` is no label of {figures:?}: {expression}");
        }
        let rated = expression.matches("rate(").count();
        let counters = figures
            .iter()
            .filter(|name| ["_total", "_bucket", "_count"].iter().any(|end| name.ends_with(end)));
        assert!(rated >= counters.count(), "a counter without rate: {expression}");
    }
}

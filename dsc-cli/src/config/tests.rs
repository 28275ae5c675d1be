use super::*;

fn sources() -> Sources {
    Sources::default()
}

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn from_text(text: &str) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    Config::load_file(&write(folder.path(), FILE_NAME, text))
}

fn from_variable(name: &str, value: &str) -> Result<Config, ConfigError> {
    let variables = vec![(name.to_owned(), value.to_owned())];
    Config::load(&Sources { variables, ..sources() })
}

/// A folder that somebody unpacked must not choose who pays, or a fee.
#[test]
fn the_file_of_a_folder_says_nothing_of_the_wallet() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    fs::write(&path, "[wallet]\nfee = \"150000\"\n").unwrap();
    let local = Sources { local_file: Some(path.clone()), ..Sources::default() };
    let error = Config::load(&local).unwrap_err();
    assert_eq!(error.code(), "local-wallet");
    assert!(error.hint().unwrap().contains("--config"));
    let named = Sources { file: Some(path.clone()), local_file: Some(path), ..Sources::default() };
    assert_eq!(Config::load(&named).unwrap().text("wallet.fee"), "150000");
}

#[test]
fn the_stronger_source_wins() {
    let folder = tempfile::tempdir().unwrap();
    let text = |port: u16| format!("[pool]\nurl = \"http://127.0.0.1:{port}\"\n");
    let user = write(folder.path(), "user.toml", &text(1));
    let local = write(folder.path(), "local.toml", &text(2));
    let file = write(folder.path(), "file.toml", &text(3));
    let mut all = sources();
    let expect = |all: &Sources, port: u16, origin: Origin| {
        let config = Config::load(all).unwrap();
        assert_eq!(config.text("pool.url"), format!("http://127.0.0.1:{port}"));
        assert_eq!(config.setting("pool.url").origin, origin);
    };
    expect(&all, 7702, Origin::Default);
    all.user_file = Some(user.clone());
    expect(&all, 1, Origin::UserFile(user));
    all.local_file = Some(local.clone());
    expect(&all, 2, Origin::File(local));
    all.file = Some(file.clone());
    expect(&all, 3, Origin::File(file));
    all.variables = vec![("DSC_POOL__URL".into(), "http://127.0.0.1:4".into())];
    expect(&all, 4, Origin::Variable("DSC_POOL__URL".into()));
    all.flags = vec![("pool.url", "--pool-url", "http://127.0.0.1:5".into())];
    expect(&all, 5, Origin::Flag("--pool-url"));
}

#[test]
fn an_unknown_key_gets_a_suggestion() {
    let cases = [
        ("[pool]\nulr = \"x\"\n", "pool.ulr", Some("pool.url")),
        ("[poool]\nurl = \"x\"\n", "poool.url", Some("pool.url")),
        ("[http]\nheader_tiem = \"1s\"\n", "http.header_tiem", Some("http.header_time")),
        ("[zebra]\nstripes = 3\n", "zebra.stripes", None),
        ("[poll]\n", "poll", Some("[pool]")),
        ("data_dir = \"x\"\n", "data_dir", Some("general.data_dir")),
    ];
    for (text, expected_key, expected) in cases {
        match from_text(text).unwrap_err() {
            ConfigError::UnknownKey { key, suggestion, .. } => {
                assert_eq!((key.as_str(), suggestion.as_deref()), (expected_key, expected));
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
fn an_unknown_variable_gets_a_suggestion() {
    for (name, expected) in [
        ("DSC_POOL__ULR", Some("DSC_POOL__URL")),
        ("DSC_POOL_URL", Some("DSC_POOL__URL")),
        ("DSC_ZEBRA__STRIPES", None),
    ] {
        match from_variable(name, "x").unwrap_err() {
            ConfigError::UnknownVariable { suggestion, .. } => {
                assert_eq!(suggestion.as_deref(), expected, "{name}");
            }
            other => panic!("{other}"),
        }
    }
    assert!(from_variable("DSC_BUILD", "x").is_ok());
}

#[test]
fn a_value_that_does_not_fit_names_its_place_and_what_is_expected() {
    let error = from_variable("DSC_HTTP__BODY_TIME", "soon").unwrap_err();
    assert_eq!(
        error.to_string(),
        "DSC_HTTP__BODY_TIME: `http.body_time` is `soon`, expected a time above zero such as 10s \
         or 1m30s"
    );
    for text in [
        "[http]\nconnections_max = \"5\"\n",
        "[http]\nconnections_max = 0\n",
        "[http]\nbody_time = 5\n",
        "[pool]\nurl = []\n",
    ] {
        let error = from_text(text).unwrap_err();
        assert!(matches!(error, ConfigError::Invalid { .. }), "{text}: {error}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    assert!(matches!(from_text("[pool\n").unwrap_err(), ConfigError::Syntax { .. }));
    let error = Config::load_file(Path::new("does/not/exist.toml")).unwrap_err();
    assert!(matches!(error, ConfigError::Read { .. }));
    assert!(error.to_string().starts_with("cannot read does/not/exist.toml: "), "{error}");
}

#[test]
fn paths_in_a_file_are_relative_to_it_and_the_token_follows_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(folder.path(), FILE_NAME, "[general]\ndata_dir = \"here\"\n");
    let config = Config::load_file(&path).unwrap();
    assert_eq!(config.path("general.data_dir"), folder.path().join("here"));
    assert_eq!(config.path("admin.token_file"), folder.path().join("here/admin-token"));
}

#[test]
fn the_template_is_valid_with_and_without_its_comments() {
    assert!(from_text(&template()).is_ok());
    let template = template();
    let bare = |line| str::strip_prefix(line, "# ").filter(|bare| bare.contains(" = "));
    let live: Vec<&str> = template.lines().map(|line| bare(line).unwrap_or(line)).collect();
    let config = from_text(&live.join("\n")).unwrap();
    let kept = config.settings().filter(|setting| setting.origin == Origin::Default);
    assert_eq!(kept.count(), 0);
}

#[test]
fn a_list_may_be_an_array_and_nothing_an_empty_string() {
    let config = from_text(
        "[validator]\nindex = [0, 2]\nsize = \"\"\n[dev]\nvalidators = [\"work=2\", \"space=1\"]\n",
    );
    let config = config.unwrap();
    assert_eq!(config.text("validator.index"), "0,2");
    assert_eq!(config.text("validator.size"), "");
    assert_eq!(config.text("dev.validators"), "work=2,space=1");
    let servers = from_text("[pool]\nurl = [\"http://a:1\", \"http://b:2\"]\n").unwrap();
    assert_eq!(servers.text("pool.url"), "http://a:1,http://b:2");
    for text in ["[validator]\nindex = [true]\n", "[monitor]\nurl = [\"http://a:1\"]\n"] {
        assert!(matches!(from_text(text).unwrap_err(), ConfigError::Invalid { .. }), "{text}");
    }
}

#[test]
fn two_settings_that_exclude_each_other_are_named() {
    let (key, other) = ("metronome.key", "metronome.dev_key");
    let error = ConfigError::Conflict { origin: Origin::File("f".into()), key, other };
    assert_eq!(error.to_string(), "f: `metronome.key` and `metronome.dev_key` exclude each other");
    assert_eq!(error.code(), "conflicting-settings");
    assert!(error.hint().unwrap().contains("--origin"));
}

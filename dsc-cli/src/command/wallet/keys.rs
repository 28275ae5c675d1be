//! The keys of a wallet: made, listed, shown, moved and removed; no network is needed.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::builder::PossibleValuesParser;
use dsc_lib::{address::Prefix, keys::PublicKey};
use serde::Serialize;

use super::{Context, KeyName, NewPassphraseArgs, PassphraseArgs};
use crate::{
    command::{prepared, remote::keystore},
    entropy::OsEntropy,
    exit::Failure,
    key_file,
    output::Document,
};

/// Which kind of network addresses are written for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PrefixArgs {
    /// Start of addresses: `dscd` on development networks, `dsc` elsewhere
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "dscd",
        value_parser = PossibleValuesParser::new(["dscd", "dsc"])
    )]
    prefix: String,
}

impl PrefixArgs {
    fn prefix(&self) -> Prefix {
        let named = Prefix::ALL.into_iter().find(|prefix| prefix.as_str() == self.prefix);
        named.unwrap_or(Prefix::Development)
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// Name of the key: a-z, 0-9, _ and -
    name: KeyName,
    #[command(flatten)]
    prefix: PrefixArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    prefix: PrefixArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Name of the key
    name: KeyName,
    /// Write the public key as PEM and nothing else
    #[arg(long, visible_alias = "public")]
    pem: bool,
    #[command(flatten)]
    prefix: PrefixArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Name of the key
    name: KeyName,
    /// Do not ask; without a copy of the key its coins are lost
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Name to keep it under
    name: KeyName,
    /// The key: RSA-2048, PKCS#8 PEM, encrypted or not
    file: PathBuf,
    #[command(flatten)]
    prefix: PrefixArgs,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Name of the key
    name: KeyName,
    /// Write it to a new file that only you can read
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Do not ask before it is shown on a terminal
    #[arg(long)]
    yes: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Passwd {
    /// Name of the key
    name: KeyName,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    #[command(flatten)]
    new: NewPassphraseArgs,
}

/// A key's public half.
#[derive(Debug, Serialize)]
struct KeyDocument {
    name: String,
    address: String,
    public_key: String,
    /// Whether the text form is the PEM alone.
    #[serde(skip)]
    pem_only: bool,
}

impl KeyDocument {
    fn new(name: &KeyName, key: &PublicKey, prefix: &PrefixArgs) -> Self {
        let address = key.address().to_text(prefix.prefix());
        Self { name: name.to_string(), address, public_key: key.to_spki_pem(), pem_only: false }
    }
}

impl Document for KeyDocument {
    const SCHEMA: &'static str = "dsc.key/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pem_only {
            return f.write_str(&self.public_key);
        }
        writeln!(f, "{} {}", self.name, self.address)
    }
}

/// Makes a key.
pub(super) fn create(args: &Create, context: &Context<'_>) -> Result<(), Failure> {
    let store = keystore(context);
    // Asked before the passphrase is typed; `Keystore::create` has the last word.
    store.check_free(&args.name)?;
    let passphrase = args.passphrase.source()?.read_new(&args.name.to_string())?;
    let key = store.create(&args.name, &passphrase, &mut OsEntropy)?;
    context.output.document(&KeyDocument::new(&args.name, &key, &args.prefix))
}

#[derive(Debug, Serialize)]
struct Listed {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    /// Why the file cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Debug, Serialize)]
struct Keys {
    keys: Vec<Listed>,
}

impl Document for Keys {
    const SCHEMA: &'static str = "dsc.keys/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.keys.iter().map(|key| key.name.len()).max().unwrap_or_default();
        for Listed { name, address, fault } in &self.keys {
            let shown = address.as_ref().or(fault.as_ref()).map_or("", String::as_str);
            writeln!(f, "{name:width$} {shown}")?;
        }
        Ok(())
    }
}

/// Lists every key.
pub(super) fn list(args: &List, context: &Context<'_>) -> Result<(), Failure> {
    let listed = keystore(context).list()?.into_iter().map(|entry| {
        let name = entry.name.to_string();
        match entry.public {
            Ok(key) => {
                let address = Some(key.address().to_text(args.prefix.prefix()));
                Listed { name, address, fault: None }
            }
            Err(error) => Listed { name, address: None, fault: Some(error.to_string()) },
        }
    });
    context.output.document(&Keys { keys: listed.collect() })
}

/// Shows one key.
pub(super) fn show(args: &Show, context: &Context<'_>) -> Result<(), Failure> {
    let key = keystore(context).public(&args.name)?;
    let document = KeyDocument::new(&args.name, &key, &args.prefix);
    context.output.document(&KeyDocument { pem_only: args.pem, ..document })
}

/// What was done to a key.
#[derive(Debug, Serialize)]
struct Done {
    name: String,
    done: &'static str,
}

impl Document for Done {
    const SCHEMA: &'static str = "dsc.key.done/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.name, self.done)
    }
}

/// Deletes a key, if that is really wanted.
pub(super) fn remove(args: &Remove, context: &Context<'_>) -> Result<(), Failure> {
    let store = keystore(context);
    store.public(&args.name)?;
    if !args.yes {
        confirm(&args.name)?;
    }
    store.remove(&args.name)?;
    context.output.document(&Done { name: args.name.to_string(), done: "removed" })
}

fn confirm(name: &KeyName) -> Result<(), Failure> {
    let sure = || {
        Failure::usage("removing a key loses its coins unless there is a copy").with_hint(format!(
            "`dsc wallet export {name}` makes a copy; --yes removes the key without asking"
        ))
    };
    if !io::stdin().is_terminal() {
        return Err(sure());
    }
    crate::output::note(format_args!(
        "Coins of {name} are lost without a copy. Its name removes it:"
    ));
    if line()? == name.to_string() { Ok(()) } else { Err(sure()) }
}

/// Keeps a key from a file.
pub(super) fn import(args: &Import, context: &Context<'_>) -> Result<(), Failure> {
    let store = keystore(context);
    store.check_free(&args.name)?;
    let source = args.passphrase.source()?;
    let key = key_file::read(&args.file, &source)?;
    let source = if args.new.is_given() { args.new.source()? } else { source };
    let passphrase = source.read_new(&args.name.to_string())?;
    store.import(&args.name, &key, &passphrase, &mut OsEntropy)?;
    context.output.document(&KeyDocument::new(&args.name, key.public(), &args.prefix))
}

#[derive(Debug, Serialize)]
struct Exported {
    name: String,
    encrypted_key: String,
}

impl Document for Exported {
    const SCHEMA: &'static str = "dsc.key.export/1";

    fn text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.encrypted_key)
    }
}

/// Writes the encrypted key.
pub(super) fn export(args: &Export, context: &Context<'_>) -> Result<(), Failure> {
    let encrypted_key = keystore(context).encrypted(&args.name)?;
    if let Some(path) = &args.out {
        write_private(path, &encrypted_key)?;
        let done = "is copied, still encrypted under its passphrase";
        return context.output.document(&Done { name: args.name.to_string(), done });
    }
    // A pipe or a file is where it was sent on purpose; a screen may have other readers.
    if !args.yes && io::stdout().is_terminal() && io::stdin().is_terminal() {
        confirm_showing(&args.name)?;
    }
    context.output.document(&Exported { name: args.name.to_string(), encrypted_key })
}

fn confirm_showing(name: &KeyName) -> Result<(), Failure> {
    crate::output::note(format_args!(
        "The key {name} will be shown here, encrypted under its passphrase. `yes` shows it:"
    ));
    if line()? == "yes" {
        return Ok(());
    }
    Err(Failure::usage("the key was not shown")
        .with_hint(format!("`dsc wallet export {name} --out FILE` writes it to a file")))
}

/// What is typed next.
fn line() -> Result<String, Failure> {
    let mut line = String::new();
    io::stdin().read_line(&mut line).map_err(|error| Failure::other("input", error))?;
    Ok(line.trim().to_owned())
}

/// Writes a new file, whole or not at all, for its owner alone.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let fault = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => prepared::file_exists(path),
        _ => Failure::file("write", path, &error),
    };
    let folder =
        path.parent().filter(|folder| *folder != Path::new("")).unwrap_or_else(|| Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(fault)?;
    file.persist_noclobber(path).map(drop).map_err(|error| fault(error.error))
}

/// Encrypts a key under another passphrase.
pub(super) fn passwd(args: &Passwd, context: &Context<'_>) -> Result<(), Failure> {
    let (store, name) = (keystore(context), args.name.to_string());
    store.public(&args.name)?;
    let old = args.passphrase.source()?.read(&name)?;
    // A wrong one should not be found out only after the new one was typed twice.
    store.load(&args.name, &old)?;
    let new = args.new.source()?.read_new(&name)?;
    store.change_passphrase(&args.name, &old, &new, &mut OsEntropy)?;
    context.output.document(&Done { name, done: "has a new passphrase" })
}

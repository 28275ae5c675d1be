//! Whether a stream that is there keeps what it has to: an operator may have made it, or changed it.

use serde_json::Value;

use crate::exit::Failure;

/// Where the whole hash of the genesis is kept with a stream.
pub(super) const GENESIS: &str = "dsc-genesis";

/// What makes of a stream another one: it is filled from elsewhere, changes what it is given, takes
/// nothing, or acknowledges nothing or before it has synced.
const NEVER: [&str; 6] =
    ["mirror", "sources", "subject_transform", "sealed", "no_ack", "persist_mode"];

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty() || text == "default",
        Value::Array(all) => all.is_empty(),
        _ => false,
    }
}

/// Whether what there is keeps what is wanted to be kept.
pub(super) fn check(name: &str, wanted: &Value, found: &Value) -> Result<(), Failure> {
    let of = |value: &Value| value["metadata"][GENESIS].as_str().unwrap_or_default().to_owned();
    if of(wanted) != of(found) {
        let message = format!("the stream {name} belongs to the chain with genesis {}", of(found));
        return Err(Failure::configuration("engine-wrong-chain", message)
            .with_hint("use the genesis of that chain, or another engine or account"));
    }
    for key in NEVER {
        if !is_unset(&found[key]) {
            let message = format!("the stream {name} has {key} {}, expected none", found[key]);
            return Err(Failure::configuration("engine-stream", message)
                .with_hint("it was not made by a role: use another engine or account"));
        }
    }
    for (key, value) in wanted.as_object().into_iter().flatten() {
        let got = &found[key];
        let fits = match key.as_str() {
            "metadata" | "republish" | "duplicate_window" | "max_bytes" => true,
            "num_replicas" => got.as_u64() >= value.as_u64(),
            _ => got == value,
        };
        if !fits {
            let message = format!("the stream {name} has {key} {got}, expected {value}");
            return Err(Failure::configuration("engine-stream", message)
                .with_hint(format_args!("set it with `nats stream edit {name}`")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stream_that_may_forget_is_refused() {
        let wanted = json!({
            "num_replicas": 3, "deny_purge": true, "max_msgs": -1, "max_bytes": 5,
            "metadata": { GENESIS: "aa" },
        });
        let mut found = wanted.clone();
        found["num_replicas"] = 5.into();
        found["max_bytes"] = 6.into();
        assert!(check("S", &wanted, &found).is_ok());
        for (key, value) in [("num_replicas", json!(1)), ("deny_purge", json!(false))] {
            let mut worse = found.clone();
            worse[key] = value;
            let failure = check("S", &wanted, &worse).unwrap_err();
            assert_eq!(failure.code(), "engine-stream");
            assert!(failure.message().contains(key), "{failure}");
        }
        for key in NEVER {
            for (value, is_fine) in [
                (json!(null), true),
                (json!(false), true),
                (json!("default"), true),
                (json!([]), true),
                (json!(true), false),
                (json!("async"), false),
                (json!({ "name": "X" }), false),
                (json!([{ "name": "X" }]), false),
            ] {
                let mut other = found.clone();
                other[key] = value;
                let checked = check("S", &wanted, &other);
                assert_eq!(checked.is_ok(), is_fine, "{other}");
                assert!(checked.err().is_none_or(|failure| failure.message().contains(key)));
            }
        }
        found["metadata"] = json!({});
        assert_eq!(check("S", &wanted, &found).unwrap_err().code(), "engine-wrong-chain");
    }
}

//! JSON schemas of what travels, made from the Rust types that travel.
//!
//! # Invariants
//!
//! 1. A field that is added to a described type, or taken from it, does not compile until its
//!    description follows; the schema of a field is that of its type.
//! 2. What is asked is closed: a name that is not described is refused. What is answered is open:
//!    a client ignores what it does not know.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Makes the schema of a type.
pub type SchemaOf = fn(&mut Schemas) -> Value;
/// Makes the schemas of the fields of a type.
pub type FieldsOf = fn(&mut Schemas) -> Vec<Field>;

/// The named parts of a document.
#[derive(Debug, Default)]
pub struct Schemas {
    schemas: BTreeMap<String, Value>,
    responses: BTreeMap<String, Value>,
}

impl Schemas {
    /// A reference to the schema called `name`, which is made the first time.
    pub fn named(&mut self, name: &str, make: impl FnOnce(&mut Self) -> Value) -> Value {
        if !self.schemas.contains_key(name) {
            self.schemas.insert(name.to_owned(), Value::Null);
            let schema = make(self);
            self.schemas.insert(name.to_owned(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    /// A reference to a response that several routes have.
    pub(super) fn response(&mut self, name: &str, response: Value) -> Value {
        self.responses.insert(name.to_owned(), response);
        json!({ "$ref": format!("#/components/responses/{name}") })
    }

    /// All of them, by kind and name.
    pub(crate) fn into_components(self) -> Value {
        json!({ "schemas": self.schemas, "responses": self.responses })
    }
}

/// A type that travels as JSON, or as a part of a path or query.
pub trait Describe {
    /// Whether it may be absent.
    const IS_OPTIONAL: bool = false;

    /// Its schema when it is there.
    fn bare(known: &mut Schemas) -> Value;

    /// Its schema in JSON.
    fn schema(known: &mut Schemas) -> Value {
        Self::bare(known)
    }
}

/// A type that is an object, or the parameters of a query.
pub trait Fields {
    /// What it holds.
    fn fields(known: &mut Schemas) -> Vec<Field>;
}

/// A field of an object, or a parameter of a query.
#[derive(Clone, Debug)]
pub struct Field {
    pub(super) name: &'static str,
    pub(super) is_optional: bool,
    pub(super) bare: Value,
    schema: Value,
}

impl Field {
    /// A field of type `T`.
    pub fn new<T: Describe>(name: &'static str, about: &str, known: &mut Schemas) -> Self {
        let [bare, schema] = [T::bare(known), T::schema(known)].map(|it| with_about(it, about));
        Self { name, is_optional: T::IS_OPTIONAL, bare, schema }
    }

    /// A field of the type that `part` leads to.
    pub fn of<S, T: Describe>(
        _part: fn(&S) -> &T,
        name: &'static str,
        about: &str,
        known: &mut Schemas,
    ) -> Self {
        Self::new::<T>(name, about, known)
    }

    /// A field that lists objects with these fields.
    pub fn list(name: &'static str, about: &str, item: &Value) -> Self {
        let schema = json!({ "type": "array", "items": item, "description": about });
        Self { name, is_optional: false, bare: schema.clone(), schema }
    }

    /// A field that always holds `text`.
    pub fn tag(name: &'static str, text: &str) -> Self {
        let schema = json!({ "type": "string", "const": text });
        Self { name, is_optional: false, bare: schema.clone(), schema }
    }
}

fn with_about(mut schema: Value, about: &str) -> Value {
    if let Value::Object(keywords) = &mut schema {
        keywords.insert("description".into(), about.into());
    }
    schema
}

fn object(about: &str, fields: Vec<Field>, is_required: impl Fn(&Field) -> bool) -> Value {
    let required: Vec<&str> = fields.iter().filter(|f| is_required(f)).map(|f| f.name).collect();
    let mut schema = json!({ "type": "object", "required": required });
    let properties: Map<_, _> = fields.into_iter().map(|f| (f.name.into(), f.schema)).collect();
    schema["properties"] = Value::Object(properties);
    if about.is_empty() { schema } else { with_about(schema, about) }
}

/// The schema of an object that is answered: all its fields are there.
pub fn answered(about: &str, fields: Vec<Field>) -> Value {
    object(about, fields, |_| true)
}

/// The schema of an object that is asked: it may leave out what is optional, and adds nothing.
pub fn asked(about: &str, fields: Vec<Field>) -> Value {
    let mut schema = object(about, fields, |field| !field.is_optional);
    schema["additionalProperties"] = false.into();
    schema
}

/// Describes a struct, `answered` or `asked`, as the component of a name; each field is followed by
/// what it is. `field as Type` describes a field that travels in another form than its type.
macro_rules! describe {
    ($kind:ident $type:ty as $name:literal: $about:literal {
        $($field:ident $(as $form:ty)?: $text:literal,)*
    }) => {
        impl $crate::http::openapi::Fields for $type {
            fn fields(known: &mut $crate::http::openapi::Schemas)
                -> Vec<$crate::http::openapi::Field>
            {
                // Does not compile when a field is missing here.
                let _: fn(&Self) = |Self { $($field: _,)* }| ();
                vec![$($crate::http::openapi::describe!(@field known, $field $(as $form)?, $text)),*]
            }
        }

        impl $crate::http::openapi::Describe for $type {
            fn bare(known: &mut $crate::http::openapi::Schemas) -> serde_json::Value {
                known.named($name, |known| {
                    let fields = <Self as $crate::http::openapi::Fields>::fields(known);
                    $crate::http::openapi::$kind($about, fields)
                })
            }
        }
    };
    (@field $known:ident, $field:ident as $form:ty, $text:literal) => {
        $crate::http::openapi::Field::new::<$form>(stringify!($field), $text, $known)
    };
    (@field $known:ident, $field:ident, $text:literal) => {
        $crate::http::openapi::Field::of(
            |whole: &Self| &whole.$field, stringify!($field), $text, $known,
        )
    };
}
pub(crate) use describe;

impl<T: Describe> Describe for Option<T> {
    const IS_OPTIONAL: bool = true;

    fn bare(known: &mut Schemas) -> Value {
        T::bare(known)
    }

    fn schema(known: &mut Schemas) -> Value {
        json!({ "anyOf": [T::schema(known), { "type": "null" }] })
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn bare(known: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(known) })
    }
}

impl<T: Describe, const N: usize> Describe for [T; N] {
    fn bare(known: &mut Schemas) -> Value {
        json!({ "type": "array", "items": T::schema(known), "minItems": N, "maxItems": N })
    }
}

impl Describe for bool {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "boolean" })
    }
}

impl Describe for f64 {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "number" })
    }
}

impl Describe for String {
    fn bare(_: &mut Schemas) -> Value {
        json!({ "type": "string" })
    }
}

impl Describe for &str {
    fn bare(known: &mut Schemas) -> Value {
        String::bare(known)
    }
}

macro_rules! integers {
    ($($type:ident $format:literal),*) => {$(
        impl Describe for $type {
            fn bare(_: &mut Schemas) -> Value {
                json!({
                    "type": "integer", "format": $format, "minimum": 0, "maximum": $type::MAX
                })
            }
        }
    )*};
}

integers!(u16 "uint16", u32 "uint32", u64 "uint64");

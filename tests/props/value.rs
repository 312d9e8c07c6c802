//! Templates: what is stored is read back into the pieces that it was made from, or is not stored.

use keyferry::model::payload::{Fit, Letters, Outputs, Shape, Template, VALUE_BYTES_MAX};
use keyferry::model::secret::SecretValue;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use crate::{holds, text};

/// Of the first the letters may be known, of the second they are.
fn known(letters: &Letters) -> [(&'static str, Letters); 2] {
    [("client_id", letters.clone()), ("client_secret", Letters::Id)]
}

fn outputs(id: &str, secret: &str) -> Outputs {
    Outputs::default().public("client_id", id).secret("client_secret", SecretValue::new(secret))
}

/// A template as people write them, and worse.
fn template() -> impl Strategy<Value = String> {
    let part = proptest::prop_oneof![
        3 => Just("{client_id}".to_owned()),
        3 => Just("{client_secret}".to_owned()),
        3 => "[a-z:@/ .\"\\\\-]{1,6}",
        1 => Just("{{".to_owned()),
        1 => Just("}}".to_owned()),
        1 => "[{}a-z]{1,4}",
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn shape() -> impl Strategy<Value = Vec<(String, String)>> {
    btree_map("[A-Za-z\"_]{0,6}", template(), 0..4).prop_map(|fields| fields.into_iter().collect())
}

/// A piece as vendors make them, and as nobody should.
fn piece() -> impl Strategy<Value = String> {
    proptest::prop_oneof![4 => "[a-zA-Z0-9_-]{1,24}", 1 => ".{0,12}", 1 => "[:@/k. {}\"]{0,6}"]
}

/// One field without a key is a plain text.
fn parsed(fields: &[(String, String)], letters: &Letters) -> Option<Shape> {
    let known = known(letters);
    match fields {
        [(key, text)] if key.is_empty() => Template::parse(text, &known).ok().map(Shape::Plain),
        _ => {
            let field = |(key, text): &(String, String)| Some((key.clone(), Template::parse(text, &known).ok()?));
            fields.iter().map(field).collect::<Option<_>>().map(Shape::Object)
        }
    }
}

#[test]
fn a_value_is_read_back_into_its_pieces_or_is_not_stored() {
    let plain = |text: &str| vec![(String::new(), text.to_owned())];
    let kept = [
        // Accepted once: the secret was split at its own `k`, and every rotation burned a credential.
        (plain("{client_secret}k{client_id}"), "id".into(), "akb".into()),
        (plain("{client_id}:{client_secret}"), "a:b".into(), "c".into()),
    ];
    holds(1500, kept, (shape(), piece(), piece()), |(fields, id, secret): (_, String, String)| {
        let Some(shape) = parsed(&fields, &Letters::Any) else { return };
        let pieces = outputs(&id, &secret);
        let Some(stored) = shape.render(&pieces) else { return };
        assert!((1..=VALUE_BYTES_MAX).contains(&stored.len()));
        assert_eq!(shape.render(&pieces).as_ref(), Some(&stored), "a resend has the same bytes");
        let back = shape.recover(&stored).unwrap_or_else(|| panic!("{fields:?} is not read back"));
        for name in shape.names() {
            assert_eq!(back.get(name), pieces.get(name), "{fields:?}: {name} of {id:?} and {secret:?}");
        }
    });
}

#[test]
fn what_check_takes_for_clear_is_stored_whatever_the_vendor_makes() {
    let id = "[a-zA-Z0-9._-]{1,12}";
    holds(800, [], (shape(), id, id), |(fields, id, secret): (_, String, String)| {
        let Some(shape) = parsed(&fields, &Letters::Id) else { return };
        // Nobody can read back what is not there, and nothing is no value.
        let some = shape.names().next().is_some();
        if some && shape.blurred().is_none() {
            assert!(shape.render(&outputs(&id, &secret)).is_some(), "{fields:?} of {id:?} and {secret:?}");
        }
    });
}

#[test]
fn a_stored_value_of_anybody_never_panics_and_fits_only_if_it_is_rendered_again() {
    let stored = proptest::prop_oneof![text(), "\\{\"[A-Za-z]{0,3}\":(\"[a-z:]{0,5}\"|[0-9]|null|\\[\\])\\}"];
    holds(800, [], (shape(), stored), |(fields, stored)| {
        let Some(shape) = parsed(&fields, &Letters::Any) else { return };
        match shape.fit(&SecretValue::new(&*stored)) {
            Fit::Same(pieces) => {
                // Blanks and the order of keys apart, it is what would be stored; where the pieces that
                // were read could have been others, nothing is stored.
                let again = shape.render(&pieces);
                assert!(again.is_none_or(|again| shape.recover(&again) == Some(pieces)), "{fields:?} {stored:?}");
            }
            Fit::Wider(_) | Fit::Another => {}
        }
    });
}

#[test]
fn a_template_is_refused_or_names_only_what_is_known() {
    holds(800, [], proptest::prop_oneof![template(), text()], |text: String| {
        match Template::parse(&text, &known(&Letters::Any)) {
            Ok(template) => {
                let shape = Shape::Plain(template);
                assert!(shape.names().all(|name| ["client_id", "client_secret"].contains(&name)), "{text:?}");
            }
            Err(malformed) => assert!(!malformed.to_string().is_empty()),
        }
    });
}

//! A column's default as a value of the column's type. Postgres shows an expression without the cast that an assignment makes of it
//! (`text DEFAULT 5`), and beside a value of another type it would be none of the column's, or none at all.

use super::facts::Column;

const BOOL: u32 = 16;
const NUMBERS: [u32; 4] = [20, 21, 23, 1700];
const DATE: u32 = 1082;
const TIMESTAMPTZ: u32 = 1184;
const UUID: u32 = 2950;

/// The expression, cast where it may not be of the column's type as it stands.
pub(super) fn of_its_type(default: &str, column: &Column) -> String {
    match is_of(default, column) {
        true => default.to_owned(),
        false => format!("({default})::{}", column.ty.sql),
    }
}

/// Is it the next value of a sequence and nothing else, perhaps as the column's type: what a serial has, and no sum or text of it?
pub(super) fn is_next_value(default: &str, column: &Column) -> bool {
    let cast = format!(")::{}", column.ty.sql);
    let bare = default.strip_prefix('(').and_then(|rest| rest.strip_suffix(&*cast)).unwrap_or(default);
    let name = bare.strip_prefix("nextval('").and_then(|rest| rest.strip_suffix("'::regclass)"));
    name.is_some_and(|name| !name.replace("''", "").contains('\''))
}

/// Is its type one that compares with an integer as it is?
pub(super) fn is_number(column: &Column) -> bool {
    NUMBERS.contains(&column.ty.base)
}

/// Is it seen to be of the type? Postgres puts brackets around operators, so that a cast at the end is one of all of it.
fn is_of(default: &str, column: &Column) -> bool {
    let ty = &column.ty;
    if default.strip_suffix(&*ty.sql).is_some_and(|rest| rest.ends_with("::")) {
        return true;
    }
    let is_number = || {
        let digits = default.strip_prefix('-').unwrap_or(default);
        digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    match ty.base {
        _ if default.eq_ignore_ascii_case("null") => true,
        BOOL => ["true", "false"].contains(&default),
        DATE => default == "CURRENT_DATE",
        TIMESTAMPTZ => ["now()", "CURRENT_TIMESTAMP"].contains(&default),
        UUID => default == "gen_random_uuid()",
        base => NUMBERS.contains(&base) && is_number(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::Type;
    use super::super::fixtures::database;
    use super::*;

    #[test]
    fn the_next_value_of_a_sequence_is_told_from_what_is_made_of_it() {
        let column = database("t: a int").relations[0].columns[0].clone();
        for (default, expected) in [
            ("nextval('public.s'::regclass)", true),
            (r#"nextval('"S""x".it''s'::regclass)"#, true),
            ("(nextval('public.s'::regclass))::int", true),
            ("(nextval('public.s'::regclass))::smallint", false),
            ("(1000000 + nextval('public.s'::regclass))", false),
            ("(- nextval('public.s'::regclass))", false),
            ("public.mk(nextval('public.s'::regclass))", false),
            ("('o'::text || nextval('public.s'::regclass))", false),
            ("currval('public.s'::regclass)", false),
            ("nextval('a'::regclass) + nextval('b'::regclass)", false),
            ("nextval(('public.s'::text)::regclass)", false),
        ] {
            assert_eq!(is_next_value(default, &column), expected, "{default}");
        }
    }

    #[test]
    fn a_default_is_cast_as_an_assignment_casts_it() {
        let text = database("t: a text").relations[0].columns[0].clone();
        let of = |oid: u32, sql: &str| Column {
            ty: Type { oid, base: oid, sql: sql.into(), ..text.ty.clone() },
            ..text.clone()
        };
        for (default, oid, sql, expected) in [
            ("5", 25, "text", "(5)::text"),
            ("'a'::text", 25, "text", "'a'::text"),
            ("0", 1043, "character varying", "(0)::character varying"),
            ("'a'::character varying(3)", 1043, "character varying", "('a'::character varying(3))::character varying"),
            ("5", 790, "money", "(5)::money"),
            ("0", 23, "integer", "0"),
            ("'-1'::integer", 20, "bigint", "('-1'::integer)::bigint"),
            ("-1.5", 1700, "numeric", "-1.5"),
            ("(1 + 2)", 23, "integer", "((1 + 2))::integer"),
            ("now()", 1184, "timestamp with time zone", "now()"),
            ("now()", 1114, "timestamp without time zone", "(now())::timestamp without time zone"),
            ("true", 16, "boolean", "true"),
            ("NULL::text", 25, "text", "NULL::text"),
        ] {
            assert_eq!(of_its_type(default, &of(oid, sql)), expected);
        }
    }
}

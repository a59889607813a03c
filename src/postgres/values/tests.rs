//! Cells of each type as text.

use crate::postgres::tests::server::Server;
use crate::postgres::values::cells::text_of;

#[test]
fn cells_of_each_type_are_text() {
    let server = Server::shared();
    let mut client = server.client();
    for (sql, expected) in [
        ("(-5)::int2", "-5"),
        ("7::int4", "7"),
        ("9223372036854775807::int8", "9223372036854775807"),
        ("true", "true"),
        ("false", "false"),
        ("'é'::text", "é"),
        ("'a'::varchar", "a"),
        ("'ab'::char(2)", "ab"),
        ("'x'::name", "x"),
        ("'0a1b2c3d-0000-4000-8000-00000000000f'::uuid", "0a1b2c3d-0000-4000-8000-00000000000f"),
        ("'{\"a\": 1}'::jsonb", "{\"a\": 1}"),
        ("'[1]'::json", "[1]"),
        ("0::numeric", "0"),
        ("0.00::numeric", "0.00"),
        ("-12345.0607::numeric", "-12345.0607"),
        ("100000000::numeric", "100000000"),
        ("0.00000012::numeric", "0.00000012"),
        ("1.5::float4", "1.5"),
        ("(-0.1)::float8", "-0.1"),
        ("'2026-11-21'::date", "2026-11-21"),
        ("'1999-12-31'::date", "1999-12-31"),
        ("'1999-12-31 23:59:59.5'::timestamp", "1999-12-31T23:59:59.5"),
        ("'2026-11-21T10:00:00+02'::timestamptz", "2026-11-21T08:00:00Z"),
    ] {
        let row = client.query_one(&format!("SELECT {sql}"), &[]).unwrap();
        assert_eq!(text_of(&row, 0).unwrap().as_deref(), Some(expected), "{sql}");
    }
    let row = client
        .query_one("SELECT NULL::int, ARRAY[1] AS list, 'NaN'::numeric, 'infinity'::date, 'NaN'::float8", &[])
        .unwrap();
    assert_eq!(text_of(&row, 0).unwrap(), None);
    assert!(text_of(&row, 1)
        .unwrap_err()
        .to_string()
        .starts_with("column 'list' is _int4, which is not read here; cast it to text"));
    for at in 2..5 {
        assert!(text_of(&row, at).unwrap_err().to_string().contains("no canonical form"), "{at}");
    }
}

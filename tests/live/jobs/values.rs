//! What a job's payload says reaches Postgres as it was given: no digit, scale or sign is lost, and what Postgres refuses is
//! refused at once.

use crate::support::random::Random;
use crate::support::{bears, Database, Redis, Wire};

/// One job a type, set-based and each by each, that returns what Postgres got.
fn catalog() -> String {
    let mut catalog = String::from("[bear]\nid = \"int\"\ntables = { bear = \"id\" }\n[[bear.query]]\ncall = \"all\"\nsql = \"SELECT id FROM bear\"\n");
    for (name, ty) in TYPES {
        let id = "SELECT 1::bigint AS id";
        catalog += &format!(
            "[bear.job.SET_{name}]\ndata = {{ v = \"{ty}\" }}\nsql = \"SELECT n, 1::bigint AS id, to_json(v::text) AS result FROM {{jobs}} job\"\n\
             [bear.job.EACH_{name}]\ndata = {{ v = \"{ty}\" }}\neach = [\"{id}, to_json(({{v}})::text) AS result\"]\n"
        );
    }
    catalog
}

const TYPES: [(&str, &str); 11] = [
    ("INT", "int"),
    ("FLOAT", "float"),
    ("NUMERIC", "numeric"),
    ("FLOATS", "float[]"),
    ("NUMERICS", "numeric[]"),
    ("JSON", "json"),
    ("TEXT", "text"),
    ("TEXTS", "text[]"),
    ("UUID", "uuid"),
    ("TIMESTAMP", "timestamp"),
    ("TIMESTAMPTZ", "timestamptz"),
];

struct Site {
    database: Database,
    _redis: Redis,
    wire: Wire,
}

fn start() -> Site {
    let database = bears::database();
    let redis = Redis::builder().postgres(&database).catalog(catalog()).start();
    let wire = redis.wire();
    Site { database, _redis: redis, wire }
}

impl Site {
    /// What Postgres got of a value in JSON, by both kinds of jobs. The error is that of BEAR.ENQUEUE.
    fn got(&mut self, name: &str, json: &str) -> Result<String, String> {
        let mut texts = Vec::new();
        for kind in ["SET", "EACH"] {
            let payload = format!("{{\"v\":{json}}}");
            let job = format!("{kind}_{name}");
            let reply = self.wire.call(&["BEAR.ENQUEUE", "bear", &job, &payload, "BLOCK", "0"]);
            if reply.is_error() {
                return Err(reply.error().to_owned());
            }
            let map = reply.map();
            assert_eq!(map["state"].text(), "completed", "{job} {json}: {:?}", map["error"]);
            texts.push(serde_json::from_str::<String>(&map["result"].text()).expect("a text"));
        }
        assert_eq!(texts[0], texts[1], "{name} {json}: both kinds of jobs say the same");
        Ok(texts.remove(0))
    }

    /// What Postgres makes of a text by itself.
    fn postgres(&self, ty: &str, text: &str) -> Result<String, String> {
        let sql = format!("SET timezone = 'UTC'; SELECT ($${text}$$::{ty})::text");
        let mut client = self.database.client();
        let messages = client.simple_query(&sql).map_err(|error| error.to_string())?;
        let row = messages.iter().find_map(|message| match message {
            postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        Ok(row.expect("a row"))
    }
}

#[test]
fn a_number_keeps_its_scale_and_its_sign() {
    let mut site = start();
    for (name, ty, json) in [
        ("NUMERIC", "numeric", "0.10"),
        ("NUMERIC", "numeric", "1.0"),
        ("NUMERIC", "numeric", "100"),
        ("NUMERIC", "numeric", "-0.00"),
        ("NUMERIC", "numeric", "1e2"),
        ("NUMERIC", "numeric", "1.50e1"),
        ("NUMERIC", "numeric", "1.5e-3"),
        ("NUMERIC", "numeric", "0e3"),
        ("NUMERIC", "numeric", "99999999999999999999999999999999999999.10"),
        ("FLOAT", "float8", "-0.0"),
        ("FLOAT", "float8", "-0"),
        ("FLOAT", "float8", "0.0"),
        ("FLOAT", "float8", "0e-999"),
        ("FLOAT", "float8", "5e-324"),
        ("FLOAT", "float8", "1.7976931348623157e308"),
        ("FLOAT", "float8", "0.1"),
        ("JSON", "jsonb", r#"{"a":0.10,"b":[1.0,1e2,-0,123456789012345678901234567890.50]}"#),
        ("JSON", "jsonb", "0.10"),
    ] {
        assert_eq!(site.got(name, json), site.postgres(ty, json), "{name} {json}");
    }
    for (name, ty, json, array) in [
        ("NUMERICS", "numeric[]", r#"[0.10,"007.50",-1.0,1e1]"#, "{0.10,7.50,-1.0,10}"),
        ("FLOATS", "float8[]", "[-0.0,0,1.5e1]", "{-0,0,15}"),
        ("NUMERIC", "numeric", r#""0.10""#, "0.10"),
        ("UUID", "uuid", r#""{0A1B2C3D-0000-4000-8000-00000000000F}""#, "0a1b2c3d-0000-4000-8000-00000000000f"),
        ("TIMESTAMP", "timestamp", r#""2026-11-21T10:00:00.123456""#, "2026-11-21T10:00:00.123456"),
        ("TIMESTAMPTZ", "timestamptz", r#""2026-11-21T10:00:00.5+02:00""#, "2026-11-21T10:00:00.5+02:00"),
        ("TEXT", "text", r#""a\"b\\c\n\t{},'é🐻\u0001""#, "a\"b\\c\n\t{},'é🐻\u{1}"),
        ("TEXTS", "text[]", r#"["","NULL","a\"b\\","{x,y}"]"#, r#"{"","NULL","a\"b\\","{x,y}"}"#),
    ] {
        assert_eq!(site.got(name, json), site.postgres(ty, array), "{name} {json}");
    }
}

#[test]
fn what_postgres_refuses_is_refused_at_once() {
    let mut site = start();
    for (name, ty, json) in [
        ("FLOAT", "float8", "1e-400"),
        ("FLOAT", "float8", "-1e-400"),
        ("FLOAT", "float8", "0.00001e-400"),
        ("FLOAT", "float8", "1e400"),
        ("FLOATS", "float8[]", "[1,1e-400]"),
        ("JSON", "jsonb", "1e200000"),
        ("INT", "int8", "9223372036854775808"),
    ] {
        let text = json.replace('[', "{").replace(']', "}");
        assert!(site.postgres(ty, &text).is_err(), "{json}");
        let error = site.got(name, json).expect_err(json);
        assert!(error.starts_with("ERR field 'v' "), "{name} {json}: {error}");
    }
}

#[test]
fn numbers_of_all_kinds_arrive_as_postgres_reads_them() {
    let mut site = start();
    let mut random = Random::new(7);
    for _ in 0..150 {
        let mut digits = |most: usize| -> String {
            let count = random.below(most) + 1;
            (0..count).map(|_| (b'0' + random.below(10) as u8) as char).collect()
        };
        let (whole, fraction, exponent) = (digits(20), digits(12), digits(2));
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let sign = ["", "-"][random.below(2)];
        let number = match random.below(4) {
            0 => format!("{sign}{whole}"),
            1 => format!("{sign}{whole}.{fraction}"),
            2 => format!("{sign}{whole}.{fraction}e-{exponent}"),
            _ => format!("{sign}{whole}.{fraction}e{exponent}"),
        };
        assert_eq!(site.got("NUMERIC", &number), site.postgres("numeric", &number), "numeric {number}");
        assert_eq!(site.got("FLOAT", &number), site.postgres("float8", &number), "float {number}");
        assert_eq!(site.got("JSON", &number), site.postgres("jsonb", &number), "json {number}");
    }
}

#[test]
fn unique_and_order_take_equal_numbers_for_one_value() {
    let mut site = start();
    let mut enqueue = |value: &str| {
        site.wire.call(&["BEAR.ENQUEUE", "bear", "SET_NUMERIC", &format!("{{\"v\":{value}}}"), "UNIQUE", "one"])
    };
    let first = enqueue("0.10").text();
    for same in ["0.1", "0.100", "1e-1", "\"0.10\""] {
        assert_eq!(enqueue(same).text(), first, "{same}");
    }
    assert!(enqueue("0.11").error().starts_with("DUPLICATE "));
}

#[test]
fn a_float_argument_that_postgres_refuses_is_refused() {
    let database = bears::database();
    let catalog = "[bear]\nid = \"int\"\n[[bear.query]]\ncall = \"of {x:float}\"\nsql = \"SELECT 1::bigint AS id, {x} AS x\"\n[[bear.query]]\ncall = \"at {x:numeric}\"\nsql = \"SELECT 1::bigint AS id, {x} AS x\"\n";
    let redis = Redis::builder().postgres(&database).catalog(catalog).start();
    for word in ["1e-400", "-1e-999", "1e400"] {
        assert!(redis.run(&format!("BEAR.QUERY bear of {word}")).error().starts_with("ERR "), "{word}");
    }
    // One key for all spellings, and so one answer.
    for word in ["-0.0", "0", "0e-999"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY bear of {word}")).text(), r#"[{"id":1,"x":0}]"#, "{word}");
    }
    for word in ["0.10", "0.1", "00.100"] {
        assert_eq!(redis.run(&format!("BEAR.QUERY bear at {word}")).text(), r#"[{"id":1,"x":0.1}]"#, "{word}");
    }
}

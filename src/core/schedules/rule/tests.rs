use proptest::prelude::*;

use super::*;

fn ms(text: &str) -> u64 {
    text.parse::<Timestamp>().expect("a time").as_millisecond() as u64
}

fn text(ms: u64) -> String {
    Timestamp::from_millisecond(ms as i64).expect("a time").to_string()
}

/// The ticks of an expression after a moment and before another.
fn ticks(cron: &str, zone: &str, (after, before): (&str, &str)) -> Vec<String> {
    let rule = Rule::cron(cron, Some(zone), None).expect(cron);
    let before = ms(before);
    let ticks = std::iter::successors(rule.next_after(ms(after)), |tick| rule.next_after(*tick));
    ticks.take_while(|tick| *tick < before).map(text).collect()
}

#[test]
fn expressions_have_five_fields_or_a_nickname() {
    let next = |cron: &str| {
        text(Rule::cron(cron, None, None).expect(cron).next_after(ms("2026-11-28T11:45:00Z")).expect(cron))
    };
    for (cron, tick) in [
        ("* * * * *", "2026-11-28T11:46:00Z"),
        ("*/20 * * * *", "2026-11-28T12:00:00Z"),
        ("0 9 * * mon-fri", "2026-11-30T09:00:00Z"),
        ("0 9 * * 1-5", "2026-11-30T09:00:00Z"),
        ("  0   9  *  *  MON-FRI ", "2026-11-30T09:00:00Z"),
        ("15,45 8-10 1 jan,jul *", "2027-01-01T08:15:00Z"),
        ("0 0 * * 7", "2026-11-29T00:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 L * *", "2026-11-30T00:00:00Z"),
        ("0 0 * * fri#2", "2026-12-11T00:00:00Z"),
        // Of the day of the month and that of the week either will do; with a +, both must fit.
        ("0 0 13 * fri", "2026-12-04T00:00:00Z"),
        ("0 0 13 * +fri", "2027-08-13T00:00:00Z"),
        ("0 0 * 2 mon#5", "2044-02-29T00:00:00Z"),
        ("@hourly", "2026-11-28T12:00:00Z"),
        ("@daily", "2026-11-29T00:00:00Z"),
        ("@weekly", "2026-11-29T00:00:00Z"),
        ("@monthly", "2026-12-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
    ] {
        assert_eq!(next(cron), tick, "{cron}");
    }
}

#[test]
fn what_is_no_expression_is_refused_with_the_reason() {
    for (cron, reason) in [
        ("", "it has 0 fields"),
        ("* * * *", "it has 4 fields"),
        ("0 * * * * *", "it has 6 fields"),
        ("* * * * * * *", "it has 7 fields"),
        ("60 * * * *", "60"),
        ("* 24 * * *", "24"),
        ("* * 0 * *", "0"),
        ("* * * 13 *", "13"),
        ("* * * * 8", "8"),
        ("5-1 * * * *", ""),
        ("*/0 * * * *", ""),
        ("a * * * *", "no meaning to 'A'"),
        ("@never", "no cron expression"),
        ("@daily UTC", "it has 2 fields"),
        ("é * * * *", "no cron expression"),
    ] {
        let error = Rule::cron(cron, None, None).expect_err(cron).to_string();
        assert!(error.contains("is no cron expression: five fields") && error.contains(reason), "{cron}: {error}");
    }
    let long = format!("{} * * * *", "1,".repeat(300));
    assert!(Rule::cron(&long, None, None).is_err_and(|error| error.to_string().len() < 600));
    assert!(matches!(Rule::cron("* * * * *", Some("Mars/Base"), None), Err(RuleError::Zone(_))));
}

#[test]
fn a_rule_without_any_tick_is_refused() {
    for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31 4 +mon", "0 0 5 * +mon#3", "0 0 30 2 +sun"] {
        let rule = Rule::cron(never, None, None).expect(never);
        assert!(matches!(rule.check(), Err(RuleError::Never { .. })), "{never}");
        assert_eq!(rule.next_after(ms("2026-01-01T00:00:00Z")), None);
    }
    // Always in the hour that is left out.
    let gap = Rule::cron("30,45 2 * 3 +sun#L", Some("Europe/Berlin"), None).expect("a rule");
    assert!(gap.check().is_err());
    for ever in ["0 0 29 2 *", "0 0 29 2 +mon", "0 0 30 2 mon", "0 0 * 2 sun#5"] {
        assert_eq!(Rule::cron(ever, None, None).expect(ever).check(), Ok(()), "{ever}");
    }
}

#[test]
fn every_is_counted_from_the_epoch_or_from_a_moment() {
    let quarter = Rule::every(900_000, None).expect("a rule");
    assert_eq!(text(quarter.next_after(ms("2026-11-28T11:45:00Z")).expect("a tick")), "2026-11-28T12:00:00Z");
    assert_eq!(text(quarter.next_after(ms("2026-11-28T11:44:59.999Z")).expect("a tick")), "2026-11-28T11:45:00Z");
    let from = Rule::every(1_000, Some(5_300)).expect("a rule");
    let next: Vec<_> = [0, 5_299, 5_300, 5_301, 6_300].into_iter().filter_map(|after| from.next_after(after)).collect();
    assert_eq!(next, [5_300, 5_300, 6_300, 6_300, 7_300]);
    assert_eq!(from.next_after(u64::MAX), None);
    assert_eq!(from.newest(0, 9_999), Some(9_300));
    for wrong in [0, 99, 366 * 86_400_000 + 1, u64::MAX] {
        assert_eq!(Rule::every(wrong, None), Err(RuleError::Every { got: wrong }));
    }
    let cron = Rule::cron("0 9 * * *", None, Some(ms("2030-01-01T09:00:00Z"))).expect("a rule");
    assert_eq!(cron.next_after(0).map(text).as_deref(), Some("2030-01-01T09:00:00Z"), "FROM itself is a tick");
}

/// Berlin: on 2026-03-29 there is no 02:00 to 02:59, on 2026-10-25 there are two.
#[test]
fn ticks_where_clocks_change() {
    let spring = ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z");
    let autumn = ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z");
    for (cron, span, expected) in [
        // One minute of one hour: right after the gap, and once, the first time.
        ("30 2 * * *", spring, vec!["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]),
        ("30 2 * * *", autumn, vec!["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]),
        ("0 3 * * *", spring, vec!["2026-03-29T01:00:00Z", "2026-03-30T01:00:00Z"]),
        ("0 0 * * *", spring, vec!["2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"]),
        ("0 3 * * *", autumn, vec!["2026-10-25T02:00:00Z", "2026-10-26T02:00:00Z"]),
        // Others: not at all, and twice.
        ("30 2,14 * * *", ("2026-03-28T23:00:00Z", "2026-03-29T20:00:00Z"), vec!["2026-03-29T12:30:00Z"]),
        (
            "*/30 2 * * *",
            autumn,
            vec![
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-26T01:00:00Z",
                "2026-10-26T01:30:00Z",
            ],
        ),
        (
            "0 * * * *",
            ("2026-03-29T00:00:00Z", "2026-03-29T03:00:00Z"),
            vec!["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
        ),
        (
            "0 * * * *",
            ("2026-10-24T23:59:00Z", "2026-10-25T02:30:00Z"),
            vec!["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        ),
    ] {
        assert_eq!(ticks(cron, "Europe/Berlin", span), expected, "{cron}");
    }
    // On Lord Howe Island it is half an hour; in Apia a whole day was left out.
    assert_eq!(
        ticks("15 2 * * *", "Australia/Lord_Howe", ("2026-10-02T20:00:00Z", "2026-10-04T20:00:00Z")),
        ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]
    );
    assert_eq!(
        ticks("0 12 * * *", "Pacific/Apia", ("2011-12-29T12:00:00Z", "2012-01-01T12:00:00Z")),
        ["2011-12-29T22:00:00Z", "2011-12-30T22:00:00Z", "2011-12-31T22:00:00Z"]
    );
}

#[test]
fn rules_are_the_same_when_they_tick_the_same() {
    let cron = |text, zone| Rule::cron(text, zone, None).expect("a rule").to_string();
    assert_eq!(cron("0  9 * * MON", None), cron("0 9 * * mon", Some("utc")));
    assert_eq!(cron("0 9 * * mon", Some("europe/berlin")), "cron 0 9 * * mon Europe/Berlin");
    assert_eq!(Rule::every(1_000, Some(7)).map(|rule| rule.to_string()).as_deref(), Ok("every 1000 from 7"));
}

fn field(max: u32, least: u32) -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just("*".to_owned()),
        2 => (least..=max).prop_map(|value| value.to_string()),
        1 => (2u32..20).prop_map(|step| format!("*/{step}")),
        1 => (least..=max, least..=max).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b))),
        1 => prop::collection::vec(least..=max, 2..4).prop_map(|values| values.iter().map(u32::to_string).collect::<Vec<_>>().join(",")),
    ]
}

proptest! {
    /// Every minute is looked at by itself.
    #[test]
    fn next_and_newest_are_what_looking_at_each_minute_finds(
        minute in field(59, 0), hour in field(23, 0), day in field(31, 1), weekday in field(6, 0),
        zone in prop_oneof![Just("UTC"), Just("Europe/Berlin"), Just("America/New_York"), Just("Asia/Kathmandu")],
        start in 1_700_000_000_000u64..1_900_000_000_000,
    ) {
        let cron = format!("{minute} {hour} {day} * {weekday}");
        let Ok(rule) = Rule::cron(&cron, Some(zone), None) else { return Ok(()) };
        let Kind::Cron { cron: parsed, zone, .. } = &rule.kind else { unreachable!() };
        let is_fixed = parsed.determine_job_type() == croner::JobType::FixedTime;
        let end = start + 3 * 86_400_000;
        let found: Vec<u64> = std::iter::successors(rule.next_after(start), |tick| rule.next_after(*tick)).take_while(|tick| *tick <= end).collect();
        prop_assert!(found.is_sorted_by(|a, b| a < b));
        if !is_fixed {
            let minutes = (start / MINUTE_MS + 1..=end / MINUTE_MS).map(|minute| minute * MINUTE_MS);
            let fits = |ms: &u64| {
                let zoned = Timestamp::from_millisecond(*ms as i64).expect("a time").to_zoned(zone.time_zone().clone());
                parsed.is_time_matching(&zoned).expect("a match")
            };
            prop_assert_eq!(&found, &minutes.filter(fits).collect::<Vec<u64>>(), "{}", cron);
        }
        prop_assert_eq!(rule.newest(start, end), found.last().copied());
        if let [first, .., last] = found[..] {
            prop_assert_eq!(rule.newest(start, last), Some(last));
            prop_assert_eq!(rule.newest(start, last - 1), found.get(found.len() - 2).copied());
            prop_assert_eq!(rule.newest(start, first), Some(first));
        }
    }

    #[test]
    fn no_words_panic(text in "\\PC{0,40}", near in "[0-9*/,LW#+? a-z-]{0,30}( [0-9*/,-]{1,4}){0,4}") {
        for text in [text, near] {
            if let Ok(rule) = Rule::cron(&text, None, None) {
                let _ = rule.check();
                let _ = rule.newest(1_700_000_000_000, 1_800_000_000_000);
            }
        }
    }
}

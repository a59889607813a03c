//! Which format a client wants, by its header Accept.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, for those who do not say.
    Text,
    OpenMetrics,
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// OpenMetrics where it is asked for by name, and no less than the other.
    pub fn wanted(accept: &str) -> Format {
        let weight = |types: &[&str]| {
            let ranges = accept.split(',').map(|range| range.split(';').map(str::trim));
            let of = ranges.filter_map(|mut range| {
                let is_one = range.next().is_some_and(|name| types.iter().any(|of| name.eq_ignore_ascii_case(of)));
                is_one.then(|| {
                    range.filter_map(|word| word.strip_prefix("q=")).find_map(|q| q.parse().ok()).unwrap_or(1.0)
                })
            });
            of.fold(0.0, f32::max)
        };
        let open = weight(&["application/openmetrics-text"]);
        if open > 0.0 && open >= weight(&["text/plain"]) {
            Format::OpenMetrics
        } else {
            Format::Text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let cases = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/plain", Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("Application/OpenMetrics-Text; version=1.0.0, */*;q=0.1", Format::OpenMetrics),
            ("application/openmetrics-text;q=0", Format::Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Format::Text),
            ("application/openmetrics-text;q=nonsense", Format::OpenMetrics),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                 text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Format::OpenMetrics,
            ),
        ];
        for (accept, expected) in cases {
            assert_eq!(Format::wanted(accept), expected, "{accept}");
        }
    }
}

//! A snapshot as Prometheus reads it: the series of the list, by the encoder of `prometheus-client`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{prometheus_text, text, DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::accept::Format;
use crate::core::metrics::figures::{Figures, Value};
use crate::core::metrics::histogram::Histogram;
use crate::core::metrics::list;
use crate::core::metrics::metric::{Kind, Metric, Series};
use crate::core::metrics::snapshot::Snapshot;

/// No labels beside those that a series has anyhow.
type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug)]
struct Encoding(Arc<Snapshot>);

/// The whole answer.
pub fn encode(snapshot: Arc<Snapshot>, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Encoding(snapshot)));
    let mut answer = String::new();
    match format {
        Format::Text => prometheus_text::encode(&mut answer, &registry)?,
        Format::OpenMetrics => text::encode(&mut answer, &registry)?,
    }
    Ok(answer)
}

impl Collector for Encoding {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for metric in list::all() {
            match (metric.series(), metric.by_section) {
                (Series::None { .. }, _) => {}
                (Series::States { name, label, values }, _) => {
                    let Some(Value::Text(text)) = self.0.figures.get(metric.name) else { continue };
                    let mut encoder = encoder.encode_descriptor(&name, metric.help, None, MetricType::Gauge)?;
                    for value in values {
                        let labels = [(label, *value)];
                        encoder.encode_family(&labels)?.encode_gauge(&u64::from(text == value))?;
                    }
                }
                (Series::Info { name, label }, _) => {
                    let Some(Value::Text(text)) = self.0.figures.get(metric.name) else { continue };
                    let mut encoder = encoder.encode_descriptor(&name, metric.help, None, MetricType::Info)?;
                    encoder.encode_info(&[(label, text.as_str())])?;
                }
                (Series::Number(name), true) => self.of_sections(&mut encoder, metric, &name)?,
                (Series::Number(name), false) => self.of_server(&mut encoder, metric, &name)?,
            }
        }
        Ok(())
    }
}

impl Encoding {
    fn of_server(&self, encoder: &mut DescriptorEncoder, metric: &Metric, name: &str) -> fmt::Result {
        let number = self.0.figures.get_number(metric.name);
        let histogram = find(&self.0.histograms, metric.name);
        if number.is_none() && histogram.is_none() {
            return Ok(());
        }
        let mut encoder = encoder.encode_descriptor(name, metric.help, None, kind(metric))?;
        match (number, histogram) {
            (Some(number), _) => encode_number(&mut encoder, metric, number),
            (None, Some(histogram)) => encode_histogram(&mut encoder, histogram),
            (None, None) => Ok(()),
        }
    }

    fn of_sections(&self, encoder: &mut DescriptorEncoder, metric: &Metric, name: &str) -> fmt::Result {
        let mut encoder = encoder.encode_descriptor(name, metric.help, None, kind(metric))?;
        for (section, of) in &self.0.sections {
            let labels = [("section", &**section)];
            if metric.kind != Kind::Histogram {
                // What nobody has counted is 0: a rate is known from the first on.
                let number = number_of(&of.figures, metric);
                encode_number(&mut encoder.encode_family(&labels)?, metric, number)?;
            } else if let Some(histogram) = find(&of.histograms, metric.name) {
                encode_histogram(&mut encoder.encode_family(&labels)?, histogram)?;
            }
        }
        Ok(())
    }
}

fn number_of(figures: &Figures, metric: &Metric) -> u64 {
    figures.get_number(metric.name).unwrap_or(0)
}

fn find<'a>(histograms: &'a [(&'static str, Histogram)], name: &str) -> Option<&'a Histogram> {
    histograms.iter().find(|(of, _)| *of == name).map(|(_, histogram)| histogram)
}

fn kind(metric: &Metric) -> MetricType {
    match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge | Kind::Text => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    }
}

fn encode_number(encoder: &mut MetricEncoder, metric: &Metric, number: u64) -> fmt::Result {
    match (metric.kind, metric.scaled(number)) {
        (Kind::Counter, None) => encoder.encode_counter(&number, None::<&Exemplar<NoLabels, u64>>),
        (Kind::Counter, Some(scaled)) => encoder.encode_counter(&scaled, None::<&Exemplar<NoLabels, f64>>),
        (_, None) => encoder.encode_gauge(&number),
        (_, Some(scaled)) => encoder.encode_gauge(&scaled),
    }
}

fn encode_histogram(encoder: &mut MetricEncoder, histogram: &Histogram) -> fmt::Result {
    encoder.encode_histogram::<NoLabels>(histogram.sum_seconds(), histogram.count(), &histogram.buckets(), None)
}

//! `/metrics` and `/healthz` against Prometheus itself (`make test-metrics`).

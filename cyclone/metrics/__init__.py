"""What the daemons count, and how Prometheus gets it. docs/metrics.md lists every metric."""

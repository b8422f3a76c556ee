"""Grafana is not to be had here: these ask a Prometheus as it does, and draw what a panel says in its stead."""

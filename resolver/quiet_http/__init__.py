"""An HTTP server that keeps nothing of a request; under the stop page and the metrics."""

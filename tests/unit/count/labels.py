"""Closed sets of labels that the tests of count/ share."""

from resolver.count.metrics import Labels

LABELS = Labels(
    version="0.0.1",
    engine="python",
    region="UK",
    lists=("demo", "second"),
    upstreams=("192.0.2.53:53",),
    feed_failures=("unreachable", "expired"),
    entries_refused=("tld",),
    entries_set_aside=("protected",),
    upstream_failures=("timeout", "refused"),
    threads=("0", "1"),
    transports=("udp", "tcp", "dot", "doh"),
    edge_refusals=("slow", "flood"),
)

"""The bounds of the page and of the metrics."""

from resolver.quiet_http.bounds import METRICS_BOUNDS, PAGE_BOUNDS, REST


def test_only_what_shares_a_loop_with_dns_rests() -> None:
    assert (PAGE_BOUNDS.rest, METRICS_BOUNDS.rest) == (0, REST)
    assert PAGE_BOUNDS.client_first, "a visitor's address is not left in the kernel"

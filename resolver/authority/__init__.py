"""The authority's end of the feed: sign, publish, check, refresh, withdraw, rotate and verify."""

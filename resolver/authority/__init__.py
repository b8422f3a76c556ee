"""The other end of the feed: what an authority runs to sign, publish, refresh, withdraw and rotate."""

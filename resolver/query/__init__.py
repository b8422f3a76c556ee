"""Answers a query; the modules sort in the order in which a query meets them."""

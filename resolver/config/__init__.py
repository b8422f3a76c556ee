"""Reads the configuration into frozen structs."""

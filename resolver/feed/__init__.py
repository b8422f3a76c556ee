"""The way of a list: source, read, compile, guard, activate."""

"""Inputs made at random for as long as asked; what they must never do is held in each module."""

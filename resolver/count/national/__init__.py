"""The national figure: the sum of many operators' attempts, of which an authority learns the sum alone."""

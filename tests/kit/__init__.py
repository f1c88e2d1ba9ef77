"""What tests have in common: clusters, clocks, what hangs, and witnesses that say nothing."""

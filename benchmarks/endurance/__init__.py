"""Long runs and many viewers: soak, load, latency."""

"""Long runs, many viewers, and the latency of ``camrt live``, with the processes and clients that they need."""

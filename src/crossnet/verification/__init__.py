"""What is seen of crossings without watching packets: read back, probes, counters and connection tracking."""

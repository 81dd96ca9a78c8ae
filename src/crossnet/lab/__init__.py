"""Real hosts on one machine: each a small init with its own network, files, processes and boot."""

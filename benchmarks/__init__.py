"""What `make bench` measures: each stage alone, against a peer or a limit measured beside it."""

"""The product's words and decisions: frozen models and pure functions, no I/O, no clock, no randomness."""

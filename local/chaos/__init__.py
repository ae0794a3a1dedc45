"""A campaign whose processes are killed while it runs, and the proof that everybody got one message or none."""

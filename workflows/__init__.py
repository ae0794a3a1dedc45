"""Durable, deterministic and thin: ask ``domain`` what to do next, ask ``activities`` to do it."""

"""The command line: ``huntaze``."""

"""The OnlyFans gateway, simulated: a real HTTP server for the real SDK, with a book of what it accepted."""

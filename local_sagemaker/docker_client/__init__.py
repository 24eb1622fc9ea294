"""Docker: the only part that talks to the engine."""

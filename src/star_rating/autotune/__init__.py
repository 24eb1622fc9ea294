"""How to compute a step: candidates, their measurement on this machine, the choice."""

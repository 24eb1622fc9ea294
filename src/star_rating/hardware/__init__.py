"""What the machine has: processors, their instruction sets, memory, limits of the container."""

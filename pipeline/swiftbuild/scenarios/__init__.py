"""What a booted system must do: one list for people and for pytest."""

"""Start QEMU, its console, its control channel."""

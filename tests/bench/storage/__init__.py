"""Work for a disk: what a unit of it costs on /data, and on Linux's ext4 beside it."""

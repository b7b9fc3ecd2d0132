"""What the pipeline talks about: frozen values, no input or output."""

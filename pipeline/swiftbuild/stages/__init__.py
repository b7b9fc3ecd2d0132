"""One arrow of the pipeline per file; a stage never imports a stage."""

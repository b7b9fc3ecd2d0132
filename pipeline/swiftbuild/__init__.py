"""swiftbuild builds swift-os disk images, boots them and says how healthy they are.

Layers, each importing only what stands before it:
errors, limits, digest → model → wire → core → effects → stages → engine, machine → scenarios → cli.
`tests/tidy` holds this rule.
"""

"""Configuration: one strict model, read from TOML, environment and command line."""

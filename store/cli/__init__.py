"""The `twofold` command: one file per noun, loaded only when named."""

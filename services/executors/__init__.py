"""Where jobs run: one contract, one file per executor."""

"""One file per stage: a pure function of its inputs and its config that writes a folder."""

"""Generated from protos/backlot/v1 by scripts/protos: do not edit."""

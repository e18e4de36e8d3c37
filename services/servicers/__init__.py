"""Thin RPC methods: convert, delegate."""

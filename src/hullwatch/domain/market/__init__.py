"""Instruments, candles and quotes."""

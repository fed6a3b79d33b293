"""The Hull Moving Average, the rules on it, and their replay on past candles."""

"""The vocabulary and the decisions. Pure: no clock, network, database, log line or environment."""

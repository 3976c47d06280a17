"""Contract tests: what every kind of worker must do, over every transport and start method."""

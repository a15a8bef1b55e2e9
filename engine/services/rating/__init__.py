"""What a call costs, at the time and afterwards."""

"""What tenants have, pay in and spend, and what they are told of it."""

"""Who comes in, and what he may do there: users, roles, sessions, second factors, keys."""

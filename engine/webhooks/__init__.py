"""Telling tenants' own systems, over HTTP: signed, tried again, never to where we must not go."""

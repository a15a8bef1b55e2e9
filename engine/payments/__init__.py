"""Payment providers' notices: whether they are genuine, and what they say."""

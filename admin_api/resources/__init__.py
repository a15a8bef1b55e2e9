"""What a resource shows and takes, for every audience that has it; whose it is, its routers say."""

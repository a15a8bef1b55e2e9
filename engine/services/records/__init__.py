"""CDRs and recordings: ours, carriers', and what leaves the house."""

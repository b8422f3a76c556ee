"""Our policy inside resolvers of other makers: what the service hands to a plugin, and the plugins."""

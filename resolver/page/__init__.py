"""The page that a blocked visitor sees: static bytes, HTTP 451, nothing recorded."""

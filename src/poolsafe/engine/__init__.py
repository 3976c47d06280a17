"""The engine: a pure core that decides, and the parts that carry its decisions out."""

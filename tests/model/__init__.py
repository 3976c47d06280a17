"""Model tests of the pure core: a simulated world in which workers die at any moment."""

"""Populations of trained networks: recipes, building, and the store they are kept in."""

"""Sheets of a packed data set's images, for people: as they are stored, and as a recipe varies them."""

"""What a person sees of a packed data set: sheets of its images, as stored and as a recipe varies them."""

"""`deps compare`: recipes over several seeds, trained as far as that is missing, and one page of what came out."""

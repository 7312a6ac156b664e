"""Images -> labels and scores, with any export."""

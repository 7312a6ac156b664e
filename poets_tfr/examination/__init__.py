"""What the pictures and their features say of a data set, before anything is trained for use."""

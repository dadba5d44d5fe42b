"""What is scored side by side: the model, its peers, and the references."""

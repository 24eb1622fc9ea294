"""DistilBERT, and where its weights come from and go to."""

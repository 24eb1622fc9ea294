"""The trained model behind HTTP (`serve`) and over files (`predict`): one engine, one way to form batches."""
